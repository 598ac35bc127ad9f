"""Progressive frames from interlaced ones: FFmpeg's bwdif, one frame for every frame.

The filter looks at the frame before and the one after (Yadif's and Weston's filters, by Thomas Mundt).
Reading one more on either side of a range therefore gives the same pixels whatever range is read.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import pairwise
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

from av.error import BlockingIOError, EOFError
from av.filter import Graph

from vidswap.media.frame import Frame, FrameFormat
from vidswap.media.timeline import check_range
from vidswap.types import VideoInfo

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

_PARITY = {"top": "tff", "bottom": "bff"}


class Source(Protocol):
    """What is read of the reader that delivers interlaced frames."""

    info: VideoInfo

    def frames(self, start: int, stop: int, /) -> Iterator[Frame]: ...

    def close(self) -> None: ...


class Deinterlacer:
    """A reader behind a filter; progressive frames of a mixed clip pass through untouched.

    Args:
        reader: Delivers interlaced frames; closed with this one.
    """

    def __init__(self, reader: Source) -> None:
        self.info: VideoInfo = reader.info
        self._reader = reader
        self._format = FrameFormat(reader.info)

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[Frame]:
        """Frames ``[start, stop)``, see ``vidswap.media.decode.Reader.frames``."""
        stop = check_range(self.info, start, stop)
        return self._frames(start, stop) if start < stop else iter(())

    def close(self) -> None:
        """Close the reader."""
        self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _frames(self, start: int, stop: int) -> Iterator[Frame]:
        first, last = max(start - 1, 0), min(stop + 1, self.info.frames)
        waiting: deque[Frame] = deque()
        graph: Graph | None = None
        for frame in self._reader.frames(first, last):
            graph = graph or self._graph(frame.native)
            waiting.append(frame)
            graph.push(frame.native)
            for native in _pulled(graph):
                yield from self._wanted(waiting.popleft(), native, start, stop)
        if graph is not None:
            graph.push(None)
            for native in _pulled(graph):
                yield from self._wanted(waiting.popleft(), native, start, stop)

    def _wanted(self, old: Frame, native: VideoFrame, start: int, stop: int) -> Iterator[Frame]:
        """The filtered frame under its old number and time, if it was asked for."""
        if start <= old.index < stop:
            native.pts, native.time_base = old.pts, self.info.time_base
            yield Frame(old.index, old.pts, native, self._format)

    def _graph(self, native: VideoFrame) -> Graph:
        # Frames say which fields they hold; where none does, the container's word goes for all.
        said = native.interlaced_frame or not self.info.field_order
        parity = _PARITY.get(self.info.field_order.partition(" ")[0], "auto")
        options = "parity=auto:deint=interlaced" if said else f"parity={parity}:deint=all"
        graph: Any = Graph()
        graph.threads = 1
        source = graph.add_buffer(
            width=native.width,
            height=native.height,
            format=native.format,
            time_base=self.info.time_base,
        )
        chain = [source, graph.add("bwdif", f"mode=send_frame:{options}"), graph.add("buffersink")]
        for before, after in pairwise(chain):
            before.link_to(after)
        graph.configure()
        made: Graph = graph
        return made


def _pulled(graph: Graph) -> Iterator[VideoFrame]:
    while True:
        try:
            yield graph.pull()  # type: ignore[misc]
        except (BlockingIOError, EOFError):  # it wants the next frame, or there is none
            return
