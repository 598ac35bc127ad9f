"""Where shots start, whether by a cut or by a dissolve, and which frames show two shots at once."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from vidswap.faces.dissolve import LONGEST, Blend, DissolveMeter
from vidswap.faces.shots import ShotSplitter, unlike
from vidswap.recipe import ShotOptions
from vidswap.types import U8, Dissolve

HOLD = 30
"""Frames held back at most: the later half of a dissolve and some."""
ROOM = 256 << 20
"""Bytes they may take."""
DOUBT = 2
"""Frames for which a dissolve that is no longer seen is still believed in."""
MEMORY = LONGEST + HOLD + DOUBT + 2
"""Frames after which nothing is left of those before."""


class Verdict(NamedTuple):
    """What is known of a frame once it is judged."""

    cut: bool
    """It starts a shot."""
    mixed: bool = False
    """It is known to show two shots at once."""
    dissolve: Dissolve | None = None
    """How the shot starts, where not with a cut."""


@dataclass(slots=True, eq=False)
class _Open:
    index: int
    cut: bool
    mixed: bool = False
    dissolve: Dissolve | None = None


class Transitions:
    """Judges frames in order; holds back those that it cannot judge yet.

    A shot that dissolves into the next one ends where the next one outweighs it. To know where, the
    whole dissolve must have been seen: while one may be going on, up to ``HOLD`` frames wait.

    Args:
        options: Of cut detection.
        frame: Bytes of a frame that waits.
        first: Number of the first frame.
    """

    def __init__(self, options: ShotOptions, frame: int = 0, first: int = 0) -> None:
        self._splitter = ShotSplitter(options)
        self._threshold = options.threshold
        self._meter = DissolveMeter()
        self._hold = max(min(HOLD, ROOM // max(frame, 1)), 1)
        self._lumas: deque[U8] = deque(maxlen=LONGEST + 1)
        self._first, self._count, self._judged = first, 0, 0
        self._open: deque[_Open] = deque()
        self._going = -DOUBT - 1
        self._last_cut = first
        self._done = first - 1
        """Last frame of the last dissolve."""

    @property
    def settled(self) -> bool:
        """Whether whoever had seen all frames before these would judge as this from here on."""
        return self._splitter.settled and self._count >= MEMORY

    def add(self, luma: U8) -> list[Verdict]:
        """Take the next frame: (h, w) grey, of one size throughout.

        Returns:
            Verdicts on the oldest frames that have none yet.
        """
        now = self._first + self._count
        self._count += 1
        self._lumas.append(luma)
        self._meter.add(luma)
        self._take(self._splitter.add(luma))
        if self._meter.going:
            self._going = now
            self._look(now)
        waits = now - self._going <= DOUBT
        return list(self._release(self._hold if waits else 0))

    def flush(self) -> list[Verdict]:
        """Verdicts on what is left at the end of the clip."""
        self._take(self._splitter.flush())
        return list(self._release(0))

    def _take(self, cuts: list[bool]) -> None:
        for cut in cuts:
            self._open.append(_Open(self._first + self._judged, cut))
            self._judged += 1

    def _release(self, hold: int) -> Iterator[Verdict]:
        while len(self._open) > hold:
            entry = self._open.popleft()
            if entry.cut:
                self._last_cut = entry.index
            yield Verdict(entry.cut, entry.mixed, entry.dissolve)

    def _look(self, now: int) -> None:
        """Mark a dissolve that has just ended."""
        for blend in self._meter.ended():
            found = _absolute(blend, now)
            if found.start > self._done and self._unlike(blend):
                self._mark(found)
                return

    def _unlike(self, blend: Blend) -> bool:
        return unlike(self._lumas[-1 - blend.before], self._lumas[-1], self._threshold)

    def _mark(self, found: Dissolve) -> None:
        if not self._open or self._last_cut >= found.start:
            return  # a cut lies in it: for whoever cut there it was one
        middle = max(found.middle, self._open[0].index)
        if middle > self._open[-1].index:
            return
        self._done = found.stop
        for entry in self._open:
            if found.start <= entry.index:
                entry.mixed = entry.index < found.stop
                entry.cut = entry.index == middle
                entry.dissolve = found._replace(middle=middle) if entry.cut else None


def _absolute(blend: Blend, now: int) -> Dissolve:
    return Dissolve(now - blend.start, now - blend.middle, now - blend.stop)
