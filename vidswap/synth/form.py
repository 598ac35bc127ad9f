"""Identity and expression as displacements of the cage, then jaw, lids and eyeballs."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from vidswap.synth.anatomy import EYES, LIPS_INNER, cage
from vidswap.synth.jit import jit
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


@dataclass(frozen=True)
class Fields:
    """Displacements of the cage at value 1, and which skin follows which lid."""

    identity: F64
    """(I, N, 3) in the order of ``IDENTITY``."""
    expression: F64
    """(E, N, 3) in the order of ``EXPRESSION``."""
    lid: tuple[tuple[F64, F64], tuple[F64, F64]]
    """Per eye and lid (upper, lower): (N, 7) share of each lid vertex' move."""


@lru_cache(maxsize=1)
def fields() -> Fields:
    """Evaluate the tables on the cage."""
    points = cage().points
    return Fields(
        identity=np.stack([_field(b, points) for b in IDENTITY.values()]),
        expression=np.stack([_field(b, points) for b in EXPRESSION.values()]),
        lid=(_follow(points, EYES[0]), _follow(points, EYES[1])),
    )


def _follow(points: F64, eye: tuple[int, ...]) -> tuple[F64, F64]:
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
    return shares[0], shares[1]


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


def overall(points: F64, who: Identity) -> F64:
    """Scale of head and face as a whole: moves cage, hair, ears and glasses alike."""
    out = points.copy()
    y = points[:, 1]
    out[:, 0] *= 1 + 0.09 * who.face_width
    out[:, 1] += 0.09 * who.face_length * np.clip(y + 0.35, -0.2, 1.2)
    high = np.clip((-0.55 - y) / 0.9, 0, 1.2)
    out[:, 1] -= 0.12 * who.skull_height * high
    return out


def build(who: Identity, face: Expression) -> Form:
    """Cage and eyeballs of one identity with one expression."""
    data, table = cage(), fields()
    weights = np.array([getattr(who, n) for n in IDENTITY])
    moods = np.array([getattr(face, n) for n in EXPRESSION])
    points = data.points + _moved(weights, table.identity)
    points = overall(_asymmetric(points, who), who)
    points = _eye_size(points, who)
    eyes, radius = _eyeballs(points)
    points += _moved(moods, table.expression)
    lips = _squares(points, (0, 0.38, -0.05), (0.4, 0.25, 0.4))
    points[:, 0] += 0.07 * face.mouth_side * np.exp(-lips)
    angle = np.radians(JAW_DEGREES) * face.jaw
    points = _turn_jaw(points, data.jaw, angle)
    for side, blink in enumerate((face.blink_left, face.blink_right)):
        points = _blink(points, side, blink - 0.3 * face.widen * (1 - blink))
    surface = np.empty((data.subdivide.shape[0], 3))
    m = data.subdivide
    refine((m.data, m.indices, m.indptr), points, (eyes, radius), surface)
    return Form(points, surface, eyes, radius, angle)


def _moved(weights: F64, fields: F64) -> F64:
    """(N, 3) mix of (K, N, 3) displacements."""
    mixed: F64 = np.einsum("i,ij->j", weights, fields.reshape(len(fields), -1))
    return mixed.reshape(-1, 3)


def _squares(points: F64, middle: Sequence[float] | F64, radii: tuple[float, float, float]) -> F64:
    """(N,) squared distance from a point, in radii."""
    x, y, z = (((points[:, k] - middle[k]) / radii[k]) ** 2 for k in range(3))
    total: F64 = x + y + z
    return total


def _asymmetric(points: F64, who: Identity) -> F64:
    out = points.copy()
    bend = np.exp(-(((points[:, 1] - 0.2) / 0.5) ** 2)) * (points[:, 2] < 0.6)
    out[:, 0] += 0.025 * who.asymmetry * bend
    out[:, 1] += (
        0.02 * who.asymmetry * np.sign(points[:, 0]) * np.minimum(np.abs(points[:, 0]) * 3, 1)
    )
    return out


def _eye_size(points: F64, who: Identity) -> F64:
    out = points.copy()
    for eye in EYES:
        middle = points[list(eye)].mean(0)
        weight = np.exp(-_squares(points, middle, (0.19, 0.13, 0.3)))
        for axis, much in ((0, 0.14), (1, 0.24)):
            out[:, axis] += weight * (points[:, axis] - middle[axis]) * much * who.eye_size
    return out


def _eyeballs(points: F64) -> tuple[F64, F64]:
    centres, radii = [], []
    for eye in EYES:
        ring = points[list(eye)]
        width = float(np.linalg.norm(ring[0, :2] - ring[8, :2]))
        radius = 0.52 * width
        middle = (ring[0] + ring[8]) / 2
        front = (ring[4, 2] + ring[12, 2]) / 2
        centres.append([middle[0], middle[1] - 0.005, front + 0.97 * radius])
        radii.append(radius)
    return np.array(centres), np.array(radii)


def _turn_jaw(points: F64, weight: F64, angle: float) -> F64:
    turn = angle * weight
    y, z = (points - HINGE)[:, 1], (points - HINGE)[:, 2]
    cos, sin = np.cos(turn), np.sin(turn)
    out = points.copy()
    out[:, 1] = HINGE[1] + cos * y - sin * z
    out[:, 2] = HINGE[2] + sin * y + cos * z
    return out


def _blink(points: F64, side: int, blink: float) -> F64:
    if blink == 0:
        return points
    eye = EYES[side]
    upper, lower = points[list(eye[1:8])], points[list(eye[15:8:-1])]
    share_up, share_low = fields().lid[side]
    gap = lower - upper
    gap[:, 2] = 0
    # Shut lids overlap a little, or the eyeball would show between their facets.
    down = gap * (0.88 + 0.12 * max(blink, 0.0)) * blink
    up = -gap * 0.12 * max(blink, 0.0)
    return points + share_up @ down + share_low @ up


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
    centres, radii = balls
    for stage in range(2):
        if stage:
            for v in range(out.shape[0]):
                out[v, 0], out[v, 1], out[v, 2] = 0.0, 0.0, 0.0
                for n in range(starts[v], starts[v + 1]):
                    for k in range(3):
                        out[v, k] += weights[n] * points[columns[n], k]
        at = out if stage else points
        for v in range(at.shape[0]):
            for e in range(2):
                x, y = at[v, 0] - centres[e, 0], at[v, 1] - centres[e, 1]
                r, flat = radii[e], x * x + y * y
                # What lies deeper are the lids' inner sides, which end behind the eyeball.
                if flat < (0.97 * r) ** 2 and at[v, 2] < centres[e, 2] - 0.5 * r:
                    front = centres[e, 2] - np.sqrt(max(r * r - flat, 0.0)) - LID_THICKNESS
                    at[v, 2] = min(at[v, 2], front)


def mouth_middle(points: F64) -> F64:
    """(3,) middle of the upper inner lip's plane."""
    middle: F64 = points[list(LIPS_INNER[:11])].mean(0)
    return middle
