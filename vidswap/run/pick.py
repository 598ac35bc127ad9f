"""A few frames from anywhere in a clip, decoding as little as possible."""

from collections.abc import Iterable, Iterator

from vidswap.media.decode import Reader
from vidswap.media.frame import Frame
from vidswap.types import VideoInfo


def pick(reader: Reader, indices: Iterable[int]) -> Iterator[Frame]:
    """Frames of a clip by number, ascending, each once.

    Args:
        reader: Of the clip.
        indices: Frame numbers in any order.
    """
    wanted = sorted(set(indices))
    while wanted:
        run = _without_seek(reader.info, wanted)
        numbers = set(run)
        yield from (f for f in reader.frames(run[0], run[-1] + 1) if f.index in numbers)
        wanted = wanted[len(run) :]


def _without_seek(info: VideoInfo, wanted: list[int]) -> list[int]:
    """The first few numbers that are reached by decoding on: no keyframe would be nearer."""
    end = 1
    while end < len(wanted):
        low, high = info.pts[wanted[end - 1]], info.pts[wanted[end]]
        if ((info.keyframes > low) & (info.keyframes <= high)).any():
            break
        end += 1
    return wanted[:end]
