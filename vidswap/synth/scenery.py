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
    y, x = np.mgrid[0:SIDE, 0:SIDE] / (SIDE - 1)
    low = np.array(
        hsv(scene.background_hue, scene.background_colour, 0.15 + 0.6 * scene.background_light)
    )
    high = np.array(
        hsv(
            scene.background_second_hue, scene.background_colour, 0.3 + 0.6 * scene.background_light
        )
    )
    angle = rng.uniform(0, 2 * np.pi)
    ramp = np.clip(0.5 + (x - 0.5) * np.cos(angle) + (y - 0.5) * np.sin(angle), 0, 1)[..., None]
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
    return np.clip(picture, 0.0, 1.2).astype(np.float32)


def _cloud(rng: np.random.Generator, cells: int) -> F64:
    knots = rng.random((cells + 1, cells + 1))
    where = np.linspace(0, cells, SIDE)
    rows = np.stack([np.interp(where, np.arange(cells + 1), column) for column in knots.T], 1)
    return np.stack([np.interp(where, np.arange(cells + 1), row) for row in rows])


def _shelves(picture: F64, rng: np.random.Generator, at: tuple[F64, F64]) -> F64:
    out, (x, y) = picture * 0.6, at
    for _ in range(14):
        left, top = rng.uniform(-0.1, 1), rng.uniform(-0.1, 1)
        w, h = rng.uniform(0.05, 0.3), rng.uniform(0.08, 0.5)
        soft = 0.02
        inside = np.clip((x - left) / soft, 0, 1) * np.clip((left + w - x) / soft, 0, 1)
        inside = inside * np.clip((y - top) / soft, 0, 1) * np.clip((top + h - y) / soft, 0, 1)
        out += inside[..., None] * (picture * rng.uniform(0.2, 1.6, 3) - out) * 0.8
    return out


def _lights(picture: F64, rng: np.random.Generator, at: tuple[F64, F64]) -> F64:
    x, y = at
    for _ in range(16):
        cx, cy, r = rng.random(), rng.random(), rng.uniform(0.03, 0.11)
        disc = np.clip((r - np.hypot(x - cx, y - cy)) / 0.025, 0, 1)[..., None]
        picture = (
            picture
            + disc * np.array(hsv(rng.random(), rng.uniform(0.1, 0.7), rng.uniform(0.3, 0.9))) * 0.7
        )
    return picture
