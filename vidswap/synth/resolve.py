"""Samples into pixels: background, mean light, most frequent label, depth."""

import numpy as np
from numpy.typing import NDArray

from vidswap.synth.jit import inline, jit
from vidswap.synth.raster import Buffers
from vidswap.types import F32, U8

CLASSES = 12


@jit
def nearer(buffers: Buffers, inverse: F32, owner: NDArray[np.int8], number: int) -> None:
    """Keep of one head what stands before the heads drawn earlier.

    Args:
        buffers: The head; hidden samples are cleared.
        inverse: (H, W) 1 / depth of everything, updated.
        owner: (H, W) number of the head seen, updated.
        number: Of this head.
    """
    for y in range(inverse.shape[0]):
        for x in range(inverse.shape[1]):
            if buffers.inverse[y, x] > inverse[y, x]:
                inverse[y, x] = buffers.inverse[y, x]
                owner[y, x] = number
            else:
                buffers.triangle[y, x] = -1


@jit
def fill(picture: F32, matrix: F32, inverse: F32, out: F32) -> None:
    """Put the background where nothing is drawn, bilinear.

    Args:
        picture: (B, B, 3) over the camera's square field.
        matrix: (2, 3) from samples to the field, ±1 at its edges.
        inverse: (H, W) 1 / depth, 0 where nothing is drawn.
        out: (H, W, 3) drawn into.
    """
    last = picture.shape[0] - 1.001
    for y in range(out.shape[0]):
        for x in range(out.shape[1]):
            if inverse[y, x] > 0:
                continue
            u = (matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 2] + 1) / 2 * (last + 0.001)
            v = (matrix[1, 0] * x + matrix[1, 1] * y + matrix[1, 2] + 1) / 2 * (last + 0.001)
            u, v = min(max(u, 0.0), last), min(max(v, 0.0), last)
            i, j = int(v), int(u)
            fy, fx = v - i, u - j
            for c in range(3):
                above = picture[i, j, c] * (1 - fx) + picture[i, j + 1, c] * fx
                below = picture[i + 1, j, c] * (1 - fx) + picture[i + 1, j + 1, c] * fx
                out[y, x, c] = above * (1 - fy) + below * fy


@inline
def level(light: float, grain: float) -> int:
    """Grey level of linear light; a soft shoulder above middle grey, so that nothing burns out."""
    if light > 0.6:
        light = 0.6 + 0.4 * (1 - np.exp(-(light - 0.6) / 0.4))
    return int(min(max(255 * np.sqrt(max(light, 0.0)) + grain + 0.5, 0.0), 255.0))


@inline
def popular(classes: U8, at: tuple[int, int], over: int, votes: NDArray[np.int64]) -> int:
    """The most frequent label of a pixel, the smaller of two."""
    label = 0
    for j in range(at[0] * over, at[0] * over + over):
        for i in range(at[1] * over, at[1] * over + over):
            votes[classes[j, i]] += 1
    for j in range(at[0] * over, at[0] * over + over):
        for i in range(at[1] * over, at[1] * over + over):
            one = int(classes[j, i])
            if votes[one] > votes[label] or (votes[one] == votes[label] and one < label):
                label = one
    for j in range(at[0] * over, at[0] * over + over):
        for i in range(at[1] * over, at[1] * over + over):
            votes[classes[j, i]] = 0
    return label


@jit
def resolve(
    samples: tuple[F32, U8, F32, NDArray[np.int8]],
    grain: F32,
    out: tuple[U8, U8, F32, NDArray[np.int8]],
    votes: NDArray[np.int64],
) -> None:
    """Average the samples of every pixel.

    Args:
        samples: (H', W', 3) linear light, (H', W') labels, inverse depth and head's number.
        grain: (H, W, 3) sensor noise to add, grey levels.
        out: Drawn into: (H, W, 3) colours; (H, W) most frequent label, the smaller of two; depth,
            the harmonic mean where at least half of the samples show a head, infinite elsewhere; number
            of the nearest head there, -1 elsewhere.
        votes: (CLASSES,) zeros, before and after.
    """
    light, classes, inverse, heads = samples
    rgb, labels, depth, owner = out
    over = light.shape[0] // rgb.shape[0]
    for y in range(rgb.shape[0]):
        for x in range(rgb.shape[1]):
            near, most, seen, whose = 0.0, 0.0, 0, -1
            red, green, blue = 0.0, 0.0, 0.0
            for j in range(y * over, y * over + over):
                for i in range(x * over, x * over + over):
                    near += inverse[j, i]
                    if inverse[j, i] > most:
                        most, whose = inverse[j, i], heads[j, i]
                    seen += inverse[j, i] > 0
                    red += light[j, i, 0]
                    green += light[j, i, 1]
                    blue += light[j, i, 2]
            label = popular(classes, (y, x), over, votes)
            solid = 2 * seen >= over * over
            labels[y, x] = label if solid else 0
            depth[y, x] = seen / near if solid else np.inf
            owner[y, x] = whose if solid else -1
            n = over * over
            rgb[y, x, 0] = level(red / n, grain[y, x, 0])
            rgb[y, x, 1] = level(green / n, grain[y, x, 1])
            rgb[y, x, 2] = level(blue / n, grain[y, x, 2])
