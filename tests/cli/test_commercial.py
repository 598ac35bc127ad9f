"""``--commercial``: weights are refused by their licence, before anything is written."""

import pytest

PACK = """
name = "{name}"
summary = "A pack of one's own."
arch = "insightface-pack"
file = "pack.zip"
format = "onnx-zip"
licence = "Apache-2.0"
commercial = true
commercial_reason = "trained here"
source = "https://example.org"
"""


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """An empty weights folder, and no pack elsewhere."""
    folder = tmp_path / "weights"
    monkeypatch.setenv("VIDSWAP_WEIGHTS", str(folder))
    monkeypatch.setenv("INSIGHTFACE_HOME", str(tmp_path / "none"))
    return folder


@pytest.fixture
def install(weights):
    """Put a file that stands for a model into a pack's folder."""

    def put(pack, model):
        path = weights / "insightface" / pack / model
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"not a model")
        return path

    return put


@pytest.fixture
def run(call, empty_clip, recipe, tmp_path):
    """Run the pipeline without a photo on a clip without a face."""
    output = tmp_path / "out.mp4"
    return lambda *more: call(
        "run", empty_clip, "-p", recipe, "-o", output, "--allow-no-face", "--commercial", *more
    )


def refused(done, tmp_path, *words):
    assert done.code == 4, done.err
    (line,) = [text for text in done.err.splitlines() if text.startswith("error: ")]
    assert "commercial use is not permitted" in line
    for word in words:
        assert str(word) in line
    assert not list(tmp_path.glob("out.mp4*"))


@pytest.mark.usefixtures("weights")
def test_the_models_of_mediapipe_are_free(run, tmp_path):
    assert run().code == 0
    assert (tmp_path / "out.mp4").is_file()


def test_an_embedder_on_disk_is_in_use(run, install, tmp_path):
    model = install("buffalo_l", "w600k_r50.onnx")
    done = run()
    refused(done, tmp_path, "buffalo_l", "non-commercial research")
    assert f"move {model} away" in done.err
    assert run("--dry-run").code == 4


def test_a_detector_is_in_use_where_it_is_chosen(run, install, tmp_path):
    install("buffalo_s", "det_10g.onnx")
    assert run("--dry-run").code == 0
    refused(run("--detector", "scrfd"), tmp_path, "buffalo_s")


def test_what_has_no_manifest_is_not_trusted(run, install, tmp_path):
    model = install("Some Pack", "glint360k_r100.onnx")
    refused(run(), tmp_path, model, "glint360k_r100 (unknown")


def test_every_pack_is_named_once(run, install, tmp_path):
    for model in ("det_10g.onnx", "w600k_r50.onnx"):
        install("buffalo_l", model)
    refused(run("--detector", "scrfd"), tmp_path, "by 1 of the weights")


def test_a_manifest_of_ones_own_may_permit_it(weights, install):
    from vidswap.recipe import Recipe
    from vidswap.run.licence import check_commercial, weights_in_use

    install("mine", "w600k_mine.onnx")
    (weights / "mine.toml").write_text(PACK.format(name="mine"))
    check_commercial(Recipe())
    assert [m.name for m in weights_in_use(Recipe())] == ["face-landmarker", "mine"]
