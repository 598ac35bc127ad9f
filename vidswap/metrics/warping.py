"""Warping error: what changes between two frames and is not motion.

Source: Lai et al., Learning Blind Video Temporal Consistency, 2018; occlusion from Ruder et al.,
Artistic Style Transfer for Videos, 2016.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from vidswap.checks import check_shape
from vidswap.types import F32, Bool


class Flow(NamedTuple):
    """Motion from one frame to the next."""

    forward: F32
    """(H, W, 2) pixels, x then y."""
    visible: Bool
    """(H, W) False where a pixel is hidden in the next frame, or lies on the edge of a motion."""


def flow(first: F32, second: F32) -> Flow:
    """DIS optical flow, with what cannot be followed marked (Kroeger et al., 2016).

    Args:
        first: (H, W, 3) in [0, 1].
        second: The frame after it.
    """
    import cv2

    check_shape("H W 3, H W 3", first=first, second=second)
    grey = [np.rint(luma(f) * 255).clip(0, 255).astype(np.uint8) for f in (first, second)]
    engine = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    forward = engine.calc(grey[0], grey[1], None)
    backward = engine.calc(grey[1], grey[0], None)
    return Flow(forward, visible(forward, backward))


def visible(forward: F32, backward: F32) -> Bool:
    """Pixels whose motion there and back cancels, away from the edges of motions.

    Args:
        forward: (H, W, 2) from this frame to the next.
        backward: (H, W, 2) from the next frame to this one.

    Returns:
        (H, W)
    """
    check_shape("H W 2, H W 2", forward=forward, backward=backward)
    back = warp(backward, forward)
    size, returned = (forward**2).sum(-1), (back**2).sum(-1)
    hidden = ((forward + back) ** 2).sum(-1) > 0.01 * (size + returned) + 0.5
    bend = sum((np.gradient(forward[..., c], axis=a) ** 2 for c in (0, 1) for a in (0, 1)), 0.0)
    height, width = size.shape
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    x, y = columns + forward[..., 0], rows + forward[..., 1]
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    seen: Bool = ~hidden & (bend <= 0.01 * size + 0.002) & inside
    return seen


def warp(picture: F32, forward: F32) -> F32:
    """Sample the next frame where each pixel has gone, bilinear.

    Args:
        picture: (H, W, C) the next frame.
        forward: (H, W, 2)

    Returns:
        (H, W, C)
    """
    import cv2

    height, width = forward.shape[:2]
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    moved: F32 = cv2.remap(
        picture,
        columns + forward[..., 0],
        rows + forward[..., 1],
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return moved


def warping_error(
    frames: Iterable[F32], flows: Iterable[Flow], masks: Sequence[F32] | F32 | None = None
) -> float:
    """Mean squared change along the motion of the *untouched* clip, over what can be followed.

    Report the difference to the same figure of the untouched clip: that one holds its noise and the
    flow's own errors.

    Args:
        frames: T pictures (H, W, 3) in [0, 1] of one shot.
        flows: T − 1 of the untouched clip.
        masks: T weights (H, W), such as the face; None is everything.

    Returns:
        Summed over the three channels; NaN below two frames or where nothing can be followed.
    """
    errors: list[float] = []
    before: F32 | None = None
    moves = iter(flows)
    for index, frame in enumerate(frames):
        if before is not None:
            mask = None if masks is None else masks[index - 1]
            errors.append(changed(before, frame, next(moves), mask))
        before = frame
    known = [e for e in errors if np.isfinite(e)]
    return float(np.mean(known)) if known else float("nan")


def changed(before: F32, after: F32, move: Flow, mask: F32 | None = None) -> float:
    """The warping error of one pair of frames; NaN where nothing can be followed."""
    weight = move.visible.astype(np.float64)
    weight = weight if mask is None else weight * mask
    total = float(weight.sum())
    difference = ((before - warp(after, move.forward)) ** 2).sum(-1)
    return float((weight * difference).sum() / total) if total > 0 else float("nan")


def texture_change(before: F32, after: F32, move: Flow, mask: F32) -> float:
    """How much a picture changes along the motion of the untouched clip, beyond that motion.

    Report it over the same figure of the untouched clip: below 1 a face is calmer than it was, above
    it shimmers.

    Args:
        before: (H, W, 3) in [0, 1].
        after: (H, W, 3) the next frame.
        move: Of the *untouched* clip.
        mask: (H, W) where it counts.

    Returns:
        Mean absolute difference; NaN where nothing can be followed.
    """
    check_shape("H W 3, H W 3, H W", before=before, after=after, mask=mask)
    weight = move.visible * mask
    total = float(weight.sum())
    difference = np.abs(before - warp(after, move.forward)).mean(-1)
    return float((weight * difference).sum() / total) if total > 0 else float("nan")


def luma(rgb: F32) -> F32:
    """(..., 3) gamma-coded RGB → (...) BT.709 luma."""
    weights = np.array([0.2126, 0.7152, 0.0722], np.float32)
    grey: F32 = rgb.astype(np.float32) @ weights
    return grey
