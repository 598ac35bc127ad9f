"""Where hair grows, and the shell of hair over the skull."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from vidswap.synth.anatomy import SKULL_CENTRE, SKULL_RADII, cage
from vidswap.synth.form import overall
from vidswap.synth.params import Identity, Scene
from vidswap.synth.parts import HAIR, Part, part
from vidswap.types import F64

ROWS, COLUMNS = 20, 80
"""Of the shell, from the crown to the hem and around from the back."""


def _smooth(low: float, high: float, x: F64) -> F64:
    t = np.minimum(np.maximum((x - low) / (high - low), 0), 1)
    result: F64 = t * t * (3 - 2 * t)
    return result


class Around(NamedTuple):
    """What the hairline is mixed from, at some azimuths: 0 in front and ±π behind."""

    bays: F64
    middle: F64
    temple: F64
    side: F64
    back: F64


def around(azimuth: F64) -> Around:
    """Evaluate once what holds for every head."""
    a = np.abs(azimuth)
    return Around(
        np.exp(-(((a - 0.42) / 0.2) ** 2)), np.exp(-((a / 0.15) ** 2)),
        _smooth(0.45, 0.95, a), _smooth(0.95, 1.25, a), _smooth(1.75, 2.1, a),
    )  # fmt: skip


@lru_cache(maxsize=1)
def skin_around() -> Around:
    """At the vertices of the cage's skin."""
    relative = cage().rest.astype(np.float64) - SKULL_CENTRE
    return around(np.arctan2(relative[:, 0], -relative[:, 2]))


def hairline(at: Around, scene: Scene) -> F64:
    """Height (y) of the hair's natural edge."""
    front = -1.0 - 0.17 * scene.hairline - 0.07 * scene.widow * at.bays
    front = front + 0.03 * scene.widow * at.middle
    temple = front + (-0.5 - front) * at.temple
    side = temple + (-0.02 - temple) * at.side
    return side + (0.38 - side) * at.back


class _Shell(NamedTuple):
    """What holds for every head's hair: (1, C) around, (R, 1) down."""

    turn: F64
    a: F64
    sine: F64
    cosine: F64
    around: Around
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
        turn, a, np.sin(turn), np.cos(turn), around(turn), s, s**1.35, _smooth(0.85, 0.3, a),
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
    shell, falls = _shell(), scene.hair_length
    y = _height(shell, scene)
    below = np.maximum((y - SKULL_CENTRE[1]) / SKULL_RADII[1], -1)
    ellipse = np.sqrt(np.maximum(1 - np.minimum(below, 1) ** 2, 0))
    hang = _smooth(-0.1, 0.5, below) * min(falls / 0.3, 1) * shell.behind
    spread = 1.0 - 0.12 * np.minimum(np.maximum(below - 0.6, 0), 2)
    spread = spread + 0.1 * scene.curl * np.minimum(np.maximum(below, 0), 1)
    radius = ellipse * (1 - hang) + np.maximum(ellipse, spread) * hang
    thick = _thickness(shell, y, scene)
    push = thick + _waves(shell.turn, y, scene) * np.minimum(thick * 3, 1) * 0.6
    up = np.minimum(np.maximum(-below, 0), 1)
    out = push * np.sqrt(1 - up**2)
    points = np.empty((ROWS, COLUMNS, 3))
    points[..., 0] = (SKULL_RADII[0] * radius + out) * shell.sine
    points[..., 1] = y - push * up
    points[..., 2] = SKULL_CENTRE[2] - (SKULL_RADII[2] * radius + out) * shell.cosine
    rest = np.empty_like(points)
    rest[..., 0] = shell.turn
    rest[..., 1] = shell.s * (1.2 + falls)
    rest[..., 2] = 10 * scene.hair_seed
    grown = overall(points.reshape(-1, 3), who).reshape(points.shape)
    return part(grown, rest, HAIR, closed=True)


def _height(shell: _Shell, scene: Scene) -> F64:
    """(R, C) y of the shell's vertices, from the crown to the hem."""
    edge, falls = hairline(shell.around, scene), scene.hair_length
    start = 1.5 - 0.62 * scene.hair_forward
    if falls > 0.15:
        long = np.maximum(-0.05 + 2.0 * falls - edge, 0)
        edge = edge + long * _smooth(start - 0.2, start + 0.15, shell.a)
    if scene.fringe > 0.2:
        wave = 1 + 0.25 * np.sin(shell.turn * 9 + 20 * scene.hair_seed)
        edge = edge + 0.32 * scene.fringe * shell.fringe * wave
    top = SKULL_CENTRE[1] - SKULL_RADII[1]
    y: F64 = top + (edge - top) * shell.fall + 1e-4
    return y


def _thickness(shell: _Shell, y: F64, scene: Scene) -> F64:
    top = 0.05 + 0.24 * scene.hair_top
    sides = 0.03 + 0.24 * scene.hair_sides
    thick = sides + (top - sides) * _smooth(-0.75, -1.35, y)
    thick = thick + scene.quiff * shell.quiff
    if abs(scene.parting) > 0.15:
        line = np.exp(-(((shell.turn - 0.9 * scene.parting) / 0.09) ** 2))
        thick = thick * (1 - shell.parting * line)
    keep = np.maximum(0.35 * (scene.fringe > 0.2), min(scene.hair_length, 0.4) * shell.behind)
    grown = shell.root + (1 - shell.root) * np.maximum(keep, 0.04)
    thin: F64 = thick * grown * min(scene.hair * 1.3, 1.0)
    return thin


def _waves(turn: F64, y: F64, scene: Scene) -> F64:
    seed = 50 * scene.hair_seed
    curl = scene.curl
    return curl * 0.16 * (
        np.sin(turn * 7 + seed + 2 * np.sin(y * 6 + seed)) * np.sin(y * 9 + turn * 3 + seed)
        + 0.6 * np.sin(turn * 17 + y * 15 + 2 * seed)
    ) + 0.035 * np.sin(turn * 13 + 3 * np.sin(y * 3 + seed) + seed)
