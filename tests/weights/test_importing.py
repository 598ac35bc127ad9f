import dataclasses
import json
import zipfile
from argparse import Namespace

import pytest
import torch

from tests.weights import published
from vidswap.errors import WeightsError
from vidswap.weights import formats, importing, manifest, pickles
from vidswap.weights.cache import hash_file


def test_known_by_layout_not_by_name(tmp_path, store):
    path = published.matrix_file(tmp_path / "holiday.jpg.backup")
    imported = importing.add(path, store)
    assert imported.manifest.name == "direction-matrix-voxceleb"
    assert imported.first
    state, metadata = formats.read_safetensors(imported.stored)
    assert metadata["source_sha256"] == hash_file(path)[0] == imported.record.sha256
    assert metadata["commercial"] == "no"
    assert json.loads(metadata["settings"]) == {"shift_scale": 6, "w_plus": True}
    source = torch.load(path, weights_only=True)["A_matrix"]  # noqa: TID251
    assert all(torch.equal(state[k], v) for k, v in source.items())


def test_first_import_is_remembered(tmp_path, store):
    first = published.matrix_file(tmp_path / "a.pt")
    second = published.matrix_file(tmp_path / "b.pt")
    importing.add(first, store)
    with pytest.raises(WeightsError, match="not the one remembered from the first") as caught:
        importing.add(second, store)
    assert "--trust" in caught.value.hint
    assert not importing.add(first, store).first
    assert importing.add(second, store, trust=True).record.sha256 == hash_file(second)[0]


def test_published_digest_is_enforced(tmp_path, store, monkeypatch):
    path = published.matrix_file(tmp_path / "a.pt")
    shipped = manifest.shipped()
    wanted = dataclasses.replace(shipped["direction-matrix-voxceleb"], sha256="0" * 64)
    monkeypatch.setattr(manifest, "shipped", lambda: shipped | {wanted.name: wanted})
    with pytest.raises(WeightsError, match="not the one published"):
        importing.add(path, store)
    right = dataclasses.replace(wanted, sha256=hash_file(path)[0])
    monkeypatch.setattr(manifest, "shipped", lambda: shipped | {wanted.name: right})
    assert not importing.add(path, store).first


@pytest.mark.parametrize("archive", [True, False])
def test_training_checkpoints_with_a_namespace(tmp_path, store, archive):
    path = tmp_path / "550000.pt"
    tree = {"g": {}, "g_ema": published.rosinality(), "args": Namespace(size=16), "ada_aug_p": 0.1}
    torch.save(tree, path, _use_new_zipfile_serialization=archive)
    imported = importing.add(path, store, "mine")
    assert imported.manifest.licence == "unknown"
    assert manifest.get("mine", store.root) == imported.manifest
    assert not imported.manifest.commercial
    state, metadata = formats.read_safetensors(imported.stored)
    assert metadata["arch"] == "stylegan2-generator"
    assert json.loads(metadata["config"])["size"] == 16
    assert all(t.dtype == torch.float32 for t in state.values())


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_nvidias_pickle(tmp_path, store, protocol):
    official = published.nvidia()
    path = tmp_path / "network.pkl"
    path.write_bytes(published.persistence_bytes(official, protocol=protocol))
    networks = pickles.read(path, formats._storage)
    assert list(networks) == ["G_ema"]
    network = networks["G_ema"]
    assert network.class_name == "Generator"
    assert network.state.keys() == official.keys()
    assert all(torch.equal(network.state[k], v) for k, v in official.items())
    assert network.settings["num_ws"] == 6
    assert network.settings["weight_gain"] == pytest.approx(0.5**0.5)
    assert network.settings["_init_args"] == [8, 0, 8, 16, 3]
    stored = importing.add(path, store, "mine").stored
    config = json.loads(formats.read_metadata(stored)["config"])
    assert config["clamp"] == 256.0
    assert config["size"] == 16


def test_two_layouts_of_one_generator_become_the_same_tensors(tmp_path, store):
    """NVIDIA's and rosinality's files of the same network agree after conversion."""
    ours, theirs = published.rosinality(), published.nvidia()
    for key in theirs:
        if key.startswith("synthesis.b4.conv1."):
            part = key.removeprefix("synthesis.b4.conv1.")
            name = {
                "weight": "conv1.conv.weight",
                "bias": "conv1.activate.bias",
                "noise_strength": "conv1.noise.weight",
                "noise_const": "noises.noise_0",
                "affine.weight": "conv1.conv.modulation.weight",
                "affine.bias": "conv1.conv.modulation.bias",
            }.get(part)
            if name:
                theirs[key] = ours[name].reshape(theirs[key].shape)
    rosinality, pickled = tmp_path / "r.pt", tmp_path / "n.pkl"
    torch.save({"g_ema": ours, "latent_avg": theirs["mapping.w_avg"]}, rosinality)
    pickled.write_bytes(published.persistence_bytes(theirs))
    a, _ = formats.read_safetensors(importing.add(rosinality, store, "a").stored)
    b, _ = formats.read_safetensors(importing.add(pickled, store, "b").stored)
    assert a.keys() == b.keys()
    assert {k: v.shape for k, v in a.items()} == {k: v.shape for k, v in b.items()}
    same = [k for k in a if torch.equal(a[k], b[k])]
    assert "mapping.w_avg" in same
    assert len([k for k in same if "layers.0." in k and "synthesis" in k]) == 6


def test_converted_file_builds_the_network(tmp_path, store):
    zoo = pytest.importorskip("vidswap.zoo")
    path = published.rosinality_file(tmp_path / "g.pt")
    network = zoo.load_file(importing.add(path, store, "mine").stored)
    picture = network(torch.randn(2, 8))
    assert picture.shape == (2, 3, 16, 16)
    assert torch.isfinite(picture).all()


@torch.inference_mode()
def test_from_published_file_to_golden_picture(tmp_path, store):
    """File, safe reader, table, stored file, network: the picture is the publisher's."""
    zoo = pytest.importorskip("vidswap.zoo")
    seeded = pytest.importorskip("tests.models.seeded")
    if not (seeded.GOLDEN / "nvidia_g64.safetensors").exists():
        pytest.skip("no golden files in this checkout")
    fixture = seeded.golden("nvidia_g64")
    path = tmp_path / "ffhq.pkl"
    path.write_bytes(published.persistence_bytes(fixture.weights(), clamp=None))
    network = zoo.load_file(importing.add(path, store, "mine").stored)
    x = fixture.inputs()
    fixture.check("ws_trunc", network.mapping(x["z"], 0.5, cutoff=8))
    fixture.check("image_ws", network.synthesis(x["ws"]))


def test_networks_without_a_table_keep_their_names(tmp_path, store):
    path = tmp_path / "weights.pth"
    torch.save(
        {"net_recon": {"backbone.a": torch.ones(2), "final_layers.0.weight": torch.ones(3)}}, path
    )
    with pytest.raises(WeightsError, match=r"layout of deep3d.*not the one published"):
        importing.add(path, store)
    state, metadata = formats.read_safetensors(
        importing.add(path, store, "deep3d", trust=True).stored
    )
    assert metadata["names"] == "official"
    assert sorted(state) == ["net_recon.backbone.a", "net_recon.final_layers.0.weight"]


def pack(path, names, top=""):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(top + name, name.encode() * 50)
    return path


@pytest.mark.parametrize("top", ["", "antelopev2/"])
def test_packs_are_unpacked_flat(tmp_path, store, top):
    path = pack(tmp_path / "x.zip", ["det.onnx", "w600k.onnx", "run.py"], top)
    with pytest.raises(WeightsError, match=r"--as|need"):
        importing.add(path, store)
    folder = importing.add(path, store, "antelopev2").stored
    assert folder == store.root / "insightface" / "antelopev2"
    assert sorted(p.name for p in folder.iterdir()) == ["det.onnx", "w600k.onnx"]
    found = manifest.get("antelopev2", store.root)
    assert store.verify(found) == folder
    assert not list(store.root.rglob(".*"))
    (folder / "det.onnx").write_bytes(b"changed")
    with pytest.raises(WeightsError, match="changed since it was added"):
        store.verify(found)


def test_pack_with_two_files_of_one_name_or_none(tmp_path, store):
    twice = pack(tmp_path / "x.zip", ["a/det.onnx", "b/det.onnx"])
    with pytest.raises(WeightsError, match="not a pack of ONNX files"):
        importing.add(twice, store, "buffalo_l")
    damaged = tmp_path / "y.zip"
    data = bytearray(pack(damaged, ["det.onnx"]).read_bytes())
    data[40] ^= 0xFF
    damaged.write_bytes(data)
    with pytest.raises(WeightsError, match=r"cannot be unpacked|truncated"):
        importing.add(damaged, store, "buffalo_l")
    assert not store.pack("buffalo_l").exists()


def test_files_that_are_used_as_they_are(tmp_path, store):
    path = tmp_path / "model.mat"
    path.write_bytes(b"MATLAB 5.0 MAT-file" + bytes(100))
    imported = importing.add(path, store, "bfm09")
    assert imported.stored == store.root / "files" / "bfm09" / "01_MorphableModel.mat"
    assert imported.stored.read_bytes() == path.read_bytes()
    with pytest.raises(WeightsError, match="this is a matlab file; buffalo_l is onnx-zip"):
        importing.add(path, store, "buffalo_l")


def test_verify_and_require(tmp_path, store):
    found = manifest.get("direction-matrix-voxceleb", store.root)
    with pytest.raises(WeightsError, match="are not here") as caught:
        store.require(found)
    assert "by hand" in caught.value.hint
    path = importing.add(published.matrix_file(tmp_path / "m.pt"), store).stored
    assert store.require(found) == store.verify(found) == path
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(WeightsError, match="changed since it was added"):
        store.verify(found)
    store.record_path(found.name).write_text("name = 3")
    with pytest.raises(WeightsError, match="damaged record"):
        store.verify(found)


def test_trusted_file_stays_trusted(tmp_path, store):
    path = tmp_path / "own.pth"
    torch.save({"fc.weight": torch.ones(2)}, path)
    with pytest.raises(WeightsError, match="not the one published"):
        importing.add(path, store, "deep3d")
    assert importing.add(path, store, "deep3d", trust=True).record.trusted
    store.verify(manifest.get("deep3d", store.root))
    assert importing.add(path, store, "deep3d").manifest.name == "deep3d"


def test_files_of_our_own_format(tmp_path, store):
    path = tmp_path / "trained.safetensors"
    metadata = {"vidswap": "1", "name": "tiny", "arch": "bisenet", "licence": "MIT", "names": "own"}
    formats.write_safetensors(path, {"a": torch.ones(3)}, metadata | {"commercial": "yes"})
    imported = importing.add(path, store)
    assert (imported.manifest.name, imported.manifest.commercial) == ("tiny", True)
    assert imported.stored.read_bytes() == path.read_bytes()
    assert store.verify(manifest.get("tiny", store.root)) == imported.stored
    formats.write_safetensors(path, {"a": torch.tensor([float("nan")])}, metadata)
    with pytest.raises(WeightsError, match="a holds NaN"):
        importing.add(path, store, trust=True)
    formats.write_safetensors(path, {"a": torch.ones(3)}, metadata | {"name": "../../x"})
    with pytest.raises(WeightsError, match="not a name for a checkpoint"):
        importing.add(path, store)


def test_weights_that_come_with_the_package(tmp_path, store, monkeypatch):
    folder = tmp_path / "shipped"
    folder.mkdir()
    formats.write_safetensors(folder / "tiny.safetensors", {"a": torch.ones(3)}, {"vidswap": "1"})
    base = manifest.shipped()["bisenet"]
    digest = hash_file(folder / "tiny.safetensors")[0]
    tiny = dataclasses.replace(base, name="tiny", sha256=digest)
    (folder / "tiny.toml").write_text(manifest.encode(tiny))
    monkeypatch.setattr("vidswap.paths.data", lambda _: folder)
    assert store.require(tiny) == store.verify(tiny) == folder / "tiny.safetensors"
    assert store.ready("other") is None


def test_tensors_that_share_memory_are_written_apart(tmp_path):
    both = torch.arange(6.0).reshape(2, 3)
    formats.write_safetensors(tmp_path / "x", {"a": both, "b": both[1], "c": both.T}, {})
    state, _ = formats.read_safetensors(tmp_path / "x")
    assert torch.equal(state["a"], both)
    assert torch.equal(state["b"], both[1])
    assert torch.equal(state["c"], both.T)


def test_interrupted_write_leaves_the_old_file(tmp_path, store, monkeypatch):
    path = importing.add(published.matrix_file(tmp_path / "m.pt"), store).stored
    before = path.read_bytes()

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(formats, "save_file", full)
    with pytest.raises(WeightsError, match=r"cannot be written.*No space left"):
        importing.add(published.matrix_file(tmp_path / "n.pt"), store, trust=True)
    assert path.read_bytes() == before
    assert sorted(p.name for p in store.root.iterdir()) == [path.name, "records"]


def test_old_torch_is_refused(tmp_path, store, monkeypatch):
    path = published.matrix_file(tmp_path / "m.pt")
    monkeypatch.setattr(torch, "__version__", "2.5.1+cu121")
    with pytest.raises(WeightsError, match="CVE-2025-32434"):
        importing.add(path, store)
