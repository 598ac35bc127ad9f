"""Read a finished file again and compare it with what it must be."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn
from zlib import crc32

import numpy as np
from av.error import FFmpegError

from vidswap.errors import MediaError
from vidswap.media.containers import SUFFIXES, routes
from vidswap.media.decode import PyavReader
from vidswap.media.probe import open_input, probe
from vidswap.media.timeline import MOVIE_TICK, output_pts, timeline
from vidswap.recipe import DecodeOptions
from vidswap.types import VideoInfo

if TYPE_CHECKING:
    from vidswap.media.remux import Record

UNSPECIFIED = 2
"""H.273 number of a colour property that is left open."""

LUMA_TOLERANCE = 10.0
"""Largest change of a frame's mean luma by encoding, of 255; a black or a foreign frame exceeds it."""


def verify(
    path: Path,
    info: VideoInfo,
    start: int,
    stop: int,
    container: str | None = None,
    record: Record | None = None,
) -> None:
    """Decode a written file and hold it against its source.

    Checked: number of frames and every pts (to the container's own resolution), duration, size,
    rotation, sample aspect, colour tags, that every frame decodes, and that the other streams are
    there. With a record also: every copied packet's bytes, and that no frame's brightness left
    that of the frame written (black or foreign frames).

    Args:
        path: The finished file, whatever its suffix.
        info: The source.
        start: First frame written.
        stop: One past the last.
        container: FFmpeg's muxer name or the suffix; guessed from the file when None.
        record: ``Writer.record``.

    Raises:
        MediaError: With stage ``verify``, naming the first difference.
    """
    try:
        written = probe(path)
    except MediaError as error:
        raise MediaError(error.message, path=path, stage="verify") from error
    _check_timing(path, info, written, start, stop)
    _check_picture(path, info, written)
    _check_streams(path, info, written, container, record)
    luma = _decode(path, written)
    if record is not None:
        _check_luma(path, record.luma, luma)


def _fail(path: Path, message: str) -> NoReturn:
    raise MediaError(message, path=path, stage="verify")


def _check_timing(path: Path, info: VideoInfo, written: VideoInfo, start: int, stop: int) -> None:
    if written.frames != stop - start:
        _fail(path, f"{stop - start} frames expected, {written.frames} found")
    line = timeline(info, start, stop)
    wanted = output_pts(info, line, start, stop)
    slack = _slack(info, written)
    for index, (want, got) in enumerate(zip(wanted.tolist(), written.pts.tolist(), strict=True)):
        off = abs(want * info.time_base - got * written.time_base)
        if off > slack:
            _fail(path, f"frame {index} lies {float(off) * 1000:.3f} ms from its source's time")
    whole = stop == info.frames
    last = (
        info.duration - int(info.pts[-1] - info.pts[0])
        if whole
        else int(info.pts[stop] - info.pts[stop - 1])
    )
    wanted_end = (int(wanted[-1]) + last) * info.time_base
    end = (int(written.pts[0]) + written.duration) * written.time_base
    # Not every container stores how long the last frame is shown.
    gap = int(np.diff(wanted).max()) if len(wanted) > 1 else last
    if abs(end - wanted_end) > max(gap * info.time_base, 2 * written.time_base):
        _fail(path, f"it ends at {float(end):.3f} s instead of {float(wanted_end):.3f} s")


def _slack(info: VideoInfo, written: VideoInfo) -> Fraction:
    """Seconds that the container itself rounds by; none where its ticks divide the source's."""
    coarse = (info.time_base / written.time_base).denominator > 1
    half = written.time_base / 2 if coarse else Fraction(0)
    # An initial offset is counted in ticks of the whole movie.
    return max(half, MOVIE_TICK / 2) if "mp4" in written.container and info.pts[0] else half


def _check_picture(path: Path, info: VideoInfo, written: VideoInfo) -> None:
    pairs = {
        "size": ((info.width, info.height), (written.width, written.height)),
        "rotation": (info.rotation, written.rotation),
        "colour tags": (_tags(info, info), _tags(written, info)),
    }
    for name, (want, got) in pairs.items():
        if want != got:
            _fail(path, f"{name} {want} expected, {got} found")
    if abs(written.sample_aspect / info.sample_aspect - 1) > Fraction(1, 200):
        _fail(path, f"sample aspect {info.sample_aspect} expected, {written.sample_aspect} found")


def _tags(clip: VideoInfo, source: VideoInfo) -> dict[str, object]:
    """What a clip says of its colours, as far as the source says anything.

    mov fills in what is missing (as we assume it), and RGB may have become YUV.
    """
    wanted, found = source.colour, clip.colour
    tags: dict[str, object] = {}
    if wanted.primaries != UNSPECIFIED:
        tags["primaries"] = found.primaries
    if wanted.transfer != UNSPECIFIED:
        tags["transfer"] = found.transfer
    if wanted.matrix != 0:
        tags["matrix"], tags["full range"] = found.matrix, found.full_range
        tags["untagged"] = found.assumed and not wanted.assumed
    return tags


def _check_streams(
    path: Path, info: VideoInfo, written: VideoInfo, container: str | None, record: Record | None
) -> None:
    name = SUFFIXES.get(container or "", container or _guess(written))
    kept = {r.index for r in routes(info, name) if r.action != "drop"}
    want = Counter(s.kind for s in info.streams if s.index in kept)
    got = Counter(s.kind for s in written.streams if s.codec not in ("chapters", "timecode"))
    if want != got:
        _fail(path, f"streams expected: {dict(want)}, found: {dict(got)}")
    if record is not None:
        _check_packets(path, info, written, record)


def _check_packets(path: Path, info: VideoInfo, written: VideoInfo, record: Record) -> None:
    kinds = {s.index: s.kind for s in info.streams}
    # Muxers take MPEG streams out of their transport framing; elsewhere a copy is byte for byte.
    framed = info.container in ("mpegts", "mpeg")
    want = sorted((kinds[i], n, 0 if framed else crc) for i, (n, crc) in record.packets.items())
    found: dict[int, tuple[int, int]] = {}
    try:
        with open_input(path) as opened:
            chapters = len(opened.chapters())
            texts = {s.index for s in written.streams if s.codec == "mov_text"}
            for packet in opened.demux():
                pause = packet.stream_index in texts and packet.size <= 2
                if packet.size and not pause:
                    count, crc = found.get(packet.stream_index, (0, 0))
                    crc = 0 if framed else crc32(memoryview(packet), crc)
                    found[packet.stream_index] = count + 1, crc
    except FFmpegError as error:
        _fail(path, f"it cannot be read through: {error.strerror or error}")
    others = [
        s
        for s in written.streams
        if s.kind != "attachment" and s.codec not in ("chapters", "timecode")
    ]
    got = sorted((s.kind, *found.get(s.index, (0, 0))) for s in others)
    if want != got:
        _fail(path, f"copied packets (kind, number, checksum) expected: {want}, found: {got}")
    if chapters != record.chapters:
        _fail(path, f"{record.chapters} chapters expected, {chapters} found")


def _guess(written: VideoInfo) -> str:
    return "mp4" if "mp4" in written.container else "matroska"


def _decode(path: Path, written: VideoInfo) -> list[float]:
    """Mean luma of every frame; decoding all of them is the check."""
    try:
        with PyavReader(written, DecodeOptions()) as reader:
            return [frame.mean_luma() for frame in reader.frames()]
    except MediaError as error:
        raise MediaError(error.message, path=path, stage="verify") from error


def _check_luma(path: Path, wanted: list[float], got: list[float]) -> None:
    change = np.abs(np.array(wanted) - np.array(got))
    if change.size and float(change.max()) > LUMA_TOLERANCE:
        index = int(change.argmax())
        _fail(
            path,
            f"frame {index} has mean luma {got[index]:.0f} where {wanted[index]:.0f} was written",
        )
