"""Strips of pixels that are worked on one after the other.

Whatever a strip needs fits the processor's cache, and blocks as small as its arrays come from the
allocator without new pages, which cost more than the arithmetic on them.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from vidswap.types import F32, Bool


@dataclass(frozen=True, slots=True)
class Strip:
    """The pixels between the centres of some coarse cells."""

    top: int
    bottom: int
    left: int
    right: int
    """First and last cells. Pixels lie between two cells, so both are needed to widen."""
    step: int
    """Pixels per cell."""
    at: tuple[slice, slice]
    """Rows and columns of the pixels."""

    @classmethod
    def between(
        cls, rows: tuple[int, int], columns: tuple[int, int], size: tuple[int, int], step: int
    ) -> "Strip":
        """From the centres of the first cells to those of the last ones.

        Args:
            rows: First and last; -1 for all that lies before the first, the number of cells for all beyond
                the last.
            columns: The same.
            size: Height and width of the picture.
            step: Pixels per cell.
        """
        half, (height, width) = step // 2, size
        (top, bottom), (left, right) = rows, columns
        down = slice(max(top * step + half, 0), min(bottom * step + half, height))
        across = slice(max(left * step + half, 0), min(right * step + half, width))
        return cls(top, bottom, left, right, step, (down, across))

    def widen(self, values: F32) -> F32:
        """Cells → pixels, cell centres where ``coarse_maps`` put them.

        Args:
            values: (h, w) or (h, w, C) coarse array.
        """
        rows, columns = self.at
        s = self.step
        if s == 1:
            return values[self.at]
        top, left = max(self.top, 0), max(self.left, 0)
        near = values[top : self.bottom + 1, left : self.right + 1]
        shape = (near.shape[1] * s, near.shape[0] * s)
        wide = cv2.resize(near, shape, interpolation=cv2.INTER_LINEAR)
        y, x = rows.start - top * s, columns.start - left * s
        return wide[y : y + rows.stop - rows.start, x : x + columns.stop - columns.start]


def strips(wanted: Bool, size: tuple[int, int], step: int, pixels: int) -> Iterator[Strip]:
    """Strips over every wanted cell and what it fades into.

    Args:
        wanted: (h, w) on coarse cells.
        size: Height and width of the picture in pixels.
        step: Pixels per cell.
        pixels: How many a strip holds, about.
    """
    height = len(wanted)
    cells = np.ascontiguousarray(wanted).view(np.uint8)
    count = max(pixels // ((cv2.boundingRect(cells)[2] + 2) * step * step), 1)
    for first in range(-1, height, count):
        last = min(first + count, height)
        start, _, across, _ = cv2.boundingRect(cells[max(first, 0) : last + 1])
        if across:
            strip = Strip.between((first, last), (start - 1, start + across), size, step)
            # The last cells may lie beyond the picture.
            if all(part.start < part.stop for part in strip.at):
                yield strip
