import numpy as np
import pytest
from skimage.metrics import structural_similarity

from tests.metrics.clips import texture
from vidswap.errors import ShapeError
from vidswap.metrics.pictures import edge_strength, label_iou, psnr, seam_contrast, ssim


def test_psnr():
    a = np.full((20, 30, 3), 0.5, np.float32)
    b = a.copy()
    b[:, :15] += 0.1
    assert psnr(a, b) == pytest.approx(10 * np.log10(2 / 0.01), abs=1e-3)
    mask = np.zeros((20, 30), np.float32)
    mask[:, :15] = 1
    assert psnr(a, b, mask) == pytest.approx(20, abs=1e-3)
    assert psnr(a, b, 1 - mask) == np.inf
    assert np.isnan(psnr(a, b, 0 * mask))
    with pytest.raises(ShapeError):
        psnr(a, b[:10])


def test_ssim_is_the_published_one():
    a = texture(64)
    b = np.clip(a + 0.1 * texture(64, 8) - 0.05, 0, 1)
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    mean, every = structural_similarity(
        a.astype(float), b.astype(float), data_range=1.0, channel_axis=2, full=True, **settings
    )
    assert ssim(a, b) == pytest.approx(mean, abs=1e-6)
    mask = np.zeros((64, 64), np.float32)
    mask[20:40, 15:50] = 1
    inside = every[20:40, 15:50].mean()
    assert ssim(a, b, mask) == pytest.approx(inside, abs=1e-6)
    assert ssim(a, a) == pytest.approx(1)


def test_label_iou():
    a = np.zeros((10, 10), np.int64)
    b = a.copy()
    a[:, 5:], b[:, 6:] = 1, 1
    found = label_iou(a, b, 3)
    np.testing.assert_allclose(found[:2], [50 / 60, 40 / 50])
    assert np.isnan(found[2])


def test_seam():
    flat = np.full((60, 60, 3), 0.4, np.float32)
    mask = np.zeros((60, 60), np.float32)
    mask[15:45, 15:45] = 1
    pasted = flat + 0.1 * mask[..., None]
    seam = seam_contrast(pasted, flat, mask)
    assert seam.output == pytest.approx(0.1, abs=1e-6)
    assert seam.target == pytest.approx(0, abs=1e-6)
    assert seam.excess == pytest.approx(0.1, abs=1e-6)
    # The same step where the frame had one already is not a seam.
    assert seam_contrast(pasted, pasted, mask).excess == 0
    ramp = mask.copy()
    for k in range(10):
        ramp[15 + k : 45 - k, 15 + k : 45 - k] = (k + 1) / 10
    faded = seam_contrast(flat + 0.1 * ramp[..., None], flat, mask)
    assert faded.excess < 0.5 * seam.excess
    assert np.isnan(seam_contrast(flat, flat, 0 * mask).excess)


def test_edge_strength_sees_what_lies_along_an_outline():
    turn = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    outline = np.stack([64 + 40 * np.cos(turn), 64 + 40 * np.sin(turn)], -1).astype(np.float32)
    y, x = np.mgrid[0:128, 0:128]
    far = np.hypot(x - 64, y - 64)
    flat = np.full((128, 128), 0.5, np.float32)
    at, inner = (np.where(far < r, 0.8, 0.5).astype(np.float32) for r in (38, 20))
    assert edge_strength(flat, outline) == 0
    assert edge_strength(at, outline) > 0.02
    assert edge_strength(inner, outline) == 0
    assert np.isnan(edge_strength(flat, outline + 500))


def test_edge_strength_is_a_slope():
    ramp = np.repeat(np.arange(128, dtype=np.float32)[None] / 500, 128, 0)
    corners = np.array([[20, 20], [108, 20], [108, 108], [20, 108]], np.float32)
    assert edge_strength(ramp, corners) == pytest.approx(1 / 500, rel=1e-4)
