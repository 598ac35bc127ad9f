"""Everything on a head that is no skin: eyeballs, teeth, tongue, ears, neck, clothes, hair, glasses.

Each part is a grid whose points are computed anew for every head, in the head's own coordinates.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vidswap.synth.form import HINGE, Form, mouth_middle, overall, stretch, whole
from vidswap.synth.jit import jit
from vidswap.synth.params import Gaze, Identity, Scene
from vidswap.types import F64

(SKIN, MOUTH, EYE, TEETH, TONGUE, EAR, NECK, CLOTH, HAIR, GLASSES, EARRING, HAND, MIC) = range(13)
"""Materials."""


class Shape(NamedTuple):
    """What triangles a part has, and of what."""

    material: int
    rows: int
    """0 for the cage's skin."""
    columns: int
    closed: bool


class Part(NamedTuple):
    """A triangle grid with what the painter needs at each vertex."""

    points: F64
    """(V, 3)"""
    rest: F64
    """(V, 3) coordinates in which it is painted."""
    shape: Shape


@lru_cache(maxsize=32)
def grid(rows: int, columns: int, closed: bool) -> NDArray[np.int32]:
    """Triangles of a grid in row-major order; ``closed`` joins the last column to the first."""
    found = []
    for i in range(rows - 1):
        for j in range(columns if closed else columns - 1):
            k = (j + 1) % columns
            a, b, c, d = (
                i * columns + j,
                i * columns + k,
                (i + 1) * columns + j,
                (i + 1) * columns + k,
            )
            found += [(a, b, c), (b, d, c)]
    return np.array(found, np.int32)


def part(points: F64, rest: F64, material: int, *, closed: bool) -> Part:
    """A grid part from (rows, columns, 3) points and their coordinates for painting."""
    shape = Shape(material, points.shape[0], points.shape[1], closed)
    return Part(points.reshape(-1, 3), rest.reshape(-1, 3), shape)


@lru_cache(maxsize=1)
def _eyeball() -> tuple[F64, F64]:
    """(9, 20, 3) directions from the middle and (9, 1, 1) distances."""
    ring = np.linspace(0, 1, 9)[:, None] ** 1.2 * np.radians(100)
    turn = np.linspace(0, 2 * np.pi, 20, endpoint=False)[None]
    local = np.stack(
        [
            np.sin(ring) * np.cos(turn),
            np.sin(ring) * np.sin(turn),
            -np.cos(ring) * np.ones_like(turn),
        ],
        -1,
    )
    # The cornea stands out a little over the iris.
    bulge = 1 + 0.03 * np.exp(-((ring / np.radians(30)) ** 2))
    return local, bulge[..., None]


def eyeballs(form: Form, gaze: Gaze) -> list[Part]:
    """The fronts of both eyeballs; painted in directions against the gaze."""
    local, bulge = _eyeball()
    yaw, pitch = np.radians(gaze.yaw), np.radians(gaze.pitch)
    cy, sy, cp, sp = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
    tilt = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
    turn_y = np.array([[cy, 0, -sy], [0, 1, 0], [sy, 0, cy]])
    turned = local @ (turn_y @ tilt).T
    return [
        part(centre + radius * bulge * turned, local, EYE, closed=True)
        for centre, radius in zip(form.eyes, form.radius, strict=True)
    ]


def _hinged(points: F64, angle: float) -> F64:
    y, z = points[..., 1] - HINGE[1], points[..., 2] - HINGE[2]
    sine, cosine = np.sin(angle), np.cos(angle)
    out = points.copy()
    out[..., 1] = HINGE[1] + cosine * y - sine * z
    out[..., 2] = HINGE[2] + sine * y + cosine * z
    return out


@lru_cache(maxsize=1)
def _teeth() -> list[tuple[F64, F64, int]]:
    """Points against the middle of the mouth, coordinates for painting, material; rows, tongue."""
    across = np.linspace(-1, 1, 25)[None]
    down = np.linspace(0, 1, 4)[:, None]
    found = []
    for lower in (False, True):
        width = 0.25 if lower else 0.27
        x = width * np.sin(across * 1.35) / np.sin(1.35) + 0 * down
        z = 0.085 + 0.23 * (1 - np.cos(across * 1.35)) + (0.02 if lower else 0.0)
        y = (0.035 + 0.1 * down if lower else -0.085 + 0.115 * down) + 0 * across
        points = np.stack([x, y, z + 0.015 * (down - 0.5) ** 2], -1)
        rest = np.stack([across + 0 * down, down + 0 * across, np.full(x.shape, float(lower))], -1)
        found.append((points, rest, TEETH))
    u, v = np.linspace(-1, 1, 9)[:, None], np.linspace(0, 1, 7)[None]
    points = np.stack([
        0.17 * u * np.sqrt(1 - 0.75 * (1 - v) ** 2),
        0.12 + 0.05 * u**2 - 0.02 * v,
        0.15 + 0.4 * v + 0 * u,
    ], -1)  # fmt: skip
    found.append((points, np.stack([u + 0 * v, v + 0 * u, 0 * u * v], -1), TONGUE))
    return found


def teeth(form: Form) -> list[Part]:
    """Two rows of teeth and the tongue."""
    middle = mouth_middle(form.points)
    (upper, rest, material), *moving = _teeth()
    found = [part(middle + upper, rest, material, closed=False)]
    jaw = _hinged(middle + _jaw_teeth(), form.jaw)
    for points, rest, material in moving:
        own, jaw = np.split(jaw, [points.shape[0] * points.shape[1]])
        found.append(part(own.reshape(points.shape), rest, material, closed=False))
    return found


@lru_cache(maxsize=1)
def _jaw_teeth() -> F64:
    """(V, 3) what the jaw carries."""
    return np.concatenate([points.reshape(-1, 3) for points, _, _ in _teeth()[1:]])


@lru_cache(maxsize=1)
def _ear() -> tuple[F64, F64, F64, F64]:
    """Width and length of an ear's rings at size 1, height over its plane, coordinates for painting."""
    radial = np.array([0.0, 0.25, 0.45, 0.62, 0.78, 0.9, 1.0, 0.95])[:, None]
    turn = np.linspace(0, 2 * np.pi, 22, endpoint=False)[None]
    height = np.interp(
        radial,
        [0, 0.25, 0.45, 0.62, 0.78, 0.9, 0.99, 1.0],
        [-0.06, -0.05, -0.005, 0.025, 0.0, 0.045, 0.05, 0.02],
    )
    height = height + 0 * turn
    height[-1] = -0.07
    a = 0.185 * radial * np.cos(turn) * (1 - 0.18 * np.sin(turn))
    b = 0.32 * radial * np.sin(turn)
    return a, b, height, np.stack([a, b, radial + 0 * turn], -1)


def ears(who: Identity) -> list[Part]:
    """Two ears: a rimmed shell each."""
    wide, tall, height, rest = _ear()
    size = 1 + 0.2 * who.ear_size
    a, b = size * wide, size * tall
    angle = np.radians(24 + 14 * who.ear_angle)
    x = height * np.cos(angle) + (a + 0.1) * np.sin(angle)
    z = (a + 0.1) * np.cos(angle) - height * np.sin(angle)
    points = np.empty((2, *x.shape, 3))
    points[1, ..., 0] = 0.765 + x
    points[0, ..., 0] = -points[1, ..., 0]
    points[..., 1] = -0.1 + b + 0.12 * z
    points[..., 2] = 0.78 + z
    stretch(points.reshape(-1, 3), whole(who))
    return [part(one, rest, EAR, closed=True) for one in points]


class _Ring(NamedTuple):
    """Rings (R, 1) around an axis and what is constant on them (R, C)."""

    t: F64
    turn: F64
    sine: F64
    cosine: F64
    bend: F64


@lru_cache(maxsize=1)
def _neck() -> _Ring:
    t = np.linspace(0, 1, 10)[:, None]
    turn = np.linspace(0, 2 * np.pi, 28, endpoint=False)[None]
    # Sternomastoids and throat.
    bend = 0.035 * np.exp(-((np.abs(turn - np.pi) - np.pi + 0.55 * (1 - t)) ** 2) / 0.02)
    return _Ring(t, turn, np.sin(turn), np.cos(turn), bend)


def neck(who: Identity) -> Part:
    """A tube from inside the jaw to inside the collar."""
    t, turn, sine, cosine, bend = _neck()
    flare = np.minimum(np.maximum(t - 0.6, 0), 1)
    wide = (0.56 + 0.09 * who.neck_width) * (1 + 0.35 * flare**2 * 4)
    points = np.empty((len(t), turn.shape[1], 3))
    points[..., 0] = wide * sine
    points[..., 1] = 0.1 + 1.75 * t
    points[..., 2] = (
        0.98 + 0.22 * t - (0.52 + 0.06 * who.neck_width) * cosine * (1 + 0.1 * t) - bend
    )
    return part(points, points, NECK, closed=True)


@lru_cache(maxsize=1)
def _trunk() -> _Ring:
    t = np.linspace(0, 1, 12)[:, None]
    turn = np.linspace(0, 2 * np.pi, 36, endpoint=False)[None]
    out = np.sin(t * np.pi / 2)
    y = 1.2 + 0.55 * out**1.6 + 6.0 * np.clip(t - 0.55, 0, 1) ** 1.3 + 0 * turn
    y = y + 0.22 * np.cos(turn) ** 2 * (1 - np.abs(out - 0.4))
    return _Ring(out, turn, np.sin(turn), np.cos(turn), y)


def trunk(who: Identity) -> Part:
    """Shoulders and chest; moves with the trunk."""
    out, turn, sine, cosine, y = _trunk()
    points = np.empty((len(out), turn.shape[1], 3))
    points[..., 0] = (0.52 + (1.6 + 0.15 * who.neck_width) * out**1.15) * sine
    points[..., 1] = y
    points[..., 2] = 1.2 - (0.45 + 0.55 * out) * cosine
    return part(points, points, CLOTH, closed=True)


def cross(a: F64, b: F64) -> F64:
    """(N, 3) vector products; :func:`numpy.cross` takes longer to find its axes."""
    out = np.empty_like(a)
    out[:, 0] = a[:, 1] * b[..., 2] - a[:, 2] * b[..., 1]
    out[:, 1] = a[:, 2] * b[..., 0] - a[:, 0] * b[..., 2]
    out[:, 2] = a[:, 0] * b[..., 1] - a[:, 1] * b[..., 0]
    return out


@lru_cache(maxsize=1)
def _hexagon() -> F64:
    """(2, 6) cosines and sines."""
    turn = np.linspace(0, 2 * np.pi, 6, endpoint=False)
    return np.stack([np.cos(turn), np.sin(turn)])


@jit
def bar(path: F64, thickness: float, closed: bool, around: F64, out: F64) -> None:
    """A round bar along a path.

    Args:
        path: (P, 3)
        thickness: Its radius.
        closed: Whether the path's end meets its start.
        around: (2, 6) cosines and sines.
        out: (P, 6, 3), or (P + 1, 6, 3) where it is closed; drawn into.
    """
    last = path.shape[0] - 1
    for p in range(out.shape[0]):
        i = p if p <= last else 0
        before, after = max(i - 1, 0), min(i + 1, last)
        if closed:
            before, after = (i + last) % (last + 1), (i + 1) % (last + 1)
        x, y, z = (
            path[after, 0] - path[before, 0],
            path[after, 1] - path[before, 1],
            path[after, 2] - path[before, 2],
        )
        length = np.sqrt(x**2 + y**2 + z**2) + 1e-9
        x, y, z = x / length, y / length, z / length
        # Two directions across it.
        a, b, c = y * 0.95 - z * 0.31, z * 0.0 - x * 0.95, x * 0.31 - y * 0.0
        length = np.sqrt(a**2 + b**2 + c**2) + 1e-9
        a, b, c = a / length, b / length, c / length
        d, e, f = y * c - z * b, z * a - x * c, x * b - y * a
        for n in range(around.shape[1]):
            cosine, sine = around[0, n], around[1, n]
            out[p, n, 0] = path[i, 0] + thickness * (cosine * a + sine * d)
            out[p, n, 1] = path[i, 1] + thickness * (cosine * b + sine * e)
            out[p, n, 2] = path[i, 2] + thickness * (cosine * c + sine * f)


def tube(path: F64, thickness: float, closed: bool, material: int) -> Part:
    """A round bar along (P, 3) points."""
    points = np.empty((len(path) + closed, 6, 3))
    bar(path, thickness, closed, _hexagon(), points)
    return part(points, points, material, closed=True)


def glasses(form: Form, who: Identity, scene: Scene) -> list[Part]:
    """Frames in front of the eyes, a bridge and two temples."""
    if scene.glasses < 0.5:
        return []
    thickness = 0.012 + 0.022 * scene.glasses_thick
    power = 2.0 + 2.5 * (1 - scene.glasses_round)
    turn = np.linspace(0, 2 * np.pi, 28, endpoint=False)
    wide = 0.265 + 0.045 * scene.glasses_size
    tall = wide * (0.62 + 0.22 * scene.glasses_round)
    found, inner = [], []
    front = float(
        min(
            form.points[[9, 168, 6, 66, 296, 105, 334], 2].min() - 0.03,
            form.eyes[:, 2].min() - 0.36,
        )
    )
    for side, eye in zip((-1, 1), form.eyes, strict=True):
        c, s = np.cos(turn), np.sin(turn)
        x = eye[0] + side * 0.02 + wide * np.sign(c) * np.abs(c) ** (2 / power)
        y = eye[1] + 0.03 + tall * np.sign(s) * np.abs(s) ** (2 / power)
        z = front + 0.16 * (np.abs(x) - 0.1) ** 2 + 0 * y
        found.append(tube(np.stack([x, y, z], 1), thickness, True, GLASSES))
        outer = eye[0] + side * (0.02 + wide)
        hinge = np.array([outer, eye[1] - 0.02, front + 0.16 * (abs(outer) - 0.1) ** 2])
        ear = overall(np.array([[side * 0.83, -0.36, 0.8]]), who)[0]
        found.append(tube(np.linspace(hinge, ear, 8), thickness * 1.1, False, GLASSES))
        inner.append(np.array([eye[0] + side * (0.02 - wide), eye[1] - 0.02, front + 0.01]))
    bow = np.linspace(inner[0], inner[1], 7)
    bow[:, 1] -= 0.03 * np.sin(np.linspace(0, np.pi, 7))
    bow[:, 2] -= 0.02 * np.sin(np.linspace(0, np.pi, 7))
    found.append(tube(bow, thickness, False, GLASSES))
    return found


@lru_cache(maxsize=1)
def _ball() -> F64:
    ring = np.linspace(0, np.pi, 8)[:, None]
    turn = np.linspace(0, 2 * np.pi, 12, endpoint=False)[None]
    return np.stack(
        [np.sin(ring) * np.cos(turn), -np.cos(ring) + 0 * turn, np.sin(ring) * np.sin(turn)], -1
    )


def ball(centre: F64, radii: F64, material: int) -> Part:
    """An ellipsoid."""
    local = _ball()
    return part(centre + radii * local, local, material, closed=True)


def earrings(who: Identity, scene: Scene) -> list[Part]:
    """A drop at each ear lobe."""
    if scene.earring < 0.5:
        return []
    size = 0.03 + 0.1 * (scene.earring - 0.5)
    found = []
    for side in (-1, 1):
        lobe = overall(np.array([[side * 0.86, 0.25 + 0.05 * who.ear_size + size, 0.82]]), who)[0]
        found.append(ball(lobe, size * np.array([1.0, 1.3, 1.0]), EARRING))
    return found
