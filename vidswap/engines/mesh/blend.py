"""The source's colours, in the frame's light, onto the target's pixels."""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from vidswap.engines.mesh.openings import Openings
from vidswap.engines.mesh.plan import GRAIN_LIMIT, MeshPlan
from vidswap.engines.mesh.strips import Grid, rows_of, strips
from vidswap.types import F32, I8, REST, U8, U16

STRIP = 1 << 14
"""Pixels blended at a time, about: few enough for all that belongs to them to stay in the cache."""
LEAST = 0.05
"""Share of a gap in the skin that is worth looking at."""
SPOT = 5
"""Cells of a dark spot in it: what is wider is the shape of the face."""
REACH, WEIGHT = 2, 81
"""What is no grain: the mean of 3 x 3 means of 3 x 3 pixels. How far it reaches, and pixels in that sum."""


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """Where new pixels go."""

    rgb: U8 | U16
    """(H, W, 3) the target with its features moved."""
    rest: I8 | None
    """(H, W, 3) what rounding took off, in ``REST`` parts of a level."""


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
    gap: F32
    """(h, w) share of narrow gaps in the skin of the nose, as where it hides its own flank, and of the room above the
    brows and beside the eyes that is the target's."""


def blend(
    drawn: Drawn,
    cells: U8 | U16,
    slow: Slow,
    plan: MeshPlan,
    shut: Openings,
    extent: float,
    grid: Grid,
) -> None:
    """Two bands: slow differences fade over the wide alpha, details over the narrow one (Burt, Adelson 1983).

    Args:
        drawn: The target with its features moved; changed in place.
        cells: (h, w, 3) the same, averaged over each coarse cell.
        slow: On those cells.
        plan: Constants of the track.
        shut: Eyes and mouth, which stay.
        extent: Width of the mesh, px.
        grid: The part's cells.
    """
    part = drawn.rgb
    depth, top = (cv2.CV_8U, 255) if part.dtype == np.uint8 else (cv2.CV_16U, 65535)
    level = _level(plan, extent)
    # The texture's levels and its cover reach up to 255.
    gain = slow.gain * np.float32(top / 255)
    places = cv2.split(slow.uv * len(level) - np.float32(0.5))
    sharp = rows_of((*places, slow.alpha / np.float32(255)), grid, part.shape[1])
    missing, faded = (
        v * np.float32(top) for v in _missing(cells, slow, plan, shut, extent, grid.step)
    )
    grain = Grain(part, plan.grain) if plan.grain > 0.02 else None
    size = (part.shape[0], part.shape[1])
    for strip in strips(slow.alpha + slow.wide > 0, size, grid, STRIP):
        target = part[strip.at]
        u, v, alpha = strip.place(sharp)
        texture = _sample(level, u, v)
        narrow = cv2.extractChannel(texture, 3)
        narrow *= alpha
        spread = strip.widen(faded)
        for place, free in _openings(shut, strip.at):
            narrow[place] *= free
            spread[place] *= cv2.merge([free] * 3)
        # Sums and products of whole pixels: OpenCV takes channels apart far slower than together.
        change = cv2.cvtColor(texture, cv2.COLOR_RGBA2RGB)
        change *= strip.widen(gain)
        change -= strip.widen(missing)
        if grain is not None:
            change += cv2.merge([grain.at(*strip.at)] * 3)
        before = target.astype(np.float32)
        change -= before
        change *= cv2.merge([narrow] * 3)
        change += spread
        target[:] = cv2.add(change, before, dtype=depth)
        if drawn.rest is not None:
            change += before
            change -= target
            drawn.rest[strip.at] = cv2.multiply(change, float(REST), dtype=cv2.CV_8S)


def _openings(shut: Openings, at: tuple[slice, slice]) -> Iterator[tuple[tuple[slice, slice], F32]]:
    """Where eyes and mouth lie in some rows and columns, and what share of each pixel is none of them."""
    rows, columns = at
    for down, across in shut.places:
        top, bottom = max(rows.start, down.start), min(rows.stop, down.stop)
        left, right = max(columns.start, across.start), min(columns.stop, across.stop)
        if top < bottom and left < right:
            inside = shut.picture[top:bottom, left:right]
            place = (
                slice(top - rows.start, bottom - rows.start),
                slice(left - columns.start, right - columns.start),
            )
            yield place, 1 - inside * np.float32(1 / 255)


def _level(plan: MeshPlan, extent: float) -> F32:
    """The texture whose texels are about as large as the pixels of a mesh that is ``extent`` wide."""
    texels = 0.9 * len(plan.levels[0]) / max(extent, 1)
    return plan.levels[min(max(int(np.floor(np.log2(max(texels, 1)) + 0.3)), 0), 2)]


def _sample(level: F32, x: F32, y: F32 | None = None) -> F32:
    sampled = cv2.remap(level, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(sampled, np.float32)


def _missing(
    cells: U8 | U16, slow: Slow, plan: MeshPlan, shut: Openings, extent: float, step: int
) -> tuple[F32, F32]:
    """Slow difference between source and target, on larger cells still, and what the target is given of it.

    Returns:
        Twice (h, w, 3) in [-1, 1].
    """
    level = _level(plan, extent / step)
    rgba = _sample(level, slow.uv * len(level) - 0.5)
    height, width = slow.alpha.shape
    stays = cv2.resize(shut.picture, (width, height), interpolation=cv2.INTER_AREA)
    unit = np.float32(1 / 255)
    narrow = cv2.extractChannel(rgba, 3) * unit * slow.alpha * (1 - stays * unit)
    texture = cv2.cvtColor(rgba, cv2.COLOR_RGBA2RGB) * unit
    texture *= slow.gain
    target = cells * np.float32(1 / 255 if cells.dtype == np.uint8 else 1 / 65535)
    share = cv2.merge([narrow] * 3)
    both = cv2.merge([(texture - target) * share, narrow])
    cell = max(2, 4 // step)
    small = (max(width // cell, 1), max(height // cell, 1))
    both = cv2.GaussianBlur(cv2.resize(both, small, interpolation=cv2.INTER_AREA), (0, 0), 2.0)
    mean: F32 = both[..., :3] / (both[..., 3:] + np.float32(1e-3))
    missing = np.asarray(
        cv2.resize(mean, (width, height), interpolation=cv2.INTER_LINEAR), np.float32
    )
    given = missing * slow.wide[..., None]
    left, top, across, down = cv2.boundingRect((slow.gap > LEAST).view(np.uint8))
    if across:
        at = (
            slice(max(top - SPOT, 0), top + down + SPOT),
            slice(max(left - SPOT, 0), left + across + SPOT),
        )
        shown = target[at] + share[at] * (texture[at] - target[at] - missing[at]) + given[at]
        given[at] += _lift(texture[at], narrow[at], shown, slow.gap[at])
    return missing, given


def _lift(texture: F32, share: F32, shown: F32, gap: F32) -> F32:
    """(h, w, 3) what lifts small dark spots of the target in gaps of the skin, up to what is drawn around.

    Beside and under a nose it would show a part of its nostril or of its cheek's line there, at places
    where the drawn ones are not; of brows that are raised out of the swap, their upper edge. Under a lip
    such a spot is the lip's own shadow, and stays.

    Args:
        texture: (h, w, 3) the source's texture.
        share: (h, w) of it.
        shown: (h, w, 3) what would be seen.
        gap: (h, w) share of gaps.
    """
    both = cv2.GaussianBlur(cv2.merge([texture * share[..., None], share]), (0, 0), 1.5)
    around = both[..., :3] / (both[..., 3:] + np.float32(1e-3))
    spots = cv2.morphologyEx(shown, cv2.MORPH_CLOSE, np.ones((SPOT, SPOT), np.uint8)) - shown
    return np.maximum(np.minimum(spots, around - shown), 0) * gap[..., None]


class Grain:
    """The target's own fine grain, in its levels.

    Args:
        part: (H, W, 3) the target.
        share: How much of its high-pass it is.
    """

    def __init__(self, part: U8 | U16, share: float) -> None:
        # All of it at once: what is blended is no longer the target's. Sums of whole numbers are exact
        # and fast, in 16 bits for the usual depth.
        # Fine luma is in green as in all three, and a sum of them would be rounded anew in every frame.
        self._green = cv2.extractChannel(part, 1)
        usual = part.dtype == np.uint8
        self._sums = cv2.CV_16S if usual else cv2.CV_32F
        self._limit = GRAIN_LIMIT * (255 if usual else 65535) * WEIGHT
        self._share = share / WEIGHT

    def at(self, rows: slice, columns: slice) -> F32:
        """(h, w) of some rows and columns."""
        above, before = min(rows.start, REACH), min(columns.start, REACH)
        green = self._green[
            rows.start - above : rows.stop + REACH, columns.start - before : columns.stop + REACH
        ]
        near = cv2.boxFilter(green, self._sums, (3, 3), normalize=False)
        near = cv2.boxFilter(near, self._sums, (3, 3), normalize=False)
        own = (
            slice(above, above + rows.stop - rows.start),
            slice(before, before + columns.stop - columns.start),
        )
        fine = green[own].astype(near.dtype)
        fine *= WEIGHT
        fine -= near[own]
        kept = cv2.max(cv2.min(fine, self._limit), -self._limit).astype(np.float32)
        kept *= np.float32(self._share)
        return kept
