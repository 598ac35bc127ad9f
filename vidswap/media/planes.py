"""Sample planes of decoded frames as numpy views, and the chroma grid.

Chroma is taken as MPEG-2 does: co-sited with luma horizontally, midway between lines vertically.
Resampling it is done here and not by swscale, which assumes midway both ways and cannot work on a
part of a picture without disturbing its rim.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import av
import cv2
import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from vidswap.errors import MediaError
from vidswap.types import F32, U8, U16, Box

Plane = U8 | U16

_PLANAR = {
    "nv12": "yuv420p", "nv21": "yuv420p", "nv16": "yuv422p", "nv24": "yuv444p", "nv42": "yuv444p",
    "p010le": "yuv420p10le", "p012le": "yuv420p12le", "p016le": "yuv420p16le",
    "p210le": "yuv422p10le", "p212le": "yuv422p12le", "p216le": "yuv422p16le",
    "p410le": "yuv444p10le", "p412le": "yuv444p12le", "p416le": "yuv444p16le",
    "yuyv422": "yuv422p", "uyvy422": "yuv422p", "yvyu422": "yuv422p", "uyyvyy411": "yuv411p",
    "y210le": "yuv422p10le", "y212le": "yuv422p12le", "y216le": "yuv422p16le",
    "xv30le": "yuv444p10le", "xv36le": "yuv444p12le", "xv48le": "yuv444p16le",
    "vuyx": "yuv444p", "vuya": "yuva444p", "ayuv64le": "yuva444p16le", "v30xle": "yuv444p10le",
    "monow": "gray", "monob": "gray",
}  # fmt: skip
"""Packed and half-packed formats with the planar one that holds the same samples."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How a planar pixel format stores a picture."""

    kind: Literal["yuv", "grey", "rgb"]
    bits: int
    shift_x: int
    """log2 of luma columns per chroma column."""
    shift_y: int
    """log2 of luma rows per chroma row."""

    @property
    def top(self) -> int:
        """Largest sample value."""
        return (1 << self.bits) - 1


@lru_cache(maxsize=64)
def planar_format(pix_fmt: str) -> str:
    """The planar little-endian format that holds the same samples.

    Raises:
        MediaError: None does without loss.
    """
    if pix_fmt in _PLANAR:
        return _PLANAR[pix_fmt]
    if pix_fmt.endswith("be") and pix_fmt[:-2] + "le" in av.video.frame.supported_np_pix_fmts:
        return planar_format(pix_fmt[:-2] + "le")
    form = av.VideoFormat(pix_fmt, 64, 64)
    bits = max(c.bits for c in form.components)
    alpha = any(c.is_alpha for c in form.components)
    if form.is_rgb and not pix_fmt.startswith("gbr"):
        depth = next(d for d in (8, 10, 12, 14, 16) if d >= bits)
        suffix = "" if depth == 8 else f"{depth}le"
        return f"gbr{'a' if alpha else ''}p{suffix}"
    planes = ("yuv", "gray", "gbr")
    if not pix_fmt.startswith(planes) or bits > 16 or pix_fmt.endswith(("be", "f32le", "f16le")):
        raise MediaError(f"pixel format {pix_fmt} is not supported")
    return pix_fmt


@lru_cache(maxsize=64)
def layout(pix_fmt: str) -> Layout:
    """Describe a planar format."""
    form = av.VideoFormat(pix_fmt, 64, 64)
    bits = form.components[0].bits
    if form.is_rgb:
        return Layout("rgb", bits, 0, 0)
    if len(form.components) < 3:
        return Layout("grey", bits, 0, 0)
    chroma = form.components[1]
    return Layout(
        "yuv", bits, (64 // chroma.width).bit_length() - 1, (64 // chroma.height).bit_length() - 1
    )


def view(frame: VideoFrame, index: int) -> Plane:
    """One plane as a writable (h, w) array that shares the frame's memory."""
    plane = frame.planes[index]
    dtype: type[np.uint8 | np.uint16] = (
        np.uint8 if frame.format.components[0].bits <= 8 else np.uint16
    )
    stride = abs(plane.line_size) // np.dtype(dtype).itemsize
    samples: NDArray[Any] = np.frombuffer(memoryview(plane), dtype)
    rows = samples.reshape(-1, stride)
    rows = rows[::-1] if plane.line_size < 0 else rows
    return rows[: plane.height, : plane.width]


def upsample(plane: Plane, form: Layout, area: tuple[int, int, int, int]) -> Plane:
    """Chroma at every luma position of an area, linearly interpolated.

    Args:
        plane: (ch, cw) the whole chroma plane.
        form: Its layout.
        area: left, top, right, bottom in luma samples, half-open.

    Returns:
        (bottom - top, right - left), the same whatever else the area holds.
    """
    left, top, right, bottom = area
    if not form.shift_x and not form.shift_y:
        return plane[top:bottom, left:right]
    x0, y0 = max((left >> form.shift_x) - 1, 0), max((top >> form.shift_y) - 1, 0)
    x1 = min((right >> form.shift_x) + 2, plane.shape[1])
    y1 = min((bottom >> form.shift_y) + 2, plane.shape[0])
    part = plane[y0:y1, x0:x1]
    if form.shift_y:
        # resize() puts samples midway and repeats the border, as wanted here.
        size = (part.shape[1], part.shape[0] << form.shift_y)
        part = cv2.resize(part, size, interpolation=cv2.INTER_LINEAR)
    for _ in range(form.shift_x):
        part = _double(part)
    row, column = y0 << form.shift_y, x0 << form.shift_x
    return part[top - row : bottom - row, left - column : right - column]


def averaged(plane: Plane, factor: int) -> Plane:
    """Means of squares of samples; both sides are multiples of ``factor``."""
    size = (plane.shape[1] // factor, plane.shape[0] // factor)
    mean: Plane = cv2.resize(plane, size, interpolation=cv2.INTER_AREA)
    return mean


def thinned(plane: Plane, form: Layout, area: tuple[int, int, int, int], factor: int) -> Plane:
    """Chroma in the middle of every square of pixels of an area, linearly interpolated.

    Args:
        plane: (ch, cw) the whole chroma plane.
        form: Its layout.
        area: left, top, right, bottom in luma samples, half-open, its sides multiples of ``factor``.
        factor: Side of the squares in luma samples.

    Returns:
        ((bottom - top) / factor, (right - left) / factor)
    """
    left, top, right, bottom = area
    across, down = 1 << form.shift_x, 1 << form.shift_y
    if factor % across or factor % down or left % across or top % down:
        return averaged(upsample(plane, form, area), factor)
    columns, rows = factor // across, factor // down
    first, last = left // across, right // across + columns
    part = plane[top // down : bottom // down, first:last]
    missing = last - first - part.shape[1]
    if missing or part.shape[0] * down < bottom - top:
        # Pictures of odd sides have chroma for whole blocks; what is missing is like the border.
        lack = (bottom - top) // down - part.shape[0]
        part = cv2.copyMakeBorder(part, 0, lack, 0, missing, cv2.BORDER_REPLICATE)
    size = (part.shape[1] // columns, part.shape[0] // rows)
    thin = cv2.resize(part, size, interpolation=cv2.INTER_AREA)
    # Along rows chroma lies on its block's first pixel, not in its middle.
    share = (across - 1) / 2 / factor
    thinner: Plane = cv2.addWeighted(thin[:, :-1], 1 - share, thin[:, 1:], share, 0)
    return thinner


def _double(part: Plane) -> Plane:
    """Insert a column after each: the mean of its neighbours."""
    following = np.concatenate([part[:, 1:], part[:, -1:]], axis=1)
    between = cv2.addWeighted(part, 0.5, following, 0.5, 0)
    doubled: Plane = cv2.merge([part, between]).reshape(part.shape[0], -1)
    return doubled


def downsample(delta: F32, form: Layout) -> F32:
    """Average differences at luma positions onto the chroma grid: the transpose of ``upsample``.

    A block of pixels that does not change at all keeps its sample, whatever its neighbours do.

    Args:
        delta: (h, w) with h and w multiples of a chroma block.
        form: The layout.

    Returns:
        (h >> shift_y, w >> shift_x)
    """
    height, width = delta.shape
    size = (width >> form.shift_x, height >> form.shift_y)
    if size == (width, height):
        return delta
    out: F32 = cv2.resize(delta, size, interpolation=cv2.INTER_AREA)
    if form.shift_x:
        # The mean of the block and of the one half a block to the left is centred on the sample.
        lag = 1 << (form.shift_x - 1)
        left = cv2.copyMakeBorder(delta[:, :-lag], 0, 0, lag, 0, cv2.BORDER_REPLICATE)
        left = cv2.resize(left, size, interpolation=cv2.INTER_AREA)
        out = cv2.addWeighted(out, 0.5, left, 0.5, 0)
    out[cv2.resize(np.abs(delta), size, interpolation=cv2.INTER_AREA) == 0] = 0
    return out


def differences(new: Plane, old: Plane) -> Plane:
    """(h, w) largest difference of each pixel's three values, of two (h, w, 3) pictures."""
    red, green, blue = cv2.split(cv2.absdiff(new, old))
    most: Plane = cv2.max(cv2.max(red, green), blue)
    return most


def around_changes(moved: Plane, area: Box, form: Layout) -> Box | None:
    """The part of an area that holds all changes, with a block of chroma around it.

    Args:
        moved: (h, w) by how much each pixel of the area changes.
        area: Luma samples.
        form: The layout.

    Returns:
        None where nothing changes.
    """
    mask = moved if moved.dtype == np.uint8 else (moved > 0).view(np.uint8)
    left, top, width, height = cv2.boundingRect(mask)
    if not width:
        return None
    across, down = 2 << form.shift_x, 2 << form.shift_y
    part = Box(area.left + left, area.top + top, area.left + left + width, area.top + top + height)
    # On the grid of chroma, wherever the picture was cut out.
    wide = Box(
        part.left // across * across - across, part.top // down * down - down,
        -(-part.right // across) * across + across, -(-part.bottom // down) * down + down,
    )  # fmt: skip
    return Box(
        max(wide.left, area.left), max(wide.top, area.top),
        min(wide.right, area.right), min(wide.bottom, area.bottom),
    )  # fmt: skip
