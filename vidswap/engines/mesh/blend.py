"""The source's colours, in the frame's light, onto the target's pixels."""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from vidswap.engines.mesh.maps import widen
from vidswap.engines.mesh.openings import Openings
from vidswap.engines.mesh.plan import GRAIN_LIMIT, MeshPlan
from vidswap.types import F32, U8, U16

STRIP = 1 << 14
"""Pixels blended at a time, about: few enough for all that belongs to them to stay in the cache."""


@dataclass(frozen=True, slots=True, eq=False)
class Slow:
    """What changes slowly over the face, on coarse cells."""

    uv: F32
    """(h, w, 2) layout coordinates."""
    gain: F32
    """(h, w, 3) light of this frame against the track's."""
    alpha: F32
    """(h, w) share of the details, apart from the texture's own."""
    wide: F32
    """(h, w) share of the slow colours."""


def blend(
    part: U8 | U16,
    cells: U8 | U16,
    slow: Slow,
    plan: MeshPlan,
    shut: Openings,
    extent: float,
    step: int,
) -> None:
    """Two bands: slow differences fade over the wide alpha, details over the narrow one (Burt, Adelson 1983).

    Args:
        part: (H, W, 3) the target with its features moved; changed in place.
        cells: (h, w, 3) the same, averaged over each coarse cell.
        slow: On those cells.
        plan: Constants of the track.
        shut: Eyes and mouth, which stay.
        extent: Width of the mesh, px.
        step: Pixels per coarse cell.
    """
    height, width = part.shape[:2]
    top = 255 if part.dtype == np.uint8 else 65535
    depth = cv2.CV_8U if part.dtype == np.uint8 else cv2.CV_16U

    def full(values: F32) -> F32:
        return widen(np.ascontiguousarray(values), step)[:height, :width]

    def planes(values: F32) -> list[F32]:
        split = [np.ascontiguousarray(values[..., c]) for c in range(3)]
        return [cv2.resize(p, (width, height), interpolation=cv2.INTER_LINEAR) for p in split]

    level = _level(plan, extent)
    where = full(slow.uv * len(level) - 0.5)
    gains = [full(slow.gain[..., c]) for c in range(3)]
    missing = planes(_missing(cells, slow, plan, shut, extent, step) * np.float32(top))
    alpha, wide = full(slow.alpha), full(slow.wide)
    for place in shut.places:
        free = 1 - shut.picture[place] * np.float32(1 / 255)
        alpha[place] *= free
        wide[place] *= free
    grain = _grain(part, plan.grain) if plan.grain > 0.02 else None
    for at in _strips(slow.alpha + slow.wide, step):
        *texture, cover = cv2.split(_sample(level, where[at]))
        narrow = cv2.multiply(cover, alpha[at], scale=1 / 255, dtype=cv2.CV_32F)
        rest = wide[at] - narrow
        noise = None if grain is None else grain[at] * narrow
        result = []
        for c, target in enumerate(cv2.split(part[at])):
            source = cv2.multiply(texture[c], gains[c][at], scale=top / 255, dtype=cv2.CV_32F)
            change = cv2.subtract(source, target, dtype=cv2.CV_32F)
            change *= narrow
            change += missing[c][at] * rest
            if noise is not None:
                change += noise
            result.append(cv2.add(change, target, dtype=depth))
        part[at] = cv2.merge(result)


def _strips(alpha: F32, step: int) -> Iterator[tuple[slice, slice]]:
    """Rows and columns of pixels that hold every cell where alpha is not 0, and what it fades into."""
    count = max(STRIP // (alpha.shape[1] * step * step), 1)
    for first in range(0, len(alpha), count):
        near = alpha[max(first - 1, 0) : first + count + 1].any(0)
        columns = np.flatnonzero(near)
        if len(columns):
            left, right = max(int(columns[0]) - 1, 0), int(columns[-1]) + 2
            rows = slice(first * step, (first + count) * step)
            yield rows, slice(left * step, right * step)


def _level(plan: MeshPlan, extent: float) -> U8:
    """The texture whose texels are about as large as the pixels of a mesh that is ``extent`` wide."""
    texels = 0.9 * len(plan.levels[0]) / max(extent, 1)
    return plan.levels[min(max(int(np.floor(np.log2(max(texels, 1)) + 0.3)), 0), 2)]


def _sample(level: U8, where: F32) -> U8:
    return np.asarray(
        cv2.remap(level, where, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.uint8
    )


def _missing(
    cells: U8 | U16, slow: Slow, plan: MeshPlan, shut: Openings, extent: float, step: int
) -> F32:
    """(h, w, 3) slow difference between source and target, in [-1, 1]; on larger cells still."""
    level = _level(plan, extent / step)
    rgba = _sample(level, slow.uv * len(level) - 0.5) * np.float32(1 / 255)
    height, width = slow.alpha.shape
    stays = cv2.resize(shut.picture, (width, height), interpolation=cv2.INTER_AREA)
    narrow = rgba[..., 3] * slow.alpha * (1 - stays * np.float32(1 / 255))
    target = cells * np.float32(1 / 255 if cells.dtype == np.uint8 else 1 / 65535)
    both = rgba
    both[..., :3] *= slow.gain
    both[..., :3] -= target
    both[..., :3] *= narrow[..., None]
    both[..., 3] = narrow
    cell = max(2, 4 // step)
    small = (max(width // cell, 1), max(height // cell, 1))
    both = cv2.GaussianBlur(cv2.resize(both, small, interpolation=cv2.INTER_AREA), (0, 0), 2.0)
    result: F32 = both[..., :3] / (both[..., 3:] + np.float32(1e-3))
    return result


def _grain(part: U8 | U16, share: float) -> F32:
    """(H, W) the target's own fine grain, in its levels."""
    limit = GRAIN_LIMIT * (255 if part.dtype == np.uint8 else 65535)
    luma = cv2.cvtColor(part, cv2.COLOR_RGB2GRAY).astype(np.float32)
    luma -= cv2.GaussianBlur(luma, (0, 0), 1.2)
    np.clip(luma, -limit, limit, out=luma)
    luma *= np.float32(share)
    return luma
