"""Flicker of pictures and jerk of points: what an eye sees shake."""

import numpy as np

from vidswap.checks import check_shape
from vidswap.metrics.warping import luma
from vidswap.ops.smooth import whittaker
from vidswap.types import F32, F64

FLICKER_HZ = 3.0
"""Above it, changes of brightness are flicker and not light."""


def flicker(frames: F32, masks: F32) -> float:
    """Mean distance of a frame from the middle of its neighbours, in luma.

    Args:
        frames: (T, H, W, 3) in [0, 1]: crops that follow the face, so that motion does not count.
        masks: (T, H, W) weights, such as the face.

    Returns:
        In [0, 1]; NaN below three frames or without weight.
    """
    check_shape("T H W 3, T H W", frames=frames, masks=masks)
    total = weight = 0.0
    for t in range(1, len(frames) - 1):
        before, here, after = (luma(frames[t + k]) for k in (-1, 0, 1))
        total += float((masks[t] * np.abs(here - 0.5 * (before + after))).sum())
        weight += float(masks[t].sum())
    return total / weight if weight > 0 else float("nan")


def brightness_flicker(frames: F32, masks: F32, seconds: F64) -> float:
    """Standard deviation of the face's mean luma above 3 Hz.

    Args:
        frames: (T, H, W, 3) in [0, 1].
        masks: (T, H, W) weights, none of them all zero.
        seconds: (T,) ascending.

    Returns:
        In [0, 1]; NaN below three frames.
    """
    check_shape("T H W 3, T H W, T", frames=frames, masks=masks, seconds=seconds)
    if len(frames) < 3:
        return float("nan")
    means = np.array(
        [
            float((luma(f) * m).sum() / max(m.sum(), 1e-12))
            for f, m in zip(frames, masks, strict=True)
        ]
    )
    return float(np.std(means - whittaker(means, seconds, FLICKER_HZ)))


def jerk(points: F32 | F64, seconds: F64, scale: float = 1.0) -> float:
    """Root mean square of the third derivative of points.

    Args:
        points: (T, ...) such as landmarks (T, N, 2), parameters (T, k) or codes (T, L, D).
        seconds: (T,) ascending, not necessarily evenly spaced.
        scale: Unit of the points, such as the distance between the eyes in pixels.

    Returns:
        Units per second³, over all points; NaN below four frames.
    """
    z = np.asarray(points, np.float64).reshape(len(points), -1) / scale
    time = np.asarray(seconds, np.float64)
    check_shape("T _, T", points=z, seconds=time)
    if len(z) < 4:
        return float("nan")
    for order in (1, 2, 3):
        # Divided differences are derivatives whatever the spacing; at even steps they are Δ³ · fps³.
        z = order * np.diff(z, axis=0) / (time[order:] - time[:-order])[:, None]
    return float(np.sqrt((z**2).sum(1).mean()))


def jerk_ratio(output: F32 | F64, source: F32 | F64, seconds: F64) -> float:
    """Jerk of the result relative to the source's: 0.8 to 1.1 is right.

    Below 0.7 the motion is smoothed away, above 1.3 it jitters.

    Args:
        output: (T, ...) points of the result.
        source: (T, ...) the same points of the untouched clip.
        seconds: (T,)
    """
    bottom = jerk(source, seconds)
    return jerk(output, seconds) / bottom if bottom > 0 else float("nan")


def ratio(top: float, bottom: float) -> float:
    """One figure relative to another; NaN where there is nothing to compare with."""
    return top / bottom if bottom > 0 else float("nan")
