"""The fast paths of shadow and rasteriser against slow and obvious ones."""

import numpy as np
import pytest

from vidswap.synth.raster import Buffers, draw, empty
from vidswap.synth.shadow import BLOCK, BLOCKED, CLEAR, Shadow, reach

SIDE = 12


def _passed(texel, depth):
    t = np.clip((texel - depth - BLOCKED) / (CLEAR - BLOCKED), 0, 1)
    return t * t * (3 - 2 * t)


def _bilinear(texels, x, y, depth):
    i, j = int(np.floor(y)), int(np.floor(x))
    fy, fx = y - i, x - j
    total = 0.0
    for row, wy in ((i, 1 - fy), (i + 1, fy)):
        for column, wx in ((j, 1 - fx), (j + 1, fx)):
            texel = texels[np.clip(row, 0, SIDE - 1), np.clip(column, 0, SIDE - 1)]
            total += wy * wx * _passed(texel, depth)
    return total


@pytest.mark.parametrize("radius", [0.6, 2.4])
def test_light_is_the_mean_of_nine_bilinear_taps(radius):
    rng = np.random.default_rng(0)
    texels = rng.uniform(0, 0.3, (SIDE, SIDE)).astype(np.float32)
    # One triangle for each sample, so small that all its corners are that sample's point.
    count = BLOCK + 9
    at = rng.uniform([-4, -4, 0], [SIDE + 4, SIDE + 4, 0.3], (count, 3)).astype(np.float32)
    triangle = np.full((2, count), -1, np.int32)
    triangle[1] = np.arange(count)
    shares = np.full(triangle.shape, 0.25, np.float32)
    corners = np.repeat(np.arange(count, dtype=np.int32)[:, None], 3, 1)
    buffers = Buffers(triangle, shares, shares, shares)
    shadow = Shadow(texels, np.eye(3, 4, dtype=np.float32))
    found = reach(buffers, (corners, at), shadow, radius)
    assert found.shape == (count,)
    steps = (-radius, 0, radius)
    wanted = [
        np.mean([_bilinear(texels, x + dx, y + dy, d) for dx in steps for dy in steps])
        for x, y, d in at.astype(np.float64)
    ]
    assert np.allclose(found, wanted, atol=1e-5)
    assert 0.1 < found.mean() < 0.9


def test_the_nearest_triangle_is_seen_whatever_the_order():
    rng = np.random.default_rng(1)
    screen = rng.uniform([-3, -3, 0.1], [20, 20, 1], (60, 3)).astype(np.float32)
    triangles = rng.permutation(60).reshape(-1, 3).astype(np.int32)
    buffers, behind = empty(16, 18), empty(16, 18)
    draw(screen, triangles, buffers)
    draw(screen, triangles[::-1], behind)
    assert np.array_equal(buffers.inverse, behind.inverse)
    y, x = np.mgrid[:16, :18]
    nearest = np.zeros((16, 18))
    for corners in screen[triangles].astype(np.float64):
        (a, b, c), (za, zb, zc) = corners[:, :2], corners[:, 2]
        matrix = np.linalg.inv(np.array([[a[0], b[0], c[0]], [a[1], b[1], c[1]], [1, 1, 1]]))
        weights = np.einsum("ij,jyx->iyx", matrix, np.stack([x, y, np.ones_like(x)]))
        inside = (weights >= 0).all(0)
        depth = np.einsum("i,iyx->yx", [za, zb, zc], weights)
        nearest = np.where(inside, np.maximum(nearest, depth), nearest)
    assert np.allclose(buffers.inverse, nearest, atol=1e-5)
    assert (buffers.triangle >= 0).mean() > 0.5
