"""Eyes and mouth, which stay the target's: where they are, and the colour of what lips show there."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vidswap.engines.mesh.maps import Geometry
from vidswap.engines.mesh.plan import MeshPlan
from vidswap.engines.mesh.regions import median, smoothstep
from vidswap.faces.facemesh import FaceMesh
from vidswap.faces.vertices import EYES, LIP_MIDDLES, LIPS_INNER
from vidswap.types import F32, U8, U16

RIM = 0.013, 0.034
"""How far the target's lips reach into the drawn opening, by the face's width: surely, and at most."""
SOFT = 0.002, 0.6
"""Standard deviation of the edge of eyes and mouth: by the mesh's width, and px at the least."""
SHADOW = 0.5
"""Log loss of brightness of what could be taken for lips between the drawn ones."""
SLOPE = 0.02, 0.35
"""Where that shadow is whole: from the drawn lips by the face's width, or by half the opening's height."""
CONFUSED = 0.45, 0.75
"""Shares of the opening that could be taken for lips from which, and at which, there is a shadow. Of a mouth
that shows teeth or is dark the rest is known for lips, and a shadow would be an outline."""
WIDE = 0.06, 0.12
"""Half heights of the opening, by the face's width, from which and at which nobody takes it for lips."""
STRANGE = 0.2
"""Log change of the lips' colours from which on they are others."""
TIP, THIN = (0.06, 0.24), (0.08, 0.16)
"""From an eye's outer corner, and its height there, by its width, where the drawn skin lies over the target's, and
no longer does. Landmarks put that corner beyond where lids meet: skin in the light there would be a white line."""
SLIT = 1.5
"""Mean height in px up to which a mouth is only as open to be seen as it is high."""


@dataclass(frozen=True, slots=True, eq=False)
class Openings:
    """Eyes and mouth of one frame."""

    picture: U8
    """(h, w) 255 inside, soft at the edge."""
    places: tuple[tuple[slice, slice], ...]
    """Rows and columns around each; beyond them there is none."""


def softness(g: Geometry) -> float:
    """Standard deviation of the edge of eyes and mouth, px."""
    return max(SOFT[0] * float(np.ptp(g.moved[:, 0])), SOFT[1])


def openings(
    g: Geometry, mesh: FaceMesh, size: tuple[int, int], origin: tuple[int, int], soft: float
) -> Openings:
    """Draw eyes and mouth at full size: their edge is where viewers look.

    Args:
        g: Geometry in px of the box.
        mesh: The mesh's constants.
        size: Height and width of the part to draw.
        origin: (x, y) of that part in the box.
        soft: Standard deviation of the edge, px.
    """
    whole = np.zeros(size, np.uint8)
    places = []
    room = int(3 * soft) + 4
    moved = g.moved - origin
    for part, eye in zip(mesh.openings, (*EYES, None), strict=True):
        corners = moved[part]
        low = np.clip(np.floor(corners.min((0, 1))).astype(int) - room, 0, size[::-1])
        high = np.clip(np.ceil(corners.max((0, 1))).astype(int) + room, 0, size[::-1])
        if (low >= high).any():
            continue
        picture = np.zeros((high - low)[::-1], np.uint8)
        fill(picture, corners - low)
        if eye is not None:
            picture = np.asarray(
                picture * _beyond_tip(moved[list(eye)] - low, *picture.shape), np.uint8
            )
        else:
            # Drawn a pixel wide even when shut, it would show the target's lips as a line of their colour.
            picture = cv2.convertScaleAbs(picture, alpha=min(thickness(corners) / SLIT, 1.0))
        place = (slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0])))
        whole[place] = np.maximum(whole[place], cv2.GaussianBlur(picture, (0, 0), soft))
        places.append(place)
    return Openings(whole, tuple(places))


def _beyond_tip(rim: F32, height: int, width: int) -> F32:
    """(h, w) [0, 1] which pixels are not the thin outer end of an eye with the contour (16, 2)."""
    axis = rim[8] - rim[0]
    axis /= max(float(axis @ axis), 1e-6)
    upper, lower = rim[1:8], rim[:8:-1]
    along = ((upper + lower) / 2 - rim[0]) @ axis
    high = np.linalg.norm(upper - lower, axis=1) * np.linalg.norm(axis)
    x, y = (
        np.arange(n, dtype=np.float32) - c for n, c in zip((width, height), rim[0], strict=True)
    )
    place = y[:, None] * axis[1] + x * axis[0]
    there = np.interp(place, [0, *along, 1], [0, *high, 0]).astype(np.float32)
    shut: F32 = (1 - smoothstep(*TIP, place)) * (1 - smoothstep(*THIN, there))
    return 1 - shut


def thickness(triangles: F32) -> float:
    """Area of (N, 3, 2) triangles by their width."""
    (ax, ay), (bx, by) = (
        (triangles[:, 1] - triangles[:, 0]).T,
        (triangles[:, 2] - triangles[:, 0]).T,
    )
    return float(np.abs(ax * by - ay * bx).sum() / 2 / max(np.ptp(triangles[..., 0]), 1e-3))


def fill(picture: U8, triangles: F32) -> None:
    """Draw (N, 3, 2) triangles with 255, anti-aliased."""
    for triangle in np.round(triangles * 16).astype(np.int32):
        cv2.fillConvexPoly(picture, triangle, 255, cv2.LINE_AA, 4)


MOST_LOSS = 0.2
"""Share of its redness that a lip inside the mouth may lose at the most."""
SHADED = 0.3, 0.7
"""Brightness against the middle of the lip at which what the target shows of it keeps its hue, and loses it."""
LUMA = np.array([0.3, 0.59, 0.11], np.float32)


def recolour_lips(
    part: U8 | U16,
    g: Geometry,
    plan: MeshPlan,
    share: F32,
    origin: tuple[int, int],
    step: int,
) -> None:
    """Give what the target's lips show inside the drawn opening the source's colour, in place.

    Landmarks put the lips' inner line a little into the lips. What is left of them within it would be
    seen as lips within the lips, and the mouth as less open than it is. So would the flesh behind them,
    once they have lost the colour that set them off: there it lies in the shadow of the mouth.

    Args:
        part: Pixels of the target, moved.
        g: Geometry in px of the box.
        plan: Constants of the track.
        share: (h, w) [0, 1] of the swap on coarse cells of ``part``.
        origin: (x, y) of ``part`` in the box.
        step: Pixels per cell.
    """
    points = g.moved - origin
    rim = points[list(LIPS_INNER)]
    size, width = np.array(part.shape[1::-1]), float(np.ptp(g.moved[:, 0]))
    soft = softness(g)
    room = int(3 * soft) + 4
    low = np.clip(np.floor(rim.min(0)).astype(int) - room, 0, size)
    high = np.clip(np.ceil(rim.max(0)).astype(int) + room + 1, 0, size)
    if not plan.lips.any() or (high - low < 5).any():
        return
    view = part[low[1] : high[1], low[0] : high[0]]
    down, across = np.arange(low[1], high[1]) // step, np.arange(low[0], high[0]) // step
    # Where lips fold, single cells are left to the target: there they would be spots of its own lips.
    share = cv2.morphologyEx(share, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    given = share[down[:, None], across]
    near, dark, inside = (v * given for v in _zones(rim - low, high - low, width, soft))
    at = np.flatnonzero(np.maximum(near, dark) > 0.02)
    if not len(at):
        return
    rows, columns = np.divmod(at.astype(np.int32), np.int32(view.shape[1]))
    near, dark = near.ravel()[at], dark.ravel()[at]
    top = np.float32(255 if part.dtype == np.uint8 else 65535)
    own = _taken(view, at) / top
    # Highlights are a part of the lip they lie on.
    near_by = 2 * int(width / 120) + 1
    blurred = cv2.blur(view.astype(np.float32), (near_by, near_by))
    seen = Seen.of(own, _taken(blurred, at) / top)
    below = _below(rim - low, rows.astype(np.float32), columns.astype(np.float32))
    lips = []
    for half, vertices, gain in zip((1 - below, below), LIP_MIDDLES, plan.lips, strict=True):
        x, y = np.clip(np.round(points[list(vertices)]).astype(int), 0, size - 1).T
        lips.append((half, part[y, x].T / top, gain))
    log = _mouth_change(seen, lips, near, dark, inside.ravel()[at] / max(inside.sum(), 1.0), plan)
    drawn = np.exp(log, out=log)
    drawn *= own * top
    view[rows, columns] = np.clip(drawn + np.float32(0.5), 0, top).astype(part.dtype).T


def _below(rim: F32, rows: F32, columns: F32) -> F32:
    """(N,) [0, 1] how far pixels lie below the line from corner to corner."""
    (x0, y0), (x1, y1) = sorted(rim[[0, 10]].tolist())
    slope = (y1 - y0) / max(x1 - x0, 1e-6)
    middle = y0 + slope * (np.clip(columns, x0, x1) - x0)
    return smoothstep(-0.3, 0.3, (rows - middle) / (np.ptp(rim[:, 1]) + 4))


def _taken(picture: U8 | U16 | F32, at: NDArray[np.intp]) -> U8 | U16 | F32:
    """(3, N) of some pixels of an (h, w, 3) picture: long rows, as NumPy is slow on threes."""
    return np.stack([channel.take(at) for channel in cv2.split(picture)])


def _shadow(plan: MeshPlan, most: float) -> float:
    """Log loss of brightness where the flesh that could be taken for lips is ``most`` of the opening."""
    strange = float(np.linalg.norm(plan.lips, axis=1).max())
    return SHADOW * _between(*CONFUSED, most) * _between(0, STRANGE, strange)


def _between(low: float, high: float, value: float) -> float:
    """``smoothstep`` of a number."""
    t = min(max((value - low) / (high - low), 0.0), 1.0)
    return t * t * (3 - 2 * t)


def _zones(rim: F32, size: NDArray[np.int64], width: float, soft: float) -> tuple[F32, F32, F32]:
    """(h, w) [0, 1] where the target's lips are seen, where there is room for shadow, and the opening."""
    opening = np.zeros(size[::-1], np.uint8)
    cv2.fillPoly(opening, [np.round(rim * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    deep = cv2.distanceTransform(opening, cv2.DIST_L2, 3) / np.float32(width)
    inside = opening / np.float32(255)
    # As far as the opening's soft edge: beyond it the slow colours of the source are theirs already, and
    # both would be a black line where a moustache makes lips dark.
    near = (1 - smoothstep(*RIM, deep)) * cv2.GaussianBlur(inside, (0, 0), soft)
    # Lips round off into the mouth: its shadow begins at nothing.
    deepest = float(deep.max())
    slope = max(min(SLOPE[0], SLOPE[1] * deepest), 1e-6)
    much = 1 - _between(*WIDE, deepest)
    return near, inside * smoothstep(-0.2 * slope, slope, deep) * np.float32(much), inside


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """N pixels of a mouth, in what both lips are compared by."""

    hue: F32
    """(3, N) log colour without its brightness."""
    light: F32
    """(N,) brightness around each, in [0, 1]."""
    mean: F32
    """(N,) the mean of the three channels around each."""
    red: F32
    """(N,) redness around each."""

    @classmethod
    def of(cls, own: F32, around: F32) -> "Seen":
        """From (3, N) colours in [0, 1], and the means around them."""
        log = np.log(own + np.float32(0.02))
        return cls(log - _luma(log), _luma(around), around.mean(0), redness(around))


def _luma(colours: F32) -> F32:
    """(N,) of (3, N)."""
    # No matrix product: for so many columns it would wake BLAS's threads, which then wait busily.
    result: F32 = colours[0] * LUMA[0] + colours[1] * LUMA[1] + colours[2] * LUMA[2]
    return result


def _mouth_change(
    seen: Seen,
    lips: Sequence[tuple[F32, F32, F32]],
    near: F32,
    dark: F32,
    inside: F32,
    plan: MeshPlan,
) -> F32:
    """(3, N) log change of pixels about a mouth.

    Args:
        seen: The pixels.
        lips: Of either lip (N,) how far a pixel belongs to it, (3, M) colours of its middle, (3,) gain.
        near: (N,) where the target's lips are seen.
        dark: (N,) where there is room for shadow.
        inside: (N,) shares of the opening, 1 together.
        plan: Constants of the track.
    """
    alike = np.zeros_like(near)
    if dark.any():
        alike += sum(half * _like_lips(seen, lip, gain) for half, lip, gain in lips)
    most = float((alike * inside).sum())
    shade = np.float32(_shadow(plan, most)) * (dark * alike)
    log = np.repeat(-shade[None], 3, 0)
    # Flesh in that shadow stays as red as it is: paler, it would be a violet line.
    lit = 1 - shade / np.float32(SHADOW)
    for half, lip, gain in lips:
        log += near * half * _lip_change(seen, lip, gain, lit)
    return log


def _lip_change(seen: Seen, middle: F32, gain: F32, shown: F32) -> F32:
    """(3, N) log gain of pixels, as far as what is seen around them is a lip with (3, M) in its middle.

    Its hue changes by the share ``shown``, (N,) in [0, 1].
    """
    usual = median(redness(middle))
    # Teeth and the dark behind them are not red, and nothing becomes less red than the drawn lips.
    least = min(max(usual + float(gain[0] - gain[1]), 0.45 * usual), 0.8 * usual)
    lip = smoothstep(0.15, 0.75, (seen.red - least) / max(usual - least, 0.05))
    # In the shadow of the mouth a lip is redder than in the light: paler, it would be a grey line, so
    # that it changes its brightness only.
    lit = shown * smoothstep(*SHADED, seen.mean / max(median(middle.mean(0)), 0.02))
    # However pale the drawn lips are: a lip that is not red is no lip, but an edge of it.
    pale = min(MOST_LOSS * usual / max(float(gain[1] - gain[0]), 1e-3), 1.0)
    drawn = np.log(np.array([median(c) for c in middle]) + 0.02) + max(pale, 0.0) * gain
    hue = (drawn - drawn @ LUMA).astype(np.float32)[:, None] - seen.hue
    result: F32 = lip * (gain @ LUMA + lit * hue)
    return result


def _like_lips(seen: Seen, middle: F32, gain: F32) -> F32:
    """(N,) [0, 1] how far pixels look like the drawn lip, whose (3, M) are the target's.

    Teeth do not: they are less red. Neither does what is darker already, nor a highlight.
    """
    usual = np.log(max(median(_luma(middle)), 0.02)) + float(gain @ LUMA)
    light = np.log(seen.light + np.float32(0.02)) - np.float32(usual)
    red = seen.red / max(median(redness(middle)), 0.05)
    result: F32 = smoothstep(-1.3, -0.4, light) * (1 - smoothstep(0.4, 1.0, light))
    return result * smoothstep(0.5, 0.75, red)


def redness(colour: F32) -> F32:
    """(N,) log red against green of (3, N) in [0, 1]."""
    result: F32 = np.log((colour[0] + 0.03) / (colour[1] + 0.03))
    return result
