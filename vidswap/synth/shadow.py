"""Where the key light falls: a depth map seen from it, filtered as widely as the light is soft."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vidswap.synth.jit import inline, jit
from vidswap.synth.noise import floor, index, step
from vidswap.synth.raster import Buffers
from vidswap.types import F32, F64

CLEAR, BLOCKED = 0.05, 0.14
"""How much nearer to the light something must be, to begin to shade and to shade fully."""


BLOCK = 64
"""Samples that are filtered together."""


class Shadow(NamedTuple):
    """Depth seen from the key light."""

    inverse: F32
    """(S, S) -distance along the light, shifted to be positive; 0 is empty."""
    axes: F32
    """(3, 4) rows that take a point to x, y (samples) and the stored value."""


@inline
def tap(at: float, size: int) -> tuple[int, int, float]:
    """Two texels and the share of the second, edges repeated."""
    i = floor(at)
    low, high = min(max(i, 0), size - 1), min(max(i + 1, 0), size - 1)
    return index(low), index(high), at - i


@inline
def passed(nearer: float) -> float:
    """Share of the light that comes past something so much nearer to it."""
    return step(BLOCKED, CLEAR, nearer)


@inline
def gather(
    texels: F32, side: int, at: tuple[F32, int, int], radius: float, out: tuple[F32, F64]
) -> None:
    """Depths around some points, as much nearer to the light as they are, and where taps lie between.

    Args:
        texels: (S · S,)
        side: S
        at: (3, N) x and y in texels and the stored value of points; the first and their number.
        radius: Between taps, texels.
        out: (36 · BLOCK,) six rows of six texels and (6 · BLOCK,) shares of the second of two texels,
            across and down; drawn into.
    """
    points, first, count = at
    near, shares = out
    for s in range(count):
        x, y, d = points[0, first + s], points[1, first + s], points[2, first + s]
        a, b, shares[s] = tap(x - radius, side)
        c, e, shares[BLOCK + s] = tap(x, side)
        f, g, shares[2 * BLOCK + s] = tap(x + radius, side)
        for n in range(3):
            above, below, shares[(3 + n) * BLOCK + s] = tap(y + (n - 1) * radius, side)
            for half in range(2):
                row = (below if half else above) * index(side)
                k = (2 * n + half) * 6 * BLOCK + s
                near[k], near[k + BLOCK] = texels[row + a] - d, texels[row + b] - d
                near[k + 2 * BLOCK], near[k + 3 * BLOCK] = texels[row + c] - d, texels[row + e] - d
                near[k + 4 * BLOCK], near[k + 5 * BLOCK] = texels[row + f] - d, texels[row + g] - d


@inline
def weigh(near: F32, shares: F64) -> None:
    """Nine times the mean of 3 x 3 bilinear taps into what passes at each texel.

    Args:
        near: From :func:`gather`.
        shares: (7 · BLOCK,) from :func:`gather`; the last row is drawn into.
    """
    for s in range(BLOCK):
        shares[6 * BLOCK + s] = 0.0
    for n in range(3):
        for half in range(2):
            k = (2 * n + half) * 6 * BLOCK
            for s in range(BLOCK):
                ab, ce, fg = shares[s], shares[BLOCK + s], shares[2 * BLOCK + s]
                line = (1 - ab) * passed(near[k + s]) + ab * passed(near[k + BLOCK + s])
                k2, k4 = k + 2 * BLOCK + s, k + 4 * BLOCK + s
                line += (1 - ce) * passed(near[k2]) + ce * passed(near[k2 + BLOCK])
                line += (1 - fg) * passed(near[k4]) + fg * passed(near[k4 + BLOCK])
                share = shares[(3 + n) * BLOCK + s]
                shares[6 * BLOCK + s] += (share if half else 1 - share) * line


@jit
def locate(buffers: Buffers, surface: tuple[NDArray[np.int32], F32], axes: F32, out: F32) -> int:
    """Number of samples that show something, and where they lie in the light's map."""
    triangles, points = surface
    count = 0
    for y in range(buffers.triangle.shape[0]):
        for x in range(buffers.triangle.shape[1]):
            t = buffers.triangle[y, x]
            if t < 0:
                continue
            i, j, k = (
                index(triangles[t, 0]),
                index(triangles[t, 1]),
                index(triangles[t, 2]),
            )
            u, v = buffers.first[y, x], buffers.second[y, x]
            w = 1 - u - v
            px = np.float32(u * points[i, 0] + v * points[j, 0] + w * points[k, 0])
            py = np.float32(u * points[i, 1] + v * points[j, 1] + w * points[k, 1])
            pz = np.float32(u * points[i, 2] + v * points[j, 2] + w * points[k, 2])
            for n in range(3):
                out[n, count] = axes[n, 0] * px + axes[n, 1] * py + axes[n, 2] * pz + axes[n, 3]
            count += 1
    return count


def reach(
    buffers: Buffers, surface: tuple[NDArray[np.int32], F32], shadow: Shadow, radius: float
) -> F64:
    """Share of the key light that reaches each sample that shows something, 1 in the open.

    Args:
        buffers: What is seen.
        surface: (M, 3) triangles and (V, 3) points.
        shadow: The light's depth map.
        radius: Between the taps of the filter, texels.

    Returns:
        (N,) row by row.
    """
    at = np.empty((3, buffers.triangle.size), np.float32)
    out = np.empty(locate(buffers, surface, shadow.axes, at))
    blocks = np.zeros(36 * BLOCK, np.float32), np.zeros(7 * BLOCK)
    free(shadow.inverse.reshape(-1), len(shadow.inverse), at, radius, blocks, out)
    return out


@jit
def free(texels: F32, side: int, at: F32, radius: float, blocks: tuple[F32, F64], out: F64) -> None:
    """:func:`reach`, where it is known where the samples lie in the light's map.

    By blocks: first what cannot be computed for several at a time, then what can.
    """
    near, shares = blocks
    count = out.shape[0]
    for first in range(0, count, BLOCK):
        some = min(BLOCK, count - first)
        gather(texels, side, (at, first, some), radius, (near, shares))
        weigh(near, shares)
        for s in range(some):
            out[first + s] = shares[6 * BLOCK + s] / 9
