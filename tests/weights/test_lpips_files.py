"""LPIPS as it is published: heads in one file, torchvision's backbone in another."""

import pytest
import torch
from click.testing import CliRunner

from tests.models.test_lpips import BACKBONES, published
from vidswap.cli.weights import weights
from vidswap.errors import WeightsError
from vidswap.latents.invert import perceptual
from vidswap.models.irse import Trunk
from vidswap.weights import importing


@pytest.fixture
def files(tmp_path):
    """The two files, and what is in them."""
    torch.manual_seed(0)
    make, taps, widths = BACKBONES["alex"]
    features = make()
    heads = [torch.rand(1, width, 1, 1) for width in widths]
    state = {f"features.{k}": t for k, t in features.state_dict().items()}
    state |= {"classifier.1.weight": torch.zeros(2, 2), "classifier.1.bias": torch.zeros(2)}
    torch.save({f"lin{i}.model.1.weight": head for i, head in enumerate(heads)}, tmp_path / "a.pth")
    torch.save(state, tmp_path / "b.pth")
    return (
        tmp_path / "a.pth",
        tmp_path / "b.pth",
        lambda a, b: published(features, taps, heads, a, b),
    )


def test_from_two_files_to_the_published_distance(store, files):
    heads, backbone, formula = files
    trunk = Trunk((16, 16, 16, 16), (1, 1, 1, 1)).eval()
    assert perceptual(trunk, store).substitute
    done = CliRunner().invoke(weights, ["add", str(heads), "--with", str(backbone)])
    assert done.exit_code == 0, done.output
    distance = perceptual(trunk, store)
    assert (distance.name, distance.substitute) == ("LPIPS (alex)", False)
    a, b = torch.rand(2, 2, 3, 64, 64) * 2 - 1
    with torch.inference_mode():
        torch.testing.assert_close(distance(a, b), formula(a, b))
    assert store.record("lpips-alex").source_file == "a.pth with b.pth"


def test_one_file_alone_says_what_is_missing(store, files):
    heads, backbone, _ = files
    for name in (None, "lpips-alex"):
        with pytest.raises(
            WeightsError, match=r"LPIPS on AlexNet, but 10 keys are missing"
        ) as error:
            importing.add(heads, store, name)
        assert "--with BACKBONE" in error.value.hint
    with pytest.raises(WeightsError, match="unknown architecture"):
        importing.add(backbone, store)
    assert store.ready("lpips-alex") is None


def test_wrong_pairs(store, files, tmp_path):
    heads, backbone, _ = files
    with pytest.raises(WeightsError, match=r"'lin0\.model\.1\.weight' is also in a\.pth"):
        importing.add(heads, store, beside=heads)
    picture = tmp_path / "x.jpg"
    picture.write_bytes(bytes.fromhex("ffd8ffe0") + bytes(64))
    with pytest.raises(WeightsError, match=r"x\.jpg"):
        importing.add(heads, store, beside=picture)
    stored = importing.add(heads, store, beside=backbone).stored
    with pytest.raises(WeightsError, match="it is complete"):
        importing.add(stored, store, "mine", beside=backbone)
