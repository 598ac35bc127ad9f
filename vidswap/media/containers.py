"""What the output containers can hold, and what becomes of each stream of the input."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import av
from av.codec.codec import UnknownCodecError

from vidswap.errors import MediaError
from vidswap.types import StreamInfo, VideoInfo

SUFFIXES = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}
"""File suffix to FFmpeg's muxer name."""

_NAMES = {"mp4": "mp4", "mov": "mov", "matroska": "mkv", "webm": "webm"}
_MP4_ALONE = frozenset({"av1", "vp9", "flac", "opus", "truehd"})
"""FFmpeg's mov muxer lists them, and refuses them when it writes its header: after the whole run."""
_PLAIN_TEXT = ("subrip", "text", "webvtt", "mov_text")
_TEXT_TARGETS = {"mp4": "mov_text", "mov": "mov_text", "matroska": "subrip", "webm": "webvtt"}

Action = Literal["copy", "text", "attach", "drop"]


@dataclass(frozen=True, slots=True)
class Route:
    """What is done with one stream of the input."""

    index: int
    action: Action
    codec: str = ""
    """Target codec of a converted text subtitle."""
    note: str = ""
    """What a user should know about it."""


def muxer(output: str | Path) -> str:
    """The muxer for a file name.

    Raises:
        MediaError: The suffix is of no container that can be written.
    """
    suffix = Path(output).suffix.lower()
    if suffix not in SUFFIXES:
        known = ", ".join(SUFFIXES)
        raise MediaError(
            f"cannot write {suffix or 'a file without suffix'}; use {known}",
            path=output,
            stage="output",
        )
    return SUFFIXES[suffix]


@lru_cache(maxsize=8)
def codecs(container: str) -> frozenset[str]:
    """Canonical names of the codecs that a muxer takes."""
    with av.open(io.BytesIO(), "w", format=container) as probe:
        names = probe.supported_codecs
    found = frozenset(canonical for name in names if (canonical := _canonical(name)))
    return found - _MP4_ALONE if container == "mov" else found


def _canonical(name: str) -> str | None:
    modes: tuple[Literal["r", "w"], ...] = ("r", "w")
    for mode in modes:
        try:
            return av.Codec(name, mode).canonical_name
        except UnknownCodecError:
            continue
    return None


def holders(fits: Callable[[str], bool]) -> str:
    """Names of the containers that satisfy a test, for messages."""
    return ", ".join(name for key, name in _NAMES.items() if fits(key)) or "none of them"


def routes(info: VideoInfo, container: str) -> tuple[Route, ...]:
    """Decide for every stream besides the swapped video.

    Raises:
        MediaError: A stream does not fit into the container; names it and those that would do.
    """
    return tuple(_route(info, stream, container) for stream in info.streams)


def check_streams(info: VideoInfo, output: Path) -> None:
    """Make sure every stream of the input fits into the output, before anything is encoded.

    Raises:
        MediaError: One does not; names it and the containers that would do.
    """
    routes(info, muxer(output))


def _route(info: VideoInfo, stream: StreamInfo, container: str) -> Route:
    found = _fit(info, stream, container)
    if found is not None:
        return found
    if stream.kind == "data":
        note = f"data stream {stream.index} ({stream.codec}) does not fit into {_NAMES[container]}"
        return Route(stream.index, "drop", note=f"{note} and is left out")
    label = " ".join(filter(None, (stream.language, stream.title)))
    where = holders(lambda name: _fit(info, stream, name) is not None)
    raise MediaError(
        f"{stream.kind} stream {stream.index} ({stream.codec}{', ' + label if label else ''}) "
        f"does not fit into {_NAMES[container]}; it fits into: {where}",
        path=info.path,
        stage="write",
    )


def _fit(info: VideoInfo, stream: StreamInfo, container: str) -> Route | None:
    """The way a stream goes into a container, or None."""
    if stream.kind == "attachment":
        return _fit_attachment(stream, container)
    if stream.kind == "data":
        return _fit_data(info, stream, container)
    if stream.codec in codecs(container):
        return Route(stream.index, "copy")
    if stream.kind == "subtitle" and stream.codec in _PLAIN_TEXT:
        target = _TEXT_TARGETS[container]
        note = f"subtitle stream {stream.index} is rewritten from {stream.codec} to {target}"
        return Route(stream.index, "text", target, note)
    return None


def _fit_attachment(stream: StreamInfo, container: str) -> Route | None:
    cover = "/" not in stream.codec
    if container == "matroska":
        return Route(stream.index, "attach")
    return Route(stream.index, "copy") if cover and container == "mp4" else None


def _fit_data(info: VideoInfo, stream: StreamInfo, container: str) -> Route | None:
    if stream.codec in ("chapters", "timecode"):
        return Route(stream.index, "drop")  # written anew from chapters and metadata
    isobmff = container in ("mp4", "mov")
    same_family = isobmff and "mp4" in info.container and stream.codec == "bin_data"
    return Route(stream.index, "copy") if same_family or stream.codec in codecs(container) else None
