"""Synthetic clips for tests: every frame carries its own number as a barcode.

The barcode is coarse enough to survive lossy coding, scaling by a few percent and colour
subsampling, so a test can say *which* frame a reader delivered, not only how many.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet
from av.stream import Disposition, Stream
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from av.video.stream import VideoStream

from vidswap.media.priority import open_codec
from vidswap.types import U8, U16

if TYPE_CHECKING:
    from av.container.core import Chapter

BITS = 12
"""Width of the barcode: frames 0–4095."""

_SWS = {1: Colorspace.ITU709, 5: Colorspace.ITU601, 6: Colorspace.ITU601, 9: Colorspace.BT2020}


@dataclass(frozen=True, slots=True)
class Audio:
    """A noise track."""

    codec: str = "aac"
    seconds: float = 1.0
    delay: float = 0.0
    """Seconds by which the track starts late."""
    language: str | None = None
    title: str | None = None
    rate: int = 48000


@dataclass(frozen=True, slots=True)
class Clip:
    """What ``write_clip`` makes; every field may be left alone."""

    frames: int = 30
    width: int = 192
    height: int = 112
    codec: str = "libx264"
    pix_fmt: str = "yuv420p"
    rate: Fraction = Fraction(30)
    time_base: Fraction | None = None
    """None is ``1 / rate``."""
    pts: tuple[int, ...] | None = None
    """Ticks of ``time_base``; None is 0, 1, 2, … frames."""
    rotation: int = 0
    """Clockwise degrees a player turns the coded picture; frames show upright after that."""
    sample_aspect: Fraction = Fraction(1)
    colour: tuple[int, int, int, int] | None = None
    """H.273 primaries, transfer, matrix and FFmpeg range (1 limited, 2 full); None is untagged."""
    matrix: int = 1
    """Matrix that is really used, whatever the tags say."""
    options: Mapping[str, str] = field(default_factory=dict)
    container_options: Mapping[str, str] = field(default_factory=dict)
    audio: tuple[Audio, ...] = ()
    subtitles: tuple[tuple[str, tuple[tuple[float, float, str], ...]], ...] = ()
    """(codec, ((start s, end s, text), …)) for each track."""
    chapters: tuple[tuple[float, float, str], ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    attachments: tuple[tuple[str, str, bytes], ...] = ()
    """(name, mime type, bytes)."""
    cover: bytes | None = None
    """A PNG, stored as an attached picture (mp4)."""


def picture(index: int, width: int, height: int) -> U8:
    """A textured frame with its number in a strip along the top.

    Args:
        index: Frame number, below 4096.
        width: At least 96 pixels.
        height: At least 48 pixels.

    Returns:
        (height, width, 3) RGB.
    """
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    wave = np.sin((x + 3 * index) / 9) * np.cos(y / 13)
    rgb = np.stack(
        [128 + 70 * wave, 110 + 60 * np.sin(x / 31 + index / 20), 120 + 60 * np.cos(y / 23)], -1
    )
    out: U8 = rgb.clip(30, 225).astype(np.uint8)
    strip = height // 4
    for bit in range(BITS):
        left, right = bit * width // BITS, (bit + 1) * width // BITS
        out[:strip, left:right] = 225 if index >> bit & 1 else 30
    return out


def read_barcode(rgb: U8 | U16) -> int:
    """Frame number from an upright picture, 8 or 16 bit; -1 where it cannot be read."""
    height, width = rgb.shape[:2]
    grey = rgb.astype(np.float32).mean(axis=2) / (257 if rgb.dtype == np.uint16 else 1)
    row = grey[height // 16 : height // 6].mean(axis=0)
    number = 0
    for bit in range(BITS):
        centre = row[int((bit + 0.35) * width / BITS) : int((bit + 0.65) * width / BITS) + 1].mean()
        if 90 < centre < 165:
            return -1
        number |= int(centre > 128) << bit
    return number


def write_clip(path: Path, clip: Clip | None = None) -> Path:
    """Encode a clip; the container follows the suffix.

    Args:
        path: Target; an existing file is replaced.
        clip: What to make.

    Returns:
        ``path``.
    """
    clip = clip or Clip()
    with av.open(str(path), "w", container_options=dict(clip.container_options)) as out:
        out.metadata.update(clip.metadata)
        if clip.chapters:
            out.set_chapters([_chapter(i, *c) for i, c in enumerate(clip.chapters)])
        video = _video(out, clip)
        feeds = [_frames(video, clip)]
        feeds += [_noise(out, audio, seed) for seed, audio in enumerate(clip.audio)]
        feeds += [_texts(out, codec, cues) for codec, cues in clip.subtitles]
        if clip.cover is not None:
            feeds.insert(0, _cover(out, clip.cover))
        for name, mime, data in clip.attachments:
            out.add_attachment(name, mime, data)
        for packet in _interleaved(feeds):
            out.mux(packet)
    return path


def _interleaved(feeds: list[Iterator[Packet[Stream]]]) -> Iterator[Packet[Stream]]:
    """Packets of all feeds in order of time, so that every muxer is content."""
    heads = [(feed, next(feed, None)) for feed in feeds]
    live = [(feed, packet) for feed, packet in heads if packet is not None]
    while live:
        times = [float((p.dts or 0) * p.time_base) for _, p in live]
        nearest = int(np.argmin(times))
        feed, packet = live.pop(nearest)
        following = next(feed, None)
        if following is not None:
            live.insert(nearest, (feed, following))
        yield packet


def _video(out: OutputContainer, clip: Clip) -> VideoStream:
    stream: VideoStream = out.add_stream(clip.codec, rate=clip.rate)  # type: ignore[call-overload,assignment]
    turned = clip.rotation in (90, 270)
    stream.width = clip.height if turned else clip.width
    stream.height = clip.width if turned else clip.height
    stream.pix_fmt = clip.pix_fmt
    base = clip.time_base or 1 / clip.rate
    stream.codec_context.time_base = base
    stream.time_base = base
    stream.codec_context.sample_aspect_ratio = clip.sample_aspect
    stream.codec_context.thread_count = 1
    # x264's macroblock tree makes streams that differ from run to run on AVX-512 machines.
    quiet = {"x264-params": "log-level=none", "mbtree": "0"} if clip.codec == "libx264" else {}
    quiet = {"x265-params": "log-level=none:pools=1"} if clip.codec == "libx265" else quiet
    stream.codec_context.options = quiet | dict(clip.options)
    if clip.colour:
        context = stream.codec_context
        context.color_primaries, context.color_trc, context.colorspace, context.color_range = (
            clip.colour
        )
    if clip.rotation:
        stream.set_display_rotation(-clip.rotation)
    return stream


def _frames(stream: VideoStream, clip: Clip) -> Iterator[Packet[Stream]]:
    reformatter = VideoReformatter()
    base = clip.time_base or 1 / clip.rate
    step = round(1 / clip.rate / base)
    for index in range(clip.frames):
        rgb = picture(index, clip.width, clip.height)
        coded = np.ascontiguousarray(np.rot90(rgb, clip.rotation // 90))
        full = clip.colour is not None and clip.colour[3] == 2
        frame = reformatter.reformat(
            av.VideoFrame.from_ndarray(coded, format="rgb24"),
            format=clip.pix_fmt,
            src_colorspace=_SWS[clip.matrix],
            dst_colorspace=_SWS[clip.matrix],
            src_color_range=ColorRange.JPEG,
            dst_color_range=ColorRange.JPEG if full else ColorRange.MPEG,
            interpolation=Interpolation.BICUBIC | Interpolation.ACCURATE_RND,
            threads=1,
        )
        frame.colorspace, frame.color_range = 2, 0
        if clip.colour:
            frame.color_primaries, frame.color_trc, frame.colorspace, frame.color_range = (
                clip.colour
            )
        frame.pts = index * step if clip.pts is None else clip.pts[index]
        frame.time_base = base
        frame.pict_type = 0
        if not stream.codec_context.is_open:
            open_codec(stream.codec_context)
        yield from stream.encode(frame)
    yield from stream.encode(None)


def _noise(out: OutputContainer, audio: Audio, seed: int) -> Iterator[Packet[Stream]]:
    stream: AudioStream = out.add_stream(audio.codec, rate=audio.rate)  # type: ignore[call-overload,assignment]
    stream.codec_context.layout = "mono"
    stream.time_base = Fraction(1, audio.rate)
    if audio.language:
        stream.metadata["language"] = audio.language
    if audio.title:
        stream.metadata["title"] = audio.title
    return _noise_packets(stream, audio, seed)


def _noise_packets(stream: AudioStream, audio: Audio, seed: int) -> Iterator[Packet[Stream]]:
    context = stream.codec_context
    rng = np.random.default_rng(seed)
    context.open()  # so that frame_size is known
    size = context.frame_size or 1024
    total = round(audio.seconds * audio.rate)
    shift = round(audio.delay * audio.rate)
    resampler = av.AudioResampler(format=context.format, layout="mono", rate=audio.rate)
    for start in range(0, total, size):
        noise = rng.standard_normal((1, min(size, total - start))).astype(np.float32) / 10
        frame = av.AudioFrame.from_ndarray(noise, format="fltp", layout="mono")
        frame.sample_rate = audio.rate
        frame.pts = start + shift
        frame.time_base = Fraction(1, audio.rate)
        for ready in resampler.resample(frame):
            yield from stream.encode(ready)
    yield from stream.encode(None)


def _texts(
    out: OutputContainer, codec: str, cues: tuple[tuple[float, float, str], ...]
) -> Iterator[Packet[Stream]]:
    stream = out.add_mux_stream(codec)
    stream.time_base = Fraction(1, 1000)
    return _cues(stream, codec, cues)


def _cues(
    stream: Stream, codec: str, cues: tuple[tuple[float, float, str], ...]
) -> Iterator[Packet[Stream]]:
    for start, end, text in cues:
        data = text.encode()
        if codec == "mov_text":
            data = len(data).to_bytes(2, "big") + data
        packet: Packet[Stream] = Packet(data)
        packet.stream = stream
        packet.time_base = Fraction(1, 1000)
        packet.pts = packet.dts = round(start * 1000)
        packet.duration = round((end - start) * 1000)
        yield packet


def _cover(out: OutputContainer, png: bytes) -> Iterator[Packet[Stream]]:
    stream = out.add_mux_stream("png", width=64, height=64)
    stream.disposition = Disposition.attached_pic
    stream.time_base = Fraction(1, 90000)
    packet: Packet[Stream] = Packet(png)
    packet.stream = stream
    packet.time_base = Fraction(1, 90000)
    packet.pts = packet.dts = 0
    packet.is_keyframe = True
    return iter([packet])


def _chapter(number: int, start: float, end: float, title: str) -> Chapter:
    return {
        "id": number,
        "start": round(start * 1000),
        "end": round(end * 1000),
        "time_base": Fraction(1, 1000),
        "metadata": {"title": title},
    }
