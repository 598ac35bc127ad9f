"""The point that is nearest to many points."""

import numpy as np
from numpy.typing import ArrayLike

from vidswap.checks import check_shape
from vidswap.types import F32, F64


def geometric_median(
    points: F32 | F64,
    weights: ArrayLike | None = None,
    iterations: int = 200,
    tolerance: float = 1e-9,
) -> F64:
    """Minimise ``Σ w ‖x − p‖``: a mean that one bad sample cannot pull (Weiszfeld, 1937).

    Args:
        points: (N, ...) samples, N ≥ 1; the distance is over everything after the first axis.
        weights: (N,) ≥ 0, not all zero; None counts all alike.
        iterations: At most.
        tolerance: Relative step at which it stops.

    Returns:
        (...) float64, in the convex hull of the samples.
    """
    flat = np.asarray(points, np.float64).reshape(len(points), -1)
    w = np.ones(len(flat)) if weights is None else np.asarray(weights, np.float64)
    check_shape("N, N", points=flat[:, 0], weights=w)
    # Equal samples are one sample of their common weight: a point that is there twice stays exact.
    flat, place = np.unique(flat, axis=0, return_inverse=True)
    w = np.bincount(place.ravel(), weights=w, minlength=len(flat)).astype(np.float64)
    at = (w / w.sum()) @ flat
    size = float(np.abs(flat - at).max())
    for _ in range(iterations if len(flat) > 1 else 0):
        pull = w / np.maximum(np.linalg.norm(flat - at, axis=1), 1e-12 * size)
        new = (pull / pull.sum()) @ flat
        step, at = np.abs(new - at).max(), new
        if step <= tolerance * size:
            break
    return at.reshape(np.shape(points)[1:])
