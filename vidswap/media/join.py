"""Segments into the output, packet by packet: nothing is decoded or encoded again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np

from vidswap.errors import StateError
from vidswap.media.containers import SUFFIXES
from vidswap.media.encode import Encoder, EncoderPlan
from vidswap.media.remux import Muxer, Record
from vidswap.media.segment import Table, payloads, read_table
from vidswap.media.timeline import timeline
from vidswap.types import I64, VideoInfo

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream


@dataclass(frozen=True, slots=True)
class Piece:
    """A segment as it was recorded."""

    path: Path
    sha256: str
    frames: int


@dataclass(frozen=True, slots=True)
class Target:
    """The file that is made."""

    path: Path
    """Temporary name; any suffix."""
    container: str
    """FFmpeg's muxer name or a file suffix."""
    start: int
    stop: int
    metadata: Mapping[str, str] = field(default_factory=dict)
    """Container tags that are added or replaced."""


@dataclass(frozen=True, slots=True)
class Joined:
    """What came of it."""

    record: Record
    """For ``verify``."""
    notes: tuple[str, ...]
    """What a user should know about converted or omitted streams."""


def join(
    info: VideoInfo,
    plan: EncoderPlan,
    pieces: Sequence[Piece],
    target: Target,
    advance: Callable[[int], None] | None = None,
) -> Joined:
    """Mux segments with everything else of the source.

    Shown times come from the clip's index, by rank; decoding times are laid out anew over all
    segments. The same pieces give the same bytes.

    Args:
        info: The clip.
        plan: The encoder that made the segments; it is opened for its headers alone.
        pieces: In the order of the frames.
        target: What is written, with which frames.
        advance: Told the number of frames after each piece.

    Raises:
        StateError: A piece is damaged, missing, or of another encoder than the others.
        MediaError: A stream does not fit, the disk or the source fails.
    """
    start, stop = target.start, target.stop
    first, delay = _check(pieces, stop - start)
    pts = np.asarray(info.pts[start:stop], np.int64)

    def video(out: OutputContainer) -> VideoStream:
        return _stream(out, info, plan, first, pieces[0].path)

    muxer = Muxer(
        info,
        target.path,
        container=SUFFIXES.get(target.container, target.container),
        line=timeline(info, start, stop),
        video=video,
        metadata=target.metadata,
    )
    try:
        done = 0
        for piece in pieces:
            table = read_table(piece.path)
            times = decoding_times(pts, done, len(table.pts), delay)
            muxer.record.luma.extend(table.luma)
            muxer.write(_packets(piece, table, info, pts[done:], times))
            done += len(table.pts)
            if advance is not None:
                advance(piece.frames)
        muxer.finish()
    except BaseException:
        muxer.abort()
        raise
    return Joined(muxer.record, tuple(muxer.notes))


def _stream(
    out: OutputContainer, info: VideoInfo, plan: EncoderPlan, first: Table, path: Path
) -> VideoStream:
    """The output's video stream, with the headers that the segments were encoded for."""
    encoder = Encoder(out, info, plan)
    encoder.tag(first.tags)
    encoder.open()
    if encoder.extradata != first.extradata:
        raise StateError(
            f"it was not encoded by the {plan.encoder} of this machine with these settings",
            path=path,
            stage="join",
            hint="join on a machine of the kind that rendered",
        )
    return encoder.stream


def decoding_times(pts: I64, first: int, count: int, delay: int) -> I64:
    """When packets ``[first, first + count)`` are decoded: ``delay`` frames ahead of showing.

    The first ``delay`` packets of the whole lie before its first frame, spaced as its frames are.

    Args:
        pts: (T,) ascending times of all frames.
        first: Place of the first packet, in decoding order.
        count: Number of packets.
        delay: Packets by which decoding runs ahead, below T.

    Returns:
        (count,) strictly ascending, nowhere above the time of showing.
    """
    place = np.arange(first, first + count)
    early = pts[place] - (pts[delay] - pts[0])
    return np.where(place < delay, early, pts[np.maximum(place - delay, 0)])


def _check(pieces: Sequence[Piece], frames: int) -> tuple[Table, int]:
    """Every piece against the first one; its table, and the decoding delay of all of them."""
    first, delay, total = read_table(pieces[0].path), 0, 0
    for piece in pieces:
        table = read_table(piece.path)
        if (table.extradata, table.tags) != (first.extradata, first.tags):
            raise StateError(
                f"encoded otherwise than {pieces[0].path.name}: the codec's headers differ",
                path=piece.path,
                stage="join",
                hint="delete it: it is rendered anew",
            )
        if len(table.pts) != piece.frames or not table.keyframes[0]:
            raise StateError(
                f"{piece.frames} frames from a keyframe on expected, {len(table.pts)} found",
                path=piece.path,
                stage="join",
            )
        delay, total = max(delay, table.delay), total + piece.frames
    if total != frames:
        raise StateError(
            f"{frames} frames expected, the chunks hold {total}",
            path=pieces[0].path.parent,
            stage="join",
        )
    return first, delay


def _packets(
    piece: Piece, table: Table, info: VideoInfo, pts: I64, times: I64
) -> Iterator[Packet[VideoStream]]:
    shown = pts[table.ranks].tolist()
    rows = zip(
        shown, times.tolist(), table.durations.tolist(), table.keyframes.tolist(), strict=True
    )
    data = payloads(piece.path, table, piece.sha256)
    for payload, (show, decode, duration, keyframe) in zip(data, rows, strict=True):
        packet: Packet[Any] = av.Packet(payload)
        packet.time_base = info.time_base
        packet.pts, packet.dts, packet.duration = show, decode, duration
        packet.is_keyframe = bool(keyframe)
        yield packet
