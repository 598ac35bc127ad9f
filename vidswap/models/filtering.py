"""Kernels of Winograd's minimal filtering F(4 × 4, 3 × 3) in machine code, for one width each.

Every kernel has its number of channels as a constant: only then are distances between what it reads
and what it writes known to the compiler, which otherwise gives up on vector instructions. A tile's 36
transformed values lie beside each other, for all channels, so that no two streams of writes fall on
the same lines of the cache.

Needs Numba, which is not installed everywhere: :mod:`vidswap.models.winograd` asks first.

Source: Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, 2016; points 0, ±1, ±2, ∞.
"""

import functools
from collections.abc import Callable
from typing import Any

import numba
import numpy as np

Kernel = Callable[..., None]
FAST = {"contract", "nnan", "ninf", "nsz", "reassoc"}
"""Sums may be fused and reordered: tiles are worked on one by one, so results do not depend on it."""
PAD = 16
"""Floats between lines at work, so that they do not share lines of the cache."""
ZERO, TWO, THREE, FOUR, FIVE, EIGHT = (np.float32(v) for v in (0, 2, 3, 4, 5, 8))


def _compiled(function: Any, **more: Any) -> Any:
    options = {"fastmath": FAST, "nogil": True, "error_model": "numpy", **more}
    return numba.njit(**options)(function)  # type: ignore[no-untyped-call]


def _kept(function: Any) -> Kernel:
    """Compiled once for all processes, where there is a place to keep the result."""
    try:
        kernel: Kernel = _compiled(function, cache=True)
    except RuntimeError:  # neither beside this file nor in the user's folder
        kernel = _compiled(function)
    return kernel


def _into(d0: Any, d1: Any, d2: Any, d3: Any, d4: Any, d5: Any) -> Any:
    even, odd = d4 - FOUR * d2, d3 - FOUR * d1
    near, far = d4 - d2, TWO * (d3 - d1)
    first, last = FOUR * d0 - FIVE * d2 + d4, FOUR * d1 - FIVE * d3 + d5
    return first, even + odd, even - odd, near + far, near - far, last


def _out(a0: Any, a1: Any, a2: Any, a3: Any, a4: Any, a5: Any) -> Any:
    s, d, e, g = a1 + a2, a1 - a2, a3 + a4, a3 - a4
    return a0 + s + e, d + TWO * g, s + FOUR * e, d + EIGHT * g + a5


# Of the module and not of the kernels around them: what a kernel encloses is part of its name in the
# cache on disk, and a function there would have another one in every process.
into = _compiled(_into, forceinline=True)
"""One line of six values on the way in."""
out = _compiled(_out, forceinline=True)
"""One line of six products on the way out, four values."""


def _gather(picture: Any, affine: Any, s: Any, y: int, x: int, channels: int) -> None:
    """Six lines of six pixels each from (y, x) on into s, zero outside the picture."""
    height, width, step = picture.shape[0], picture.shape[1] // channels, 6 * channels + PAD
    for i in range(6):
        for j in range(6):
            at, to = (x + j) * channels, (6 + i) * step + j * channels
            if 0 <= y + i < height and 0 <= x + j < width:
                line = picture[y + i, at : at + channels]
                for k in range(channels):
                    s[to + k] = line[k] * affine[0, k] + affine[1, k]
            else:
                for k in range(channels):
                    s[to + k] = ZERO


def _gathered_columns(s: Any, channels: int) -> None:
    wide, step = 6 * channels, 6 * channels + PAD
    for k in range(wide):
        v0, v1, v2, v3, v4, v5 = into(
            s[6 * step + k], s[7 * step + k], s[8 * step + k],
            s[9 * step + k], s[10 * step + k], s[11 * step + k],
        )  # fmt: skip
        s[k], s[step + k], s[2 * step + k] = v0, v1, v2
        s[3 * step + k], s[4 * step + k], s[5 * step + k] = v3, v4, v5


def _columns(picture: Any, affine: Any, s: Any, y: int, x: int, channels: int) -> None:
    """The same for a tile that lies inside, without a copy."""
    wide, step, at = 6 * channels, 6 * channels + PAD, x * channels
    r0, r1, r2 = picture[y, at:], picture[y + 1, at:], picture[y + 2, at:]
    r3, r4, r5 = picture[y + 3, at:], picture[y + 4, at:], picture[y + 5, at:]
    scale, shift = affine[0], affine[1]
    for k in range(wide):
        g, h = scale[k], shift[k]
        v0, v1, v2, v3, v4, v5 = into(
            r0[k] * g + h, r1[k] * g + h, r2[k] * g + h,
            r3[k] * g + h, r4[k] * g + h, r5[k] * g + h,
        )  # fmt: skip
        s[k], s[step + k], s[2 * step + k] = v0, v1, v2
        s[3 * step + k], s[4 * step + k], s[5 * step + k] = v3, v4, v5


def _rows(s: Any, tile: Any, channels: int) -> None:
    wide, step = 6 * channels, 6 * channels + PAD
    for i in range(6):
        z, o = s[i * step : i * step + wide], tile[i * wide : i * wide + wide]
        for k in range(channels):
            v0, v1, v2, v3, v4, v5 = into(
                z[k], z[channels + k], z[2 * channels + k],
                z[3 * channels + k], z[4 * channels + k], z[5 * channels + k],
            )  # fmt: skip
            o[k], o[channels + k], o[2 * channels + k] = v0, v1, v2
            o[3 * channels + k], o[4 * channels + k], o[5 * channels + k] = v3, v4, v5


def _product_columns(a: Any, s: Any, channels: int) -> None:
    wide, step = 6 * channels, 6 * channels + PAD
    for k in range(wide):
        v0, v1, v2, v3 = out(
            a[k], a[wide + k], a[2 * wide + k], a[3 * wide + k], a[4 * wide + k], a[5 * wide + k]
        )
        s[k], s[step + k], s[2 * step + k], s[3 * step + k] = v0, v1, v2, v3


def _product_row(b: Any, z: Any, channels: int) -> None:
    for k in range(channels):
        v0, v1, v2, v3 = out(
            b[k], b[channels + k], b[2 * channels + k],
            b[3 * channels + k], b[4 * channels + k], b[5 * channels + k],
        )  # fmt: skip
        z[k], z[channels + k], z[2 * channels + k], z[3 * channels + k] = v0, v1, v2, v3


gather = _compiled(_gather, forceinline=True)
gathered_columns = _compiled(_gathered_columns, forceinline=True)
columns = _compiled(_columns, forceinline=True)
rows_of = _compiled(_rows, forceinline=True)
product_columns = _compiled(_product_columns, forceinline=True)
product_row = _compiled(_product_row, forceinline=True)


@functools.cache
def loader(channels: int) -> Kernel:
    """Kernel that cuts a picture into overlapping 6 × 6 tiles and transforms them.

    Its arguments: picture (H, W · channels); scale and shift of its values (2, 6 · channels), repeated
    for each of six columns; tiles (rows · ⌈W / 4⌉, 36 · channels) to fill; the row of tiles that the
    first of them belongs to, and how many rows. Outside the picture everything is zero, whatever the
    shift.
    """
    step = 6 * channels + PAD

    def load(picture: Any, affine: Any, tiles: Any, first: int, rows: int) -> None:
        height, width = picture.shape[0], picture.shape[1] // channels
        across = (width + 3) // 4
        s = np.zeros(12 * step, np.float32)
        for row in range(rows):
            y = 4 * (first + row) - 1
            for column in range(across):
                x = 4 * column - 1
                if y >= 0 and y + 5 < height and x >= 0 and x + 5 < width:
                    columns(picture, affine, s, y, x, channels)
                else:
                    gather(picture, affine, s, y, x, channels)
                    gathered_columns(s, channels)
                rows_of(s, tiles[row * across + column], channels)

    return _kept(load)


@functools.cache
def storer(channels: int) -> Kernel:
    """Kernel that transforms products back into 4 × 4 tiles, finishes and stores them.

    Its arguments: products (rows · ⌈W / 4⌉, 36 · channels); scale, offset and slope (3, channels);
    noise (H, W); picture (H, W, channels) to fill; the row of tiles that the first of them belongs to,
    and how many rows. A value x of a channel becomes y = scale · x + offset + noise, and then y where
    that is positive, slope · y elsewhere.
    """
    wide, step = 6 * channels, 6 * channels + PAD

    def store(products: Any, finish: Any, noise: Any, picture: Any, first: int, rows: int) -> None:
        height, width = picture.shape[0], picture.shape[1]
        across = (width + 3) // 4
        s = np.zeros(4 * step + 4 * channels, np.float32)
        z = s[4 * step :]
        for row in range(rows):
            y = 4 * (first + row)
            for column in range(across):
                product_columns(products[row * across + column], s, channels)
                for i in range(min(4, height - y)):
                    product_row(s[i * step : i * step + wide], z, channels)
                    for j in range(min(4, width - 4 * column)):
                        x = 4 * column + j
                        pixel, n = picture[y + i, x], noise[y + i, x]
                        for k in range(channels):
                            t = z[j * channels + k] * finish[0, k] + (finish[1, k] + n)
                            pixel[k] = max(t, ZERO) + finish[2, k] * min(t, ZERO)

    return _kept(store)


@functools.cache
def smoother(channels: int) -> Kernel:
    """Kernel of the low-pass filter after a transposed convolution, finished as by ``storer``.

    Its arguments: picture (H + 1, (W + 1) · channels), zero outside; scale, offset and slope (3,
    channels) and noise (H, W) as there; result (H, W, channels) to fill; the first row to do and the
    one after the last. The filter is [1, 3, 3, 1] ⊗ [1, 3, 3, 1], without a factor.
    """

    def smooth(picture: Any, finish: Any, noise: Any, result: Any, begin: int, end: int) -> None:
        height, width = result.shape[0], result.shape[1]
        long = width * channels
        # Filtered along the row, four rows at once; beside each lie zeros for what is outside.
        lines = np.zeros((4, long), np.float32)
        padded = np.zeros(long + 3 * channels, np.float32)
        for y in range(begin - 1, end + 2):
            line = lines[(y + 4) % 4]
            if y < 0 or y > height:
                line[:] = ZERO
            else:
                padded[channels : long + 2 * channels] = picture[y]
                q1, q2, q3 = padded[channels:], padded[2 * channels :], padded[3 * channels :]
                for k in range(long):
                    line[k] = padded[k] + THREE * (q1[k] + q2[k]) + q3[k]
            at = y - 2
            if at < begin:
                continue
            l0, l1, l2 = lines[(at + 3) % 4], lines[at % 4], lines[(at + 1) % 4]
            for x in range(width):
                pixel, n, c = result[at, x], noise[at, x], x * channels
                p0, p1, p2, p3 = l0[c:], l1[c:], l2[c:], line[c:]
                for k in range(channels):
                    t = p0[k] + THREE * (p1[k] + p2[k]) + p3[k]
                    t = t * finish[0, k] + (finish[1, k] + n)
                    pixel[k] = max(t, ZERO) + finish[2, k] * min(t, ZERO)

    return _kept(smooth)
