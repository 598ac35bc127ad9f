"""Samples into pixels: background, mean light, most frequent label, depth."""

import numpy as np

from vidswap.synth.jit import jit
from vidswap.synth.raster import Buffers
from vidswap.types import F32, U8

CLASSES = 12


@jit
def fill(picture: F32, inverse: F32, buffers: Buffers, out: F32) -> None:
    """Put the background where nothing is drawn, bilinear.

    Args:
        picture: (B, B, 3) over the camera's square field.
        inverse: (2, 3) from samples to normalised camera coordinates.
        buffers: What is drawn.
        out: (H, W, 3) drawn into.
    """
    last = picture.shape[0] - 1.001
    for y in range(out.shape[0]):
        for x in range(out.shape[1]):
            if buffers.triangle[y, x] >= 0:
                continue
            u = (inverse[0, 0] * x + inverse[0, 1] * y + inverse[0, 2] + 1) / 2 * (last + 0.001)
            v = (inverse[1, 0] * x + inverse[1, 1] * y + inverse[1, 2] + 1) / 2 * (last + 0.001)
            u, v = min(max(u, 0.0), last), min(max(v, 0.0), last)
            i, j = int(v), int(u)
            fy, fx = v - i, u - j
            for c in range(3):
                above = picture[i, j, c] * (1 - fx) + picture[i, j + 1, c] * fx
                below = picture[i + 1, j, c] * (1 - fx) + picture[i + 1, j + 1, c] * fx
                out[y, x, c] = above * (1 - fy) + below * fy


@jit
def tone(light: float) -> float:
    """Linear light to [0, 255]; a soft shoulder above middle grey, so that nothing burns out."""
    if light > 0.6:
        light = 0.6 + 0.4 * (1 - np.exp(-(light - 0.6) / 0.4))
    return 255 * np.sqrt(max(light, 0.0))


@jit
def resolve(samples: tuple[F32, U8, F32], grain: F32, rgb: U8, labels: U8, depth: F32) -> None:
    """Average the samples of every pixel.

    Args:
        samples: (H', W', 3) linear light, (H', W') labels, (H', W') inverse depth.
        grain: (H, W, 3) sensor noise to add, grey levels.
        rgb: (H, W, 3) drawn into.
        labels: (H, W) the most frequent label, the smaller of two.
        depth: (H, W) harmonic mean where most samples show the head, infinite elsewhere.
    """
    light, classes, inverse = samples
    over = light.shape[0] // rgb.shape[0]
    votes = np.zeros(CLASSES, np.int64)
    for y in range(rgb.shape[0]):
        for x in range(rgb.shape[1]):
            votes[:] = 0
            near, seen = 0.0, 0
            for j in range(y * over, y * over + over):
                for i in range(x * over, x * over + over):
                    votes[classes[j, i]] += 1
                    near += inverse[j, i]
                    seen += inverse[j, i] > 0
            labels[y, x] = np.argmax(votes)
            depth[y, x] = seen / near if 2 * seen > over * over else np.inf
            for c in range(3):
                total = 0.0
                for j in range(y * over, y * over + over):
                    for i in range(x * over, x * over + over):
                        total += light[j, i, c]
                value = tone(total / (over * over)) + grain[y, x, c]
                rgb[y, x, c] = int(min(max(value + 0.5, 0.0), 255.0))
