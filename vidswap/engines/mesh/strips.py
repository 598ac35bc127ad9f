"""Coarse cells of a picture, and strips of pixels that are worked on one after the other.

Whatever a strip needs fits the processor's cache, and blocks as small as its arrays come from the
allocator without new pages, which cost more than the arithmetic on them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil

import cv2
import numpy as np

from vidswap.types import F32, U8, U16, Bool


@dataclass(frozen=True, slots=True)
class Grid:
    """Square cells over a picture.

    They lie fixed on the face and not on the picture: between the centres of two cells everything is
    interpolated, which cuts off what bends there, and would crawl over a face that moves across them.
    """

    step: int
    """Pixels per cell."""
    x: float = 0.0
    y: float = 0.0
    """How far the first cell reaches out of the picture to the left and at the top, px."""

    @classmethod
    def on(cls, step: int, anchor: F32) -> "Grid":
        """With the corner of a cell on a place of the face.

        Args:
            step: Pixels per cell.
            anchor: (2,) pixels.
        """
        if step == 1:
            return cls(1)
        x, y = (-(anchor + 0.5) % step).tolist()
        return cls(step, x, y)

    def cells(self, points: F32) -> F32:
        """(..., 2) pixels in cells; whole numbers are the cells' centres."""
        shifted = points + np.array((self.x + 0.5, self.y + 0.5), np.float32)
        return np.asarray(shifted / np.float32(self.step) - 0.5, np.float32)

    def count(self, size: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns that cover a picture of some height and width, and one more."""
        height, width = size
        return ceil((height + self.y) / self.step) + 1, ceil((width + self.x) / self.step) + 1

    def middles(self, count: int) -> F32:
        """(count,) pixel rows of the cells' centres, from the one before the first."""
        cells = np.arange(-1, count - 1, dtype=np.float32)
        return np.asarray((cells + 0.5) * self.step - np.float32(self.y + 0.5), np.float32)

    def first(self, row: int, column: int) -> tuple[int, int]:
        """(x, y) of the first pixel of a cell, outside the picture for those that reach out of it."""
        return ceil(column * self.step - self.x - 0.5), ceil(row * self.step - self.y - 0.5)

    def within(self, row: int, column: int) -> "Grid":
        """The grid of the part of the picture that begins with the first pixel of a cell that is in it."""
        left, top = (max(c, 0) for c in self.first(row, column))
        return Grid(self.step, self.x + left - column * self.step, self.y + top - row * self.step)

    def means(self, part: U8 | U16, size: tuple[int, int]) -> U8 | U16:
        """Mean of the pixels of each cell, to half a pixel; at the borders, of those there are.

        Args:
            part: (H, W, C) picture.
            size: Rows and columns.
        """
        s = self.step
        left, top = round(self.x), round(self.y)
        right, bottom = size[1] * s - left - part.shape[1], size[0] * s - top - part.shape[0]
        over, under, before, behind = (max(pad, 0) for pad in (top, bottom, left, right))
        if over or under or before or behind:
            border = cv2.BORDER_REPLICATE
            part = np.asarray(cv2.copyMakeBorder(part, over, under, before, behind, border))
        whole = part[max(-top, 0) :, max(-left, 0) :][: size[0] * s, : size[1] * s]
        return np.asarray(cv2.resize(whole, size[::-1], interpolation=cv2.INTER_AREA))


@dataclass(frozen=True, slots=True)
class Strip:
    """The pixels between the centres of some coarse cells."""

    top: int
    bottom: int
    left: int
    right: int
    """First and last cells. Pixels lie between two cells, so both are needed to widen."""
    grid: Grid
    at: tuple[slice, slice]
    """Rows and columns of the pixels."""

    @classmethod
    def between(
        cls, rows: tuple[int, int], columns: tuple[int, int], size: tuple[int, int], grid: Grid
    ) -> "Strip":
        """From the centres of the first cells to those of the last ones.

        Args:
            rows: First and last; -1 for all that lies before the first, the number of cells for all beyond
                the last.
            columns: The same.
            size: Height and width of the picture.
            grid: Its cells.
        """
        half, (height, width) = (grid.step - 1) / 2, size
        (top, bottom), (left, right) = rows, columns
        y0, y1 = (ceil(row * grid.step + half - grid.y) for row in (top, bottom))
        x0, x1 = (ceil(column * grid.step + half - grid.x) for column in (left, right))
        down = slice(max(y0, 0), min(y1, height))
        across = slice(max(x0, 0), min(x1, width))
        return cls(top, bottom, left, right, grid, (down, across))

    def widen(self, values: F32) -> F32:
        """Cells → pixels, to half a pixel: for what changes slowly.

        Args:
            values: (h, w) or (h, w, C) coarse array.
        """
        rows, columns = self.at
        s = self.grid.step
        if s == 1:
            return values[self.at]
        top, left = max(self.top, 0), max(self.left, 0)
        near = values[top : self.bottom + 1, left : self.right + 1]
        shape = (near.shape[1] * s, near.shape[0] * s)
        wide = cv2.resize(near, shape, interpolation=cv2.INTER_LINEAR)
        y = rows.start + round(self.grid.y) - top * s
        x = columns.start + round(self.grid.x) - left * s
        return wide[y : y + rows.stop - rows.start, x : x + columns.stop - columns.start]

    def place(self, planes: F32) -> F32:
        """Cells → pixels exactly, cell centres where ``coarse_maps`` put them: for places in pictures.

        Args:
            planes: (C, h + 2, W) arrays from ``rows_of``.

        Returns:
            (C, H, W)
        """
        rows, columns = self.at
        s = self.grid.step
        if s == 1:
            return planes[:, 1:-1][:, rows, columns]
        high, wide = rows.stop - rows.start, columns.stop - columns.start
        y = (rows.start + 0.5 + self.grid.y) / s + 0.5
        out = np.empty((len(planes), high, wide), np.float32)
        for result, plane in zip(out, planes[..., columns], strict=True):
            _between(plane, result, y, s)
        return out


def rows_of(planes: Sequence[F32], grid: Grid, width: int) -> F32:
    """(C, h + 2, W) of C coarse arrays (h, w): pixels across, still cells down, the borders repeated.

    What ``Strip.place`` takes: cells are few down, so that this is done for all strips at once.
    """
    edged = [cv2.copyMakeBorder(p, 1, 1, 1, 1, cv2.BORDER_REPLICATE) for p in planes]
    shape = len(planes), len(edged[0]), width
    if grid.step == 1:
        return np.stack(edged)[..., 1 : 1 + width]
    # Rows are far quicker to take and to fill than every step-th column.
    cells = cv2.transpose(np.concatenate(edged))
    pixels = np.empty((width, cells.shape[1]), np.float32)
    _between(cells, pixels, (0.5 + grid.x) / grid.step + 0.5, grid.step)
    return np.asarray(cv2.transpose(pixels), np.float32).reshape(shape)


def _between(cells: F32, pixels: F32, first: float, step: int) -> None:
    """Fill rows of pixels from those of the cells; the first lies at ``first``, and ``step`` make a cell."""
    # Every step-th pixel lies at the same place between two cells.
    for k in range(min(step, len(pixels))):
        place, count = first + k / step, -(-(len(pixels) - k) // step)
        at = int(place)
        share = place - at
        near, far = cells[at : at + count], cells[at + 1 : at + 1 + count]
        cv2.addWeighted(near, 1 - share, far, share, 0, pixels[k::step])


def strips(wanted: Bool, size: tuple[int, int], grid: Grid, pixels: int) -> Iterator[Strip]:
    """Strips over every wanted cell and what it fades into.

    Args:
        wanted: (h, w) on coarse cells.
        size: Height and width of the picture in pixels.
        grid: Its cells.
        pixels: How many a strip holds, about.
    """
    height, step = len(wanted), grid.step
    cells = np.ascontiguousarray(wanted).view(np.uint8)
    count = max(pixels // ((cv2.boundingRect(cells)[2] + 2) * step * step), 1)
    for first in range(-1, height, count):
        last = min(first + count, height)
        start, _, across, _ = cv2.boundingRect(cells[max(first, 0) : last + 1])
        if across:
            strip = Strip.between((first, last), (start - 1, start + across), size, grid)
            # The last cells may lie beyond the picture.
            if all(part.start < part.stop for part in strip.at):
                yield strip
