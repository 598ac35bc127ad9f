"""Named regions of the face mesh, as vertex lists and as soft masks in the UV layout."""

from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np

from vidswap.faces.facemesh import FaceMesh
from vidswap.faces.vertices import BROWS, EYES, LIPS_INNER, LIPS_OUTER
from vidswap.types import F32, U8

LIPS_BETWEEN = (76, 184, 74, 73, 72, 11, 302, 303, 304, 408, 306, 307, 320, 404, 315, 16, 85, 180, 90, 77,
                62, 183, 42, 41, 38, 12, 268, 271, 272, 407, 292, 325, 319, 403, 316, 15, 86, 179, 89, 96)  # fmt: skip
LIPS = LIPS_OUTER + LIPS_INNER + LIPS_BETWEEN

CORE = (116, 345, 111, 340, 168, 187, 411, 147, 376, 214, 434, 210, 430, 32, 262, 200, 199, 50, 280)
"""Cheeks, nose and chin: skin on every face that is not covered by a hand."""


@lru_cache(maxsize=1)
def _mesh() -> FaceMesh:
    return FaceMesh.load()


@lru_cache(maxsize=48)
def polygon(indices: tuple[int, ...], size: int, grow: float = 0.0) -> U8:
    """(S, S) 255 inside the convex hull of some vertices in the layout.

    Args:
        indices: Vertices.
        size: Side of the layout in texels.
        grow: Dilation in layout units.
    """
    picture = np.zeros((size, size), np.uint8)
    points = np.round((_mesh().uv[list(indices)] * size - 0.5) * 16).astype(np.int32)
    cv2.fillConvexPoly(picture, cv2.convexHull(points), 255, cv2.LINE_AA, 4)
    if grow > 0:
        radius = max(round(grow * size), 1)
        shape = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
        picture = cv2.dilate(picture, shape)
    return picture


@lru_cache(maxsize=8)
def features(size: int, grow: float = 0.02) -> F32:
    """(S, S) 1 on eyes, brows and lips, whose colour says nothing of the light on the skin."""
    parts = [*EYES, *BROWS, LIPS_OUTER]
    return np.max([polygon(p, size, grow) for p in parts], 0).astype(np.float32) / 255


@lru_cache(maxsize=8)
def lid_zone(eye: tuple[int, ...], size: int) -> F32:
    """(S, S) soft neighbourhood of one eye: lashes, lids and their crease, but not the brow."""
    zone = polygon(eye, size, 0.026).astype(np.float32) / 255
    brows = np.max([polygon(b, size, 0.008) for b in BROWS], 0).astype(np.float32) / 255
    return cv2.GaussianBlur(zone * (1 - brows), (0, 0), 0.011 * size)


@lru_cache(maxsize=8)
def both_lids(size: int) -> F32:
    """(S, S) soft neighbourhood of both eyes."""
    return np.max([lid_zone(eye, size) for eye in EYES], 0)


@lru_cache(maxsize=8)
def lip_zone(size: int) -> F32:
    """(S, S) soft band of the lips along the mouth opening."""
    zone = polygon(LIPS_INNER, size).astype(np.float32) / 255
    return cv2.GaussianBlur(zone, (0, 0), 0.006 * size)


_FOLDS = (
    (129, 36, 205, 207, 212, 57, 186, 92, 165, 98),
    (358, 266, 425, 427, 432, 287, 410, 322, 391, 327),
)
"""Between nose wing, cheek and mouth corner, where a smile draws its line; image-left first."""
_DROOPS = (
    (57, 43, 106, 194, 32, 169, 210, 212),
    (287, 273, 335, 418, 262, 394, 430, 432),
)
"""Below a mouth's corner, where a face at rest has a line that a smile stretches flat; likewise."""


@lru_cache(maxsize=8)
def smile_folds(size: int) -> F32:
    """(S, S) soft zone of the lines beside nose and mouth."""
    return _beside_lips(_FOLDS, size)


@lru_cache(maxsize=8)
def droop_folds(size: int) -> F32:
    """(S, S) soft zone of the lines below the mouth's corners."""
    return _beside_lips(_DROOPS, size)


def _beside_lips(parts: Sequence[Sequence[int]], size: int) -> F32:
    zone = np.max([polygon(p, size, 0.008) for p in parts], 0).astype(np.float32) / 255
    rest = 1 - np.maximum(lips(size), polygon(LIPS_OUTER, size, 0.01).astype(np.float32) / 255)
    return cv2.GaussianBlur(zone * rest, (0, 0), 0.012 * size)


@lru_cache(maxsize=8)
def lips(size: int) -> F32:
    """(S, S) 1 on the lips."""
    return polygon(LIPS_OUTER, size).astype(np.float32) / 255


@lru_cache(maxsize=8)
def depth_inside(size: int) -> F32:
    """(S, S) distance to the face oval in layout units, 0 outside."""
    mesh = _mesh()
    picture = np.zeros((size, size), np.uint8)
    points = np.round((mesh.uv[mesh.oval] * size - 0.5) * 16).astype(np.int32)
    cv2.fillPoly(picture, [points], 255, cv2.LINE_8, 4)
    return cv2.distanceTransform(picture, cv2.DIST_L2, 5) / size


def median(values: F32) -> float:
    """Of (n ≥ 1,) values: NumPy's takes several times as long, as sorting has instructions of its own."""
    ranked = np.sort(values)
    return float((ranked[(len(ranked) - 1) // 2] + ranked[len(ranked) // 2]) / 2)


def smoothstep(low: float, high: float, x: F32) -> F32:
    """0 below ``low``, 1 above ``high``, smooth between."""
    t = np.clip((x - low) / (high - low), 0, 1)
    result: F32 = (t * t * (3 - 2 * t)).astype(np.float32)
    return result
