"""FFHQ alignment: the crop window of a face, the published crop, and its inverse.

Geometry is float64 in pixel-centre coordinates. The crops are the published ones to the grey level,
truncation included; :mod:`vidswap.ops.ffhq_grid` has the differentiable twin.

Source: Karras et al., A Style-Based Generator Architecture for GANs, 2019 (appendix C, FFHQ);
the window's smoothing over time: Tzaban et al., Stitch it in Time, 2022.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import Image

from vidswap.checks import check_shape
from vidswap.errors import ShapeError
from vidswap.types import F64, U8

CENTRE_SIGMA = 1.0
AXES_SIGMA = 3.0
"""Frames over which Stitch it in Time smooths a window's centre and its axes."""

_LIDS_68 = (tuple(range(36, 42)), tuple(range(42, 48)))
_MOUTH_68 = (48, 54)
# The mesh vertices at the places of the 68-point scheme, image-left eye first.
_LIDS_478 = ((33, 160, 158, 133, 153, 144), (362, 385, 387, 263, 373, 380))
_MOUTH_478 = (61, 291)


class Window(NamedTuple):
    """Square crop windows of one or many faces."""

    centre: F64
    """(..., 2)"""
    x: F64
    """(..., 2) from the centre to the middle of the right side."""
    y: F64
    """(..., 2) from the centre to the middle of the bottom side."""

    @property
    def quad(self) -> F64:
        """(..., 4, 2) corners: top left, bottom left, bottom right, top right."""
        c, x, y = self
        return np.stack([c - x - y, c - x + y, c + x + y, c + x - y], axis=-2)

    @property
    def side(self) -> F64:
        """(...) side in pixels."""
        length: F64 = np.hypot(self.x[..., 0], self.x[..., 1]) * 2.0
        return length


def anchors(landmarks: F64) -> tuple[F64, F64, F64]:
    """Image-left eye, image-right eye and middle of the mouth, each (..., 2).

    Args:
        landmarks: (..., 5, 2) eyes, nose, mouth corners; (..., 68, 2) iBUG order; or (..., 478, 2)
            or (..., 468, 2) face mesh.

    Raises:
        ShapeError: Another number of landmarks.
    """
    points = np.asarray(landmarks, np.float64)
    number = points.shape[-2] if points.ndim > 1 else 0
    if number == 5:
        return points[..., 0, :], points[..., 1, :], points[..., 3:5, :].mean(-2)
    if number == 68:
        lids, mouth = _LIDS_68, _MOUTH_68
    elif number in (468, 478):
        lids, mouth = _LIDS_478, _MOUTH_478
    else:
        raise ShapeError(f"landmarks: expected 5, 68, 468 or 478 points, got {points.shape}")
    left, right = (points[..., list(lid), :].mean(-2) for lid in lids)
    return left, right, points[..., list(mouth), :].mean(-2)


def window(landmarks: F64, scale: float = 1.0) -> Window:
    """FFHQ crop window of faces.

    Args:
        landmarks: As in :func:`anchors`, in pixels.
        scale: Factor on the published size.

    Raises:
        ShapeError: Another number of landmarks, or all of them at one place.
    """
    left, right, mouth = anchors(landmarks)
    eyes = (left + right) / 2
    across, down = right - left, mouth - eyes
    x = across - np.stack([-down[..., 1], down[..., 0]], axis=-1)
    length = np.hypot(x[..., 0], x[..., 1])
    if not np.all(length > 0):
        raise ShapeError("landmarks: eyes and mouth lie at one place")
    reach = np.maximum(np.hypot(*_xy(across)) * 2.0, np.hypot(*_xy(down)) * 1.8)
    x = x * (reach * scale / length)[..., None]
    y = np.stack([-x[..., 1], x[..., 0]], axis=-1)
    return Window(eyes + down * 0.1, x, y)


def _xy(points: F64) -> tuple[F64, F64]:
    return points[..., 0], points[..., 1]


def smooth(
    windows: Window, centre_sigma: float = CENTRE_SIGMA, axes_sigma: float = AXES_SIGMA
) -> Window:
    """Gaussian smoothing of (T, 2) windows over the frames of one shot, ends reflected.

    Args:
        windows: With a leading time axis; never across a cut.
        centre_sigma: Standard deviation for the centre, frames; 0 leaves it as it is.
        axes_sigma: The same for the axes.
    """
    from scipy import ndimage

    sigmas = (centre_sigma, axes_sigma, axes_sigma)
    parts = (
        ndimage.gaussian_filter1d(part, sigma, axis=0) if sigma > 0 else part
        for part, sigma in zip(windows, sigmas, strict=True)
    )
    return Window(*parts)


def inverse_coefficients(quad: F64, size: int) -> F64:
    """Perspective coefficients that take frame pixels to crop pixels.

    Args:
        quad: (4, 2) corners of a window.
        size: Side of the crop, pixels.

    Returns:
        (8,) a … h with ``u = (a x + b y + c) / (g x + h y + 1)``, ``v = (d x + e y + f) / (…)``,
        where x, y and u, v count from the corner of the top-left pixel, not from its centre.
    """
    check_shape("4 2", quad=quad)
    corners = quad + 0.5
    target = np.array([[0, 0], [0, size], [size, size], [size, 0]], np.float64)
    rows = []
    for (x, y), (u, v) in zip(corners, target, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
    solution: F64 = np.linalg.solve(np.array(rows), target.reshape(8))
    return solution


@dataclass(frozen=True, slots=True)
class CropOptions:
    """How a crop is made."""

    size: int = 1024
    """Side of the crop, pixels."""
    padding: bool = True
    """Mirror and blur beyond the frame, as for FFHQ; else the outside is black."""
    diagonal: bool = False
    """Take the window's diagonal for its side where steps depend on it, as the published video code
    does: it reduces large faces sooner."""


def crop(frame: U8, quad: F64, options: CropOptions | None = None) -> U8:
    """The published crop of a frame.

    Args:
        frame: (H, W, 3) RGB.
        quad: (4, 2) corners of a window.
        options: Size and treatment of the outside.

    Returns:
        (size, size, 3)
    """
    check_shape("_ _ 3, 4 2", frame=frame, quad=quad)
    o = options or CropOptions()
    quad = np.array(quad, np.float64)
    side = float(np.hypot(*(quad[3] - (quad[1] if o.diagonal else quad[0]))))
    picture = Image.fromarray(frame)
    shrink = int(np.floor(side / o.size * 0.5))
    if shrink > 1:
        size = tuple(int(np.rint(length / shrink)) for length in picture.size)
        picture = picture.resize((size[0], size[1]), Image.Resampling.LANCZOS)
        quad, side = quad / shrink, side / shrink
    border = max(int(np.rint(side * 0.1)), 3)
    picture, quad = _cut(picture, quad, border)
    if o.padding:
        picture, quad = _pad(picture, quad, side, border)
    corners = (quad + 0.5).flatten().tolist()
    size = (o.size, o.size)
    warped = picture.transform(size, Image.Transform.QUAD, corners, Image.Resampling.BILINEAR)
    return np.asarray(warped)


def _cut(picture: Image.Image, quad: F64, border: int) -> tuple[Image.Image, F64]:
    """Drop what is far from the window; saves work, and sets where mirroring starts."""
    low, high = np.floor(quad.min(0)).astype(int), np.ceil(quad.max(0)).astype(int)
    left, top = (max(int(v) - border, 0) for v in low)
    right, bottom = (
        min(int(v) + border, limit) for v, limit in zip(high, picture.size, strict=True)
    )
    if (left, top) == (0, 0) and (right, bottom) == picture.size:
        return picture, quad
    if right <= left or bottom <= top:
        raise ShapeError("quad: the window lies outside the frame")
    return picture.crop((left, top, right, bottom)), quad - np.array([left, top], np.float64)


def _pad(picture: Image.Image, quad: F64, side: float, border: int) -> tuple[Image.Image, F64]:
    """Mirror beyond the frame, blurred and faded to the median towards the outside."""
    low, high = np.floor(quad.min(0)).astype(int), np.ceil(quad.max(0)).astype(int)
    width, height = picture.size
    pads = [-low[0], -low[1], high[0] - width, high[1] - height]
    left, top, right, bottom = (max(int(pad) + border, 0) for pad in pads)
    if max(left, top, right, bottom) <= border - 4:
        return picture, quad
    least = int(np.rint(side * 0.3))
    from scipy import ndimage

    left, top, right, bottom = (max(pad, least) for pad in (left, top, right, bottom))
    pixels = np.pad(
        np.asarray(picture, np.float32), ((top, bottom), (left, right), (0, 0)), "reflect"
    )
    height, width = pixels.shape[:2]
    rows, columns = np.ogrid[:height, :width]
    # 0 inside the frame, rising to 1 at the edge of what was added.
    mask = np.maximum(
        1.0 - np.minimum(np.float32(columns) / left, np.float32(width - 1 - columns) / right),
        1.0 - np.minimum(np.float32(rows) / top, np.float32(height - 1 - rows) / bottom),
    )[:, :, None]
    sigma = side * 0.02
    blurred = ndimage.gaussian_filter(pixels, (sigma, sigma, 0))
    pixels = pixels + (blurred - pixels) * np.clip(mask * 3.0 + 1.0, 0.0, 1.0)
    pixels = pixels + (np.median(pixels, axis=(0, 1)) - pixels) * np.clip(mask, 0.0, 1.0)
    padded = Image.fromarray(np.uint8(np.clip(np.rint(pixels), 0, 255)))
    return padded, quad + np.array([left, top], np.float64)


def uncrop(picture: U8, quad: F64, width: int, height: int) -> U8:
    """Warp a crop back to where it was cut.

    Args:
        picture: (S, S, 3) or (S, S, 4), such as a crop with its alpha.
        quad: (4, 2) the window it was cut with.
        width: Of the frame.
        height: Of the frame.

    Returns:
        (height, width, 3 or 4), zero outside the window.
    """
    check_shape("S S _", picture=picture)
    coefficients = inverse_coefficients(quad, picture.shape[0]).tolist()
    warped = Image.fromarray(picture).transform(
        (width, height), Image.Transform.PERSPECTIVE, coefficients, Image.Resampling.BILINEAR
    )
    return np.asarray(warped)
