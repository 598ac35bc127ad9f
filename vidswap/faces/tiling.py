"""Where detectors look: squares that cover a picture at several scales."""

from collections.abc import Callable

import cv2
import numpy as np

from vidswap.types import F32, U8, Box

LEVELS = (1.0, 0.6, 0.35, 0.2)
"""Sides that tiles may have, as shares of the picture's short side; the last only above 1080 lines."""
OVERLAP = 0.3
"""Share of a tile that its neighbour sees too."""
SMALLEST = 0.08
"""Faces smaller than this share of a tile are not found in it (15 of 192 pixels)."""
STEP = 3.0
"""Between the sides of two levels at most: a face that is too small for the larger one lies wholly in a
tile of the smaller one, whatever its place, as long as ``SMALLEST`` × ``STEP`` is below ``OVERLAP``."""
SUPPRESS = 0.3
"""Overlap from which two boxes are one face."""

CHANGED = 12
"""Grey levels by which a place must differ from the last search to be searched again."""

Wanted = Callable[[Box], bool]


def everywhere(box: Box) -> bool:
    """Leave nothing out."""
    del box
    return True


def tiles(width: int, height: int, smallest: float) -> list[Box]:
    """Squares that, with the whole picture, show faces of every size down to one.

    Tiles of the last level show the smallest face large enough. Above it are as few levels as leave
    no size out: any other would look for faces that its neighbours find as well.

    Args:
        width: Pixels.
        height: Pixels.
        smallest: Height in pixels of the smallest face that matters.
    """
    short, out = min(width, height), list[Box]()
    for level in _levels(short, max(width, height), smallest):
        side = max(round(level * short), 1)
        if side == max(width, height):
            continue  # the whole picture
        for top in _starts(height, side):
            out += [Box(left, top, left + side, top + side) for left in _starts(width, side)]
    return out


def _levels(short: int, long: int, smallest: float) -> list[float]:
    """Shares of the short side, largest first."""
    enough = [level for level in LEVELS if level * short * SMALLEST <= 1.1 * smallest]
    out = [enough[0] if enough else LEVELS[-1]]
    # Rounded sides may miss by a hair: 3 × 0.2 is more than 0.6.
    while out[-1] < LEVELS[0] and long > 1.001 * STEP * out[-1] * short:
        out.append(next(level for level in LEVELS if level <= 1.001 * STEP * out[-1]))
    return out[::-1]


def _starts(length: int, side: int) -> list[int]:
    """Evenly spread origins of windows over a length, overlapping by at least 30 %."""
    if length <= side:
        return [0]
    count = int(np.ceil((length - side) / (side * (1 - OVERLAP)))) + 1
    return [round(v) for v in np.linspace(0, length - side, count)]


class Changed:
    """Whether a tile differs from the last search anywhere but on faces that are tracked.

    Args:
        luma: (h, w) grey picture, reduced.
        previous: The same of the last search; None wants everything.
        known: (4,) boxes of the faces, in pixels of the full picture.
        width: Of the full picture.
        grow: Shares of their widths by which the boxes are widened.
    """

    def __init__(
        self,
        luma: U8,
        previous: U8 | None,
        known: list[F32],
        width: int,
        grow: float,
    ) -> None:
        self._all = previous is None or previous.shape != luma.shape
        self._factor = luma.shape[1] / width
        if self._all or previous is None:
            return
        self._map = cv2.absdiff(luma, previous) > CHANGED
        for box in known:
            left, top, right, bottom = box * self._factor
            more = grow * (right - left)
            rows = slice(max(int(top - more), 0), max(int(bottom + more), 0) + 1)
            self._map[rows, max(int(left - more), 0) : max(int(right + more), 0) + 1] = False

    def __call__(self, box: Box) -> bool:
        """Whether a tile of the full picture need be looked at."""
        if self._all:
            return True
        left, top, right, bottom = (int(v * self._factor) for v in box)
        return bool(self._map[max(top, 0) : bottom + 1, max(left, 0) : right + 1].any())
