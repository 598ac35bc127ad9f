"""Frames that show a face as the frame before did: what a conversion of the rate repeated.

24 pictures a second in a file of 30 repeat every fourth, a camera in low light repeats what it has
no new picture for, an editor holds a frame. Coded anew, a repeated picture is not bit-equal. Whatever
is drawn on a face must stand still there as the face does: smoothing sees the distinct pictures only,
and each repeat takes all that its picture has.
"""

import cv2
import numpy as np

from vidswap.types import F32, F64, I64, U8, Bool

ALIKE = 0.02
"""Mean change in 8-bit levels that nobody sees, whatever moves before and after."""
FAINT, STILL, TREMBLE = 1.0, 0.0013, 0.008
"""Mean change in 8-bit levels, median motion and that of what moves most in eye distances, that coding a
picture anew causes at most."""
SHARE, SHIFT = 0.15, 0.15
"""Shares of the usual change and of the usual motion nearby up to which it is coding."""
NEARBY, USUAL = 15, 90
"""Frames among which, and percentile at which, the usual change are found: four of five may repeat."""
CREEP = 0.004
"""Motion in eye distances that ends a run when it adds up to this: what creeps must not stop and jump."""
LONGEST = 30
"""Frames of a run at most, so that what is read at once is bounded. A face that is held for longer has
the same landmarks all the time."""


def change(before: U8, after: U8) -> float:
    """Mean absolute difference in 8-bit levels of two grey pictures of one place."""
    return float(cv2.mean(cv2.absdiff(before, after))[0])


def repeated(changes: F32) -> Bool:
    """Which frames show the face as the frame before did.

    Args:
        changes: (T, 3) mean change in 8-bit levels, and median motion and that of what moves most (a
            mouth, in a still head) in eye distances, since the frame before; NaN where not known.

    Returns:
        (T,) False in the first frame, and wherever nothing is known.
    """
    from scipy.ndimage import percentile_filter

    level, motion, most = changes.astype(np.float64).T

    def faint(values: F64, limit: float, share: float) -> Bool:
        usual = percentile_filter(np.nan_to_num(values), USUAL, NEARBY, mode="reflect")
        return np.asarray(values <= np.minimum(limit, share * usual), np.bool_)

    still = faint(motion, STILL, SHIFT) & faint(most, TREMBLE, SHIFT)
    same = (level <= ALIKE) | (faint(level, FAINT, SHARE) & still)
    if len(same):
        same[0] = False
    crept, run = 0.0, 1
    for at in np.flatnonzero(same).tolist():
        if not same[at - 1]:
            crept, run = 0.0, 1
        crept, run = crept + motion[at], run + 1
        if crept > CREEP or run > LONGEST:
            same[at] = False
    return np.asarray(same, np.bool_)


def pictures(same: Bool) -> tuple[I64, I64]:
    """First frame of each distinct picture (n,), and the picture that each frame shows (T,)."""
    return np.flatnonzero(~same), np.cumsum(~same) - 1
