"""Cut detection without a model, frame by frame.

A frame may start a shot when its local histograms are far from those of the frame before, or when
the two pictures do not correlate in place. It does
start one when, in addition, no common motion explains the change (pans and fast movement keep their
texture) and the old picture does not come back within a few frames (flashes, torn frames).
Fades through black count as a cut where the new picture appears.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import cv2
import numpy as np

from vidswap.recipe import ShotOptions
from vidswap.types import F32, U8

SIDE = 160
"""Longer side in pixels of the grey pictures to feed."""
GRID = 3
"""Histograms are taken in 3 × 3 cells, so that scenes of equal brightness still differ."""
BINS = 16
FLAT = 4.0
"""Grey levels of standard deviation below which a picture shows nothing (black, white, fog)."""
CLEAR = 10.0
"""Contrast from which pictures can be compared with those before a fade."""
DIM = 24
"""Frames after which a dim picture is compared all the same."""
CALM = 5.0
"""Mean change in grey levels below which two pictures are the same without further look."""
COLUMNS, ROWS = 6, 4
MATCH = 0.75
"""Correlation from which a block counts as found again."""
IN_PLACE = 0.8
"""Correlation of two whole pictures from which like histograms are believed."""
EDGES = 0.4
"""The same of their fine edges alone, from which two pictures show one scene in other light."""
COMMON = 0.35
"""Share of the blocks that must move together for a change to be motion."""


@dataclass(frozen=True, eq=False)
class _Look:
    luma: U8
    contrast: float
    """Standard deviation in grey levels."""

    @cached_property
    def cells(self) -> F32:
        """(9, 16) cumulative histograms; most frames are judged without them."""
        return histograms(self.luma)


class ShotSplitter:
    """Tells where shots start; holds back frames it cannot judge yet.

    Feed ``frame.luma(SIDE)`` in order. Every call returns the verdicts that became known, in frame
    order: True starts a shot. All but suspicious frames are decided at once; those wait for at most
    ``options.min_frames`` frames.
    """

    def __init__(self, options: ShotOptions) -> None:
        self._options = options
        self._last: _Look | None = None
        self._clear: _Look | None = None
        """The last picture with contrast, to compare with what comes after black."""
        self._pending: list[_Look] = []
        self._black = False
        self._dim = 0
        """Frames since black that still show too little to be compared."""
        self._calm = 0
        """Frames in a row with contrast, each like the one before."""
        self.settled = False
        """Whether a splitter that had seen all frames before these would judge as this one from
        here on. It would once calm frames have outlasted whatever it may have held back before:
        each of its doubts ends after ``min_frames``, and each new frame then settles one."""

    def add(self, luma: U8) -> list[bool]:
        """Take the next frame.

        Args:
            luma: (h, w) grey, of one size throughout.

        Returns:
            Verdicts on the oldest undecided frames; empty while in doubt.
        """
        return self._judge(_look(luma))

    def flush(self) -> list[bool]:
        """Verdicts on what is left at the end of the clip: doubt there is a cut."""
        out: list[bool] = []
        while self._pending:
            out += self._cut()
        return out

    def _judge(self, look: _Look) -> list[bool]:
        if self._last is None:
            self._advance(look)
            return [True]
        self._calm += 1
        if self._pending:
            self._calm = 0
            self._pending.append(look)
            if self._same(self._last, look):
                # The old picture is back: what lay between was a flash, not a shot.
                verdicts = [False] * len(self._pending)
                self._pending = []
                self._advance(look)
                return verdicts
            return self._cut() if len(self._pending) >= self._options.min_frames else []
        if look.contrast < FLAT or self._black:
            return [self._through_black(look)]
        if self._same(self._last, look):
            self._advance(look)
            self._calm *= look.contrast >= CLEAR
            self.settled |= self._calm >= 3 * self._options.min_frames
            return [False]
        self._calm = 0
        self._pending = [look]
        return self._cut() if self._options.min_frames <= 1 else []

    def _through_black(self, look: _Look) -> bool:
        """Whether a picture that comes back from nothing is another one than went."""
        self._calm = 0
        self._dim = 0 if look.contrast < FLAT else self._dim + 1
        self._black = look.contrast < CLEAR and self._dim <= DIM
        if self._black:
            return False
        before = self._clear
        self._advance(look)
        return before is not None and not moved(before.luma, look.luma)

    def _advance(self, look: _Look) -> None:
        self._last = look
        if look.contrast >= CLEAR:
            self._clear = look

    def _cut(self) -> list[bool]:
        """The oldest undecided frame starts a shot; the others are judged against it."""
        first, *rest = self._pending
        self._pending = []
        self._advance(first)
        verdicts = [True]
        for look in rest:
            verdicts += self._judge(look)
        return verdicts

    def _same(self, a: _Look, b: _Look) -> bool:
        return same(a, b, self._options.threshold)


def unlike(a: U8, b: U8, threshold: float) -> bool:
    """Whether two grey pictures with contrast show different scenes, however they are lit."""
    first, second = _look(a), _look(b)
    if min(first.contrast, second.contrast) < CLEAR:
        return False
    # Light from elsewhere changes everything but where the fine edges are.
    fine = [cv2.subtract(p, cv2.GaussianBlur(p, (0, 0), 3.0), dtype=cv2.CV_32F) for p in (a, b)]
    alike = cv2.matchTemplate(fine[0], fine[1], cv2.TM_CCOEFF_NORMED)
    lit = float(alike[0, 0]) >= EDGES
    return not lit and not same(first, second, threshold)


def same(a: _Look, b: _Look, threshold: float) -> bool:
    """Whether two pictures show the same scene, from wherever."""
    # Of the difference: given two pictures, `norm` tries another signature first and dies of a signal
    # that comes meanwhile (OpenCV 4.11 reads the text of its own failure, which then is NULL).
    if float(cv2.norm(cv2.absdiff(a.luma, b.luma), cv2.NORM_L1)) < CALM * a.luma.size:
        return True
    near = distance(a.cells, b.cells) <= threshold
    # Shot and reverse shot share their histograms; their pictures do not correlate.
    in_place = float(cv2.matchTemplate(a.luma, b.luma, cv2.TM_CCOEFF_NORMED)[0, 0]) >= IN_PLACE
    return (near and in_place) or moved(a.luma, b.luma)


def _look(luma: U8) -> _Look:
    small = np.asarray(cv2.GaussianBlur(luma, (0, 0), 1.0), np.uint8)
    return _Look(small, float(small.std()))


def histograms(luma: U8) -> F32:
    """(9, 16) cumulative histograms of the cells of a grey picture."""
    height, width = luma.shape
    rows = np.linspace(0, height, GRID + 1).astype(int)
    columns = np.linspace(0, width, GRID + 1).astype(int)
    levels = luma // (256 // BINS)
    counts = [
        np.bincount(levels[top:bottom, left:right].ravel(), minlength=BINS)
        for top, bottom in pairwise(rows)
        for left, right in pairwise(columns)
    ]
    cells = np.array(counts, np.float32)
    total: F32 = np.cumsum(cells / np.maximum(cells.sum(1, keepdims=True), 1), 1)
    return total


def distance(a: F32, b: F32) -> float:
    """Mean distance in [0, 1] between two sets of cumulative histograms (cells, bins).

    Per cell half the common-mode-free Kolmogorov distance and half the earth mover's distance over
    a quarter of the range: a slight change of exposure moves neither far, another scene both.
    """
    gap = np.abs(a - b)
    mover = np.minimum(gap.sum(1) / (BINS / 4), 1)
    return float((0.5 * gap.max(1) + 0.5 * mover).mean())


def moved(a: U8, b: U8) -> bool:
    """Whether ``b`` shows the texture of ``a``, moved in common: blocks found again by correlation."""
    height, width = b.shape
    h, w = height // ROWS, width // COLUMNS
    reach_y, reach_x = height // 4, width // 3
    padded = cv2.copyMakeBorder(a, reach_y, reach_y, reach_x, reach_x, cv2.BORDER_REFLECT)
    shifts, textured = [], 0
    for i in range(ROWS):
        for j in range(COLUMNS):
            y, x = i * h, j * w
            block = b[y : y + h, x : x + w]
            if block.std() < FLAT:
                continue
            textured += 1
            area = padded[y : y + h + 2 * reach_y, x : x + w + 2 * reach_x]
            _, best, _, where = cv2.minMaxLoc(cv2.matchTemplate(area, block, cv2.TM_CCOEFF_NORMED))
            if best >= MATCH:
                shifts.append((where[0] - reach_x, where[1] - reach_y))
    if textured < 3 or len(shifts) < COMMON * textured:
        return False
    away = np.abs(np.array(shifts) - np.median(shifts, 0))
    together = (away <= (0.06 * width, 0.06 * width)).all(1).sum()
    return bool(together >= COMMON * textured)
