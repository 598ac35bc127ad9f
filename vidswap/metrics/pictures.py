"""Figures of single pictures, inside a mask: PSNR, SSIM, label overlap, contrast of a seam."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vidswap.checks import check_shape
from vidswap.types import F32, F64

SEAM_SIGMA = 3.0
"""Reach on both sides of a seam, pixels."""


def psnr(a: F32, b: F32, mask: F32 | None = None) -> float:
    """Peak signal-to-noise ratio in dB.

    Args:
        a: (H, W, C) in [0, 1].
        b: The same shape.
        mask: (H, W) weights; None is everything.

    Returns:
        Infinite for equal pictures; NaN without weight.
    """
    check_shape("H W C, H W C", a=a, b=b)
    error = ((np.asarray(a, np.float64) - b) ** 2).mean(-1)
    mean = _mean(error, mask)
    return float("inf") if mean == 0 else float(-10 * np.log10(mean))


def ssim(a: F32, b: F32, mask: F32 | None = None) -> float:
    """Structural similarity, Gaussian window of σ 1.5 on 11 × 11 pixels (Wang et al., 2004).

    Args:
        a: (H, W, C) in [0, 1].
        b: The same shape.
        mask: (H, W) weights of the centres; None leaves out the 5 px border that the windows cross.

    Returns:
        [-1, 1], 1 for equal pictures; NaN without weight.
    """
    check_shape("H W C, H W C", a=a, b=b)
    x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
    mean_x, mean_y = _blur(x), _blur(y)
    var_x, var_y = _blur(x * x) - mean_x**2, _blur(y * y) - mean_y**2
    shared = _blur(x * y) - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    top = (2 * mean_x * mean_y + c1) * (2 * shared + c2)
    values = top / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))
    if mask is None:
        mask = np.zeros(a.shape[:2], np.float32)
        mask[5:-5, 5:-5] = 1
    return _mean(values.mean(-1), mask)


def label_iou(a: NDArray[np.integer[Any]], b: NDArray[np.integer[Any]], classes: int) -> F64:
    """Overlap of two label maps.

    Args:
        a: Any shape, labels 0 to ``classes`` − 1.
        b: The same shape.
        classes: Number of labels.

    Returns:
        (classes,) intersection over union; NaN for a label that neither has.
    """
    check_shape(" ".join("ABCD"[: a.ndim]) + ", " + " ".join("ABCD"[: a.ndim]), a=a, b=b)
    pairs = np.bincount(a.ravel().astype(np.int64) * classes + b.ravel(), minlength=classes**2)
    table = pairs.reshape(classes, classes)
    both = np.diag(table).astype(np.float64)
    either = table.sum(0) + table.sum(1) - both
    return np.where(either > 0, both / np.where(either > 0, either, 1), np.nan)


RING = 1.05, 0.9
"""Outer and inner edge of the ring along an outline, as shares of its distance from the middle. Landmarks put the
outline of a broad face up to 4 % inside the silhouette, and that of a narrow one onto it: a ring that ends there
holds the strongest edge there is in one picture of two."""


class Seam(NamedTuple):
    """Step of colour across the border of a mask, in [0, 1]."""

    output: float
    """Of the composed frame."""
    target: float
    """Of the untouched frame: a jaw or a hairline is a step of its own."""

    @property
    def excess(self) -> float:
        """What composing added; 0 is a seam nobody can see."""
        return max(self.output - self.target, 0.0)


def seam_contrast(output: F32, target: F32, mask: F32, sigma: float = SEAM_SIGMA) -> Seam:
    """How visible the border of a swapped region is.

    Colours just inside and just outside are averaged around every pixel of the border, and their
    distance is averaged along it.

    Args:
        output: (H, W, 3) in [0, 1].
        target: The untouched frame.
        mask: (H, W) the region, in [0, 1]; its border is where it crosses ½.
        sigma: Pixels.

    Returns:
        NaN for a mask without a border.
    """
    import cv2

    check_shape("H W 3, H W 3, H W", output=output, target=target, mask=mask)
    inside = (np.asarray(mask) > 0.5).astype(np.float64)
    small = cv2.erode(inside, np.ones((3, 3), np.uint8), borderValue=1.0)
    border = (inside > 0) & (small == 0)
    if not border.any():
        return Seam(float("nan"), float("nan"))

    def side(picture: F64, weight: F64) -> F64:
        total = np.maximum(cv2.GaussianBlur(weight, (0, 0), sigma), 1e-9)
        blurred: F64 = cv2.GaussianBlur(picture * weight[..., None], (0, 0), sigma)
        return blurred / total[..., None]

    def step(picture: F32) -> float:
        p = np.asarray(picture, np.float64)
        difference = side(p, inside) - side(p, 1 - inside)
        return float(np.sqrt((difference**2).mean(-1))[border].mean())

    return Seam(step(output), step(target))


def edge_strength(picture: F32, outline: F32) -> float:
    """Mean gradient in the ring along a closed outline: what a seam there adds to.

    Args:
        picture: (H, W) luma in [0, 1].
        outline: (N, 2) pixels, in order.

    Returns:
        Per pixel; NaN where the ring lies outside.
    """
    import cv2

    check_shape("H W, N 2", picture=picture, outline=outline)
    middle = outline.mean(0)
    ring = np.zeros(picture.shape, np.uint8)
    for share, value in zip(RING, (1, 0), strict=True):
        points = np.round(middle + (outline - middle) * share).astype(np.int32)
        cv2.fillPoly(ring, [points], value)
    grey = np.asarray(picture, np.float32)
    across, down = (cv2.Sobel(grey, cv2.CV_32F, *way) / 8 for way in ((1, 0), (0, 1)))
    strength = np.hypot(across, down)[ring > 0]
    return float(strength.mean()) if strength.size else float("nan")


def _blur(x: F64) -> F64:
    import cv2

    blurred: F64 = cv2.GaussianBlur(x, (11, 11), 1.5, borderType=cv2.BORDER_REFLECT)
    return blurred.reshape(x.shape)


def _mean(values: F64, mask: F32 | None) -> float:
    if mask is None:
        return float(values.mean())
    check_shape("H W, H W", values=values, mask=mask)
    total = float(mask.sum())
    return float((values * mask).sum() / total) if total > 0 else float("nan")
