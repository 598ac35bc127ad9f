"""Everything on a head that is no skin: eyeballs, teeth, tongue, ears, neck, clothes, hair, glasses.

Each part is a grid whose points are computed anew for every head, in the head's own coordinates.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vidswap.synth.anatomy import SKULL_CENTRE, SKULL_RADII
from vidswap.synth.form import HINGE, Form, mouth_middle, overall
from vidswap.synth.params import Gaze, Identity, Scene
from vidswap.types import F64

(SKIN, MOUTH, EYE, TEETH, TONGUE, EAR, NECK, CLOTH, HAIR, GLASSES, EARRING, HAND, MIC) = range(13)
"""Materials."""


class Part(NamedTuple):
    """A triangle grid with what the painter needs at each vertex."""

    points: F64
    """(V, 3)"""
    rest: F64
    """(V, 3) coordinates in which it is painted."""
    triangles: NDArray[np.int32]
    """(M, 3)"""
    material: int
    extra: F64
    """(V,) meaning depends on the material."""


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


def part(points: F64, rest: F64, material: int, *, closed: bool, extra: F64 | float = 0.0) -> Part:
    """A grid part from (rows, columns, 3) points and their coordinates for painting."""
    rows, columns = points.shape[:2]
    value = np.broadcast_to(np.asarray(extra, np.float64), (rows, columns)).ravel()
    topology = grid(rows, columns, closed)
    return Part(points.reshape(-1, 3), rest.reshape(-1, 3), topology, material, value)


def eyeball(centre: F64, radius: float, gaze: Gaze) -> Part:
    """The front of an eyeball; painted in directions against the gaze."""
    ring = np.linspace(0, 1, 9)[:, None] ** 1.2 * np.radians(100)
    turn = np.linspace(0, 2 * np.pi, 20, endpoint=False)[None]
    around = np.broadcast_to(turn, (9, 20))
    local = np.stack(
        [
            np.sin(ring) * np.cos(around),
            np.sin(ring) * np.sin(around),
            -np.cos(ring) * np.ones_like(around),
        ],
        -1,
    )
    yaw, pitch = np.radians(gaze.yaw), np.radians(gaze.pitch)
    cy, sy, cp, sp = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
    tilt = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
    turn_y = np.array([[cy, 0, -sy], [0, 1, 0], [sy, 0, cy]])
    # The cornea stands out a little over the iris.
    bulge = 1 + 0.03 * np.exp(-((ring / np.radians(30)) ** 2))
    points = centre + radius * bulge[..., None] * (local @ (turn_y @ tilt).T)
    return part(points, local, EYE, closed=True)


def _hinged(points: F64, angle: float) -> F64:
    y, z = (points - HINGE)[..., 1], (points - HINGE)[..., 2]
    out = points.copy()
    out[..., 1] = HINGE[1] + np.cos(angle) * y - np.sin(angle) * z
    out[..., 2] = HINGE[2] + np.sin(angle) * y + np.cos(angle) * z
    return out


def teeth(form: Form) -> list[Part]:
    """Two rows of teeth and the tongue."""
    middle = mouth_middle(form.points)
    across = np.linspace(-1, 1, 25)[None]
    down = np.linspace(0, 1, 4)[:, None]
    found = []
    for lower in (False, True):
        width = 0.25 if lower else 0.27
        x = width * np.sin(across * 1.35) / np.sin(1.35) + 0 * down
        z = middle[2] + 0.085 + 0.23 * (1 - np.cos(across * 1.35)) + (0.02 if lower else 0.0)
        y = middle[1] + (0.035 + 0.1 * down if lower else -0.085 + 0.115 * down) + 0 * across
        points = np.stack([middle[0] + x, y, z + 0.015 * (down - 0.5) ** 2], -1)
        rest = np.stack([across + 0 * down, down + 0 * across, np.full(x.shape, float(lower))], -1)
        if lower:
            points = _hinged(points, form.jaw)
        found.append(part(points, rest, TEETH, closed=False))
    u, v = np.linspace(-1, 1, 9)[:, None], np.linspace(0, 1, 7)[None]
    points = np.stack([
        middle[0] + 0.17 * u * np.sqrt(1 - 0.75 * (1 - v) ** 2),
        middle[1] + 0.12 + 0.05 * u**2 - 0.02 * v,
        middle[2] + 0.15 + 0.4 * v + 0 * u,
    ], -1)  # fmt: skip
    rest = np.stack([u + 0 * v, v + 0 * u, 0 * u * v], -1)
    found.append(part(_hinged(points, form.jaw), rest, TONGUE, closed=False))
    return found


def ears(who: Identity) -> list[Part]:
    """Two ears: a rimmed shell each."""
    radial = np.array([0.0, 0.25, 0.45, 0.62, 0.78, 0.9, 1.0, 0.95])[:, None]
    turn = np.linspace(0, 2 * np.pi, 22, endpoint=False)[None]
    size = 1 + 0.2 * who.ear_size
    a = 0.185 * size * radial * np.cos(turn) * (1 - 0.18 * np.sin(turn))
    b = 0.32 * size * radial * np.sin(turn)
    height = np.interp(
        radial,
        [0, 0.25, 0.45, 0.62, 0.78, 0.9, 0.99, 1.0],
        [-0.06, -0.05, -0.005, 0.025, 0.0, 0.045, 0.05, 0.02],
    )
    height = height + 0 * turn
    height[-1] = -0.07
    angle = np.radians(24 + 14 * who.ear_angle)
    found = []
    for side in (-1, 1):
        x = height * np.cos(angle) + (a + 0.1) * np.sin(angle)
        z = (a + 0.1) * np.cos(angle) - height * np.sin(angle)
        points = np.stack([side * (0.765 + x), -0.1 + b + 0.12 * z, 0.78 + z], -1)
        points = overall(points.reshape(-1, 3), who).reshape(points.shape)
        rest = np.stack([a / size, b / size, radial + 0 * turn], -1)
        found.append(part(points, rest, EAR, closed=True))
    return found


def neck(who: Identity) -> Part:
    """A tube from inside the jaw to inside the collar; ``extra`` is 0 at the head, 1 at the trunk."""
    t = np.linspace(0, 1, 10)[:, None]
    turn = np.linspace(0, 2 * np.pi, 28, endpoint=False)[None]
    wide = (0.56 + 0.09 * who.neck_width) * (1 + 0.0 * t + 0.35 * np.clip(t - 0.6, 0, 1) ** 2 * 4)
    x = wide * np.sin(turn)
    z = 0.98 + 0.22 * t - (0.52 + 0.06 * who.neck_width) * np.cos(turn) * (1 + 0.1 * t)
    y = 0.1 + 1.75 * t + 0 * turn
    # Sternomastoids and throat.
    z = z - 0.035 * np.exp(-((np.abs(turn - np.pi) - np.pi + 0.55 * (1 - t)) ** 2) / 0.02)
    points = np.stack([x, y, z + 0 * x], -1)
    return part(points, points.copy(), NECK, closed=True, extra=t + 0 * turn)


def trunk(who: Identity) -> Part:
    """Shoulders and chest; moves with the trunk."""
    t = np.linspace(0, 1, 12)[:, None]
    turn = np.linspace(0, 2 * np.pi, 36, endpoint=False)[None]
    out = np.sin(t * np.pi / 2)
    wide = (0.52 + (1.6 + 0.15 * who.neck_width) * out**1.15) * (1 + 0 * turn)
    deep = 0.45 + 0.55 * out
    y = 1.2 + 0.55 * out**1.6 + 6.0 * np.clip(t - 0.55, 0, 1) ** 1.3 + 0 * turn
    y = y + 0.22 * np.cos(turn) ** 2 * (1 - np.abs(out - 0.4))
    points = np.stack([wide * np.sin(turn), y, 1.2 - deep * np.cos(turn)], -1)
    return part(points, points.copy(), CLOTH, closed=True, extra=1.0)


def _smooth(low: float, high: float, x: F64) -> F64:
    t = np.clip((x - low) / (high - low), 0, 1)
    result: F64 = t * t * (3 - 2 * t)
    return result


def hairline(azimuth: F64, scene: Scene) -> F64:
    """Height (y) of the hair's natural edge at an azimuth, 0 in front and ±π behind."""
    a = np.abs(azimuth)
    front = -1.0 - 0.17 * scene.hairline - 0.07 * scene.widow * np.exp(-(((a - 0.42) / 0.2) ** 2))
    front = front + 0.03 * scene.widow * np.exp(-((a / 0.15) ** 2))
    temple = front + (-0.5 - front) * _smooth(0.45, 0.95, a)
    side = temple + (-0.02 - temple) * _smooth(0.95, 1.25, a)
    return side + (0.38 - side) * _smooth(1.75, 2.1, a)


def hair(who: Identity, scene: Scene) -> Part | None:
    """The hair as a shell over the skull that hangs down where it is long."""
    if scene.hair < 0.25:
        return None
    rows, columns = 20, 80
    turn = np.linspace(-np.pi, np.pi, columns, endpoint=False)[None]
    a = np.abs(turn)
    s = (np.linspace(0, 1, rows) ** 0.9)[:, None]
    edge = hairline(turn, scene)
    falls = scene.hair_length
    long = -0.05 + 2.0 * falls
    start = 1.5 - 0.62 * scene.hair_forward
    edge = edge + np.maximum(long - edge, 0) * _smooth(start - 0.2, start + 0.15, a) * (
        falls > 0.15
    )
    hem = (
        0.32
        * scene.fringe
        * _smooth(0.85, 0.3, a)
        * (1 + 0.25 * np.sin(turn * 9 + 20 * scene.hair_seed))
    )
    edge = edge + np.where(scene.fringe > 0.2, hem, 0)
    top = SKULL_CENTRE[1] - SKULL_RADII[1]
    y = top + (edge - top) * s**1.35 + 1e-4
    below = np.clip((y - SKULL_CENTRE[1]) / SKULL_RADII[1], -1, None)
    ellipse = np.sqrt(np.maximum(1 - np.clip(below, -1, 1) ** 2, 0))
    hang = _smooth(-0.1, 0.5, below) * min(falls / 0.3, 1) * _smooth(0.9, 1.4, a)
    spread = 1.0 - 0.12 * np.clip(below - 0.6, 0, 2) + 0.1 * scene.curl * np.clip(below, 0, 1)
    radius = ellipse * (1 - hang) + np.maximum(ellipse, spread * np.minimum(1, 1.2)) * hang
    thick = _thickness(turn, s, y, scene)
    wave = _waves(turn, y, scene)
    push = thick + wave * np.minimum(thick * 3, 1) * 0.6
    up = np.clip(-below, 0, 1)
    x = (SKULL_RADII[0] * radius + push * np.sqrt(1 - up**2)) * np.sin(turn)
    z = SKULL_CENTRE[2] - (SKULL_RADII[2] * radius + push * np.sqrt(1 - up**2)) * np.cos(turn)
    z = z + 0.0 * y
    y = y - push * up
    points = overall(np.stack([x + 0 * y, y + 0 * x, z + 0 * y], -1).reshape(-1, 3), who)
    rest = np.stack(
        [turn + 0 * s, s * (1.2 + falls) + 0 * turn, np.full(y.shape, 10 * scene.hair_seed)], -1
    )
    points = points.reshape(rows, columns, 3)
    return part(points, rest, HAIR, closed=True, extra=s + 0 * turn)


def _thickness(turn: F64, s: F64, y: F64, scene: Scene) -> F64:
    a = np.abs(turn)
    top = 0.05 + 0.24 * scene.hair_top
    sides = 0.03 + 0.24 * scene.hair_sides
    high = _smooth(-0.75, -1.35, y)
    thick = sides + (top - sides) * high
    thick = thick + 0.2 * scene.quiff * _smooth(0.9, 0.2, a) * _smooth(0.25, 0.75, s)
    parting = np.exp(-(((turn - 0.9 * scene.parting) / 0.09) ** 2)) * _smooth(1.5, 0.8, a)
    thick = thick * (1 - 0.35 * parting * (abs(scene.parting) > 0.15) * _smooth(0.15, 0.5, s))
    root = _smooth(1.0, 0.72, s)
    keep = np.maximum(
        0.35 * (scene.fringe > 0.2), min(scene.hair_length, 0.4) * _smooth(0.9, 1.4, a)
    )
    return thick * (root + (1 - root) * np.maximum(keep, 0.04)) * min(scene.hair * 1.3, 1.0)


def _waves(turn: F64, y: F64, scene: Scene) -> F64:
    seed = 50 * scene.hair_seed
    curl = scene.curl
    return curl * 0.16 * (
        np.sin(turn * 7 + seed + 2 * np.sin(y * 6 + seed)) * np.sin(y * 9 + turn * 3 + seed)
        + 0.6 * np.sin(turn * 17 + y * 15 + 2 * seed)
    ) + 0.035 * np.sin(turn * 13 + 3 * np.sin(y * 3 + seed) + seed)


def tube(path: F64, thickness: float, closed: bool, material: int) -> Part:
    """A round bar along (P, 3) points."""
    ahead = np.roll(path, -1, 0) - np.roll(path, 1, 0)
    if not closed:
        ahead[0], ahead[-1] = path[1] - path[0], path[-1] - path[-2]
    ahead /= np.linalg.norm(ahead, axis=1, keepdims=True) + 1e-9
    side = np.cross(ahead, [0.0, 0.31, 0.95])
    side /= np.linalg.norm(side, axis=1, keepdims=True) + 1e-9
    other = np.cross(ahead, side)
    turn = np.linspace(0, 2 * np.pi, 6, endpoint=False)
    points = path[:, None] + thickness * (
        np.cos(turn)[None, :, None] * side[:, None] + np.sin(turn)[None, :, None] * other[:, None]
    )
    if closed:
        points = np.concatenate([points, points[:1]])
    return part(points, points.copy(), material, closed=True)


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


def ball(centre: F64, radii: F64, material: int) -> Part:
    """An ellipsoid."""
    ring = np.linspace(0, np.pi, 8)[:, None]
    turn = np.linspace(0, 2 * np.pi, 12, endpoint=False)[None]
    local = np.stack(
        [np.sin(ring) * np.cos(turn), -np.cos(ring) + 0 * turn, np.sin(ring) * np.sin(turn)], -1
    )
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
