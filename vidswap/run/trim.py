"""``--start`` and ``--end``: seconds, timecodes or frame numbers."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vidswap.errors import RecipeError

if TYPE_CHECKING:  # the command line reads times before it needs numpy
    from vidswap.types import VideoInfo

_FRAMES = re.compile(r"(\d+)f")
_CLOCK = re.compile(r"(?:(?:(\d+):)?([0-5]?\d):)?(\d+(?:\.\d*)?|\.\d+)s?")


@dataclass(frozen=True, slots=True)
class Moment:
    """A place in a clip: a frame number, or seconds from the first frame."""

    frame: int | None = None
    seconds: float | None = None


def parse(text: str) -> Moment:
    """Read ``250f``, ``12.5``, ``1:02.5`` or ``00:01:02.5``.

    Raises:
        RecipeError: Anything else.
    """
    if match := _FRAMES.fullmatch(text.strip()):
        return Moment(frame=int(match[1]))
    match = _CLOCK.fullmatch(text.strip())
    if match is None or (match[2] is not None and float(match[3]) >= 60):
        raise RecipeError(
            f"{text!r} is no time",
            hint="write seconds (12.5), a timecode (00:01:02.5) or a frame number (250f)",
        )
    hours, minutes = int(match[1] or 0), int(match[2] or 0)
    return Moment(seconds=3600 * hours + 60 * minutes + float(match[3]))


def frame_at(info: "VideoInfo", moment: Moment) -> int:
    """First frame that is shown at or after a moment, ``info.frames`` when there is none."""
    if moment.frame is not None:
        return min(moment.frame, info.frames)
    # A hair of slack: 0.1 s is meant to hit the frame at 0.1 s, not the one after it.
    ticks = int(info.pts[0]) + (float(moment.seconds or 0.0) - 1e-6) / float(info.time_base)
    return int(info.pts.searchsorted(ticks, side="left"))


def frame_range(info: "VideoInfo", start: Moment | None, end: Moment | None) -> tuple[int, int]:
    """Half-open frame range between two moments.

    Raises:
        RecipeError: The range holds no frame.
    """
    first = 0 if start is None else frame_at(info, start)
    last = info.frames if end is None else frame_at(info, end)
    if first >= last:
        length = float(info.duration * info.time_base)
        raise RecipeError(
            f"--start and --end select frames [{first}, {last}), which is nothing; "
            f"the clip has {info.frames} frames in {length:.3f} s",
            path=info.path,
        )
    return first, last
