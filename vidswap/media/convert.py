"""Colour conversion of decoded samples, with the matrix and the range of the clip."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import av
import cv2
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from numpy.typing import NDArray

from vidswap.media.planes import Layout, Plane, view
from vidswap.types import F32, I8, REST, U8, U16, Colour

_SWS = {
    1: Colorspace.ITU709,
    4: Colorspace.FCC,
    5: Colorspace.ITU601,
    6: Colorspace.ITU601,
    7: Colorspace.SMPTE240M,
    9: Colorspace.BT2020,
    10: Colorspace.BT2020,
}
_KR_KB = {
    1: (0.2126, 0.0722),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
    10: (0.2627, 0.0593),
}
"""Luma weights of red and blue by matrix number (ITU-T H.273, table 4)."""

EXACT = Interpolation.BICUBIC | Interpolation.ACCURATE_RND
CHEAP = Interpolation.FAST_BILINEAR
SMOOTH = Interpolation.AREA


class Converter:
    """Converts samples of one clip; safe to share between threads.

    Args:
        colour: Matrix and range, whether tagged or assumed.
        layout: Depth and chroma grid of the frames.
    """

    def __init__(self, colour: Colour, layout: Layout) -> None:
        self.colour = colour
        self.layout = layout
        self.space, self.range = swscale_space(colour)
        self._weights = _weights(colour, layout)
        neutral = np.float32(1 << (layout.bits - 1))
        black = np.float32(0 if colour.full_range else 16 << (layout.bits - 8))
        self._offsets = (black, neutral, neutral)
        # A reformatter keeps a scaling context that two threads must not use at once.
        self._local = threading.local()

    def rgb(self, y: Plane, u: Plane | None = None, v: Plane | None = None) -> U8 | U16:
        """Full-range RGB of samples that all lie on the luma grid.

        Args:
            y: (h, w) luma.
            u: (h, w) blue difference, or None for grey.
            v: (h, w) red difference, or None for grey.

        Returns:
            (h, w, 3) uint8 for 8-bit samples, else uint16 spanning 0–65535.
        """
        height, width = y.shape
        deep = self.layout.bits > 8
        source = av.VideoFrame(width, height, f"yuv444p{self.layout.bits}le" if deep else "yuv444p")
        neutral = 1 << (self.layout.bits - 1)
        for index, plane in enumerate((y, u, v)):
            view(source, index)[:] = neutral if plane is None else plane
        # The same values as packed pixels, a little sooner; where much is clipped, several times as fast.
        apart = self.reformat(source, "gbrp16le" if deep else "gbrp")
        green, blue, red = (view(apart, index) for index in range(3))
        merged: U8 | U16 = cv2.merge([red, green, blue])
        return merged

    def deltas(self, new: U8 | U16, old: U8 | U16, rest: I8 | None = None) -> list[F32]:
        """Differences of two RGB pictures in units of the coded samples.

        Args:
            new: (h, w, 3).
            old: (h, w, 3).
            rest: (h, w, 3) what rounding took off ``new``, in ``REST`` parts of a level.

        Returns:
            Luma, blue and red difference, (h, w) each.
        """
        difference = cv2.subtract(new, old, dtype=cv2.CV_32F)
        if rest is not None:
            difference = cv2.scaleAdd(rest.astype(np.float32), 1 / REST, difference)
        return [cv2.transform(difference, row[None]) for row in self._weights]

    def clipped(self, rgb: U8 | U16, planes: Sequence[Plane]) -> list[F32]:
        """What was cut off samples whose colour RGB cannot hold, negated.

        Args:
            rgb: (h, w, 3) as ``rgb`` gave.
            planes: The (h, w) samples it was made of.

        Returns:
            One (h, w) for each plane: samples of ``rgb`` minus the true ones.
        """
        exact = rgb.astype(np.float32)
        rows = zip(self._weights, self._offsets, planes, strict=False)
        return [cv2.transform(exact, row[None]) + (zero - plane) for row, zero, plane in rows]

    def reformat(
        self,
        frame: VideoFrame,
        pix_fmt: str,
        *,
        size: tuple[int, int] | None = None,
        flags: Interpolation = EXACT,
    ) -> VideoFrame:
        """Convert a YUV frame of this clip to an RGB format with swscale.

        Args:
            frame: The frame.
            pix_fmt: The RGB format.
            size: (width, height), the frame's own when None.
            flags: swscale's flags.
        """
        width, height = size or (frame.width, frame.height)
        return self._reformatter().reformat(
            frame,
            width=width,
            height=height,
            format=pix_fmt,
            src_colorspace=self.space,
            dst_colorspace=self.space,
            src_color_range=self.range,
            dst_color_range=ColorRange.JPEG,
            interpolation=flags,
            threads=1,
        )

    def _reformatter(self) -> VideoReformatter:
        made: VideoReformatter | None = getattr(self._local, "reformatter", None)
        if made is None:
            made = self._local.reformatter = VideoReformatter()
        return made


def swscale_space(colour: Colour) -> tuple[Colorspace, ColorRange]:
    """Matrix and range of a clip in swscale's numbers."""
    levels = ColorRange.JPEG if colour.full_range else ColorRange.MPEG
    return _SWS.get(colour.matrix, Colorspace.ITU601), levels


def packed(frame: VideoFrame) -> U8 | U16:
    """The pixels of an ``rgb24`` or ``rgb48le`` frame, (h, w, 3), sharing its memory."""
    deep = frame.format.name == "rgb48le"
    plane = frame.planes[0]
    samples: NDArray[Any] = np.frombuffer(memoryview(plane), np.uint16 if deep else np.uint8)
    rows = samples.reshape(frame.height, -1)
    return rows[:, : frame.width * 3].reshape(frame.height, frame.width, 3)


def _weights(colour: Colour, layout: Layout) -> F32:
    """(3, 3) from RGB array values to coded luma, blue and red difference."""
    kr, kb = _KR_KB.get(colour.matrix, _KR_KB[6])
    kg = 1 - kr - kb
    rows = np.array(
        [
            [kr, kg, kb],
            [-kr / (2 - 2 * kb), -kg / (2 - 2 * kb), 0.5],
            [0.5, -kg / (2 - 2 * kr), -kb / (2 - 2 * kr)],
        ]
    )
    scale = 1 << (layout.bits - 8)
    luma, chroma = (layout.top, layout.top) if colour.full_range else (219 * scale, 224 * scale)
    rows *= np.array([[luma], [chroma], [chroma]])
    return (rows / (65535 if layout.bits > 8 else 255)).astype(np.float32)
