"""Where the key light falls: a depth map seen from it, filtered as widely as the light is soft."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vidswap.synth.jit import inline, jit
from vidswap.synth.noise import floor, step
from vidswap.synth.raster import Buffers
from vidswap.types import F32, F64

CLEAR, BLOCKED = 0.05, 0.14
"""How much nearer to the light something must be, to begin to shade and to shade fully."""


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
    return min(max(i, 0), size - 1), min(max(i + 1, 0), size - 1), at - i


@inline
def passed(nearer: float) -> float:
    """Share of the light that comes past something so much nearer to it."""
    return step(BLOCKED, CLEAR, nearer)


@inline
def filtered(texels: F32, x: float, y: float, d: float, radius: float) -> float:
    """Mean of 3 x 3 bilinear taps into what passes at each texel."""
    size = texels.shape[0]
    a, b, ab = tap(x - radius, size)
    c, e, ce = tap(x, size)
    f, g, fg = tap(x + radius, size)
    free = 0.0
    for dy in range(-1, 2):
        above, below, share = tap(y + dy * radius, size)
        for half in range(2):
            row = below if half else above
            line = (1 - ab) * passed(texels[row, a] - d) + ab * passed(texels[row, b] - d)
            line += (1 - ce) * passed(texels[row, c] - d) + ce * passed(texels[row, e] - d)
            line += (1 - fg) * passed(texels[row, f] - d) + fg * passed(texels[row, g] - d)
            free += (share if half else 1 - share) * line
    return free / 9


@jit
def reach(
    buffers: Buffers,
    surface: tuple[NDArray[np.int32], F32],
    shadow: Shadow,
    radius: float,
    out: F64,
) -> None:
    """Share of the key light that reaches every sample, 1 in the open.

    Args:
        buffers: What is seen.
        surface: (M, 3) triangles and (V, 3) points.
        shadow: The light's depth map.
        radius: Between the taps of the filter, texels, at most 3.
        out: (H, W) drawn into where something is seen.
    """
    triangles, points = surface
    m = shadow.axes
    for y in range(out.shape[0]):
        for x in range(out.shape[1]):
            t = buffers.triangle[y, x]
            if t < 0:
                continue
            i, j, k = triangles[t, 0], triangles[t, 1], triangles[t, 2]
            u, v = buffers.first[y, x], buffers.second[y, x]
            w = 1 - u - v
            px = np.float32(u * points[i, 0] + v * points[j, 0] + w * points[k, 0])
            py = np.float32(u * points[i, 1] + v * points[j, 1] + w * points[k, 1])
            pz = np.float32(u * points[i, 2] + v * points[j, 2] + w * points[k, 2])
            sx = m[0, 0] * px + m[0, 1] * py + m[0, 2] * pz + m[0, 3]
            sy = m[1, 0] * px + m[1, 1] * py + m[1, 2] * pz + m[1, 3]
            d = m[2, 0] * px + m[2, 1] * py + m[2, 2] * pz + m[2, 3]
            out[y, x] = filtered(shadow.inverse, sx, sy, d, radius)
