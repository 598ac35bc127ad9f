"""Progress: bars with rate and time left on a terminal, throttled JSON lines elsewhere."""

import json
import shutil
import time
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from tqdm import tqdm

EVERY_SECONDS = 1.0
"""JSON lines come no more often than this, and once at the end of each stage."""
UNITS = {"batch": "clips"}
"""What a stage counts, where that is not frames."""


class Bars:
    """Called with ``(stage, done, total)``; shows one bar at a time.

    Args:
        stream: Where to write.
        as_json: JSON lines instead of a bar.
        silent: Show nothing.
    """

    def __init__(self, stream: TextIO, *, as_json: bool, silent: bool) -> None:
        self._stream, self._as_json, self._silent = stream, as_json, silent
        self._stage = ""
        self._bar: tqdm[Any] | None = None
        self._began = self._told = 0.0
        self._first = 0
        self._last = (-1, -1)

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Say how far a stage is.

        Args:
            stage: Its name; a new one closes the bar of the one before.
            done: Frames done, or whatever the stage counts.
            total: Frames in all.
        """
        if self._silent:
            return
        if stage != self._stage:
            self.close()
            self._stage, self._began, self._told = stage, time.monotonic(), 0.0
            self._first, self._last = done, (-1, -1)
        if self._as_json:
            self._line(stage, done, total)
        else:
            self._draw(stage, done, total)

    def close(self) -> None:
        """Leave the last bar as it stands."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        self._stage = ""

    def clear(self) -> None:
        """Make room for a line of text; the bar comes back with the next step."""
        if self._bar is not None:
            self._bar.clear()

    def _draw(self, stage: str, done: int, total: int) -> None:
        if self._bar is None:
            from tqdm import tqdm

            self._bar = tqdm(
                total=total,
                desc=stage,
                unit=f" {UNITS.get(stage, 'frames')}",
                file=self._stream,
                # tqdm draws nothing on terminals that do not tell their size.
                ncols=shutil.get_terminal_size((100, 24)).columns,
                nrows=24,
                mininterval=0.1,
            )
        self._bar.update(done - self._bar.n)

    def _line(self, stage: str, done: int, total: int) -> None:
        now = time.monotonic()
        if done < total and now - self._told < EVERY_SECONDS:
            return
        if self._last == (done, total):
            return  # a batch that watches a folder would fill a disk with the same line
        self._told, self._last = now, (done, total)
        # The first frame waits for models to load, so rates count from there.
        rate = (done - self._first) / (now - self._began) if done > self._first else None
        left = (total - done) / rate if rate else None
        fields = {
            "time": round(time.time(), 3),
            "event": "progress",
            "stage": stage,
            "done": done,
            "total": total,
            f"{UNITS.get(stage, 'frames')}_per_second": None if rate is None else round(rate, 2),
            "seconds_left": None if left is None else round(left, 1),
        }
        self._stream.write(json.dumps(fields) + "\n")
        self._stream.flush()
