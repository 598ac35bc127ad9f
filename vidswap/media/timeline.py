"""Where the frames and packets of a range of the source lie in the output."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from vidswap.errors import RecipeError
from vidswap.media.probe import open_input
from vidswap.types import I64, VideoInfo

MICROSECOND = Fraction(1, 1_000_000)
MOVIE_TICK = Fraction(1, 90_000)
"""Unit of track offsets in mp4 and mov; FFmpeg's default of a millisecond shifts streams audibly."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """Source time minus ``shift`` is output time; all in seconds of the source's own clock."""

    start: int
    """First frame kept."""
    shift: Fraction
    begin: Fraction | None
    """Packets of other streams that start earlier are left out; None keeps all."""
    end: Fraction | None
    """Packets that start at this time or later are left out; None keeps all."""

    def ticks(self, base: Fraction) -> int:
        """The shift in ticks of a time base, rounded."""
        return round(self.shift / base)

    def holds(self, time: Fraction) -> bool:
        """Whether a packet that starts at this time is kept."""
        after = self.begin is None or time >= self.begin
        return after and (self.end is None or time < self.end)


def check_range(info: VideoInfo, start: int, stop: int | None) -> int:
    """Check a frame range and fill in its end.

    Raises:
        RecipeError: The range does not lie in the clip.
    """
    end = info.frames if stop is None else stop
    if not 0 <= start <= end <= info.frames:
        raise RecipeError(
            f"frames {start} to {end} do not lie in the clip's {info.frames}", path=info.path
        )
    return end


def timeline(info: VideoInfo, start: int, stop: int) -> Timeline:
    """Times of the output that holds frames ``[start, stop)``.

    From the first frame on, the source's clock is kept, offsets and all. A later start becomes
    time zero and cuts the other streams there, so they begin within one packet (about 20 ms of
    audio) after the first frame, in sync. An earlier stop cuts them likewise. MPEG streams count
    from an arbitrary moment; their earliest time becomes zero, as players have it.

    Args:
        info: The clip.
        start: First frame kept.
        stop: One past the last frame kept.
    """
    base = info.time_base
    begin = int(info.pts[start]) * base if start else None
    end = int(info.pts[stop]) * base if stop < info.frames else None
    shift = begin or Fraction(0)
    if begin is None and info.container in ("mpegts", "mpeg"):
        with open_input(info.path) as container:
            # A whole tick of the video, so that frames stay on their grid.
            shift = round((container.start_time or 0) * MICROSECOND / base) * base
    return Timeline(start, shift, begin, end)


def output_pts(info: VideoInfo, line: Timeline, start: int, stop: int) -> I64:
    """Expected pts of the frames in the output, in ticks of the source's time base."""
    return np.asarray(info.pts[start:stop] - line.ticks(info.time_base), np.int64)


def later_timecode(code: str, frames: int, rate: Fraction) -> str:
    """Time code of a later frame, as SMPTE ST 12-1 counts.

    Args:
        code: ``hh:mm:ss:ff``, with ``;`` before the frames where numbers are dropped.
        frames: Frames to go on.
        rate: Frames per second; its rounded value is the counting rate.

    Returns:
        The code in the same notation, or ``code`` itself when it is not one.
    """
    parts = re.fullmatch(r"(\d+):(\d+):(\d+)([:;.])(\d+)", code)
    if parts is None or not frames:
        return code
    hours, minutes, seconds, count = (int(parts[i]) for i in (1, 2, 3, 5))
    base = round(rate)
    skipped = base // 15 if parts[4] != ":" else 0  # numbers dropped in nine minutes of ten
    minutes += 60 * hours
    total = (60 * minutes + seconds) * base + count - skipped * (minutes - minutes // 10) + frames
    tens, rest = divmod(total, 600 * base - 9 * skipped)
    total += skipped * (9 * tens + max(rest - skipped, 0) // (60 * base - skipped))
    clock, count = divmod(total, base)
    minutes, seconds = divmod(clock, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours % 24:02}:{minutes:02}:{seconds:02}{parts[4]}{count:02}"
