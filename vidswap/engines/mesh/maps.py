"""Where the mesh lies in one frame, before and after its move, and what each pixel shows of it."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vidswap.engines.mesh.plan import MeshPlan
from vidswap.engines.mesh.regions import lid_zone, median, smoothstep
from vidswap.engines.mesh.shape import LIP_COLUMNS, aperture, under_brows
from vidswap.engines.mesh.strips import Grid
from vidswap.faces.facemesh import MOUTH, FaceMesh, fit_pose, frontalise, planes, rasterise
from vidswap.faces.vertices import BROWS, EYES, UNDER_BROWS
from vidswap.types import F32, Bool, TargetFace

I32 = NDArray[np.int32]

FOLD = 4.0
"""Times the usual step of the layout from one cell to the next from which skin lies unseen between them:
interpolation would draw all of it within a cell, as a dark line beside a nose."""
SQUEEZE, LINE = 1.5, (1.0, 8.0)
"""Times the usual step from which on skin may lie unseen, and levels from which and at which it counts then."""
BAND = 5
"""Cells, a twentieth of a face's width, up to which a dark band is one."""
LIDS, CREASE = 128, (0.3, 0.6)
"""Side of the zone of the lids, and shares of it from which on, and at which, skin may fold."""
WIDE = 0.75, 0.95
"""Shares of its usual height from which on, and at which, an eye has such lids; as it shuts, they are the target's."""
NOSE = 0.4
"""Where the nose leaves the corners of the eyes, down the layout."""
BETWEEN = 0.3, 0.5, 0.7
"""Places between two cells at which what would be drawn is looked at: a line may lie anywhere there."""
JUTTING = (0.14, 0.3, 0.6), (0.2, 0.69, 0.85)
"""Where skin juts out, half width, top and bottom in the layout: the nose, and the lower lip above the chin."""
AWAKE = 0.6
"""Share of its usual height from which an eye takes the photo's form in full: as an offset, so that it
opens and narrows as far as the target's whichever is the larger. Below it lids meet where the target's do."""
EAGER = 0.87
"""By how much more than the target's lids from their usual place the drawn ones go. Lashes, crease and shadows
of a photo stay those of one opening, and viewers and landmarkers see a share of that."""
UPPER, LOWER = np.swapaxes(np.array(LIP_COLUMNS), 0, 1)
"""(9, 4) vertices of each lip, from the mouth's opening outwards; they move together, so stay as thick."""
FOLLOW, EASE = 0.8, 0.02
"""Share of the way that skin is brought back to a brow which stands too far from it, and how much too far, in
canonical units, that is until it has begun."""
GAP = 9
"""Cells, a twelfth of a face's width: gaps in the skin that are narrower take its colour."""
REACH = 6
"""Cells: more than any filter of the skin's maps reaches."""
TURNED = 0.57, 0.73
"""Sine of yaw from which the far side goes and at which it has gone: 35° and 47°."""


@dataclass(frozen=True, slots=True, eq=False)
class Geometry:
    """A frame's mesh before and after the move."""

    source: F32
    """(542, 2) where each vertex lies in the target's picture, px of the box."""
    moved: F32
    """(542, 2) where it is drawn."""
    depth: F32
    """(542,) px, larger is farther."""
    facing: F32
    """(542,) [0, 1] how squarely the surface faces the camera."""
    aperture: F32
    """(2,) how far the target's eyes are open, against their width, image-left first, as if seen from the front."""
    opened: F32
    """(2,) the same against how far they usually are."""


def geometry(face: TargetFace, plan: MeshPlan, mesh: FaceMesh, strength: float) -> Geometry:
    """Place the mesh in the box and move its features by the canonical offset."""
    surface = face.at.mesh[: len(mesh.shape)]
    pose = fit_pose(plan.shape, surface, mesh.rigid)
    vertices = mesh.extend(surface)
    vertices[:, :2] -= (face.box.left, face.box.top)
    # As from the front: a head that is turned shows its far eye narrow, which would count as wide open.
    turned = np.maximum(aperture(plan.shape @ pose.rotation.T), np.float32(0.05))
    opened = aperture(face.at.mesh) * plan.usual / turned
    offset = plan.offset.copy()
    shares = opened / plan.usual
    for wide, lids, wider in zip(shares, plan.lids, plan.wider, strict=True):
        awake = min(wide / AWAKE, 1.0)
        more = EAGER * awake * min(max(wide, AWAKE) - 1, 0.3)
        offset += awake * lids + more * wider
    drawn = frontalise(surface, pose) + offset[: len(surface)]
    offset[list(UNDER_BROWS), 1] -= _lifted(drawn, plan.brows, shares)
    moved = vertices + strength * pose.scale * (offset @ pose.rotation.T)
    farther = (moved[LOWER[:, :1]] - moved[UPPER[:, :1]]) * np.float32(strength * plan.parting / 2)
    moved[UPPER] -= farther
    moved[LOWER] += farther
    facing = -mesh.normals(moved)[:, 2] - _far_side(mesh, float(pose.rotation[0, 2]))
    return Geometry(
        vertices[:, :2], moved[:, :2], moved[:, 2], facing.astype(np.float32), opened, shares
    )


def _lifted(drawn: F32, usual: F32, opened: F32) -> F32:
    """(10,) how far the skin under the brows is to go up with them, in canonical units.

    Most of what a raised brow uncovers is lid. A landmarker spreads it over all of the gap, and would so stretch
    what a photo shows right under a brow: its lower edge and its shadow. An eye that shuts takes it down: by how
    far it is ``opened``, (2,) of what is usual.

    Args:
        drawn: (468, 3) canonical vertices as they would be drawn.
        usual: (2,) how far brows may be from the skin under them.
        opened: (2,) image-left first.
    """
    # Each brow as one: what single vertices do beyond that would shimmer.
    away = np.maximum(under_brows(drawn) - usual, 0)
    lift = FOLLOW * np.clip(opened / AWAKE, 0, 1) * (np.hypot(away, EASE) - EASE)
    return np.asarray(lift, np.float32).repeat(len(UNDER_BROWS) // len(BROWS))


def _far_side(mesh: FaceMesh, turned: float) -> F32:
    """(542,) how much less of the far side is to be shown when the head turns to a profile.

    Landmarks stop at about 50° and put the eye that a nose has hidden beside it, before the background.
    """
    far = smoothstep(0.02, 0.3, -np.sign(turned) * mesh.whole_shape[:, 0])
    return far * smoothstep(*TURNED, np.array([abs(turned)], np.float32))


@dataclass(frozen=True, slots=True, eq=False)
class Maps:
    """What each cell of the box shows; a cell is a square of pixels."""

    uv: F32
    """(h, w, 2) layout coordinates."""
    shift: F32
    """(h, w, 2) px from a drawn pixel to where the target has it."""
    alpha: F32
    """(h, w) [0, 1] geometry's share: 0 outside the skin, at grazing angles and at folds."""
    closed: F32
    """(h, w) [0, 1] the same with narrow gaps closed: beside a nose the details of a texture are not
    to be had, but its colour is."""


def coarse_maps(
    g: Geometry, mesh: FaceMesh, size: tuple[int, int], grid: Grid, texture: F32
) -> Maps:
    """Rasterise uv, shift and visibility on coarse cells.

    Args:
        g: Geometry in px of the box.
        mesh: The mesh's constants.
        size: Height and width of the box.
        grid: The box's cells.
        texture: (S, S, 4) what will be drawn, small.
    """
    corner = mesh.triangles
    points = grid.cells(g.moved)
    far = g.depth[corner[:, 0]] + g.depth[corner[:, 1]] + g.depth[corner[:, 2]]
    # Rings first: whatever is skin lies in front of them.
    order = np.lexsort((-far, mesh.labels <= MOUTH))
    triangle = rasterise(points, corner, grid.count(size), order)
    values = np.concatenate([mesh.uv, g.facing[:, None], g.source - g.moved], 1)
    table = _planes(points, corner, values.T)
    # What no triangle covers has the last place of any table.
    place = triangle.astype(np.intp)
    skin = np.append(mesh.labels <= MOUTH, False).take(place, mode="wrap")
    across, down = _laid(table[:, 3:], place, (slice(0, len(place)), slice(0, place.shape[1])))
    # Where the cheek hides the oval the move jumps; the target's outline must not tear for it.
    shift = cv2.GaussianBlur(cv2.merge([across, down]), (0, 0), 1.5)
    shift = np.asarray(cv2.copyTo(shift, (triangle >= 0).view(np.uint8)), np.float32)
    # All else is about skin, which lies on half of the cells.
    part = _around(skin)
    u, v, facing = _laid(table[:, :3], place, part)
    skin = skin[part]
    alpha = skin * smoothstep(0.12, 0.42, facing)
    open_ = alpha * (1 - _folds(u, v, skin, texture, smoothstep(*WIDE, g.opened)))
    # Never more than before, but without the stairs of whole cells.
    alpha = np.minimum(alpha, cv2.GaussianBlur(open_, (0, 0), 1.3))
    closed = cv2.morphologyEx(alpha, cv2.MORPH_CLOSE, np.ones((GAP, GAP), np.uint8))
    found = np.zeros((*place.shape, 2), np.float32), *np.zeros((2, *place.shape), np.float32)
    for whole, inner in zip(found, (cv2.merge([u, v]), alpha, closed), strict=True):
        whole[part] = inner
    uv, alpha, closed = found
    return Maps(uv, shift, alpha, closed)


def _around(skin: Bool) -> tuple[slice, slice]:
    """Rows and columns of the cells with skin, and as far around as what is worked out on them reaches."""
    x, y, width, height = cv2.boundingRect(skin.view(np.uint8))
    rows = slice(max(y - REACH, 0), min(y + height + REACH, skin.shape[0]))
    return rows, slice(max(x - REACH, 0), min(x + width + REACH, skin.shape[1]))


def _planes(points: F32, triangles: I32, values: F32) -> F32:
    """Planes of vertex values over each triangle.

    Args:
        points: (N, 2) in cells.
        triangles: (M, 3) vertex indices.
        values: (D, N) of each vertex.

    Returns:
        (5, D, M + 1) slopes across and down, offset, lowest and highest value; the last is nothing.
    """
    corners = values[:, triangles.T]
    first, second, third = corners.transpose(1, 0, 2)
    table = np.zeros((5, len(values), len(triangles) + 1), np.float32)
    table[:3, :, :-1] = planes(points, triangles, corners.astype(np.float64))
    table[3, :, :-1] = np.minimum(np.minimum(first, second), third)
    table[4, :, :-1] = np.maximum(np.maximum(first, second), third)
    return table


def _laid(table: F32, index: NDArray[np.intp], part: tuple[slice, slice]) -> F32:
    """Values at some cells, each on the plane of its triangle.

    Args:
        table: (5, D, M + 1) from ``_planes``.
        index: (h, w) triangle of each cell, -1 for none.
        part: Rows and columns.

    Returns:
        (D, rows, columns), 0 where there is none.
    """
    rows, columns = (np.arange(p.start, p.stop, dtype=np.float32) for p in part)
    place = np.ascontiguousarray(index[part])
    result = np.empty((table.shape[1], *place.shape), np.float32)
    for value, across, down, offset, low, high in zip(result, *table, strict=True):
        np.multiply(across.take(place), columns, out=value)
        value += down.take(place) * rows[:, None]
        value += offset.take(place)
        # A sliver covers cells whose centre it misses: its plane must not run away there.
        np.maximum(value, low.take(place), out=value)
        np.minimum(value, high.take(place), out=value)
    return result


def _folds(u: F32, v: F32, skin: Bool, texture: F32, wide: F32) -> F32:
    """Cells where the layout jumps: there one sheet of skin hides another, and interpolation would smear.

    A far jump is one anywhere but on the lids of an eye that is open, ``wide`` in [0, 1] for either eye: a crease
    is what a viewer expects there, and the target's lashes are not. Slanted skin is squeezed, too: a lesser jump
    counts where skin juts out and what lies between the two cells is darker or lighter than both, as it would be
    drawn as a line; by degrees, as it comes and goes while a head turns. Beside the nose a dark band of some
    cells counts, too, which is what its shaded flank is squeezed to; under a lip it is the lip's own shadow.
    """
    luma = np.asarray(cv2.cvtColor(texture, cv2.COLOR_RGBA2GRAY), np.float32)
    drawn = cv2.remap(luma, u * len(luma) - 0.5, v * len(luma) - 0.5, cv2.INTER_LINEAR)
    lid = np.maximum(*(lid_zone(eye, LIDS) * o for eye, o in zip(EYES, wide, strict=True)))
    lid = cv2.remap(lid, u * LIDS - 0.5, v * LIDS - 0.5, cv2.INTER_LINEAR)
    juts = [juts_out(u, v, part) for part in JUTTING]
    jutting = skin & np.logical_or.reduce(juts)
    beside = juts[0] & (v > NOSE)
    jump = np.zeros(skin.shape, np.float32)
    limits = None
    before, behind = slice(None, -1), slice(1, None)
    ways = (
        (((slice(None), before), (slice(None), behind)), (1, BAND)),
        (((before,), (behind,)), (BAND, 1)),
    )
    for (one, other), across in ways:
        aside, along = cv2.absdiff(u[other], u[one]), cv2.absdiff(v[other], v[one])
        step = cv2.max(aside, along)
        step *= skin[other] & skin[one]
        if limits is None:
            known = step[step > 0]
            usual = median(known) if len(known) else 1.0
            limits = FOLD * usual + 0.01, SQUEEZE * usual + 0.003
        far = (step > limits[0]).astype(np.float32)
        lesser = np.nonzero((step > limits[1]) & jutting[one])
        ends = [(u[part][lesser], v[part][lesser]) for part in (one, other)]
        squeezed = smoothstep(1.0, 1.5, step[lesser] / limits[1])
        far[lesser] = np.maximum(far[lesser], squeezed * smoothstep(*LINE, _line(luma, *ends)))
        # The side of a nose before the corner of an eye is no crease.
        far *= 1 - smoothstep(*CREASE, cv2.max(lid[other], lid[one])) * (along > aside)
        jump[other] = np.maximum(jump[other], far)
        jump[one] = np.maximum(jump[one], far)
        slanted = np.zeros(skin.shape, np.float32)
        slanted[one][lesser] = squeezed
        slanted = cv2.dilate(slanted, np.ones(across, np.uint8))
        band = cv2.morphologyEx(drawn, cv2.MORPH_BLACKHAT, np.ones(across, np.uint8))
        jump = np.maximum(jump, beside * slanted * smoothstep(*LINE, band))
    return np.asarray(cv2.dilate(jump, np.ones((3, 3), np.uint8)), np.float32)


def juts_out(u: F32, v: F32, part: tuple[float, float, float]) -> Bool:
    """(h, w) which layout coordinates lie in one of ``JUTTING``."""
    wide, top, bottom = part
    return (cv2.absdiff(u, 0.5) < wide) & (v > top) & (v < bottom)


def _line(luma: F32, one: tuple[F32, F32], other: tuple[F32, F32]) -> F32:
    """(K,) levels by which a small texture is darker or lighter somewhere between two places than at either."""
    side, shares = len(luma), np.array((0, *BETWEEN, 1), np.float32)[:, None]
    x, y = (
        np.clip((a + shares * (b - a)) * side, 0, side - 1).astype(np.int32)
        for a, b in zip(one, other, strict=True)
    )
    first, *between, last = luma.ravel().take(y * side + x).astype(np.float32)
    darker = np.minimum(first, last) - np.minimum.reduce(between)
    return np.maximum(darker, np.maximum.reduce(between) - np.maximum(first, last))


@dataclass(frozen=True, slots=True)
class Window:
    """The part of the box that holds skin, on whole coarse cells."""

    top: int
    bottom: int
    left: int
    right: int
    grid: Grid
    """Of the whole box."""

    @classmethod
    def around(cls, alpha: F32, grid: Grid) -> "Window | None":
        """Bounding cells of a coarse alpha with a margin of two; None when it is empty."""
        left, top, across, down = cv2.boundingRect((alpha > 0).view(np.uint8))
        if not across:
            return None
        height, width = alpha.shape
        return cls(
            max(top - 2, 0), min(top + down + 2, height),
            max(left - 2, 0), min(left + across + 2, width), grid,
        )  # fmt: skip

    def cells(self, values: F32) -> F32:
        """The window of a coarse array."""
        return values[self.top : self.bottom, self.left : self.right]

    @property
    def pixels(self) -> tuple[slice, slice]:
        """Its rows and columns of a full-size array; fewer at the edges of the box."""
        left, top = self.origin
        right, bottom = self.grid.first(self.bottom, self.right)
        return slice(top, bottom), slice(left, right)

    @property
    def origin(self) -> tuple[int, int]:
        """(x, y) of the first pixel."""
        x, y = self.grid.first(self.top, self.left)
        return max(x, 0), max(y, 0)

    @property
    def inner(self) -> Grid:
        """The window's own cells."""
        return self.grid.within(self.top, self.left)
