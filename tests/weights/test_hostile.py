"""Files that attack, and files that are merely wrong: one clear error each, and nothing runs."""

import io
import pickle
import struct
import zipfile

import pytest
import torch
from safetensors.torch import save_file

from tests.weights import published
from vidswap.errors import WeightsError
from vidswap.weights import importing
from vidswap.weights.recognise import MAX_TENSORS


@pytest.fixture
def canary(tmp_path):
    return tmp_path / "code-was-run"


@pytest.fixture
def refused(store, canary, tmp_path):
    """Add a file; check that it is refused for this reason and leaves nothing behind."""

    def check(path, reason, name=None):
        with pytest.raises(WeightsError, match=reason) as caught:
            importing.add(path, store, name)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
        assert not canary.exists()
        assert not [p for p in store.root.rglob("*") if p.is_file()]
        return caught.value

    return check


def write(path, data):
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_pickle_that_runs_code(tmp_path, canary, refused, protocol):
    data = pickle.dumps({"G_ema": published.Exploit(canary)}, protocol=protocol)
    refused(write(tmp_path / "ffhq.pkl", data), r"(builtins|__builtin__)\.exec.*could run code")


@pytest.mark.parametrize("archive", [True, False])
def test_torch_file_that_runs_code(tmp_path, canary, refused, archive):
    path = tmp_path / "A_matrix.pt"
    tree = {"A_matrix": published.matrix(), "args": published.Exploit(canary)}
    torch.save(tree, path, _use_new_zipfile_serialization=archive)
    refused(path, "exec.*could run code")


def test_source_code_and_nested_payload_of_a_persistence_pickle(tmp_path, canary, refused, store):
    code = f"open({str(canary)!r}, 'w').close()"
    good = published.persistence_bytes(published.nvidia(), source=code)
    importing.add(write(tmp_path / "own.pkl", good), store, "mine")
    assert not canary.exists()
    for path in list(store.root.rglob("*")):
        if path.is_file():
            path.unlink()
    inner = io.BytesIO()
    torch.save(published.Exploit(canary), inner, _use_new_zipfile_serialization=False)
    payload = inner.getvalue()

    class Storage:
        def __reduce__(self):
            return torch.storage._load_from_bytes, (payload,)

    class Tensor:
        def __reduce__(self):
            return torch._utils._rebuild_tensor_v2, (Storage(), 0, (1,), (1,), False, {})

    state = published.nvidia()
    data = published.persistence_bytes({})
    assert data  # the stand-ins themselves work
    network = published._tree(state, "")
    network.meta["state"]["_buffers"]["evil"] = Tensor()
    data = published.persistence_bytes(state, extra={"G_ema": network})
    refused(write(tmp_path / "evil.pkl", data), "exec, .*could run code")


@pytest.mark.parametrize(
    "target", ["posix.system", "torch.load", "os.path.join", "builtins.getattr"]
)
def test_any_other_global_is_refused_unseen(tmp_path, refused, target):
    module, _, name = target.rpartition(".")
    data = b"\x80\x02c" + module.encode() + b"\n" + name.encode() + b"\n."
    refused(write(tmp_path / "x.pkl", data), f"{target}.*could run code")


def test_attributes_of_the_readers_own_classes_cannot_be_set(tmp_path, refused):
    from vidswap.weights import pickles

    before = dict(vars(pickles.Persistent))
    # The BUILD instruction with a slot state would set an attribute on the class itself.
    data = (
        b"\x80\x02ctorch_utils.persistence\n_reconstruct_persistent_obj\n"
        b"N}X\x04\x00\x00\x00metaK\x01s\x86b."
    )
    refused(write(tmp_path / "x.pkl", data), "refused or damaged")
    assert dict(vars(pickles.Persistent)) == before


@pytest.mark.parametrize("keep", [0.2, 0.6, 0.999])
@pytest.mark.parametrize("kind", ["archive", "legacy", "pickle", "safetensors"])
def test_truncated(tmp_path, refused, kind, keep):
    path = tmp_path / "file"
    if kind == "pickle":
        data = published.persistence_bytes(published.nvidia())
    else:
        if kind == "safetensors":
            save_file(published.matrix(), path)
        else:
            torch.save(published.matrix(), path, _use_new_zipfile_serialization=kind == "archive")
        data = path.read_bytes()
    refused(write(path, data[: int(len(data) * keep)]), "truncated or damaged|refused or damaged")


def test_wrong_shapes(tmp_path, refused):
    path = tmp_path / "g.pt"
    published.rosinality_file(path, **{"convs.3.conv.weight": torch.randn(1, 4, 5, 3, 3)})
    refused(
        path, r"wrong shape \(convs.3.conv.weight is \[1, 4, 5, 3, 3\], expected \[1, 4, 4, 3, 3\]"
    )


def test_extra_keys(tmp_path, refused):
    path = published.rosinality_file(tmp_path / "g.pt", backdoor=torch.zeros(3))
    refused(path, r"1 keys are unexpected \(backdoor\)")


def test_missing_keys(tmp_path, refused):
    path = published.rosinality_file(tmp_path / "g.pt", **{"convs.1.activate.bias": None})
    refused(path, r"1 keys are missing \(convs.1.activate.bias\)")


def test_zip_bomb(tmp_path, refused):
    path = tmp_path / "bomb.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", b"\x80\x02}.")
        archive.writestr("a/data/0", bytes(50 << 20))
    assert path.stat().st_size < 1 << 20
    refused(path, "ZIP bomb")


def test_zip_bomb_of_onnx_files(tmp_path, refused):
    path = tmp_path / "buffalo_l.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("det.onnx", bytes(50 << 20))
    refused(path, "would unpack to 52428800 bytes: refused as a ZIP bomb", name="buffalo_l")


def test_compressed_entries_are_not_torchs(tmp_path, refused):
    path = tmp_path / "small.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", b"\x80\x02}.")
    refused(path, "compressed")


def test_tensor_bomb(tmp_path, refused):
    path = tmp_path / "m.pt"
    published.matrix_file(path, **{"linear.weight": torch.zeros(1).expand(4096, 15)})
    refused(path, r"linear.weight claims 61440 values, more than the file stores")


def test_endless_references(tmp_path, refused):
    loop = {"x": torch.zeros(1)}
    for _ in range(40):
        loop = {"a": loop, "b": loop}
    path = tmp_path / "loop.pt"
    torch.save(loop, path)
    assert MAX_TENSORS < 2**40
    refused(path, "without end", name="moco-v2")


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/../../evil", "..\\evil", "C:/evil"])
def test_path_traversal_in_archives(tmp_path, refused, name):
    path = tmp_path / "buffalo_l.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("det.onnx", b"x")
        archive.writestr(name, b"evil")
    refused(path, "would leave its folder", name="buffalo_l")
    assert not list(tmp_path.parent.rglob("evil"))


@pytest.mark.parametrize("name", ["../evil", "a/b", "", "UPPER", ".hidden", "x" * 80])
def test_path_traversal_in_the_name_to_import_as(tmp_path, store, name):
    path = published.matrix_file(tmp_path / "m.pt")
    if name:
        with pytest.raises(WeightsError, match="not a name for a checkpoint"):
            importing.add(path, store, name)
    assert not list(tmp_path.rglob("evil*"))


def test_symbolic_link_in_an_archive(tmp_path, refused):
    path = tmp_path / "p.zip"
    link = zipfile.ZipInfo("det.onnx")
    link.external_attr = 0xA1FF0000
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(link, "/etc/passwd")
    refused(path, "would leave its folder", name="buffalo_l")


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_values_that_are_not_finite(tmp_path, refused, bad):
    weight = torch.randn(4096, 15)
    weight[17, 3] = bad
    path = published.matrix_file(tmp_path / "m.pt", **{"linear.weight": weight})
    refused(path, "linear.weight holds NaN or infinite")


def test_empty(tmp_path, refused):
    refused(write(tmp_path / "e4e_ffhq_encode.pt", b""), r"empty \(0 bytes\)")


@pytest.mark.parametrize(
    ("head", "what"),
    [
        (b"\xff\xd8\xff\xe0\x00\x10JFIF", "JPEG picture"),
        (b"\x89PNG\r\n\x1a\n", "PNG picture"),
        (b"<!DOCTYPE html><html><title>Google Drive", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "Git LFS pointer"),
        (b"\x1f\x8b\x08", "gzip"),
        (struct.pack("<Q", 10) + b"{" + bytes(30), "truncated or damaged"),
        (b"hello, world", "no known format"),
    ],
)
def test_other_files(tmp_path, refused, head, what):
    refused(write(tmp_path / "ffhq.pkl", head + bytes(100)), what)


def test_missing_file_and_folder(tmp_path, refused):
    refused(tmp_path / "nowhere.pt", "cannot be read: No such file")
    refused(tmp_path, "cannot be read: Is a directory")


def test_wrong_architecture(tmp_path, refused):
    path = published.matrix_file(tmp_path / "e4e_ffhq_encode.pt")
    refused(path, "wrong architecture: this is a reenactment direction matrix", name="e4e-ffhq")


def test_unknown_architecture(tmp_path, refused):
    path = tmp_path / "resnet.pt"
    torch.save({"fc.weight": torch.zeros(2, 2), "fc.bias": torch.zeros(2)}, path)
    refused(path, "unknown architecture: it holds fc.bias, fc.weight; known are: StyleGAN2")


def test_right_architecture_of_another_size(tmp_path, refused):
    path = published.rosinality_file(tmp_path / "stylegan2-ffhq-config-f.pt")
    error = refused(path, "size 16.*could be none of the known")
    assert "--as NAME" in error.hint
    refused(
        path, "not stylegan2-ffhq-config-f: size is 16, expected 1024", "stylegan2-ffhq-config-f"
    )
