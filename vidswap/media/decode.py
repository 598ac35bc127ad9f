"""Frames out of a clip: exactly those of its index, or an error that says which one is missing.

What a decoder delivers is compared with the demuxed index frame by frame. A seek lands where the
container likes; it counts only when the first keyframe read lies at or before the wanted frame, and
backs off otherwise.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from threading import Lock
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

import numpy as np
from av.error import FFmpegError
from av.stream import Discard
from av.video.frame import VideoFrame

from vidswap.errors import MediaError
from vidswap.media.frame import Frame, FrameFormat
from vidswap.media.probe import open_input
from vidswap.media.timeline import check_range
from vidswap.recipe import DecodeOptions
from vidswap.types import VideoInfo

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream

THREADS = 4
"""Decoders do not need more to keep up; FFmpeg would start one for each of many cores."""


class Reader(Protocol):
    """Delivers the frames of one clip in order of presentation."""

    info: VideoInfo

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[Frame]:
        """Frames ``[start, stop)``; the end of the clip when ``stop`` is None.

        Every frame's pts is the index's. Several iterators may be open at once.

        Raises:
            MediaError: A frame is missing, damaged, or of another size; names the frame.
            RecipeError: The range does not lie in the clip.
        """
        ...

    def close(self) -> None:
        """Close the files; iterators still open end, and new ones are empty."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


def open_reader(info: VideoInfo, options: DecodeOptions) -> Reader:
    """Open the reader that the options name.

    Raises:
        MediaError: That reader cannot be trusted with this clip, or it is interlaced and that was
            not provided for.
    """
    refuse_interlaced(info, options)
    if options.reader == "decord":
        from vidswap.media.decord import DecordReader

        reader: Reader = DecordReader(info, options)
        return reader
    if options.deinterlace:
        from vidswap.media.deinterlace import Deinterlacer

        return Deinterlacer(PyavReader(info, options))
    return PyavReader(info, options)


def refuse_interlaced(info: VideoInfo, options: DecodeOptions) -> None:
    """Half pictures of two moments are no frames, unless they are to be made into some.

    Raises:
        MediaError: The clip is interlaced, and that was not provided for.
    """
    if info.field_order and not (options.deinterlace and options.reader == "pyav"):
        raise MediaError(
            f"interlaced video ({info.field_order}); only progressive frames can be swapped",
            path=info.path,
            stage="probe",
            hint="--deinterlace makes it progressive, frame for frame (with the pyav reader)",
        )


class PyavReader:
    """Reads with PyAV; every iterator has a container of its own.

    Args:
        info: The clip's index.
        options: Reader options.
    """

    def __init__(self, info: VideoInfo, options: DecodeOptions) -> None:
        self.info = info
        self._threads = options.threads or min(os.cpu_count() or 1, THREADS)
        self._fields = options.deinterlace
        self._format = FrameFormat(info)
        self._sources: set[_Source] = set()
        self._closed = False

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[Frame]:
        """Frames ``[start, stop)``, see ``Reader.frames``."""
        stop = check_range(self.info, start, stop)
        return self._frames(start, stop) if start < stop else iter(())

    def close(self) -> None:
        """Close every container, also under an iterator that another thread is in."""
        self._closed = True
        for source in list(self._sources):
            source.close()

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
        """Decode fast; where anything is odd go on from there slowly, which tells what it was."""
        index = start
        for careful in (False, True):
            try:
                for frame in self._attempt(index, stop, careful):
                    yield frame
                    index += 1
            except MediaError:
                if careful:
                    raise
            else:
                return

    def _attempt(self, start: int, stop: int, careful: bool) -> Iterator[Frame]:
        for back in _retreats(self.info, start):
            if self._closed:
                return
            with self._opened(careful) as source:
                if not source.land(self.info, start, back):
                    continue
                decoded = source.frames()
                first = next((f for f in decoded if f.pts is not None), None)
                late = first is None or first.pts > self.info.pts[start]
                if late and back is not None:
                    continue
                head = () if first is None else (first,)
                yield from self._checked(chain(head, decoded), source, start, stop)
                return

    def _checked(
        self, decoded: Iterator[VideoFrame], source: _Source, start: int, stop: int
    ) -> Iterator[Frame]:
        """Match what comes out of the decoder with the index, one to one."""
        pts, index = self.info.pts, start
        for native in decoded:
            if source.tainted:
                break
            if native.pts is None or native.pts < pts[index]:
                if index > start:
                    raise self._error(index, "an unexpected frame comes before it", source)
                continue  # on the way from the keyframe to the first wanted frame
            if native.pts > pts[index]:
                raise self._error(index, "it is missing", source)
            self._check(native, index, source)
            yield Frame(index, native.pts, native, self._format)
            index += 1
            if index == stop:
                return
        if source.closed:
            return
        what = (
            "it, or a frame it depends on, is damaged"
            if source.tainted
            else "the video ends before it"
        )
        raise self._error(index, what, source)

    def _check(self, native: VideoFrame, index: int, source: _Source) -> None:
        width, height = self.info.width, self.info.height
        if self.info.rotation in (90, 270):
            width, height = height, width
        if (native.width, native.height) != (width, height):
            size = f"{native.width}x{native.height} instead of {width}x{height}"
            raise self._error(index, f"the picture size changes to {size}", source)
        if native.format.name != self.info.pix_fmt:
            change = f"{self.info.pix_fmt} to {native.format.name}"
            raise self._error(index, f"the pixel format changes from {change}", source)
        if native.interlaced_frame and not self._fields:
            raise self._error(index, "it is interlaced, see --deinterlace", source)
        if native.is_corrupt:
            raise self._error(index, "it is damaged", source)

    def _error(self, index: int, what: str, source: _Source) -> MediaError:
        reason = f" ({source.broken})" if source.broken else ""
        return MediaError(
            f"frame {index} at {self.info.seconds(index):.3f} s of {self.info.frames}: {what}{reason}",
            path=self.info.path,
            stage="decode",
            hint=_hint(self.info, index),
        )

    @contextmanager
    def _opened(self, careful: bool) -> Iterator[_Source]:
        container = open_input(self.info.path)
        stream = next(s for s in container.streams.video if s.index == self.info.stream_index)
        for other in container.streams:
            if other.index != stream.index:
                other.discard = Discard.all
        # Frame threads report an error some packets late; slices at once.
        stream.thread_type = "SLICE" if careful else "AUTO"
        stream.thread_count = self._threads
        stream.codec_context.options = {"err_detect": "explode"}
        source = _Source(container, stream, careful)
        self._sources.add(source)
        try:
            yield source
        finally:
            self._sources.discard(source)
            source.close()


def _hint(info: VideoInfo, index: int) -> str | None:
    if info.container == "avi":
        return "AVI stores no presentation times; remux it into mkv"
    return f"--end {index}f takes the frames before it" if index else None


def _retreats(info: VideoInfo, start: int) -> Iterator[int | None]:
    """How many keyframes to go back before ``start``, then None: from the beginning."""
    before = int(np.searchsorted(info.keyframes, info.pts[start], side="right"))
    back = 0
    while start and back < before - 1:
        yield back
        back = 2 * back + 1
    yield None


class _Source:
    """Packets and frames of one open container.

    Args:
        container: Open at its beginning.
        stream: The video, its decoder not yet open.
        careful: The decoder reports errors with the packet they belong to, so those of pictures
            that come before the first keyframe in time, which nothing depends on, are forgiven.
    """

    def __init__(self, container: InputContainer, stream: VideoStream, careful: bool) -> None:
        self._container = container
        self._stream = stream
        self._careful = careful
        self._packets = self._demux()
        self._first_keyframe: int | None = None
        self.broken = ""
        """The last thing a demuxer or a decoder complained about."""
        self.tainted = False
        """A frame failed: those that come out from now on may be predicted from rubbish."""
        self.closed = False
        self._lock = Lock()

    def land(self, info: VideoInfo, start: int, back: int | None) -> bool:
        """Go to a keyframe at or before frame ``start``; False where the container goes too far."""
        if back is None:
            return True
        target = int(info.pts[start])
        before = info.keyframes[info.keyframes <= target]
        with self._lock:
            try:
                if not self.closed:
                    self._container.seek(int(before[-1 - back]), stream=self._stream)
            except FFmpegError:
                return False
        self._packets = self._demux()
        for packet in self._packets:
            if packet.is_keyframe:
                self._packets = chain((packet,), self._packets)
                return packet.pts is not None and packet.pts <= target
        return False

    def frames(self) -> Iterator[VideoFrame]:
        """Decode packet by packet: past damage a decoder may recover, and we count."""
        for packet in self._packets:
            yield from self._decode(packet)
        yield from self._decode(None)

    def close(self) -> None:
        """Close the container once nobody is inside it; FFmpeg crashes otherwise."""
        with self._lock:
            self.closed = True
            self._container.close()
        # An unfinished generator holds us as we hold it, and with us a decoder: its threads and tens
        # of megabytes of pictures would stay until Python looks for such rings.
        self._packets = iter(())

    def _decode(self, packet: Packet[VideoStream] | None) -> list[VideoFrame]:
        if packet is not None and packet.is_keyframe and self._first_keyframe is None:
            self._first_keyframe = packet.pts
        with self._lock:
            try:
                return [] if self.closed else self._stream.decode(packet)
            except FFmpegError as error:
                if not (self._careful and self._leads(packet)):
                    self.broken = str(error.strerror or error)
                    self.tainted = True
                return []

    def _leads(self, packet: Packet[VideoStream] | None) -> bool:
        if self._first_keyframe is None:
            return True
        return packet is not None and packet.pts is not None and packet.pts < self._first_keyframe

    def _demux(self) -> Iterator[Packet[VideoStream]]:
        packets = self._container.demux(self._stream)
        while True:
            with self._lock:
                try:
                    packet = None if self.closed else next(packets, None)
                except FFmpegError as error:
                    self.broken = str(error.strerror or error)
                    return
            if packet is None:
                return
            if packet.size:
                yield packet
