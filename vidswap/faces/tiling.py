"""Where detectors look: squares that cover a picture at several scales."""

from collections.abc import Callable

import numpy as np

from vidswap.types import Box

LEVELS = (1.0, 0.6, 0.35, 0.2)
"""Sides of the tiles as shares of the picture's short side; the last only above 1080 lines."""
OVERLAP = 0.3
"""Share of a tile that its neighbour sees too."""
SMALLEST = 0.08
"""Faces smaller than this share of a tile are not found in it (15 of 192 pixels)."""
SUPPRESS = 0.3
"""Overlap from which two boxes are one face."""

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
