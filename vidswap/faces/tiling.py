"""Where detectors look: squares that cover a picture at several scales."""

from collections.abc import Callable

import cv2
import numpy as np

from vidswap.types import F32, U8, Box

LEVELS = (1.0, 0.6, 0.35, 0.2)
"""Sides of the tiles as shares of the picture's short side; the last only above 1080 lines."""
OVERLAP = 0.3
"""Share of a tile that its neighbour sees too."""
SMALLEST = 0.08
"""Faces smaller than this share of a tile are not found in it (15 of 192 pixels)."""
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
    """Squares that cover a picture at every scale needed for faces down to a size.

    The first level covers the picture with squares of its short side; smaller levels are left out
    where the level before already shows the smallest face large enough.

    Args:
        width: Pixels.
        height: Pixels.
        smallest: Height in pixels of the smallest face that matters.
    """
    out: list[Box] = []
    short = min(width, height)
    for level in LEVELS:
        side = max(round(level * short), 1)
        for top in _starts(height, side):
            out += [Box(left, top, left + side, top + side) for left in _starts(width, side)]
        if side * SMALLEST <= 1.1 * smallest:
            break
    return out


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
        least: Side of the smallest tile that is wanted.
    """

    def __init__(
        self, luma: U8, previous: U8 | None, known: list[F32], width: int, least: float
    ) -> None:
        self._all = previous is None or previous.shape != luma.shape
        self._factor = luma.shape[1] / width
        self._least = least
        if self._all or previous is None:
            return
        self._map = cv2.absdiff(luma, previous) > CHANGED
        for box in known:
            left, top, right, bottom = box * self._factor
            grow = 0.35 * (right - left)
            rows = slice(max(int(top - grow), 0), max(int(bottom + grow), 0) + 1)
            self._map[rows, max(int(left - grow), 0) : max(int(right + grow), 0) + 1] = False

    def __call__(self, box: Box) -> bool:
        """Whether a tile of the full picture need be looked at."""
        if box.width < self._least:
            return False
        if self._all:
            return True
        left, top, right, bottom = (int(v * self._factor) for v in box)
        return bool(self._map[max(top, 0) : bottom + 1, max(left, 0) : right + 1].any())
