"""One decoded frame: read parts of it as RGB, write parts of it back, leave the rest bit-equal."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from vidswap.checks import check_shape
from vidswap.media.convert import CHEAP, SMOOTH, Converter, packed
from vidswap.media.planes import (
    Layout,
    Plane,
    around_changes,
    averaged,
    differences,
    downsample,
    layout,
    planar_format,
    thinned,
    upsample,
    view,
)
from vidswap.types import F32, I8, U8, U16, Box, VideoInfo

_LUMA_STEP = 8
"""Pixels between the samples of ``mean_luma``; dense enough to tell pictures apart."""


class FrameFormat:
    """What all frames of one clip share.

    Args:
        info: The clip.

    Raises:
        MediaError: The clip's pixel format is not supported.
    """

    def __init__(self, info: VideoInfo) -> None:
        self.pix_fmt = planar_format(info.pix_fmt)
        self.layout = layout(self.pix_fmt)
        self.converter = Converter(info.colour, self.layout)
        self.width, self.height = info.width, info.height
        self.turns = -info.rotation // 90 % 4
        """Quarter turns counter-clockwise from the coded picture to the upright one."""

    def coded_box(self, box: Box) -> Box:
        """Where an upright box lies in the coded picture."""
        left, top, right, bottom = box
        if self.turns == 1:
            return Box(self.height - bottom, left, self.height - top, right)
        if self.turns == 2:
            width, height = self.width, self.height
            return Box(width - right, height - bottom, width - left, height - top)
        if self.turns == 3:
            return Box(top, self.width - right, bottom, self.width - left)
        return box


class Frame:
    """A frame in its native planes, seen upright.

    Not safe to use from two threads at once; different frames are.

    Args:
        index: Number in the clip.
        pts: Presentation time, ticks of the clip's time base.
        native: The decoded frame in its coded orientation; its format is converted to the planar
            one with the same samples where it is packed.
        form: Shared by all frames of the clip.
    """

    __slots__ = (
        "_form",
        "_known",
        "_writable",
        "bits",
        "height",
        "index",
        "native",
        "pts",
        "width",
    )

    def __init__(self, index: int, pts: int, native: VideoFrame, form: FrameFormat) -> None:
        if native.format.name != form.pix_fmt:
            native = native.reformat(format=form.pix_fmt, threads=1)
        self.index = index
        self.pts = pts
        self.native = native
        self.width, self.height = form.width, form.height
        self.bits = 16 if form.layout.bits > 8 else 8
        self._form = form
        self._writable = False
        self._known: tuple[Box, Plane] | None = None
        """The part converted last; a paste follows a read of the same pixels."""

    def rgb(self, box: Box | None = None) -> U8 | U16:
        """Full-range RGB of a part of the frame.

        A pixel's value does not depend on the box it is asked in. Only the box is converted.

        Args:
            box: Upright pixels, clipped to the frame; None is the whole frame.

        Returns:
            (h, w, 3) upright, C-contiguous, the caller's own: uint8 for 8-bit clips, else uint16
            spanning 0–65535.
        """
        box = (box or Box(0, 0, self.width, self.height)).clip(self.width, self.height)
        if not box.width or not box.height:
            return _empty(box, self.bits)
        return _turn(self._coded_rgb(self._form.coded_box(box)), self._form.turns)

    def reduced(self, box: Box, factor: int) -> U8:
        """Small 8-bit RGB of a part of the frame, averaged over squares of pixels.

        Samples are averaged before they are converted, which takes a third of the time of ``rgb``
        for a factor of 2 and less for larger ones.

        Args:
            box: Upright pixels inside the frame; what is left of its sides beyond whole squares, at
                the right and at the bottom, is left out.
            factor: Side of the squares.

        Returns:
            (box.height // factor, box.width // factor, 3) upright.
        """
        width, height = (n // factor * factor for n in (box.width, box.height))
        area = self._form.coded_box(Box(box.left, box.top, box.left + width, box.top + height))
        form = self._form.layout
        if form.kind == "rgb":
            picture = averaged(self._converted(area), factor)
        else:
            luma = view(self.native, 0)[area.top : area.bottom, area.left : area.right]
            planes = [averaged(luma, factor)]
            if form.kind == "yuv":
                planes += (thinned(view(self.native, i), form, area, factor) for i in (1, 2))
            picture = self._form.converter.rgb(*planes)
        small = (picture >> 8).astype(np.uint8) if picture.dtype == np.uint16 else picture
        return _turn(small, self._form.turns)

    def paste(self, box: Box, rgb: U8 | U16, rest: I8 | None = None) -> None:
        """Write new pixels, through what *changed* against ``rgb(box)``.

        Luma changes only inside the box. Chroma changes only where the whole block of pixels that
        shares a sample lies inside it (an odd edge of a 4:2:0 box keeps its old chroma). Pixels
        equal to what ``rgb(box)`` returned keep their samples bit for bit, even where YUV holds
        colours that RGB cannot. The luma of replaced ones is that of ``rgb``, without what rounding did
        to the old one.

        Args:
            box: Upright pixels; parts outside the frame are ignored.
            rgb: (h, w, 3) for the whole box, dtype as ``rgb`` returns.
            rest: (h, w, 3) what rounding took off ``rgb``, as a ``Patch`` of an 8-bit clip holds it.

        Raises:
            ShapeError: ``rgb`` or ``rest`` does not fit the box.
            TypeError: ``rgb`` has another depth than the frame, or the frame is too deep for a ``rest``.
        """
        size = f"{box.height} {box.width} 3"
        check_shape(size, rgb=rgb)
        if rest is not None:
            check_shape(size, rest=rest)
            if self.bits > 8:
                raise TypeError(f"rest: a frame of {self.bits} bits has none")
        if rgb.dtype != self._dtype:
            raise TypeError(f"rgb: expected {np.dtype(self._dtype)}, got {rgb.dtype}")
        inside = box.clip(self.width, self.height)
        if not inside.width or not inside.height:
            return
        area = self._form.coded_box(inside)
        here = _inside(inside, box)
        new = _turn(rgb[here], -self._form.turns)
        old = self._coded_rgb(area)
        moved = differences(new, old)
        changed = around_changes(moved, area, self._form.layout)
        if changed is None:
            return
        own = _inside(changed, area)
        area, new, old, moved = changed, new[own], old[own], moved[own]
        if not self._writable:
            # The decoder still predicts other frames from these buffers.
            self.native.make_writable()
            self._writable = True
        self._known = None
        if self._form.layout.kind == "rgb":
            self._paste_rgb(area, new)
        else:
            if rest is not None:
                # A pixel that is not replaced has none.
                rest = cv2.copyTo(_turn(rest[here], -self._form.turns)[own], moved)
            luma, *chroma = self._form.converter.deltas(new, old, rest)
            luma += self._freed(moved, old, area)
            if old.min() == 0 or old.max() == np.iinfo(self._dtype).max:
                self._unclip(chroma, moved, old, area)
            self._paste_yuv(area, luma, *chroma)

    def luma(self, max_side: int) -> U8:
        """A small upright grey picture, full range, averaged over areas.

        Args:
            max_side: Longer side of the result at most, pixels.

        Returns:
            (h, w)
        """
        plane = view(self.native, 0)
        step = max(1, -(-max(plane.shape) // max_side))
        height, width = (max(1, round(n / step)) for n in plane.shape)
        small = cv2.resize(plane, (width, height), interpolation=cv2.INTER_AREA)
        levels = self._levels(small.astype(np.float32))
        return _turn(np.rint(levels).astype(np.uint8), self._form.turns)

    def small(self, max_side: int) -> tuple[U8, float]:
        """A downscaled 8-bit picture straight from the planes, for detectors.

        Args:
            max_side: Longer side of the result at most, pixels.

        Returns:
            (h, w, 3) upright RGB and the factor small / full.
        """
        scale = min(1.0, max_side / max(self.width, self.height))
        size = (max(1, round(self.native.width * scale)), max(1, round(self.native.height * scale)))
        form = self._form
        if scale < 1 or form.layout.kind == "yuv":
            flags = CHEAP if scale == 1 else SMOOTH
            small = form.converter.reformat(self.native, "rgb24", size=size, flags=flags)
            picture = packed(small)
        else:
            whole = self._coded_rgb(Box(0, 0, self.native.width, self.native.height))
            picture = (whole >> 8).astype(np.uint8) if self.bits == 16 else whole
        return _turn(picture, form.turns), size[0] / self.native.width

    def mean_luma(self) -> float:
        """Mean luma of a sparse grid of samples, [0, 255] full range."""
        samples = view(self.native, 0)[::_LUMA_STEP, ::_LUMA_STEP]
        return float(self._levels(samples.mean(dtype=np.float32)))

    @property
    def _dtype(self) -> type[np.uint8 | np.uint16]:
        return np.uint16 if self.bits == 16 else np.uint8

    def _levels(self, luma: F32 | np.float32) -> F32:
        """Coded luma as full-range 8-bit levels."""
        layout = self._form.layout
        if self._form.converter.colour.full_range or layout.kind == "rgb":
            out = luma * np.float32(255 / layout.top)
        else:
            out = (luma * np.float32(0.5 ** (layout.bits - 8)) - 16) * np.float32(255 / 219)
        levels: F32 = np.clip(out, 0, 255)
        return levels

    def _coded_rgb(self, area: Box) -> Plane:
        """RGB of a part of the coded picture; not to be written to."""
        if self._known is not None and _within(area, self._known[0]):
            outer, picture = self._known
            return picture[_inside(area, outer)]
        picture = self._converted(area)
        self._known = area, picture
        return picture

    def _converted(self, area: Box) -> Plane:
        left, top, right, bottom = area
        form = self._form.layout
        if form.kind == "rgb":
            green, blue, red = (view(self.native, i)[top:bottom, left:right] for i in range(3))
            return _stretch(np.stack([red, green, blue], axis=-1), form.bits)
        return self._form.converter.rgb(*self._on_luma_grid(area))

    def _on_luma_grid(self, area: Box) -> list[Plane]:
        """Luma and, unless the clip is grey, chroma of every pixel of an area."""
        luma = view(self.native, 0)[area.top : area.bottom, area.left : area.right]
        if self._form.layout.kind == "grey":
            return [luma]
        return [luma, *(upsample(view(self.native, i), self._form.layout, area) for i in (1, 2))]

    def _freed(self, moved: Plane, old: Plane, area: Box) -> F32:
        """What luma lets go of as pixels change: all that the old RGB does not tell of it.

        That is what rounding took off, and what RGB clips. It goes as far as a pixel changes: a replaced one
        becomes just what was asked for; a barely touched highlight keeps its excess, so that a feathered
        edge shows no step.
        """
        room = moved.astype(np.float32)
        room *= self._form.layout.top / np.iinfo(self._dtype).max
        luma = view(self.native, 0)[area.top : area.bottom, area.left : area.right]
        (excess,) = self._form.converter.clipped(old, [luma])
        freed: F32 = cv2.max(cv2.min(excess, room), -room)
        return freed

    def _unclip(self, chroma: list[F32], moved: Plane, old: Plane, area: Box) -> None:
        """Where YUV held a colour that RGB cannot, let go of it as the pixel changes."""
        top = int(np.iinfo(self._dtype).max)
        clipped = cv2.inRange(old, (1, 1, 1), (top - 1,) * 3) == 0
        clipped &= moved > 0
        rows, columns = np.divmod(np.flatnonzero(clipped), old.shape[1])
        if not len(rows):
            return
        weight = np.minimum(moved[rows, columns] * np.float32(16 / top), 1)
        planes = [p[rows, columns][:, None] for p in self._on_luma_grid(area)]
        _, *excess = self._form.converter.clipped(old[rows, columns][:, None], planes)
        for delta, part in zip(chroma, excess, strict=True):
            delta[rows, columns] += weight * part[:, 0]

    def _paste_rgb(self, area: Box, new: U8 | U16) -> None:
        bits = self._form.layout.bits
        coded = new if bits == 8 else new >> (16 - bits)
        for index, channel in enumerate((1, 2, 0)):
            plane = view(self.native, index)
            plane[area.top : area.bottom, area.left : area.right] = coded[..., channel]

    def _paste_yuv(self, area: Box, luma: F32, *chroma: F32) -> None:
        form = self._form.layout
        y = view(self.native, 0)[area.top : area.bottom, area.left : area.right]
        _add(y, luma, form.top)
        if form.kind == "grey":
            return
        left, right = _blocks(area.left, area.right, form.shift_x, self.native.width)
        top, bottom = _blocks(area.top, area.bottom, form.shift_y, self.native.height)
        if left >= right or top >= bottom:
            return
        x0, y0 = area.left >> form.shift_x, area.top >> form.shift_y
        for index, delta in enumerate(chroma, start=1):
            change = downsample(_pad_to_blocks(delta, area, form), form)
            part = change[top - y0 : bottom - y0, left - x0 : right - x0]
            _add(view(self.native, index)[top:bottom, left:right], part, form.top)


def _within(area: Box, outer: Box) -> bool:
    corner = area.left >= outer.left and area.top >= outer.top
    return corner and area.right <= outer.right and area.bottom <= outer.bottom


def _inside(area: Box, outer: Box) -> tuple[slice, slice]:
    """Rows and columns of a box within a picture of a larger one."""
    return (
        slice(area.top - outer.top, area.bottom - outer.top),
        slice(area.left - outer.left, area.right - outer.left),
    )


def _blocks(low: int, high: int, shift: int, size: int) -> tuple[int, int]:
    """Chroma samples whose block of luma samples lies wholly inside ``[low, high)``."""
    block = 1 << shift
    return -(-low // block), -(-high // block) if high == size else high // block


def _pad_to_blocks(delta: F32, area: Box, form: Layout) -> F32:
    """Widen (h, w) differences to whole chroma blocks."""
    ends = ((area.top, area.bottom, form.shift_y), (area.left, area.right, form.shift_x))
    pads = [(low % (1 << shift), -high % (1 << shift)) for low, high, shift in ends]
    return np.pad(delta, pads, mode="edge") if any(map(any, pads)) else delta


def _add(samples: Plane, change: F32, top: int) -> None:
    """Add rounded changes in place, saturating."""
    depth = cv2.CV_8U if samples.dtype == np.uint8 else cv2.CV_16U
    total = cv2.add(np.ascontiguousarray(samples), np.ascontiguousarray(change), dtype=depth)
    samples[:] = np.minimum(total, top) if depth == cv2.CV_16U else total


def _turn(picture: NDArray[Any], turns: int) -> NDArray[Any]:
    """Rotate by quarter turns, counter-clockwise; the result owns contiguous memory."""
    return np.array(np.rot90(picture, turns), order="C")


def _empty(box: Box, bits: int) -> U8 | U16:
    shape = (box.height, box.width, 3)
    return np.zeros(shape, np.uint16) if bits == 16 else np.zeros(shape, np.uint8)


def _stretch(samples: Plane, bits: int) -> Plane:
    """Full-range RGB samples of any depth to 8 or 16 bits."""
    if bits in (8, 16):
        return samples
    wide: U16 = samples.astype(np.uint16)
    return ((wide << (16 - bits)) | (wide >> (2 * bits - 16))).astype(np.uint16)
