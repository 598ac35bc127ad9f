"""What a decoded frame says of itself: rotation, colour, field order, side data."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from vidswap.errors import MediaError
from vidswap.types import Colour

if TYPE_CHECKING:
    from collections.abc import Iterator

HD_LINES = 720
"""Shorter side, in pixels, from which an untagged picture is taken as BT.709."""

_FIELD_ORDERS = {
    2: "top field first",
    3: "bottom field first",
    4: "bottom field first, top coded first",
    5: "top field first, bottom coded first",
}
"""As shown; coding order is another matter."""
_MATRIX_NAMES = {1: "BT.709", 5: "BT.601", 6: "BT.601", 9: "BT.2020"}
_UNSUPPORTED_MATRICES = {
    8: "YCgCo",
    11: "YDzDx",
    12: "chromaticity-derived",
    13: "chromaticity-derived CL",
    14: "ICtCp",
}


def field_order(stream: VideoStream, frame: VideoFrame) -> str:
    """Which field comes first; empty for a progressive clip."""
    order = stream.codec_context.field_order
    if frame.interlaced_frame or order in _FIELD_ORDERS:
        return _FIELD_ORDERS.get(order, "field order unknown")
    return ""


def display_matrix(frame: VideoFrame) -> tuple[int, ...] | None:
    """The container's 3 × 3 display matrix as nine fixed-point integers, or None."""
    data = side_data(frame, "DISPLAYMATRIX")
    return struct.unpack("<9i", data[:36]) if data else None


def side_data(frame: VideoFrame, name: str) -> bytes:
    """Bytes of one kind of side data of a frame, by FFmpeg's name; empty when it has none."""
    items: Iterator[Any] = iter(frame.side_data)
    return next((bytes(item) for item in items if item.type.name == name), b"")


def rotation_of(frame: VideoFrame) -> tuple[int, list[str]]:
    """Clockwise display rotation, and remarks about what is not a plain rotation."""
    warnings = []
    quarter = round(-frame.rotation / 90) * 90 % 360
    if -frame.rotation % 90:
        warnings.append(f"rotated by {-frame.rotation % 360}°; taken as {quarter}° for processing")
    matrix = display_matrix(frame)
    if matrix and matrix[0] * matrix[4] - matrix[1] * matrix[3] < 0:
        warnings.append("the display matrix mirrors the picture; faces are processed mirrored")
    return quarter, warnings


def colour_of(frame: VideoFrame, path: Path) -> tuple[Colour, str]:
    """Tags of the first frame, an assumption where the matrix is missing, and a remark on it."""
    matrix, primaries = int(frame.colorspace), int(frame.color_primaries)
    if matrix in _UNSUPPORTED_MATRICES:
        name = _UNSUPPORTED_MATRICES[matrix]
        raise MediaError(f"the colour matrix {name} is not supported", path=path, stage="probe")
    remark, assumed = "", False
    if frame.format.is_rgb:
        matrix = 0
    elif matrix not in _MATRIX_NAMES and matrix not in (4, 7, 10):
        assumed = True
        lines = min(frame.width, frame.height)
        matrix = {1: 1, 9: 9}.get(primaries) or (1 if lines >= HD_LINES else 6)
        remark = (
            f"colour matrix untagged: {_MATRIX_NAMES[matrix]} assumed "
            f"({frame.width}x{frame.height}, primaries {primaries})"
        )
    elif matrix == 10:
        remark = "BT.2020 constant luminance is treated as non-constant luminance"
    return (
        Colour(
            primaries=primaries,
            transfer=int(frame.color_trc),
            matrix=matrix,
            full_range=int(frame.color_range) == 2 or "yuvj" in frame.format.name,
            bits=max(c.bits for c in frame.format.components),
            assumed=assumed,
        ),
        remark,
    )
