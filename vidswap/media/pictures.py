"""A clip from RGB pictures: for made-up material, never for a clip that exists already."""

from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.container import OutputContainer
from av.error import FFmpegError
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from av.video.stream import VideoStream

from vidswap.errors import MediaError
from vidswap.types import F32, U8

BT709 = 1
"""H.273 number of the primaries, transfer and matrix."""
LIMITED = 1
SOUND = 48000
"""Samples per second of the sound."""
BLOCK = 1024
"""Samples handed to the sound's encoder at a time."""


def write_pictures(
    path: Path,
    pictures: Iterable[U8],
    rate: Fraction = Fraction(25),
    encoder: str = "libx264",
    options: Mapping[str, str] | None = None,
    sound: F32 | None = None,
) -> int:
    """Encode pictures at a constant rate as tagged 8-bit 4:2:0 BT.709.

    Args:
        path: Target; the container follows its suffix.
        pictures: (H, W, 3) each, all of one size with even sides.
        rate: Frames per second.
        encoder: FFmpeg's name of the encoder.
        options: Encoder options, such as ``{"crf": "18"}``.
        sound: (N,) mono samples at 48 kHz in [-1, 1], written as AAC.

    Returns:
        Number of pictures written.

    Raises:
        MediaError: The file cannot be written.
    """
    try:
        return _write(path, pictures, rate, (encoder, dict(options or {})), sound)
    except (FFmpegError, OSError) as error:
        reason = error.strerror or str(error)
        raise MediaError(f"cannot be written: {reason}", path=path, stage="write") from error


def repeat(path: Path, target: Path, frames: int) -> int:
    """Repeat a clip's pictures, without encoding them again.

    Args:
        path: A clip whose first frame needs no other, as ``write_pictures`` makes it.
        target: Clip of the same kind.
        frames: Length of the target; it ends with the first whole copy that reaches it.

    Returns:
        Number of pictures written.

    Raises:
        MediaError: A file cannot be read or written.
    """
    try:
        with av.open(str(path)) as source:
            pictures = source.streams.video[0]
            packets = [p for p in source.demux(pictures) if p.dts is not None]
            with av.open(str(target), "w") as out:
                stream = out.add_stream_from_template(pictures)
                rate, base = pictures.average_rate, pictures.time_base
                if rate is None or base is None or not packets:
                    raise MediaError("has no pictures", path=path, stage="write")
                length = round(len(packets) / rate / base)
                copies = -(-frames // len(packets))
                times = [(p.pts, p.dts) for p in packets]
                for copy in range(copies):
                    for packet, (pts, dts) in zip(packets, times, strict=True):
                        packet.stream, packet.time_base = stream, base
                        packet.pts = (pts or 0) + copy * length
                        packet.dts = (dts or 0) + copy * length
                        out.mux(packet)
        return copies * len(packets)
    except (FFmpegError, OSError) as error:
        reason = error.strerror or str(error)
        raise MediaError(f"cannot be repeated: {reason}", path=path, stage="write") from error


def _write(
    path: Path,
    pictures: Iterable[U8],
    rate: Fraction,
    encoder: tuple[str, dict[str, str]],
    sound: F32 | None,
) -> int:
    reformatter = VideoReformatter()
    count = 0
    with av.open(str(path), "w") as out:
        stream = cast(VideoStream, out.add_stream(encoder[0], rate=rate, options=encoder[1]))
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        context.color_primaries = context.color_trc = context.colorspace = BT709
        context.color_range = LIMITED
        spoken = None if sound is None else _speak(out, sound)
        for picture in pictures:
            if not count:
                stream.height, stream.width = picture.shape[:2]
            frame = reformatter.reformat(
                av.VideoFrame.from_ndarray(picture, format="rgb24"),
                format="yuv420p",
                # FFmpeg converts with BT.601 whatever the stream's tags say, unless told.
                dst_colorspace=Colorspace.ITU709,
                dst_color_range=ColorRange.MPEG,
                threads=1,
            )
            frame.pts, frame.time_base = count, 1 / rate
            out.mux(stream.encode(frame))
            count += 1
            # Sound keeps up with the pictures, so that the muxer holds little back.
            if spoken is not None:
                for end in spoken:
                    if end * rate >= count * SOUND:
                        break
        out.mux(stream.encode(None))
        for _ in spoken or ():
            pass
    return count


def _speak(out: OutputContainer, sound: F32) -> Iterator[int]:
    """Encode sound block by block; yields the number of samples done."""
    stream = out.add_stream("aac", rate=SOUND, layout="mono")

    def blocks() -> Iterator[int]:
        for start in range(0, len(sound), BLOCK):
            part = np.ascontiguousarray(sound[None, start : start + BLOCK], np.float32)
            frame = av.AudioFrame.from_ndarray(part, format="fltp", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = SOUND, start, Fraction(1, SOUND)
            out.mux(stream.encode(frame))
            yield start + part.shape[1]
        out.mux(stream.encode(None))

    return blocks()
