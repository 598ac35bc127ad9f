"""Triangles into buffers: nearest triangle, barycentric weights, inverse depth."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vidswap.synth.jit import jit
from vidswap.synth.noise import floor, index
from vidswap.types import F32


class Buffers(NamedTuple):
    """What is seen at each sample."""

    triangle: NDArray[np.int32]
    """(H, W) -1 where nothing is."""
    inverse: F32
    """(H, W) 1 / depth, 0 where nothing is."""
    first: F32
    """(H, W) weight of the triangle's first corner."""
    second: F32
    """(H, W) of its second."""


def empty(height: int, width: int) -> Buffers:
    """Nothing drawn yet."""
    return Buffers(
        np.full((height, width), -1, np.int32),
        *(np.zeros((height, width), np.float32) for _ in range(3)),
    )


@jit
def draw(screen: F32, triangles: NDArray[np.int32], buffers: Buffers) -> None:
    """Draw all triangles, both sides, nearest wins.

    Args:
        screen: (V, 3) x and y in samples, 1 / depth; not positive behind the camera.
        triangles: (M, 3)
        buffers: Drawn into.
    """
    height, width = buffers.triangle.shape
    inverse = buffers.inverse
    for m in range(triangles.shape[0]):
        a, b, c = index(triangles[m, 0]), index(triangles[m, 1]), index(triangles[m, 2])
        ax, ay, bx, by = screen[a, 0], screen[a, 1], screen[b, 0], screen[b, 1]
        cx, cy = screen[c, 0], screen[c, 1]
        left = max(-floor(-min(ax, bx, cx)), 0)
        right = min(floor(max(ax, bx, cx)), width - 1)
        top = max(-floor(-min(ay, by, cy)), 0)
        bottom = min(floor(max(ay, by, cy)), height - 1)
        # Most triangles are so small that they lie between samples.
        if left > right or top > bottom:
            continue
        az, bz, cz = screen[a, 2], screen[b, 2], screen[c, 2]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if min(az, bz, cz) <= 0 or abs(area) < 1e-9:
            continue
        scale = 1.0 / area
        # Beyond rounding, no point of the triangle is nearer.
        nearest = max(az, bz, cz) * 1.000001
        for y in range(top, bottom + 1):
            for x in range(left, right + 1):
                if nearest < inverse[y, x]:
                    continue
                u = ((bx - x) * (cy - y) - (by - y) * (cx - x)) * scale
                v = ((cx - x) * (ay - y) - (cy - y) * (ax - x)) * scale
                w = 1 - u - v
                # One branch: they are hard to predict.
                if min(u, v, w) < 0:
                    continue
                near = u * az + v * bz + w * cz
                if near > inverse[y, x]:
                    inverse[y, x] = near
                    buffers.triangle[y, x] = m
                    buffers.first[y, x] = u
                    buffers.second[y, x] = v


@jit
def normals(points: F32, triangles: NDArray[np.int32], out: F32) -> None:
    """Area-weighted vertex normals, not yet of one orientation.

    Args:
        points: (V, 3)
        triangles: (M, 3)
        out: (V, 3) zeros at first, unit normals after.
    """
    for m in range(triangles.shape[0]):
        a, b, c = index(triangles[m, 0]), index(triangles[m, 1]), index(triangles[m, 2])
        ux, uy, uz = (
            points[b, 0] - points[a, 0],
            points[b, 1] - points[a, 1],
            points[b, 2] - points[a, 2],
        )
        vx, vy, vz = (
            points[c, 0] - points[a, 0],
            points[c, 1] - points[a, 1],
            points[c, 2] - points[a, 2],
        )
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for v in (a, b, c):
            out[v, 0] += nx
            out[v, 1] += ny
            out[v, 2] += nz
    for v in range(points.shape[0]):
        length = np.sqrt(out[v, 0] ** 2 + out[v, 1] ** 2 + out[v, 2] ** 2) + 1e-12
        out[v, 0] /= length
        out[v, 1] /= length
        out[v, 2] /= length
