"""Where hair grows, and the shell of hair over the skull."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from vidswap.synth.anatomy import SKULL_CENTRE, SKULL_RADII, cage
from vidswap.synth.form import stretched, whole
from vidswap.synth.jit import inline, jit
from vidswap.synth.params import Identity, Scene
from vidswap.synth.parts import HAIR, Part, part
from vidswap.types import F64

ROWS, COLUMNS = 20, 80
"""Of the shell, from the crown to the hem and around from the back."""


def _smooth(low: float, high: float, x: F64) -> F64:
    t = np.minimum(np.maximum((x - low) / (high - low), 0), 1)
    result: F64 = t * t * (3 - 2 * t)
    return result


def around(azimuth: F64) -> F64:
    """(5, N) what the hairline is mixed from at (N,) azimuths, 0 in front and ±π behind, of any head.

    Bays, middle, temples, sides, back.
    """
    a = np.abs(azimuth)
    return np.stack([
        np.exp(-(((a - 0.42) / 0.2) ** 2)), np.exp(-((a / 0.15) ** 2)),
        _smooth(0.45, 0.95, a), _smooth(0.95, 1.25, a), _smooth(1.75, 2.1, a),
    ])  # fmt: skip


@lru_cache(maxsize=1)
def skin_around() -> F64:
    """At the vertices of the cage's skin."""
    relative = cage().rest.astype(np.float64) - SKULL_CENTRE
    return around(np.arctan2(relative[:, 0], -relative[:, 2]))


def hairline(at: F64, scene: Scene) -> F64:
    """(N,) height (y) of the hair's natural edge."""
    out = np.empty(at.shape[1])
    line(at, scene.hairline, scene.widow, out)
    return out


@jit
def line(at: F64, high: float, widow: float, out: F64) -> None:
    """:func:`hairline`, drawn into ``out``."""
    for n in range(out.shape[0]):
        front = -1.0 - 0.17 * high - 0.07 * widow * at[0, n]
        front = front + 0.03 * widow * at[1, n]
        temple = front + (-0.5 - front) * at[2, n]
        side = temple + (-0.02 - temple) * at[3, n]
        out[n] = side + (0.38 - side) * at[4, n]


class _Shell(NamedTuple):
    """What holds for every head's hair: (1, C) around, (R, 1) down."""

    turn: F64
    a: F64
    sine: F64
    cosine: F64
    around: F64
    """(5, C)"""
    s: F64
    fall: F64
    """Of ``s``, towards the hem."""
    fringe: F64
    behind: F64
    quiff: F64
    """(R, C)"""
    parting: F64
    """(R, C)"""
    root: F64


@lru_cache(maxsize=1)
def _shell() -> _Shell:
    turn = np.linspace(-np.pi, np.pi, COLUMNS, endpoint=False)[None]
    a = np.abs(turn)
    s = down()[:, None]
    return _Shell(
        turn, a, np.sin(turn), np.cos(turn), around(turn[0]), s, s**1.35, _smooth(0.85, 0.3, a),
        _smooth(0.9, 1.4, a), 0.2 * _smooth(0.9, 0.2, a) * _smooth(0.25, 0.75, s),
        0.35 * _smooth(1.5, 0.8, a) * _smooth(0.15, 0.5, s), _smooth(1.0, 0.72, s),
    )  # fmt: skip


def down() -> F64:
    """(ROWS,) how far each row of the shell is from the crown, [0, 1]."""
    rows: F64 = np.linspace(0, 1, ROWS) ** 0.9
    return rows


def hair(who: Identity, scene: Scene) -> Part | None:
    """The hair as a shell over the skull that hangs down where it is long."""
    if scene.hair < 0.25:
        return None
    shell = _shell()
    parted = np.zeros(COLUMNS)
    if abs(scene.parting) > 0.15:
        parted = np.exp(-(((shell.turn[0] - 0.9 * scene.parting) / 0.09) ** 2))
    at = np.concatenate(
        [shell.turn, shell.sine, shell.cosine, shell.behind, _edge(shell, scene), parted[None]]
    )
    down = np.concatenate([shell.fall, shell.root, shell.s], 1)
    growth = Growth(
        scene.hair, scene.hair_length, 0.05 + 0.24 * scene.hair_top, 0.03 + 0.24 * scene.hair_sides,
        scene.quiff, scene.fringe, scene.curl, scene.hair_seed,
    )  # fmt: skip
    points, rest = np.empty((2, ROWS, COLUMNS, 3))
    grow(at, down, (shell.quiff, shell.parting), (growth, whole(who)), (points, rest))
    return part(points, rest, HAIR, closed=True)


class Growth(NamedTuple):
    """Amount, length, thickness on top and at the sides, and the rest of a scene's hair."""

    amount: float
    falls: float
    top: float
    sides: float
    quiff: float
    fringe: float
    curl: float
    seed: float


@inline
def ease(low: float, high: float, x: float) -> float:
    """0 at ``low``, 1 at ``high``, smooth between."""
    t = min(max((x - low) / (high - low), 0.0), 1.0)
    return t * t * (3 - 2 * t)


@inline
def waves(turn: float, y: float, curl: float, seed: float) -> float:
    """How far locks stand out."""
    near = np.sin(turn * 7 + seed + 2 * np.sin(y * 6 + seed)) * np.sin(y * 9 + turn * 3 + seed)
    locks = near + 0.6 * np.sin(turn * 17 + y * 15 + 2 * seed)
    return curl * 0.16 * locks + 0.035 * np.sin(turn * 13 + 3 * np.sin(y * 3 + seed) + seed)


@inline
def thickness(
    y: float, root: float, tufts: tuple[float, float, float], behind: float, g: Growth
) -> float:
    """Of the hair at a height; ``tufts``: of quiff and parting, and how near the parting's line is."""
    thick = g.sides + (g.top - g.sides) * ease(-0.75, -1.35, y)
    thick = thick + g.quiff * tufts[0]
    thick = thick * (1 - tufts[1] * tufts[2])
    keep = max(0.35 * (g.fringe > 0.2), min(g.falls, 0.4) * behind)
    return thick * (root + (1 - root) * max(keep, 0.04)) * min(g.amount * 1.3, 1.0)


@jit
def grow(
    at: F64,
    down: F64,
    tufts: tuple[F64, F64],
    who: tuple[Growth, tuple[float, float, float]],
    out: tuple[F64, F64],
) -> None:
    """Points of the shell and the coordinates in which it is painted.

    Args:
        at: (6, C) turn, sine, cosine, how far behind, hem, parting's line.
        down: (R, 3) fall, root, row.
        tufts: (R, C) of quiff and parting.
        who: The hair and the head's sizes.
        out: (R, C, 3) each, drawn into.
    """
    g, sizes = who
    points, rest = out
    top, seed = SKULL_CENTRE[1] - SKULL_RADII[1], 50 * g.seed
    for r in range(down.shape[0]):
        for c in range(at.shape[1]):
            y = top + (at[4, c] - top) * down[r, 0] + 1e-4
            below = max((y - SKULL_CENTRE[1]) / SKULL_RADII[1], -1.0)
            ellipse = np.sqrt(max(1 - min(below, 1.0) ** 2, 0.0))
            hang = ease(-0.1, 0.5, below) * min(g.falls / 0.3, 1.0) * at[3, c]
            spread = 1.0 - 0.12 * min(max(below - 0.6, 0.0), 2.0)
            spread = spread + 0.1 * g.curl * min(max(below, 0.0), 1.0)
            radius = ellipse * (1 - hang) + max(ellipse, spread) * hang
            thick = thickness(
                y, down[r, 1], (tufts[0][r, c], tufts[1][r, c], at[5, c]), at[3, c], g
            )
            push = thick + waves(at[0, c], y, g.curl, seed) * min(thick * 3, 1.0) * 0.6
            up = min(max(-below, 0.0), 1.0)
            stands = push * np.sqrt(1 - up**2)
            x = (SKULL_RADII[0] * radius + stands) * at[1, c]
            points[r, c, 0], points[r, c, 1] = stretched(x, y - push * up, sizes)
            points[r, c, 2] = SKULL_CENTRE[2] - (SKULL_RADII[2] * radius + stands) * at[2, c]
            rest[r, c, 0], rest[r, c, 1] = at[0, c], down[r, 2] * (1.2 + g.falls)
            rest[r, c, 2] = 10 * g.seed


def _edge(shell: _Shell, scene: Scene) -> F64:
    """(1, C) y of the hem."""
    edge, falls = hairline(shell.around, scene)[None], scene.hair_length
    start = 1.5 - 0.62 * scene.hair_forward
    if falls > 0.15:
        long = np.maximum(-0.05 + 2.0 * falls - edge, 0)
        edge = edge + long * _smooth(start - 0.2, start + 0.15, shell.a)
    if scene.fringe > 0.2:
        wave = 1 + 0.25 * np.sin(shell.turn * 9 + 20 * scene.hair_seed)
        edge = edge + 0.32 * scene.fringe * shell.fringe * wave
    return edge
