"""What engines that generate a whole face crop share: its window, its mask, and the way back.

A window is kept as the matrix that takes frame pixels to the unit square, so that a crop of any
size can be cut and laid back with it. Only the inner face is laid back: hair, ears and background
of a generated crop are never better than the frame's own.
"""

import math

import cv2
import numpy as np

from vidswap.faces.vertices import BROWS, EYES, LIPS_OUTER
from vidswap.types import F32, F64, U8, U16, Box

TOP = (103, 67, 109, 10, 338, 297, 332)
"""Mesh vertices along the top of the forehead, which end below the hairline of most people."""
CROWN, CHIN = 10, 152
LIFT = 0.07
"""How far the mask goes beyond them, as a share of the distance from chin to crown."""
DRAWN = 6.0
"""Standard deviation in pixels of the mask's blur, at which it is drawn; larger faces are drawn smaller."""
HALF = 0.5 + 0.55 / (DRAWN * math.sqrt(2 * math.pi))
"""What the blur leaves on the outline."""
RIM = 0.04
"""Share of the window's side over which a crop fades towards its own border."""
GRAIN = 6 / 255
"""Largest fine texture that is taken from the target, in [0, 1]."""
MEASURED = 64
"""Side at which colours are compared, pixels."""
FEATHER = 0.12
"""Softness of the mask in which they are."""
CONTRAST = 0.7, 1.4
"""Bounds of the gain with which contrast is matched."""


def to_unit(quad: F64) -> F64:
    """Matrices of windows.

    Args:
        quad: (..., 4, 2) corners of a square: top left, bottom left, bottom right, top right.

    Returns:
        (..., 2, 3) frame pixels → unit square, whose corner (0, 0) is the first corner.
    """
    origin, across, down = quad[..., 0, :], quad[..., 3, :], quad[..., 1, :]
    axes = np.stack([across - origin, down - origin], -1)
    linear = np.linalg.inv(axes)
    return np.concatenate([linear, -(linear @ origin[..., None])], -1)


def quad_of(matrix: F64) -> F64:
    """(..., 4, 2) corners of the windows of (..., 2, 3) matrices; the inverse of ``to_unit``."""
    axes = np.linalg.inv(np.asarray(matrix, np.float64)[..., :2])
    origin = -(axes @ matrix[..., 2:])[..., 0]
    across, down = axes[..., 0], axes[..., 1]
    return np.stack([origin, origin + down, origin + across + down, origin + across], -2)


def outline(mesh: F32) -> F32:
    """(N, 2) convex outline of the inner face with the forehead, from (V ≥ 468, ≥ 2) vertices."""
    points = mesh[:468, :2].astype(np.float32)
    up = LIFT * (points[CROWN] - points[CHIN])
    hull: F32 = cv2.convexHull(np.concatenate([points, points[list(TOP)] + up]))[:, 0]
    return hull


def around(points: F32) -> Box:
    """The smallest box on even pixels that holds (N, 2) points."""
    low = np.floor(points.min(0)).astype(int) // 2 * 2
    high = (np.ceil(points.max(0)).astype(int) + 2) // 2 * 2
    return Box(int(low[0]), int(low[1]), int(high[0]), int(high[1]))


def soft_mask(points: F32, box: Box, feather: float) -> F32:
    """Mask of a convex outline: 0 on and outside it, rising to 1 inside.

    Blurring the drawn polygon instead of measuring distances keeps it exact below a pixel, so that
    it does not crawl with a moving face.

    Args:
        points: (N, 2) outline, pixels.
        box: What the mask covers.
        feather: Width of the slope, as a share of the square root of the outline's area.

    Returns:
        (h, w) in [0, 1].
    """
    area = cv2.contourArea(points.astype(np.float32))
    sigma = max(feather * math.sqrt(area) / 2, 0.7)
    scale = min(1.0, DRAWN / sigma)
    width, height = (max(round(n * scale), 2) for n in (box.width, box.height))
    step = np.array([width / box.width, height / box.height])
    drawn = (points.astype(np.float64) - (box.left, box.top) + 0.5) * step - 0.5
    flat = np.zeros((height, width), np.uint8)
    cv2.fillConvexPoly(flat, np.round(drawn * 16).astype(np.int32), 255, cv2.LINE_AA, 4)
    soft = cv2.GaussianBlur(
        flat.astype(np.float32) / 255, (0, 0), sigma * scale, borderType=cv2.BORDER_CONSTANT
    )
    large = cv2.resize(soft, (box.width, box.height), interpolation=cv2.INTER_LINEAR)
    # Half a drawn pixel more than half: OpenCV fills the pixels that an edge runs through.
    rise = np.clip((large - HALF) / (1 - HALF), 0, 1)
    return rise * rise * (3 - 2 * rise)


def rim_mask(matrix: F64, box: Box) -> F32:
    """(h, w) 1 inside a window, falling to 0 at its border and beyond."""
    xx = np.arange(box.left, box.right)[None, :]
    yy = np.arange(box.top, box.bottom)[:, None]
    inside = np.full((box.height, box.width), np.inf)
    for a, b, c in np.asarray(matrix, np.float64):
        along = a * xx + b * yy + c
        inside = np.minimum(inside, np.minimum(along, 1 - along))
    rise = np.clip(inside / RIM, 0, 1).astype(np.float32)
    return rise * rise * (3 - 2 * rise)


def lay(crop: F32, matrix: F64, box: Box) -> F32:
    """Resample a crop onto a part of the frame it belongs to.

    A crop that is finer than the frame is blurred to the frame's sampling first, by an amount that
    changes smoothly with the face's size.

    Args:
        crop: (S, S, C)
        matrix: (2, 3) frame pixels → unit square.
        box: Pixels wanted.

    Returns:
        (h, w, C), the crop's border repeated outside it.
    """
    size = crop.shape[0]
    linear = np.asarray(matrix, np.float64)[:, :2] * size
    shift = np.asarray(matrix, np.float64)[:, 2] * size + linear @ (box.left, box.top) - 0.5
    density = math.sqrt(abs(np.linalg.det(linear)))
    if density > 1:
        sigma = 0.5 * math.sqrt(density**2 - 1)
        crop = cv2.GaussianBlur(crop, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
    laid: F32 = cv2.warpAffine(
        crop,
        np.concatenate([linear, shift[:, None]], 1),
        (box.width, box.height),
        flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return laid.reshape(box.height, box.width, -1)


def tones(picture: F32 | U8, mesh: F32, matrix: F64) -> F32:
    """Colours of a face's skin, the same from the frame and from a crop of any size.

    Eyes, brows and mouth are left out: they come and go with every word, and the skin's colour
    does not.

    Args:
        picture: (h, w, 3), of any range.
        mesh: (V ≥ 468, ≥ 2) vertices in pixels of it.
        matrix: (2, 3) pixels of it → unit square.

    Returns:
        (2, 3) mean and standard deviation of each channel; zeros where there is no skin.
    """
    linear, shift = matrix[:, :2] * MEASURED, matrix[:, 2] * MEASURED - 0.5
    fine = 1 / math.sqrt(abs(np.linalg.det(linear)))
    if fine > 1:
        sigma = 0.5 * math.sqrt(fine**2 - 1)
        picture = cv2.GaussianBlur(picture, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
    small = cv2.warpAffine(
        picture,
        np.concatenate([linear, shift[:, None]], 1),
        (MEASURED, MEASURED),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    points = (mesh[:468, :2] @ linear.T + shift).astype(np.float32)
    square = Box(0, 0, MEASURED, MEASURED)
    features = np.zeros((MEASURED, MEASURED), np.uint8)
    for part in (*EYES, *BROWS, LIPS_OUTER):
        corners = cv2.convexHull(points[list(part)])
        cv2.fillConvexPoly(features, np.round(corners * 16).astype(np.int32), 255, cv2.LINE_AA, 4)
    other = cv2.GaussianBlur(cv2.dilate(features, np.ones((3, 3), np.uint8)), (0, 0), 1.0)
    weight = soft_mask(outline(points), square, FEATHER) * (1 - other.astype(np.float32) / 255)
    total = float(weight.sum())
    if total < 1:
        return np.zeros((2, 3), np.float32)
    share = (weight / total)[..., None].astype(np.float64)
    mean = (share * small).sum((0, 1))
    spread = np.sqrt((share * (small - mean) ** 2).sum((0, 1)))
    return np.stack([mean, spread]).astype(np.float32)


def of_crop(size: int) -> F64:
    """(2, 3) pixels of a crop of that side → unit square."""
    return np.array([[1 / size, 0, 0.5 / size], [0, 1 / size, 0.5 / size]])


def match_colour(drawn: F32, have: F32, wanted: F32, strength: float) -> F32:
    """Bring mean and contrast of each channel to what they should be (Reinhard et al., 2001).

    Args:
        drawn: (h, w, 3) in [0, 1].
        have: (2, 3) mean and standard deviation of the face that was drawn.
        wanted: (2, 3) those of the face it takes the place of.
        strength: [0, 1].

    Returns:
        (h, w, 3)
    """
    if strength <= 0 or not have.any() or not wanted.any():
        return drawn
    gain = np.clip((wanted[1] + 0.01) / (have[1] + 0.01), *CONTRAST) ** strength
    mean = have[0] + strength * (wanted[0] - have[0])
    matched: F32 = ((drawn - have[0]) * gain + mean).astype(np.float32)
    return matched


def add_grain(drawn: F32, target: F32, weight: F32, strength: float) -> F32:
    """Give back the fine texture that a coarser crop lacks, from the target itself.

    Args:
        drawn: (h, w, 3) in [0, 1].
        target: (h, w, 3) the untouched pixels.
        weight: (h, w) where the face is.
        strength: [0, 1] share of what is missing.

    Returns:
        (h, w, 3)
    """
    if strength <= 0 or not weight.any():
        return drawn
    fine, own = (
        np.clip(x - cv2.GaussianBlur(x, (0, 0), 1.0), -GRAIN, GRAIN) for x in (target, drawn)
    )
    energy, have = (float((weight[..., None] * x * x).sum()) for x in (fine, own))
    missing = math.sqrt(max(1 - have / max(energy, 1e-12), 0.0))
    return drawn + (strength * missing) * fine


def as_float(rgb: U8 | U16) -> F32:
    """Pixels of either depth in [0, 1]."""
    return rgb.astype(np.float32) / np.float32(np.iinfo(rgb.dtype).max)


def as_depth_of(rgb: F32, like: U8 | U16) -> U8 | U16:
    """Pixels in [0, 1], clipped and rounded, at the depth of others."""
    top = np.iinfo(like.dtype).max
    return np.rint(np.clip(rgb, 0, 1) * top).astype(like.dtype)
