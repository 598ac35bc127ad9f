"""Dissolves: one shot fades into another, and no frame is a cut.

While a picture A dissolves into a picture B, every frame lies near the straight line from A to B in
the space of pictures, and moves along it one way. Motion does not: what moves is for a while at
places where neither A nor B shows it. So a stretch of frames is a dissolve when its frames lie on the
line between its ends, its ends are at rest on that line, and they do not show the same scene (a lamp
that is turned up keeps to its line as well). Pictures are compared at a few pixels a side, where small
motion within A and B hardly counts; where the camera moves far during a long dissolve, it is missed.

Source of linear combination as a model of edits: Hampapur et al., Production Model Based Digital Video
Segmentation, 1995.
"""

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from vidswap.types import F32, F64, U8

LENGTHS = (7, 10, 14, 19, 26, 35, 47, 60)
"""Frames over which dissolves are looked for, each with some rest at both ends."""
LONGEST = LENGTHS[-1]
SIDE = 32
"""Longer side in pixels that pictures are reduced to."""
FAR = 10.0
"""Root mean square in grey levels by which the ends differ at least."""
OFF = 0.3
"""Distance of the frames from the line, as a share of its length, at most."""
UNLIKE = 0.3
"""Square of the distance between two scenes as a share of the contrast's, at least."""
STEP = 0.4
"""Share of the way that one frame may make; a cut makes all of it."""
REST = 0.3
"""Speed at the ends as a share of that in between, at most."""
BACK = 0.2
"""Share of the way that may be gone back, by noise and motion."""


class Blend(NamedTuple):
    """A dissolve, in frames before the last one that was added; ``start > middle > stop``."""

    start: int
    """First frame that shows the next shot."""
    middle: int
    """First frame that shows at least as much of it."""
    stop: int
    """First frame that shows nothing else."""
    before: int
    """A frame that shows the shot before alone."""


@dataclass(frozen=True, slots=True, eq=False)
class _Way:
    """A stretch of frames along the line between its ends."""

    share: F64
    """(n + 1,) how far along each frame is; 0 … 1."""
    off: float
    """Root mean square distance of the frames on their way, as a share of the line."""
    length: float
    """Of the line, grey levels."""

    @property
    def straight(self) -> bool:
        """Whether the frames go from one end to the other, one way, little by little."""
        steps = np.diff(self.share)
        back = -np.minimum(steps, 0).sum()
        return bool(self.off <= OFF and steps.max() <= STEP and back <= BACK)

    @property
    def rests(self) -> bool:
        """Whether both ends stand still on the line while the middle moves."""
        share = self.share
        between = np.count_nonzero((share > 0.1) & (share < 0.9))
        if between < 3:
            return False
        most = REST * 2 * 0.8 / (between + 1)
        return bool(abs(share[2]) <= most and abs(1 - share[-3]) <= most)


class DissolveMeter:
    """Looks back from each frame for a dissolve that has just ended, or one that goes on."""

    def __init__(self) -> None:
        self._pictures: F32 | None = None
        self._products: F64 = np.zeros((LONGEST + 1, LONGEST + 1))
        self._means: F64 = np.zeros(LONGEST + 1)
        self._count = 0
        self._ways: list[_Way] = []

    def add(self, luma: U8) -> None:
        """Take the next frame: (h, w) grey, of one size throughout."""
        height, width = luma.shape
        scale = SIDE / max(height, width)
        size = (max(round(width * scale), 1), max(round(height * scale), 1))
        small = cv2.resize(luma, size, interpolation=cv2.INTER_AREA).ravel().astype(np.float32)
        if self._pictures is None:
            self._pictures = np.zeros((LONGEST + 1, small.size), np.float32)
        self._pictures[:-1] = self._pictures[1:]
        self._pictures[-1] = small
        self._products[:-1, :-1] = self._products[1:, 1:]
        # Not a matrix product: BLAS's threads would wait busily for the next one, 1.5 ms of CPU a frame.
        self._products[-1] = self._products[:, -1] = (self._pictures * small).mean(1)
        self._means[:-1] = self._means[1:]
        self._means[-1] = small.mean()
        self._count = min(self._count + 1, LONGEST + 1)
        self._ways = [self._way(n) for n in self._apart()]

    @property
    def going(self) -> bool:
        """Whether the last frame may lie in a dissolve that has come about half way, or further."""
        return any(way.straight for way in self._ways)

    def ended(self) -> list[Blend]:
        """Dissolves that may have ended just now, the shortest first."""
        found = []
        for way in self._ways:
            if way.length >= FAR and way.straight and way.rests:
                share, n = way.share, len(way.share) - 1
                start = n - int(np.flatnonzero(share <= 0.05)[-1]) - 1
                middle = n - int(np.flatnonzero(share >= 0.5)[0])
                stop = n - int(np.flatnonzero(share < 0.95)[-1]) - 1
                found.append(Blend(start, middle, stop, n))
        return found

    def _apart(self) -> list[int]:
        """Lengths of the stretches up to now whose ends are far enough apart to be two scenes."""
        lengths = np.array([n for n in LENGTHS if n < self._count], np.int64)
        own = np.diagonal(self._products)
        square = own[-1] + own[-1 - lengths] - 2 * self._products[-1, -1 - lengths]
        # Half way between unlike pictures, a blend is as far from either as it has contrast.
        least = max((FAR / 2) ** 2, UNLIKE * (own[-1] - self._means[-1] ** 2))
        return [int(n) for n in lengths[square >= least]]

    def _way(self, n: int) -> _Way:
        """The last ``n + 1`` frames."""
        products = self._products[-n - 1 :, -n - 1 :]
        first, last, across = products[0, 0], products[-1, -1], products[0, -1]
        square = first + last - 2 * across
        along = (products[:, -1] - products[:, 0] - across + first) / square
        away = np.diagonal(products) + first - 2 * products[:, 0]
        off = np.maximum(away / square - along**2, 0)
        on_way = (along > 0.1) & (along < 0.9)
        rms = float(np.sqrt(off[on_way].mean())) if on_way.any() else 0.0
        return _Way(along, rms, float(np.sqrt(square)))
