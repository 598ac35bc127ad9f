"""What is behind the head: small pictures, out of focus."""

import numpy as np

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
    ramp = _clip(0.5 + (x - 0.5) * np.cos(angle) + (y - 0.5) * np.sin(angle))[..., None]
    picture = low + (high - low) * ramp
    kind = int(min(scene.background_pattern * 5, 4))
    if kind == 1:
        picture = picture * (0.75 + 0.5 * _cloud(rng, 5)[..., None])
    elif kind == 2:
        picture = _shelves(picture, rng, (x, y))
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


def _shelves(picture: F64, rng: np.random.Generator, at: tuple[F64, F64]) -> F64:
    out, (x, y) = picture * 0.6, at
    for _ in range(14):
        left, top = rng.uniform(-0.1, 1), rng.uniform(-0.1, 1)
        w, h = rng.uniform(0.05, 0.3), rng.uniform(0.08, 0.5)
        soft, bright = 0.02, rng.uniform(0.2, 1.6, 3)
        columns, rows = _within(left, left + w), _within(top, top + h)
        x_in, y_in = x[:, columns], y[rows]
        across = _clip((x_in - left) / soft) * _clip((left + w - x_in) / soft)
        inside = across * _clip((y_in - top) / soft) * _clip((top + h - y_in) / soft)
        shelf = out[rows, columns]
        shelf += inside[..., None] * (picture[rows, columns] * bright - shelf) * 0.8
    return out


def _lights(picture: F64, rng: np.random.Generator, at: tuple[F64, F64]) -> F64:
    x, y = at
    for _ in range(16):
        cx, cy, r = rng.random(), rng.random(), rng.uniform(0.03, 0.11)
        colour = np.array(hsv(rng.random(), rng.uniform(0.1, 0.7), rng.uniform(0.3, 0.9)))
        columns, rows = _within(cx - r, cx + r), _within(cy - r, cy + r)
        disc = _clip((r - np.hypot(x[:, columns] - cx, y[rows] - cy)) / 0.025)[..., None]
        picture[rows, columns] += disc * colour * 0.7
    return picture
