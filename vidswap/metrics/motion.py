"""Motion fidelity: does the face still do what it did, as far and at the same moment."""

from dataclasses import dataclass

import numpy as np

from vidswap.checks import check_shape
from vidswap.errors import ShapeError
from vidswap.types import F32, F64, Bool

ENOUGH = 0.9
"""Correlation, amplitude and blink recall from which motion counts as kept."""
STILL = 0.01
"""Amplitude of a measure below which there is no motion to compare."""
_EYES = ((33, 160, 158, 133, 153, 144), (362, 385, 387, 263, 373, 380))
_LIPS, _CORNERS = (13, 14), (33, 263)


@dataclass(frozen=True, slots=True)
class Fidelity:
    """How one measure of the result follows the same measure of the source."""

    correlation: float
    """Pearson, [-1, 1]; NaN where the source does not move."""
    amplitude: float
    """Range (2nd to 98th percentile) relative to the source's; NaN likewise."""
    lag: int
    """Frames by which the result comes later."""

    @property
    def kept(self) -> bool:
        """All three are as they should be, or there is no motion to keep."""
        if np.isnan(self.correlation):
            return True
        return self.correlation >= ENOUGH and self.amplitude >= ENOUGH and self.lag == 0


@dataclass(frozen=True, slots=True)
class MotionFidelity:
    """Mouth and eyes of one clip."""

    jaw: Fidelity
    eyes: Fidelity
    blink_recall: float
    """Share of the source's blinks that the result has, [0, 1]; NaN where there are none."""

    @property
    def kept(self) -> bool:
        """Nothing was smoothed away or moved in time."""
        blinks = np.isnan(self.blink_recall) or self.blink_recall >= ENOUGH
        return self.jaw.kept and self.eyes.kept and bool(blinks)


def motion_fidelity(output: F32 | F64, source: F32 | F64) -> MotionFidelity:
    """Compare the meshes of a result with those of the untouched clip.

    Args:
        output: (T, V ≥ 468, ≥ 2) vertices of one shot.
        source: (T, V ≥ 468, ≥ 2)
    """
    jaws, eyes = (jaw(output), jaw(source)), (eye_aspect(output), eye_aspect(source))
    return MotionFidelity(fidelity(*jaws), fidelity(*eyes), blink_recall(*eyes))


def fidelity(output: F64, source: F64, reach: int = 5) -> Fidelity:
    """Correlation, amplitude and lag of one measure.

    Args:
        output: (T,)
        source: (T,)
        reach: Largest lag that is looked for, frames.
    """
    check_shape("T, T", output=output, source=source)
    nothing = Fidelity(float("nan"), float("nan"), 0)
    wide = _range(source)
    if len(source) < 3 or wide < STILL:
        return nothing
    if _range(output) < 1e-12:
        return Fidelity(0.0, 0.0, 0)
    reach = min(reach, len(source) - 3)
    found = {lag: _shifted(output, source, lag) for lag in range(-reach, reach + 1)}
    # Of equals, the smallest shift.
    best = max(found, key=lambda lag: (round(found[lag], 9), -abs(lag)))
    return Fidelity(found[0], _range(output) / wide, best)


def blink_recall(output: F64, source: F64, window: int = 3) -> float:
    """Share of the source's blinks that are found in the result within some frames.

    Args:
        output: (T,) eye aspect ratios.
        source: (T,)
        window: Frames.
    """
    check_shape("T, T", output=output, source=source)
    wanted = blinks(source)
    if not len(wanted):
        return float("nan")
    there = blinks(output)
    hits = [len(there) > 0 and int(np.abs(there - b).min()) <= window for b in wanted]
    return float(np.mean(hits))


def blinks(aspect: F64) -> F64:
    """Frames of blinks: minima of dips below 60 % of the open eye (the clip's 90th percentile)."""
    if not len(aspect):
        return np.zeros(0)
    shut: Bool = np.asarray(aspect) < 0.6 * np.percentile(aspect, 90)
    edges = np.flatnonzero(np.diff(np.r_[False, shut, False].astype(int)))
    return np.array([a + int(np.argmin(aspect[a:b])) for a, b in edges.reshape(-1, 2)], float)


def eye_aspect(mesh: F32 | F64) -> F64:
    """(T,) opening of the eyes relative to their width, mean of both, from (T, V ≥ 468, ≥ 2)."""
    m = _flat(mesh)
    ratios = []
    for a, b, c, d, e, f in _EYES:
        height = _length(m[:, b] - m[:, f]) + _length(m[:, c] - m[:, e])
        ratios.append(height / (2 * np.maximum(_length(m[:, a] - m[:, d]), 1e-9)))
    mean: F64 = np.mean(ratios, 0)
    return mean


def jaw(mesh: F32 | F64) -> F64:
    """(T,) gap between the lips relative to the distance of the eyes' outer corners."""
    m = _flat(mesh)
    gap, eyes = (_length(m[:, a] - m[:, b]) for a, b in (_LIPS, _CORNERS))
    return gap / np.maximum(eyes, 1e-9)


def _flat(mesh: F32 | F64) -> F64:
    points = np.asarray(mesh, np.float64)
    if points.ndim != 3 or points.shape[1] < 468 or points.shape[2] < 2:
        raise ShapeError(f"mesh: expected (T, 468 or more, 2 or more), got {points.shape}")
    return points[..., :2]


def _length(v: F64) -> F64:
    length: F64 = np.hypot(v[..., 0], v[..., 1])
    return length


def _range(x: F64) -> float:
    return float(np.percentile(x, 98) - np.percentile(x, 2)) if len(x) else 0.0


def _shifted(output: F64, source: F64, lag: int) -> float:
    count = len(source) - abs(lag)
    later = output[max(lag, 0) : max(lag, 0) + count]
    first = source[max(-lag, 0) : max(-lag, 0) + count]
    a, b = later - later.mean(), first - first.mean()
    return float((a @ b) / max(np.sqrt((a @ a) * (b @ b)), 1e-30))
