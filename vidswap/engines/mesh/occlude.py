"""Hands, microphones and anything else that passes in front of a face: what does not look like it."""

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vidswap.engines.mesh.regions import depth_inside, features, lip_zone, smoothstep
from vidswap.types import F32, U8, U16

SIZE = 128
"""Side of the layout the face's usual looks are kept on."""
LIFT = 0.06
"""Added before the logarithm: dark code values are mostly noise."""
LEAST = 0.16
"""Log difference that is never held against a texel: folds, blushes, light that moves."""
LOW = 0.6
"""Where an occluder ends, against the tolerance."""
SAMPLES = 2048
"""Cells, at the most, that exposure and a side light are fitted to."""
SMALLEST = 0.012
"""Smallest occluder, as a share of the visible face."""
CLOSED = 25
"""Cells, a quarter of a face: where nothing tells, gaps in an occluder that are narrower belong to it."""


@dataclass(frozen=True, slots=True, eq=False)
class Looks:
    """How a track's face usually looks."""

    logs: F32
    """(128, 128, 3) log of the median texture."""
    tolerance: F32
    """(128, 128) log difference that is usual there; large where nothing is known."""


def usual_looks(static: Mapping[str, NDArray[np.generic]]) -> Looks | None:
    """What ``AppearanceCollector`` knows of a track; None where it does not tell the spread."""
    if "texture_spread" not in static:
        return None
    texture = np.asarray(static["texture"], np.float32) / 255
    seen = np.asarray(static["texture_weight"], np.float32) / 255
    spread = np.asarray(static["texture_spread"], np.float32)
    texture, seen = (
        cv2.resize(a, (SIZE, SIZE), interpolation=cv2.INTER_AREA) for a in (texture, seen)
    )
    # Eyes, brows and lips move against the layout more than samples tell.
    lively = 0.5 * cv2.GaussianBlur(features(SIZE, 0.03), (0, 0), 2)
    unknown = 1 - smoothstep(0.15, 0.4, seen) * smoothstep(0.0, 0.03, depth_inside(SIZE))
    # Nor do teeth tell what an open mouth is like that is dark.
    unknown = np.maximum(unknown, lip_zone(SIZE))
    tolerance = LEAST + 2.5 * cv2.dilate(spread, np.ones((3, 3))) + lively + 5 * unknown
    return Looks(np.log(texture + LIFT).astype(np.float32), tolerance.astype(np.float32))


def occluded(looks: Looks, cells: U8 | U16, uv: F32, alpha: F32) -> F32 | None:
    """Where something stands in front of the face.

    Args:
        looks: Of the track.
        cells: (h, w, 3) the frame on a coarse grid.
        uv: (h, w, 2) layout coordinates of the cells.
        alpha: (h, w) where the face is seen.

    Returns:
        (h, w) in [0, 1], None when nothing does.
    """
    where = uv * SIZE - 0.5
    look, tolerance = (
        cv2.remap(field, where, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        for field in (looks.logs, looks.tolerance)
    )
    face = alpha > 0.5
    known = face & (tolerance < 1)
    if known.sum() < 64:
        return None
    level = np.float32(1 / (255 if cells.dtype == np.uint8 else 65535))
    away = [
        np.log(seen * level + np.float32(LIFT)) - usual
        for seen, usual in zip(cv2.split(cells), cv2.split(look), strict=True)
    ]
    # Exposure, and light that grows from one side to the other, are no occluders.
    _flatten(away, known)
    luma = (away[0] + away[1] + away[2]) / 3
    chroma = np.maximum.reduce([np.abs(a - luma) for a in away])
    odd = np.where(known, np.maximum(np.abs(luma), 2 * chroma) / tolerance, np.float32(0))
    return _pieces(cv2.GaussianBlur(odd, (0, 0), 0.7), face, tolerance)


def _flatten(away: list[F32], known: NDArray[np.bool_]) -> None:
    """Take a robust plane off each of the differences (h, w), in place."""
    # A plane has three numbers for each colour: some thousands of cells tell them.
    place = np.flatnonzero(known)
    place = place[:: -(-len(place) // SAMPLES)]
    height, width = known.shape
    rows, cols = np.divmod(place.astype(np.int32), np.int32(width))
    values = np.stack([a.ravel()[place] for a in away])
    design = np.stack([np.ones(len(rows)), rows / height - 0.5, cols / width - 0.5])
    design = design.astype(np.float32)
    middle = np.sort(values, axis=1)[:, values.shape[1] // 2]
    fit = np.zeros((3, 3), np.float32)
    fit[:, 0] = middle
    ridge, start = np.diag([1e-3, 0.004, 0.004]) * len(rows), 1e-3 * len(rows) * middle
    for _ in range(4):
        rest = np.maximum.reduce(np.abs(values - fit @ design)) / np.float32(0.12)
        weighted = design / (1 + rest**2 * rest**2)
        normal = (weighted @ design.T).astype(np.float64)
        normal += ridge
        pull = (weighted @ values.T).astype(np.float64)
        pull[0] += start
        # NumPy's solver wakes threads up for nine numbers.
        fit = cv2.solve(normal, pull, flags=cv2.DECOMP_CHOLESKY)[1].T.astype(np.float32)
    y = (np.arange(height, dtype=np.float32) / height - 0.5)[:, None]
    x = np.arange(width, dtype=np.float32) / width - 0.5
    for field, (level, down, across) in zip(away, fit, strict=True):
        field -= level + down * y + across * x


def _pieces(odd: F32, face: NDArray[np.bool_], tolerance: F32) -> F32 | None:
    """Connected pieces that are large and sure enough, grown a little and with a soft border."""
    # Low threshold for where a thing ends, high one for whether it is one; fingers have dark rims.
    clear = odd > LOW
    joined = cv2.morphologyEx(clear.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    count, parts, stats, _ = cv2.connectedComponentsWithStats(joined)
    least = max(SMALLEST * float(face.sum()), 6)
    kept = np.zeros(count, np.float32)
    for part in range(1, count):
        x, y, width, height, area = stats[part].tolist()
        if area <= least:
            continue
        view = (slice(y, y + height), slice(x, x + width))
        inside = parts[view] == part
        sure = float(np.percentile(odd[view][inside & clear[view]], 80))
        # Wide enough to be a thing, not a fold or an outline that slipped by a cell.
        edged = np.pad(inside.astype(np.uint8), 1)
        thick = float(cv2.distanceTransform(edged, cv2.DIST_L2, 3).max())
        kept[part] = _step(least, 2 * least, area) * _step(1.8, 3.0, thick) * _step(1.0, 1.4, sure)
    if not kept.any():
        return None
    mask = kept[parts].astype(np.float32)
    # A hand before the mouth hides it, though lips may look like anything.
    room = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (CLOSED, CLOSED))
    closed = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, room)
    mask = np.maximum(mask, closed * smoothstep(0.3, 0.5, tolerance))
    mask = cv2.dilate(mask, np.ones((3, 3), np.uint8))
    return cv2.GaussianBlur(mask, (0, 0), 0.9)


def _step(low: float, high: float, value: float) -> float:
    return float(smoothstep(low, high, np.array(value, np.float32)))
