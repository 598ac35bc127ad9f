import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from vidswap.errors import ShapeError
from vidswap.ops import ffhq, ffhq_grid

SETS = ("upright", "rotated", "large", "border", "small")
SHIFT = {"upright": 300, "rotated": 330, "large": 800, "border": 70, "small": 420}


@pytest.fixture(scope="module")
def golden():
    path = Path(__file__).parents[1] / "golden" / "ffhq_align.safetensors"
    with safe_open(path, "np") as file:
        spec = json.loads(file.metadata()["spec"])
        return spec, {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118


def frame(name, size):
    """The fixture's frame: triangle waves, whole numbers."""
    width, height = size
    y, x = np.mgrid[:height, :width]
    shift = SHIFT[name]

    def wave(t, p):
        return np.abs(t % (2 * p) - p) * 255 // p

    channels = [
        wave(x + y // 3 + shift, 97),
        wave(y + x // 5 + 2 * shift, 71),
        wave(x + 2 * y + 3 * shift, 131),
    ]
    return np.stack(channels, -1).astype(np.uint8)


@pytest.mark.parametrize("name", SETS)
def test_geometry(golden, name):
    _, g = golden
    window = ffhq.window(g[f"in.landmarks.{name}"])
    for part, expected in zip(window, "cxy", strict=True):
        np.testing.assert_allclose(part, g[f"{expected}.{name}"], rtol=0, atol=1e-9)
    np.testing.assert_allclose(window.quad, g[f"quad.{name}"], rtol=0, atol=1e-9)
    np.testing.assert_allclose(
        ffhq.window(g[f"in.landmarks.{name}"], 1.3).quad,
        g[f"quad_scale1.3.{name}"],
        rtol=0,
        atol=1e-9,
    )
    for size in (256, 1024):
        np.testing.assert_allclose(
            ffhq.inverse_coefficients(window.quad, size),
            g[f"inverse{size}.{name}"],
            rtol=0,
            atol=1e-6,
        )


@pytest.mark.parametrize("name", SETS)
def test_crops(golden, name):
    spec, g = golden
    picture, quad = frame(name, spec["frames"][name]), g[f"quad.{name}"]
    video = ffhq.crop(picture, quad, ffhq.CropOptions(256, padding=False, diagonal=True))
    close(video[::4, ::4], g[f"crop_video.{name}"])
    padded = ffhq.crop(picture, quad, ffhq.CropOptions(256))
    close(padded[::4, ::4], g[f"crop_ffhq.{name}"])
    rgba = np.dstack([video, np.full_like(video[:, :, :1], 255)])
    height, width = picture.shape[:2]
    step = 24 if name == "large" else 8
    close(ffhq.uncrop(rgba, quad, width, height)[::step, ::step], g[f"back.{name}"])


def close(ours, expected):
    assert ours.shape == expected.shape
    assert np.abs(ours.astype(int) - expected).max() <= 1


def test_track(golden):
    _, g = golden
    windows = ffhq.window(g["in.track"])
    np.testing.assert_allclose(windows.quad, g["track_quads.raw"], rtol=0, atol=1e-9)
    smoothed = ffhq.smooth(windows)
    np.testing.assert_allclose(smoothed.quad, g["track_quads.smooth"], rtol=0, atol=1e-9)
    same = ffhq.smooth(windows, 0, 0)
    assert np.array_equal(same.quad, windows.quad)


@pytest.mark.parametrize("name", ["upright", "rotated", "small"])
def test_grid_twin(golden, name):
    """The differentiable crop is the published one up to truncation, both ways."""
    spec, g = golden
    picture, quad = frame(name, spec["frames"][name]), g[f"quad.{name}"]
    height, width = picture.shape[:2]
    tensor = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].double()
    quads = torch.from_numpy(quad)[None]
    crop = ffhq_grid.crop(tensor, quads, 256)
    expected = ffhq.crop(picture, quad, ffhq.CropOptions(256, padding=False))
    error = crop[0].permute(1, 2, 0).numpy() - expected
    inside = ffhq.uncrop(np.full((256, 256, 3), 255, np.uint8), quad, width, height)[:, :, 0] == 255
    assert error.min() > -0.01
    assert error.max() < 1.01
    whole = torch.from_numpy(expected.copy()).permute(2, 0, 1)[None].double()
    back = ffhq_grid.uncrop(whole, quads, height, width)[0].permute(1, 2, 0).numpy()
    published = ffhq.uncrop(expected, quad, width, height)
    error = (back - published)[inside]
    assert error.min() > -0.01
    assert error.max() < 1.01
    assert not back[~inside & (published[:, :, 0] == 0)].any()


def test_grid_twin_is_differentiable():
    frames = torch.rand(2, 3, 20, 24, dtype=torch.float64, requires_grad=True)
    quads = torch.tensor([[4.2, 3.1], [3.2, 13.4], [13.5, 14.4], [14.5, 4.1]], dtype=torch.float64)
    quads = quads.repeat(2, 1, 1).requires_grad_()
    assert torch.autograd.gradcheck(lambda f, q: ffhq_grid.crop(f, q, 5), (frames, quads))
    crops = torch.rand(2, 1, 6, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda c: ffhq_grid.uncrop(c, quads.detach(), 16, 16), (crops,))


def test_all_landmark_schemes_agree():
    """The same eyes and mouth give the same window from 5, 68 and 478 points."""
    rng = np.random.default_rng(0)
    five = np.array([[100.0, 120], [160, 118], [131, 150], [108, 190], [156, 188]])
    ring = np.array([[-8.0, 0], [-4, -4], [4, -4], [8, 0], [4, 4], [-4, 4]])
    points68, points478 = rng.uniform(0, 250, (68, 2)), rng.uniform(0, 250, (478, 2))
    points68[36:42], points68[42:48] = five[0] + ring, five[1] + ring
    points68[[48, 54]] = five[3:]
    points478[[33, 160, 158, 133, 153, 144]] = five[0] + ring
    points478[[362, 385, 387, 263, 373, 380]] = five[1] + ring
    points478[[61, 291]] = five[3:]
    quads = [ffhq.window(p).quad for p in (five, points68, points478, points478[:468])]
    for quad in quads[1:]:
        np.testing.assert_allclose(quad, quads[0])
    assert ffhq.window(five).side == pytest.approx(np.linalg.norm(quads[0][3] - quads[0][0]))


def test_wrong_input():
    with pytest.raises(ShapeError, match="5, 68, 468 or 478"):
        ffhq.window(np.zeros((106, 2)))
    with pytest.raises(ShapeError, match="one place"):
        ffhq.window(np.zeros((5, 2)))
    far = np.array([[900.0, 900], [900, 990], [990, 990], [990, 900]])
    with pytest.raises(ShapeError, match="outside the frame"):
        ffhq.crop(np.zeros((50, 60, 3), np.uint8), far, ffhq.CropOptions(64, padding=False))
