"""Identity and expression as displacements of the cage, then jaw, lids and eyeballs."""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vidswap.synth.anatomy import EYES, LIPS_INNER, cage
from vidswap.synth.jit import inline, jit
from vidswap.synth.noise import Vector, bell
from vidswap.synth.params import Expression, Identity
from vidswap.types import F64

HINGE = np.array([0.0, -0.05, 0.72])
JAW_DEGREES = 22.0
LID_THICKNESS = 0.018
LID_REACH = 0.15
"""How far above the upper lid the skin follows a blink."""

# (name, centre, radii, displacement at the centre); mirrored to the other side where x > 0.
Bump = tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, float, float]]
IDENTITY: dict[str, tuple[Bump, ...]] = {
    "jaw_width": (((0.62, 0.5, 0.5), (0.3, 0.32, 0.6), (0.12, 0.02, 0.0)),),
    "chin_length": (((0.0, 0.85, 0.05), (0.45, 0.32, 0.6), (0.0, 0.12, 0.0)),),
    "chin_width": (((0.22, 0.84, 0.1), (0.18, 0.22, 0.4), (0.08, 0.02, 0.0)),),
    "chin_forward": (((0.0, 0.8, -0.05), (0.3, 0.24, 0.5), (0.0, 0.0, -0.10)),),
    "cheekbones": (((0.56, -0.1, 0.15), (0.2, 0.17, 0.35), (0.06, 0.0, -0.06)),),
    "cheek_fullness": (((0.52, 0.25, 0.25), (0.25, 0.27, 0.45), (0.11, 0.0, -0.09)),),
    "forehead": (((0.0, -0.85, 0.0), (0.6, 0.28, 0.5), (0.0, -0.01, -0.09)),),
    "brow_ridge": (((0.3, -0.5, -0.05), (0.26, 0.1, 0.3), (0.0, 0.015, -0.07)),),
    "eye_depth": (((0.345, -0.34, 0.05), (0.2, 0.15, 0.3), (0.0, 0.0, 0.06)),),
    "eye_spacing": (((0.345, -0.34, 0.05), (0.2, 0.2, 0.4), (0.055, 0.0, 0.0)),),
    "eye_tilt": (
        ((0.5, -0.33, 0.1), (0.12, 0.14, 0.3), (0.0, -0.05, 0.0)),
        ((0.19, -0.32, 0.05), (0.1, 0.12, 0.3), (0.0, 0.018, 0.0)),
    ),
    "eye_height": (((0.345, -0.42, 0.03), (0.2, 0.25, 0.3), (0.0, -0.045, 0.0)),),
    "hooded": (((0.4, -0.44, 0.03), (0.16, 0.06, 0.3), (0.0, 0.03, -0.02)),),
    "nose_length": (((0.0, 0.1, -0.25), (0.22, 0.16, 0.4), (0.0, 0.075, -0.01)),),
    "nose_width": (((0.17, 0.07, -0.12), (0.12, 0.13, 0.3), (0.065, 0.0, 0.0)),),
    "nose_bridge": (((0.0, -0.22, -0.15), (0.11, 0.22, 0.3), (0.0, 0.0, -0.10)),),
    "nose_tip": (((0.0, 0.05, -0.37), (0.14, 0.11, 0.2), (0.0, -0.05, -0.09)),),
    "nose_hook": (((0.0, -0.1, -0.25), (0.08, 0.1, 0.3), (0.0, 0.0, -0.06)),),
    "mouth_width": (((0.32, 0.36, 0.03), (0.17, 0.17, 0.35), (0.065, 0.0, 0.015)),),
    "mouth_height": (((0.0, 0.36, -0.1), (0.45, 0.2, 0.5), (0.0, 0.05, 0.0)),),
    "upper_lip": (((0.0, 0.25, -0.14), (0.24, 0.055, 0.3), (0.0, -0.045, -0.03)),),
    "lower_lip": (((0.0, 0.47, -0.12), (0.22, 0.06, 0.3), (0.0, 0.05, -0.035)),),
    "mouth_curve": (((0.32, 0.36, 0.03), (0.13, 0.1, 0.3), (0.0, -0.035, 0.0)),),
}
EXPRESSION: dict[str, tuple[Bump, ...]] = {
    "smile": (
        ((0.32, 0.36, 0.03), (0.17, 0.15, 0.4), (0.075, -0.085, 0.04)),
        ((0.5, 0.02, 0.1), (0.2, 0.17, 0.3), (0.02, -0.035, -0.045)),
        ((0.36, -0.24, 0.05), (0.16, 0.08, 0.3), (0.0, -0.012, -0.01)),
        ((0.0, 0.36, -0.14), (0.14, 0.12, 0.4), (0.0, 0.0, 0.02)),
    ),
    "pucker": (
        ((0.32, 0.36, 0.03), (0.18, 0.16, 0.4), (-0.13, 0.0, -0.05)),
        ((0.0, 0.36, -0.13), (0.2, 0.14, 0.4), (0.0, 0.0, -0.08)),
    ),
    "brow_raise": (((0.34, -0.58, 0.0), (0.34, 0.16, 0.4), (0.0, -0.10, 0.0)),),
    "brow_frown": (
        ((0.12, -0.5, -0.08), (0.14, 0.13, 0.3), (-0.035, 0.065, -0.02)),
        ((0.3, -0.52, -0.05), (0.2, 0.1, 0.3), (0.0, 0.03, 0.0)),
    ),
}


def _field(bumps: tuple[Bump, ...], points: F64) -> F64:
    out = np.zeros_like(points)
    for centre, radii, move in bumps:
        sides = (1, -1) if centre[0] > 0 else (1,)
        for side in sides:
            flip = np.array([side, 1, 1])
            distance = (((points - np.array(centre) * flip) / radii) ** 2).sum(1)
            out += np.exp(-distance)[:, None] * (np.array(move) * flip)
    return out


class Lids(NamedTuple):
    """Which skin follows the lids of one eye."""

    rows: NDArray[np.int64]
    """(V,) vertices of the cage."""
    upper: F64
    """(V, 7) share of each upper lid vertex' move."""
    lower: F64
    """(V, 7)"""


@dataclass(frozen=True)
class Fields:
    """Displacements of the cage at value 1, and which skin follows which lid."""

    identity: F64
    """(I, N, 3) in the order of ``IDENTITY``."""
    expression: F64
    """(E, N, 3) in the order of ``EXPRESSION``."""
    lids: tuple[Lids, Lids]
    """Per eye."""
    rings: NDArray[np.int64]
    """(2, 16) lid contours."""


@lru_cache(maxsize=1)
def fields() -> Fields:
    """Evaluate the tables on the cage."""
    points = cage().points
    return Fields(
        identity=np.stack([_field(b, points) for b in IDENTITY.values()]),
        expression=np.stack([_field(b, points) for b in EXPRESSION.values()]),
        lids=(_follow(points, EYES[0]), _follow(points, EYES[1])),
        rings=np.array(EYES),
    )


def _follow(points: F64, eye: tuple[int, ...]) -> Lids:
    shares = []
    for chain, sign in ((eye[1:8], -1), (eye[15:8:-1], 1)):
        contour = points[list(chain)]
        away = sign * (points[:, None, 1] - contour[None, :, 1])
        near = np.exp(-(((points[:, None, 0] - contour[None, :, 0]) / 0.03) ** 2))
        near /= near.sum(1, keepdims=True) + 1e-9
        above = (near * away).sum(1)
        side = np.abs(points[:, None, 0] - contour[None, :, 0]).min(1)
        weight = np.where(above > -0.012, np.clip(1 - above / LID_REACH, 0, 1) ** 1.6, 0)
        weight *= np.exp(-((side / 0.03) ** 2)) * (points[:, 2] < 0.35)
        share = near * np.clip(weight, 0, 1)[:, None]
        other = [v for v in eye if v not in chain]
        share[other] = 0
        share[list(chain)] = np.eye(len(chain))
        # Both rings of the lid's rim move as the contour does.
        shares.append(share)
    rows = np.flatnonzero((shares[0] + shares[1]).any(1))
    return Lids(rows, shares[0][rows], shares[1][rows])


@dataclass(frozen=True)
class Form:
    """The head of one picture before it is turned."""

    points: F64
    """(N, 3) cage."""
    surface: F64
    """(N', 3) its subdivision."""
    eyes: F64
    """(2, 3) centres of the eyeballs, image-left first."""
    radius: F64
    """(2,) of the eyeballs."""
    jaw: float
    """Radians by which the jaw is open."""


def whole(who: Identity) -> tuple[float, float, float]:
    """What scales head and face as a whole, for :func:`stretched`."""
    return who.face_width, who.face_length, who.skull_height


@inline
def stretched(x: float, y: float, sizes: tuple[float, float, float]) -> tuple[float, float]:
    """A point's x and y in a head of these sizes: moves cage, hair, ears and glasses alike."""
    wide, long, high = sizes
    up = min(max((-0.55 - y) / 0.9, 0.0), 1.2)
    moved = y + 0.09 * long * min(max(y + 0.35, -0.2), 1.2)
    return x * (1 + 0.09 * wide), moved - 0.12 * high * up


@jit
def stretch(points: F64, sizes: tuple[float, float, float]) -> None:
    """:func:`stretched` for (V, 3) points, in place."""
    for v in range(points.shape[0]):
        points[v, 0], points[v, 1] = stretched(points[v, 0], points[v, 1], sizes)


def overall(points: F64, who: Identity) -> F64:
    """(V, 3) points in a head of this size."""
    out = points.copy()
    stretch(out, whole(who))
    return out


def build(who: Identity, face: Expression) -> Form:
    """Cage and eyeballs of one identity with one expression."""
    data, table = cage(), fields()
    weights = np.array([getattr(who, n) for n in IDENTITY])
    moods = np.array([getattr(face, n) for n in EXPRESSION])
    points = data.points + _moved(weights, table.identity)
    eyes, radius = np.empty((2, 3)), np.empty(2)
    proportion(points, whole(who), (who.asymmetry, who.eye_size), table.rings, (eyes, radius))
    angle = float(np.radians(JAW_DEGREES)) * face.jaw
    moved = _moved(moods, table.expression)
    express(points, moved, face.mouth_side, data.jaw, angle)
    for lids, ring, shut in zip(
        table.lids, table.rings, (face.blink_left, face.blink_right), strict=True
    ):
        blink = shut - 0.3 * face.widen * (1 - shut)
        if blink != 0:
            # Of each lid vertex to the one below it.
            gap = points[ring[15:8:-1], :2] - points[ring[1:8], :2]
            close(points, gap, lids.rows, (lids.upper, lids.lower), blink)
    surface = np.empty((data.subdivide.shape[0], 3))
    m = data.subdivide
    refine((m.data, m.indices, m.indptr), points, (eyes, radius), surface)
    return Form(points, surface, eyes, radius, angle)


def _moved(weights: F64, fields: F64) -> F64:
    """(N, 3) mix of (K, N, 3) displacements."""
    mixed: F64 = np.einsum("i,ij->j", weights, fields.reshape(len(fields), -1))
    return mixed.reshape(-1, 3)


@inline
def squares(p: Vector, middle: Vector, radii: Vector) -> float:
    """Squared distance of two points, in radii."""
    x, y, z = (
        (p[0] - middle[0]) / radii[0],
        (p[1] - middle[1]) / radii[1],
        (p[2] - middle[2]) / radii[2],
    )
    return x * x + y * y + z * z


@jit
def proportion(
    points: F64,
    sizes: Vector,
    own: tuple[float, float],
    rings: NDArray[np.int64],
    eyes: tuple[F64, F64],
) -> None:
    """Asymmetry, overall size and size of the eyes; then eyeballs behind the lids.

    Args:
        points: (N, 3) cage, changed.
        sizes: From :func:`whole`.
        own: Asymmetry and size of the eyes.
        rings: (2, 16) lid contours.
        eyes: (2, 3) centres and (2,) radii of the eyeballs, drawn into.
    """
    asymmetry, size = own
    for v in range(points.shape[0]):
        x, y = points[v, 0], points[v, 1]
        bend = np.exp(-(((y - 0.2) / 0.5) ** 2)) if points[v, 2] < 0.6 else 0.0
        side = np.sign(x)
        y += 0.02 * asymmetry * side * min(abs(x) * 3, 1.0)
        points[v, 0], points[v, 1] = stretched(x + 0.025 * asymmetry * bend, y, sizes)
    centres, radii = eyes
    for e in range(2):
        for k in range(3):
            total = 0.0
            for n in range(rings.shape[1]):
                total += points[rings[e, n], k]
            centres[e, k] = total / rings.shape[1]
    for v in range(points.shape[0]):
        p = points[v, 0], points[v, 1], points[v, 2]
        for e in range(2):
            x, y, z = centres[e, 0], centres[e, 1], centres[e, 2]
            weight = bell(squares(p, (x, y, z), (0.19, 0.13, 0.3)))
            points[v, 0] += weight * (p[0] - x) * 0.14 * size
            points[v, 1] += weight * (p[1] - y) * 0.24 * size
    for e in range(2):
        a, b = rings[e, 0], rings[e, 8]
        x, y = points[a, 0] - points[b, 0], points[a, 1] - points[b, 1]
        front = (points[rings[e, 4], 2] + points[rings[e, 12], 2]) / 2
        radii[e] = 0.52 * np.sqrt(x * x + y * y)
        centres[e, 0] = (points[a, 0] + points[b, 0]) / 2
        centres[e, 1] = (points[a, 1] + points[b, 1]) / 2 - 0.005
        centres[e, 2] = front + 0.97 * radii[e]


@jit
def express(points: F64, moved: F64, side: float, jaw: F64, angle: float) -> None:
    """Displacements of an expression, the mouth to one side, then the jaw.

    Args:
        points: (N, 3) cage, changed.
        moved: (N, 3)
        side: Of the mouth, [-1, 1].
        jaw: (N,) how far each vertex follows the jaw.
        angle: Radians by which the jaw is open.
    """
    for v in range(points.shape[0]):
        x, y, z = points[v, 0] + moved[v, 0], points[v, 1] + moved[v, 1], points[v, 2] + moved[v, 2]
        lips = squares((x, y, z), (0.0, 0.38, -0.05), (0.4, 0.25, 0.4))
        points[v, 0] = x + 0.07 * side * bell(lips)
        turn = angle * jaw[v]
        sine, cosine = (np.sin(turn), np.cos(turn)) if turn != 0 else (0.0, 1.0)
        y, z = y - HINGE[1], z - HINGE[2]
        points[v, 1] = HINGE[1] + cosine * y - sine * z
        points[v, 2] = HINGE[2] + sine * y + cosine * z


@jit
def close(
    points: F64, gap: F64, rows: NDArray[np.int64], shares: tuple[F64, F64], blink: float
) -> None:
    """Move the lids of one eye and the skin that follows them.

    Args:
        points: (N, 3) cage, changed.
        gap: (7, 2) from each vertex of the upper lid to the one below it.
        rows: (V,) vertices that follow.
        shares: (V, 7) of the upper and of the lower lid's moves.
        blink: 0 leaves the eye as it is, 1 shuts it, below 0 is wider.
    """
    shut = max(blink, 0.0)
    upper, lower = shares
    for n in range(rows.shape[0]):
        for k in range(2):
            down, up = 0.0, 0.0
            for i in range(7):
                # Shut lids overlap a little, or the eyeball would show between their facets.
                down += upper[n, i] * (gap[i, k] * (0.88 + 0.12 * shut) * blink)
                up += lower[n, i] * (-gap[i, k] * 0.12 * shut)
            points[rows[n], k] = points[rows[n], k] + down + up


@inline
def before(p: Vector, balls: tuple[F64, F64]) -> float:
    """The z at which a point lies in front of the eyeballs."""
    centres, radii = balls
    deep = p[2]
    for e in range(2):
        x, y = p[0] - centres[e, 0], p[1] - centres[e, 1]
        r, flat = radii[e], x * x + y * y
        # What lies deeper are the lids' inner sides, which end behind the eyeball.
        if flat < (0.97 * r) ** 2 and deep < centres[e, 2] - 0.5 * r:
            deep = min(deep, centres[e, 2] - np.sqrt(max(r * r - flat, 0.0)) - LID_THICKNESS)
    return deep


@jit
def refine(
    matrix: tuple[F64, NDArray[np.int32], NDArray[np.int32]],
    points: F64,
    balls: tuple[F64, F64],
    out: F64,
) -> None:
    """Subdivide the cage, and keep lids in front of the eyeballs they slide on before and after.

    Args:
        matrix: Weights, columns and row starts of the cage's ``subdivide``.
        points: (N, 3) cage, changed.
        balls: (2, 3) centres and (2,) radii of the eyeballs.
        out: (N', 3) drawn into.
    """
    weights, columns, starts = matrix
    for v in range(points.shape[0]):
        points[v, 2] = before((points[v, 0], points[v, 1], points[v, 2]), balls)
    for v in range(out.shape[0]):
        x, y, z = 0.0, 0.0, 0.0
        for n in range(starts[v], starts[v + 1]):
            w, c = weights[n], columns[n]
            x += w * points[c, 0]
            y += w * points[c, 1]
            z += w * points[c, 2]
        out[v, 0], out[v, 1] = x, y
        out[v, 2] = before((x, y, z), balls)


def mouth_middle(points: F64) -> F64:
    """(3,) middle of the upper inner lip's plane."""
    middle: F64 = points[list(LIPS_INNER[:11])].mean(0)
    return middle
