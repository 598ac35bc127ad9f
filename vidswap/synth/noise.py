"""Value noise, the same on every machine with IEEE arithmetic."""

import numpy as np

from vidswap.synth.jit import inline

Vector = tuple[float, float, float]
"""Of single-precision numbers, not an array: those cost reference counts wherever they are passed."""


@inline
def lattice(x: int, y: int, z: int) -> float:
    """A number in [0, 1) for each point of the integer lattice."""
    h = np.uint32(x) * np.uint32(374761393) + np.uint32(y) * np.uint32(668265263)
    h = np.uint32(h + np.uint32(z) * np.uint32(2147483647 & 0x5851F42D))
    h = np.uint32((h ^ (h >> np.uint32(13))) * np.uint32(1274126177))
    h = np.uint32((h ^ (h >> np.uint32(16))) * np.uint32(2246822519))
    return float(np.uint32(h ^ (h >> np.uint32(15)))) / 4294967296.0


@inline
def floor(x: float) -> int:
    """The next smaller integer, without a call."""
    i = int(x)
    return i - (x < i)


@inline
def single(x: float) -> float:
    """Rounded to single precision."""
    return np.float32(x)  # type: ignore[return-value]


@inline
def index(n: int) -> int:
    """Of an array, where it cannot be negative: else that would be checked at every access."""
    return np.uint32(n)  # type: ignore[return-value]


@inline
def bell(squares: float) -> float:
    """A Gaussian of a sum of squares; 0 where no sum of visible things would notice it."""
    return np.exp(-squares) if squares < 40.0 else 0.0


@inline
def noise(x: float, y: float, z: float) -> float:
    """Smooth noise in [0, 1] with a period of about one."""
    i, j, k = floor(x), floor(y), floor(z)
    u, v, w = x - i, y - j, z - k
    u, v, w = u * u * (3 - 2 * u), v * v * (3 - 2 * v), w * w * (3 - 2 * w)
    total = 0.0
    for dk in range(2):
        for dj in range(2):
            share = (w if dk else 1 - w) * (v if dj else 1 - v)
            a, b = lattice(i, j + dj, k + dk), lattice(i + 1, j + dj, k + dk)
            total += share * (a + (b - a) * u)
    return total


@inline
def step(low: float, high: float, x: float) -> float:
    """0 below ``low``, 1 above ``high``, smooth between."""
    t = min(max((x - low) * (1 / (high - low)), 0.0), 1.0)
    return t * t * (3 - 2 * t)
