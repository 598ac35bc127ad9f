"""Packets into a file: the new video, and everything else of the source copied beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zlib import crc32

import av
from av.error import FFmpegError
from av.stream import Discard

from vidswap.errors import MediaError
from vidswap.media.containers import Route, routes
from vidswap.media.probe import first_frame, open_input
from vidswap.media.subtitles import ASS_HEADER, convert_text
from vidswap.media.tags import display_matrix
from vidswap.media.timeline import MOVIE_TICK, Timeline, later_timecode
from vidswap.types import VideoInfo

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.container.core import Chapter
    from av.packet import Packet
    from av.stream import Stream
    from av.video.stream import VideoStream

_STALE = ("major_brand", "minor_version", "compatible_brands", "encoder", "duration")
"""Container and stream tags that describe the old file, lower case."""
_STATISTICS = ("bps", "number_of_frames", "number_of_bytes", "_statistics")
"""Beginnings of Matroska tags that count the old packets."""
_MP4_TAGS = frozenset(
    [
        "title",
        "artist",
        "album_artist",
        "album",
        "date",
        "comment",
        "genre",
        "copyright",
        "composer",
        "description",
        "synopsis",
        "show",
        "episode_id",
        "network",
        "lyrics",
        "track",
        "disc",
        "creation_time",
        "encoder",
        "keywords",
        "location",
        "make",
        "model",
        "timecode",
    ]
)


@dataclass(slots=True)
class Record:
    """What was written, for ``verify``."""

    luma: list[float] = field(default_factory=list)
    """Mean luma of every frame, [0, 255]."""
    packets: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Number and CRC-32 of the packets written of each copied stream, by its index in the source;
    attachments do not count."""
    chapters: int = 0


@dataclass(slots=True)
class _Lane:
    """One source stream on its way into the output."""

    route: Route
    target: Stream
    source_codec: str
    cover: bool


class Muxer:
    """Writes one output file; memory does not grow with its length.

    The source is read a second time alongside, only as far as the video has come.

    Args:
        info: The source clip.
        path: File to write.
        container: FFmpeg's muxer name; ``path`` may have any suffix.
        line: Which times of the source are kept and where they go.
        video: Adds the stream of the new video to the output and returns it.
        metadata: Container tags that are added or replaced.

    Raises:
        MediaError: A stream does not fit, or the file cannot be made.
    """

    def __init__(
        self,
        info: VideoInfo,
        path: Path,
        *,
        container: str,
        line: Timeline,
        video: Callable[[OutputContainer], VideoStream],
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        self.record = Record()
        self.notes: list[str] = []
        self._path, self._line, self._info = path, line, info
        chosen = {route.index: route for route in routes(info, container)}
        self._source = open_input(info.path)
        self._lanes: dict[int, _Lane] = {}
        try:
            tags = self._tags(metadata or {})
            self._out = self._create(container, tags)
            self._out.metadata.update(tags)
            self._add_streams(chosen, video)
            self._add_chapters()
        except BaseException:
            self._source.close()
            raise
        if line.begin is not None:
            # Half a minute back, for subtitles that are still on the screen.
            offset = max(float(line.begin) - 30, 0) * av.time_base
            self._source.seek(int(offset))
        self._copies = self._copied()
        self._next: Packet[Stream] | None = next(self._copies, None)

    def write(self, packets: Iterable[Packet[VideoStream]]) -> None:
        """Write video packets, in decoding order, with the source's timestamps.

        Raises:
            MediaError: The disk or the muxer fails, or the source cannot be read.
        """
        shift = self._line.ticks(self._info.time_base)
        for packet in packets:
            time = packet.dts if packet.dts is not None else packet.pts
            if time is not None:
                self._advance(time * self._info.time_base)
            _move(packet, -shift)
            packet.stream = self._video
            self._mux(packet)

    def finish(self) -> None:
        """Copy what is left of the source and close the file.

        Raises:
            MediaError: The disk or the muxer fails, or the source cannot be read.
        """
        self._advance(None)
        self._source.close()
        try:
            self._out.close()
        except FFmpegError as error:
            raise self._failed(error) from error

    def abort(self) -> None:
        """Close everything and delete the file; never raises for a broken output."""
        self._source.close()
        with suppress(FFmpegError, ValueError):  # it is about to be deleted
            self._out.close()
        self._path.unlink(missing_ok=True)

    def _create(self, container: str, tags: Mapping[str, str]) -> OutputContainer:
        if container in ("mp4", "mov"):
            options = {"movie_timescale": str(MOVIE_TICK.denominator), "movflags": "+faststart"}
            odd = [tag for tag in tags if tag.lower() not in _MP4_TAGS]
            if odd and any(s.kind == "attachment" for s in self._info.streams):
                # The two ways of storing tags exclude each other, and the cover needs the usual one.
                self.notes.append(f"mp4 with a cover cannot hold the tags {', '.join(odd)}")
            elif odd:
                options["movflags"] += "+use_metadata_tags"
        else:
            # Encoder delay of audio starts below zero; moving all would move the video too.
            options = {"default_mode": "passthrough", "avoid_negative_ts": "disabled"}
        # The same packets give the same bytes; Matroska would draw its identifiers by lot.
        options["fflags"] = "+bitexact"
        return av.open(str(self._path), "w", format=container, container_options=options)

    def _add_streams(
        self, chosen: Mapping[int, Route], video: Callable[[OutputContainer], VideoStream]
    ) -> None:
        covers = {s.index for s in self._info.streams if s.kind == "attachment"}
        codecs = {s.index: s.codec for s in self._info.streams}
        for stream in self._source.streams:
            if stream.index == self._info.stream_index:
                self._video = video(self._out)
                self._video.set_display_matrix(display_matrix(first_frame(self._info)))
                _describe(self._video, stream, keep_statistics=False)
                self._shift_timecode()
                stream.discard = Discard.all
                continue
            route = chosen[stream.index]
            target = self._target(stream, route, codecs[stream.index])
            if target is None:
                stream.discard = Discard.all
                continue
            whole = route.action == "copy" and self._line.begin is None and self._line.end is None
            _describe(target, stream, keep_statistics=whole)
            cover = stream.index in covers
            self._lanes[stream.index] = _Lane(route, target, codecs[stream.index], cover)
            if not cover:
                self.record.packets[stream.index] = 0, 0

    def _shift_timecode(self) -> None:
        """A time-code track names its first frame, and that may have been cut off."""
        for key in [k for k in self._video.metadata if k.lower() == "timecode"]:
            code = self._video.metadata[key]
            self._video.metadata[key] = later_timecode(
                code, self._line.start, self._info.frame_rate
            )

    def _target(self, stream: Stream, route: Route, codec: str) -> Stream | None:
        """Make the output stream, or None where no packets will follow."""
        if route.note:
            self.notes.append(route.note)
        if route.action == "drop":
            return None
        if route.action == "attach":
            self._attach(stream)
            return None
        if route.action == "text":
            made: Any = self._out.add_stream(route.codec)
            made.codec_context.subtitle_header = ASS_HEADER
            made.time_base = Fraction(1, 1000)
            target: Stream = made
            return target
        return self._out.add_stream_from_template(stream, opaque=True)

    def _attach(self, stream: Any) -> None:
        mime = stream.metadata.get("mimetype")
        if stream.type == "attachment":
            data = stream.data
        else:
            data = _cover(self._info, stream.index)
            mime = mime or f"image/{'png' if stream.codec_context.name == 'png' else 'jpeg'}"
        name = stream.metadata.get("filename") or f"cover.{(mime or 'bin').split('/')[-1]}"
        made = self._out.add_attachment(name, mime or "application/octet-stream", data)
        made.metadata.update({k: v for k, v in stream.metadata.items() if k not in made.metadata})

    def _add_chapters(self) -> None:
        kept = list(self._chapters())
        if kept:
            self._out.set_chapters(kept)
        self.record.chapters = len(kept)

    def _chapters(self) -> Iterator[Chapter]:
        line = self._line
        for chapter in self._source.chapters():
            base = chapter["time_base"] or Fraction(1, 1000)
            start, end = chapter["start"] * base, chapter["end"] * base
            start = start if line.begin is None else max(start, line.begin)
            end = end if line.end is None else min(end, line.end)
            if start < end:
                first, last = round((start - line.shift) / base), round((end - line.shift) / base)
                yield {**chapter, "start": first, "end": last, "time_base": base}

    def _tags(self, extra: Mapping[str, str]) -> dict[str, str]:
        kept = {k: v for k, v in self._source.metadata.items() if k.lower() not in _STALE}
        return {**kept, **extra}

    def _copied(self) -> Iterator[Packet[Stream]]:
        try:
            for packet in self._source.demux():
                if packet.size and packet.stream_index in self._lanes:
                    yield packet
        except FFmpegError as error:
            raise MediaError(
                f"its other streams cannot be read: {error.strerror or error}",
                path=self._info.path,
                stage="copy",
            ) from error

    def _advance(self, limit: Fraction | None) -> None:
        """Write copied packets up to a source time; all that are wanted when None."""
        end = self._line.end
        while self._next is not None:
            time = _time(self._next)
            if limit is not None and time is not None and time > limit:
                return
            if end is not None and time is not None and time > end + 10:
                self._next = None  # streams are interleaved more closely than that
                return
            self._copy(self._next)
            self._next = next(self._copies, None)

    def _copy(self, packet: Packet[Stream]) -> None:
        index = packet.stream_index
        lane = self._lanes[index]
        if not lane.cover and not _cut(packet, lane, self._line):
            return
        if lane.source_codec == "mov_text" and bytes(packet)[:2] == b"\0\0":
            return  # a pause; whoever stores mov_text makes its own
        if lane.route.action == "text":
            data = convert_text(bytes(packet), lane.source_codec, lane.route.codec)
            if data is None:
                return
            packet = _with_payload(packet, data)
        if not lane.cover:
            count, crc = self.record.packets[index]
            self.record.packets[index] = count + 1, crc32(memoryview(packet), crc)
        packet.stream = lane.target
        self._mux(packet)

    def _mux(self, packet: Packet[Any]) -> None:
        try:
            self._out.mux_one(packet)
        except FFmpegError as error:
            raise self._failed(error) from error

    def _failed(self, error: FFmpegError) -> MediaError:
        return MediaError(
            f"cannot be written: {error.strerror or error}", path=self._path, stage="write"
        )


def _describe(target: Stream, source: Stream, *, keep_statistics: bool) -> None:
    """Copy tags, language and disposition; statistics only where they stay true."""
    for key, value in source.metadata.items():
        stale = key.lower() in _STALE
        counted = key.lower().startswith(_STATISTICS) and not keep_statistics
        if not stale and not counted:
            target.metadata[key] = value
    target.disposition = source.disposition


def _cover(info: VideoInfo, index: int) -> bytes:
    with open_input(info.path) as container:
        for packet in container.demux(container.streams[index]):
            if packet.size:
                return bytes(packet)
    raise MediaError(f"attached picture {index} is empty", path=info.path, stage="copy")


def _time(packet: Packet[Any]) -> Fraction | None:
    ticks = packet.dts if packet.dts is not None else packet.pts
    return None if ticks is None else ticks * packet.time_base


def _move(packet: Packet[Any], ticks: int) -> None:
    if packet.pts is not None:
        packet.pts += ticks
    if packet.dts is not None:
        packet.dts += ticks


def _cut(packet: Packet[Stream], lane: _Lane, line: Timeline) -> bool:
    """Keep a packet, moved to the output's clock, or not."""
    base = packet.time_base
    start = packet.pts if packet.pts is not None else packet.dts
    if start is None:
        return True
    if lane.target.type == "subtitle" and packet.duration:
        first = start if line.begin is None else max(start, round(line.begin / base))
        last = start + packet.duration
        last = last if line.end is None else min(last, round(line.end / base))
        if first >= last:
            return False
        packet.pts = packet.dts = first
        packet.duration = last - first
    elif not line.holds(start * base):
        return False
    _move(packet, -line.ticks(base))
    return True


def _with_payload(packet: Packet[Any], data: bytes) -> Packet[Any]:
    made: Packet[Any] = av.Packet(data)
    made.time_base = packet.time_base
    made.pts, made.dts, made.duration = packet.pts, packet.pts, packet.duration
    made.is_keyframe = True
    return made
