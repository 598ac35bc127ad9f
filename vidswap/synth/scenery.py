"""What is behind the head: small pictures, out of focus."""

import numpy as np

from vidswap.synth.jit import inline, jit
from vidswap.synth.paint import hsv
from vidswap.synth.params import Scene
from vidswap.types import F32, F64

SIDE = 48
"""Samples across the picture's height and width; it is out of focus anyway."""


def background(scene: Scene) -> F32:
    """(48, 48, 3) linear light, to be stretched over the camera's square field."""
    rng = np.random.default_rng([3, int(scene.background_seed * 1e6)])
    y = np.arange(SIDE)[:, None] / (SIDE - 1)
    x = y.T
    low = np.array(
        hsv(scene.background_hue, scene.background_colour, 0.15 + 0.6 * scene.background_light)
    )
    high = np.array(
        hsv(
            scene.background_second_hue, scene.background_colour, 0.3 + 0.6 * scene.background_light
        )
    )
    angle = rng.uniform(0, 2 * np.pi)
    picture = np.empty((SIDE, SIDE, 3))
    gradient(low, high, (float(np.cos(angle)), float(np.sin(angle))), picture)
    kind = int(min(scene.background_pattern * 5, 4))
    if kind == 1:
        picture = picture * (0.75 + 0.5 * _cloud(rng, 5)[..., None])
    elif kind == 2:
        picture = _shelves(picture, rng)
    elif kind == 3:
        picture = picture * (0.25 + 1.3 * _cloud(rng, 11)[..., None]) * [0.85, 1.1, 0.7]
    elif kind == 4:
        picture = _lights(picture * 0.5, rng, (x, y))
    return np.minimum(np.maximum(picture, 0.0), 1.2).astype(np.float32)


def _clip(values: F64) -> F64:
    clipped: F64 = np.minimum(np.maximum(values, 0.0), 1.0)
    return clipped


def _cloud(rng: np.random.Generator, cells: int) -> F64:
    knots = rng.random((cells + 1, cells + 1))
    where = np.linspace(0, cells, SIDE)
    low = np.minimum(where.astype(np.int64), cells - 1)
    share = (where - low)[:, None]
    rows = knots[low] + (knots[low + 1] - knots[low]) * share
    cloud: F64 = rows[:, low] + (rows[:, low + 1] - rows[:, low]) * share.T
    return cloud


def _within(low: float, high: float) -> slice:
    """Samples that can lie in a range of the picture, [0, 1]."""
    return slice(max(int(low * (SIDE - 1)), 0), max(int(high * (SIDE - 1)) + 2, 0))


def _shelves(picture: F64, rng: np.random.Generator) -> F64:
    out = picture * 0.6
    # Left, top, width, height, brightness of each colour.
    low = np.array([-0.1, -0.1, 0.05, 0.08, 0.2, 0.2, 0.2])
    high = np.array([1.0, 1.0, 0.3, 0.5, 1.6, 1.6, 1.6])
    shelves(picture, low + (high - low) * rng.random((14, 7)), out)
    return out


@inline
def clamp(x: float) -> float:
    """Into [0, 1]."""
    return min(max(x, 0.0), 1.0)


@jit
def gradient(low: F64, high: F64, turn: tuple[float, float], out: F64) -> None:
    """From one (3,) colour to another, along a direction's cosine and sine; (SIDE, SIDE, 3) drawn into."""
    last = SIDE - 1
    for i in range(SIDE):
        for j in range(SIDE):
            ramp = clamp(0.5 + (j / last - 0.5) * turn[0] + (i / last - 0.5) * turn[1])
            for c in range(3):
                out[i, j, c] = low[c] + (high[c] - low[c]) * ramp


@jit
def shelves(picture: F64, draws: F64, out: F64) -> None:
    """Lay boxes of other brightness over a picture.

    Args:
        picture: (SIDE, SIDE, 3) what they brighten.
        draws: (N, 7) left, top, width, height, brightness of each colour.
        out: (SIDE, SIDE, 3) drawn over.
    """
    last = SIDE - 1
    for n in range(draws.shape[0]):
        left, top, w, h = draws[n, 0], draws[n, 1], draws[n, 2], draws[n, 3]
        for i in range(max(int(top * last), 0), min(max(int((top + h) * last) + 2, 0), SIDE)):
            y = i / last
            for j in range(max(int(left * last), 0), min(max(int((left + w) * last) + 2, 0), SIDE)):
                x = j / last
                inside = clamp((x - left) / 0.02) * clamp((left + w - x) / 0.02)
                inside = inside * clamp((y - top) / 0.02) * clamp((top + h - y) / 0.02)
                for c in range(3):
                    bright = picture[i, j, c] * draws[n, 4 + c]
                    out[i, j, c] += inside * (bright - out[i, j, c]) * 0.8


def _lights(picture: F64, rng: np.random.Generator, at: tuple[F64, F64]) -> F64:
    x, y = at
    for cx, cy, radius, hue, much, bright in rng.random((16, 6)).tolist():
        r = 0.03 + (0.11 - 0.03) * radius
        colour = np.array(hsv(hue, 0.1 + (0.7 - 0.1) * much, 0.3 + (0.9 - 0.3) * bright))
        columns, rows = _within(cx - r, cx + r), _within(cy - r, cy + r)
        disc = _clip((r - np.hypot(x[:, columns] - cx, y[rows] - cy)) / 0.025)[..., None]
        picture[rows, columns] += disc * colour * 0.7
    return picture
