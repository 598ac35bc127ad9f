"""Similarities, boxes and regions in the plane."""

import numpy as np
from numpy.typing import ArrayLike

from vidswap.checks import check_shape
from vidswap.types import F32, F64


def similarity(source: F64, target: F64, weights: F64 | None = None) -> F64:
    """Least-squares similarity (turn, scale, shift; no mirroring) between point sets.

    A similarity of the plane is ``z → a z + b`` in complex numbers, so the fit is one division.

    Args:
        source: (N, 2), or (..., N, 2) for many fits at once.
        target: (..., N, 2), broadcast against ``source``.
        weights: (N,) ≥ 0, not all zero.

    Returns:
        (..., 2, 3) matrices with ``target ≈ source @ M[:, :2].T + M[:, 2]``.
    """
    s = np.asarray(source, np.float64) @ np.array([1, 1j])
    t = np.asarray(target, np.float64) @ np.array([1, 1j])
    w = np.ones(s.shape[-1]) if weights is None else np.asarray(weights, np.float64)
    check_shape("N, N", source=s.reshape(-1, s.shape[-1])[0], weights=w)
    w = w / w.sum()
    mean_s, mean_t = s @ w, t @ w
    ds, dt = s - mean_s[..., None], t - mean_t[..., None]
    a = (np.conj(ds) * dt) @ w / np.maximum((np.abs(ds) ** 2) @ w, 1e-30)
    return matrix(a, mean_t - a * mean_s)


def matrix(turn: ArrayLike, shift: ArrayLike) -> F64:
    """(..., 2, 3) matrices of ``z → turn · z + shift``, complex numbers of any shape."""
    turn, shift = np.broadcast_arrays(np.asarray(turn), np.asarray(shift))
    rows = [[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]]
    return np.moveaxis(np.array(rows), (0, 1), (-2, -1))


def apply(matrices: F64, points: F64) -> F64:
    """(..., N, 2) points through (..., 2, 3) matrices."""
    out: F64 = points @ np.swapaxes(matrices[..., :2], -1, -2) + matrices[..., None, :, 2]
    return out


def invert(matrices: F64) -> F64:
    """(..., 2, 3) inverses of affine matrices."""
    linear = np.linalg.inv(matrices[..., :2])
    return np.concatenate([linear, -(linear @ matrices[..., 2:])], -1)


def iou(a: F32, b: F32) -> F64:
    """Overlap of boxes (..., 4) left, top, right, bottom: intersection over union, broadcast."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    low, high = np.maximum(a[..., :2], b[..., :2]), np.minimum(a[..., 2:], b[..., 2:])
    common = np.clip(high - low, 0, None).prod(-1)
    areas = (
        np.clip(a[..., 2:] - a[..., :2], 0, None).prod(-1),
        np.clip(b[..., 2:] - b[..., :2], 0, None).prod(-1),
    )
    ratio: F64 = common / np.maximum(areas[0] + areas[1] - common, 1e-12)
    return ratio


def bounds(points: F32) -> F32:
    """(..., 4) left, top, right, bottom of (..., N, ≥ 2) points."""
    xy = points[..., :2]
    box: F32 = np.concatenate([xy.min(-2), xy.max(-2)], -1).astype(np.float32)
    return box


def keep_best(boxes: F32, scores: F32, overlap: float) -> list[int]:
    """Indices of boxes to keep, best score first: greedy non-maximum suppression.

    A box that lies mostly inside a better one goes too, however small it is: a tile that sees half
    a face reports a small box, whose intersection over union stays low.
    """
    order = [int(i) for i in np.argsort(-scores, kind="stable")]
    kept: list[int] = []
    for index in order:
        if all(
            iou(boxes[index], boxes[k]) <= overlap and _inside(boxes[index], boxes[k]) <= 0.7
            for k in kept
        ):
            kept.append(index)
    return kept


def _inside(box: F32, other: F32) -> float:
    """Share of the smaller of two boxes that the other covers."""
    low, high = np.maximum(box[:2], other[:2]), np.minimum(box[2:], other[2:])
    common = float(np.clip(high - low, 0, None).prod())
    areas = [float(np.clip(b[2:] - b[:2], 0, None).prod()) for b in (box, other)]
    return common / max(min(areas), 1e-12)
