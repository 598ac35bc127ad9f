"""How steady an identity is over time, next to the untouched clip.

Source: Tzaban et al., Stitch it in Time, 2022 (section 4.2).
"""

from collections.abc import Callable, Sequence

import numpy as np

from vidswap.checks import check_shape
from vidswap.types import F32, F64


def tl_id(output: F32 | F64, source: F32 | F64) -> float:
    """Local identity steadiness: mean similarity of neighbouring frames, relative to the source clip.

    Args:
        output: (T, D) unit embeddings of the result's face, of one shot; T ≥ 2.
        source: (T, D) of the same face in the untouched clip.

    Returns:
        1 is as steady as the untouched clip, less is less steady; NaN below two frames.
    """
    check_shape("T D, T D", output=output, source=source)
    return _ratio(_neighbours(output), _neighbours(source))


def tg_id(output: F32 | F64, source: F32 | F64) -> float:
    """Global identity steadiness: as :func:`tl_id` over all pairs of frames; shows slow drift."""
    check_shape("T D, T D", output=output, source=source)
    return _ratio(_pairs(output), _pairs(source))


def over_shots(
    metric: Callable[[slice], float], shots: Sequence[tuple[int, int]], least: int = 2
) -> float:
    """Mean of a figure over shots, weighted by their length.

    Args:
        metric: The figure of a range of frames.
        shots: Half-open ranges of frames; nothing is compared across them.
        least: Shorter shots are left out.

    Returns:
        NaN where no shot is long enough.
    """
    found = [(metric(slice(a, b)), b - a) for a, b in shots if b - a >= least]
    known = [(value, length) for value, length in found if np.isfinite(value)]
    total = sum(length for _, length in known)
    return sum(value * length for value, length in known) / total if total else float("nan")


def _neighbours(f: F32 | F64) -> float:
    f = np.asarray(f, np.float64)
    return float((f[1:] * f[:-1]).sum(1).mean()) if len(f) > 1 else float("nan")


def _pairs(f: F32 | F64) -> float:
    f = np.asarray(f, np.float64)
    if len(f) < 2:
        return float("nan")
    # The square of a sum holds every pair twice, and each with itself once.
    total = (f.sum(0) ** 2).sum() - (f**2).sum()
    return float(total / (len(f) * (len(f) - 1)))


def _ratio(top: float, bottom: float) -> float:
    return top / bottom if bottom > 0 else float("nan")
