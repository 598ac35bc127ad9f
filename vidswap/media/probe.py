"""What a clip holds, learnt by demuxing it: timestamps, keyframes, colour, other streams.

The index comes from the packets, never from header counts: ``nb_frames`` counts frames that an edit
list hides and is zero in Matroska, and a container's duration may be absent or belong to the audio.
Only as many packets are decoded as it takes to see one frame.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np
from av.error import FFmpegError
from av.stream import Discard, Disposition, Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from vidswap.errors import MediaError
from vidswap.media.ebml import promised_size
from vidswap.media.tags import colour_of, field_order, rotation_of
from vidswap.types import StreamInfo, VideoInfo

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet


def probe(path: str | Path, *, allow_truncated: bool = False) -> VideoInfo:
    """Scan a clip.

    Args:
        path: A local file.
        allow_truncated: Index what is there of a file that was cut short, with a warning,
            instead of refusing it.

    Returns:
        The index; ``pts`` has exactly the frames that a player shows.

    Raises:
        MediaError: Missing, empty or unreadable file, no video, no index (moov), cut short,
            or a colour matrix that cannot be converted.
    """
    path = Path(path)
    with open_input(path) as container:
        stream = video_stream(container, path)
        others = other_streams(container, stream.index)
        scan = _scan(container, stream, path)
        cut = _cut_short(container, scan, path)
        if cut and not allow_truncated:
            raise MediaError(
                f"the file is cut short: {cut}",
                path=path,
                stage="probe",
                hint="copy or download it again",
            )
        info = _describe(container, stream, scan, path, cut)
        return replace(info, streams=others)


def open_input(path: str | Path, *, options: dict[str, str] | None = None) -> InputContainer:
    """Open a media file, with a message that says what is wrong when it cannot be.

    Raises:
        MediaError: Missing, empty, not a file, or not understood by any demuxer.
    """
    path = Path(path)
    if not path.exists():
        raise MediaError("no such file", path=path, stage="open")
    if not path.is_file():
        raise MediaError("not a file", path=path, stage="open")
    if path.stat().st_size == 0:
        raise MediaError("the file is empty", path=path, stage="open")
    try:
        return av.open(str(path), options=options or {}, metadata_errors="replace")
    except (FFmpegError, OSError, ValueError) as error:
        raise MediaError(_why_unreadable(path, error), path=path, stage="open") from error


def _why_unreadable(path: Path, error: Exception) -> str:
    with path.open("rb") as file:
        head = file.read(12)
    if head[4:8] == b"ftyp":
        return "the index (moov) of this mp4/mov is missing or damaged; the recording was cut off"
    reason = getattr(error, "strerror", None) or str(error)
    return f"not a media file, or damaged beyond reading ({reason})"


def video_stream(container: InputContainer, path: str | Path) -> VideoStream:
    """The stream a player would show; cover art never counts.

    Raises:
        MediaError: There is none, or no decoder for it.
    """
    moving = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not moving:
        found = ", ".join(s.type for s in container.streams) or "nothing"
        raise MediaError(f"no video in it; it holds {found}", path=path, stage="probe")
    best = container.streams.best("video")
    stream = next((s for s in moving if best is not None and s.index == best.index), moving[0])
    if stream.codec_context is None:
        raise MediaError(f"no decoder for video stream {stream.index}", path=path, stage="probe")
    return stream


def first_frame(info: VideoInfo) -> VideoFrame:
    """Decode the first frame, with the side data it carries.

    Raises:
        MediaError: No frame can be decoded.
    """
    with open_input(info.path) as container:
        stream = next(s for s in container.streams.video if s.index == info.stream_index)
        stream.thread_count = 1
        for packet in container.demux(stream):
            frame = _first_frame(packet)
            if frame is not None:
                return frame
    raise MediaError("no frame can be decoded", path=info.path, stage="probe")


@dataclass(slots=True, eq=False)
class _Scan:
    """What the packets said."""

    pts: list[int] = field(default_factory=list)
    keyframes: list[int] = field(default_factory=list)
    corrupt: list[int] = field(default_factory=list)
    """pts of packets that the demuxer doubts: half a packet at the end, or a gap in a broadcast that
    may well decode."""
    timeless: int = 0
    """Packets without a presentation time."""
    first_keyframe: int | None = None
    headless: int = 0
    """Packets that need frames from before the file begins: no player shows them."""
    latest: int = 0
    last_duration: int = 0
    end: Fraction = Fraction(0)
    """Latest end of any packet of any stream, in seconds."""
    frame: VideoFrame | None = None
    error: str = ""


def _scan(container: InputContainer, stream: VideoStream, path: Path) -> _Scan:
    scan = _Scan()
    everything = "matroska" in container.format.name
    for other in container.streams:
        if other.index != stream.index and not everything:
            other.discard = Discard.all
    stream.thread_count = 1
    try:
        for packet in container.demux():
            if packet.size:
                _see(scan, packet, stream)
    except FFmpegError as error:
        scan.error = str(error.strerror or error)
    if scan.timeless:
        raise MediaError(
            f"{scan.timeless} packets of video stream {stream.index} carry no presentation time",
            path=path,
            stage="probe",
            hint="remux it, for instance into mkv",
        )
    if scan.frame is None:
        scan.frame = _flush(stream)
    return scan


def _see(scan: _Scan, packet: Packet[Stream], stream: VideoStream) -> None:
    _see_end(scan, packet)
    if packet.stream_index != stream.index:
        return
    if scan.frame is None:
        scan.frame = _first_frame(packet)
    if packet.is_keyframe and scan.first_keyframe is None:
        scan.first_keyframe = packet.pts
        scan.headless += len(scan.pts)
        scan.pts.clear()
    if packet.is_discard or _hidden(packet, stream):
        return
    if packet.pts is None:
        scan.timeless += 1
        return
    if scan.first_keyframe is not None and packet.pts < scan.first_keyframe:
        scan.headless += 1
        return
    if not scan.pts or packet.pts > scan.latest:
        scan.latest, scan.last_duration = packet.pts, packet.duration or 0
    (scan.corrupt if packet.is_corrupt else scan.pts).append(packet.pts)
    if packet.is_keyframe:
        scan.keyframes.append(packet.pts)


def _see_end(scan: _Scan, packet: Packet[Stream]) -> None:
    time = packet.pts if packet.pts is not None else packet.dts
    if time is not None and packet.time_base:
        scan.end = max(scan.end, (time + (packet.duration or 0)) * packet.time_base)


def _hidden(packet: Packet[Stream], stream: VideoStream) -> bool:
    """VP8 stores its never-shown reference frames as packets of their own (RFC 6386 §9.1)."""
    return stream.codec_context.name == "vp8" and not bytes(packet)[0] >> 4 & 1


def _first_frame(packet: Packet[Any]) -> VideoFrame | None:
    try:
        frames = packet.decode()
    except FFmpegError:
        return None
    return next(iter(frames), None)


def _flush(stream: VideoStream) -> VideoFrame | None:
    try:
        return next(iter(stream.decode(None)), None)
    except FFmpegError:
        return None


def _cut_short(container: InputContainer, scan: _Scan, path: Path) -> str:
    """Why the file must be incomplete, or ``""``; only what the container itself promises counts."""
    if scan.error:
        return f"reading stops after {len(scan.pts)} frames ({scan.error})"
    size = path.stat().st_size
    if "mp4" in container.format.name:
        entries = [e for s in container.streams for e in s.index_entries]
        missing = sum(e.pos + e.size > size for e in entries)
        return f"{missing} of {len(entries)} packets lie beyond its end" if missing else ""
    if "matroska" in container.format.name:
        promised = promised_size(path)
        if promised is not None and size < promised:
            return f"{size} of {promised} bytes are there"
        return _ends_early(container, scan)
    return ""


def _ends_early(container: InputContainer, scan: _Scan) -> str:
    """For files that do not say how many bytes they have."""
    if container.duration:
        promised = Fraction(container.duration, av.time_base)
        if promised - scan.end > max(Fraction(1, 2), promised / 50):
            return f"{float(scan.end):.2f} s of {float(promised):.2f} s are there"
    return ""


def _describe(
    container: InputContainer, stream: VideoStream, scan: _Scan, path: Path, cut: str
) -> VideoInfo:
    if not scan.pts or scan.frame is None:
        raise MediaError(
            f"no frame of video stream {stream.index} can be decoded", path=path, stage="probe"
        )
    pts = np.sort(np.array(scan.pts + ([] if cut else scan.corrupt), np.int64))
    if (np.diff(pts) == 0).any():
        raise MediaError("two frames share one timestamp", path=path, stage="probe")
    frame = scan.frame
    rotation, warnings = rotation_of(frame)
    colour, remark = colour_of(frame, path)
    warnings += [remark] if remark else []
    if scan.headless:
        warnings.append(f"{scan.headless} frames before the first keyframe cannot be decoded")
    warnings += [f"the file is cut short ({cut}); only what is there is used"] if cut else []
    base = stream.time_base or Fraction(1, 90000)
    width, height = frame.width, frame.height
    if rotation in (90, 270):
        width, height = height, width
    span = int(pts[-1] - pts[0])
    step = scan.last_duration or (span // (len(pts) - 1) if len(pts) > 1 else round(1 / 25 / base))
    duration = span + max(step, 1)
    return VideoInfo(
        path=str(path),
        container=container.format.name,
        codec=stream.codec_context.codec.canonical_name,
        pix_fmt=frame.format.name,
        width=width,
        height=height,
        rotation=rotation,
        sample_aspect=Fraction(stream.sample_aspect_ratio or 1) or Fraction(1),
        colour=colour,
        time_base=base,
        pts=pts,
        keyframes=np.unique(np.array(scan.keyframes, np.int64)),
        frame_rate=stream.average_rate or len(pts) / (duration * base),
        duration=duration,
        stream_index=stream.index,
        field_order=field_order(stream, frame),
        warnings=tuple(warnings),
    )


def other_streams(container: InputContainer, video: int) -> tuple[StreamInfo, ...]:
    """Describe the streams besides the swapped video; call it before any is discarded.

    Cover art counts as an attachment, with its picture codec; a chapter or time-code track is
    data named ``chapters`` or ``timecode``.
    """
    return tuple(_other(s) for s in container.streams if s.index != video)


def _other(stream: Stream) -> StreamInfo:
    context: Any = getattr(stream, "codec_context", None)
    kind: Any = stream.type
    codec = str(getattr(stream, "name", None) or "unknown")
    if context is not None:
        codec = context.codec.canonical_name
    if kind == "attachment":
        codec = stream.metadata.get("mimetype", "application/octet-stream")
    elif stream.disposition & Disposition.attached_pic:
        kind = "attachment"
    elif kind in ("data", "unknown"):
        kind = "data"
        if stream.discard == Discard.all:
            codec = "chapters"  # the mov demuxer turns off the track it took chapters from
        elif "timecode" in stream.metadata:
            codec = "timecode"
    return StreamInfo(
        index=stream.index,
        kind=kind,
        codec=codec,
        language=stream.metadata.get("language"),
        title=stream.metadata.get("title"),
    )
