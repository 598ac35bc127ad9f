"""A second reader, on decord; it refuses whatever it is known or seen to get wrong.

decord 0.6 silently delivers wrong frames for edit lists, open GOPs and MPEG-TS, and only 8-bit RGB.
So the file's structure is checked first, then decord's own count and times against the demuxed
index. Frames arrive as RGB and are taken back to the clip's native format: rounding costs up to two
levels everywhere in the picture, which the default reader does not.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

from vidswap.errors import MediaError
from vidswap.media.convert import swscale_space
from vidswap.media.frame import Frame, FrameFormat
from vidswap.media.probe import first_frame, open_input
from vidswap.media.timeline import check_range
from vidswap.recipe import DecodeOptions
from vidswap.types import VideoInfo

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

_CODECS = ("h264", "hevc", "vp9", "vp8", "mpeg4")
_CONTAINERS = ("mp4", "matroska")
_SLACK = 0.002
"""Seconds by which decord's single-precision times may differ from the index."""


class DecordReader:
    """Reads with decord, for clips where that is provably right.

    Args:
        info: The clip's index.
        options: Reader options.

    Raises:
        MediaError: decord is absent, or cannot be trusted with this clip.
    """

    def __init__(self, info: VideoInfo, options: DecodeOptions) -> None:
        self.info = info
        _refuse(info)
        self._format = FrameFormat(info)
        self._first = first_frame(info)
        self._reformatter = VideoReformatter()
        self._video = _open(info, options)
        self._check_index()

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[Frame]:
        """Frames ``[start, stop)``, see ``vidswap.media.decode.Reader.frames``."""
        return self._frames(start, check_range(self.info, start, stop))

    def close(self) -> None:
        """Let go of the file."""
        self._video = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _frames(self, start: int, stop: int) -> Iterator[Frame]:
        for index in range(start, stop):
            if self._video is None:
                return
            try:
                rgb = self._video[index].asnumpy()
            except Exception as error:  # noqa: BLE001 - decord's errors share no base class
                raise _error(self.info, f"frame {index} cannot be decoded ({error})") from None
            yield Frame(index, int(self.info.pts[index]), self._native(rgb, index), self._format)

    def _native(self, rgb: np.ndarray[Any, np.dtype[np.uint8]], index: int) -> VideoFrame:
        if rgb.shape[:2] != (self._first.height, self._first.width):
            raise _error(self.info, f"frame {index} has size {rgb.shape[1]}x{rgb.shape[0]}")
        # decord converted with the tags, or BT.601 without: undo just that.
        colour = self.info.colour
        space, levels = swscale_space(colour)
        frame = self._reformatter.reformat(
            av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24"),
            format=self._format.pix_fmt,
            src_colorspace=Colorspace.ITU601 if colour.assumed else space,
            dst_colorspace=Colorspace.ITU601 if colour.assumed else space,
            src_color_range=ColorRange.JPEG,
            dst_color_range=levels,
            interpolation=Interpolation.BICUBIC | Interpolation.ACCURATE_RND,
            threads=1,
        )
        for tag in ("colorspace", "color_range", "color_trc", "color_primaries"):
            setattr(frame, tag, getattr(self._first, tag))
        frame.pts, frame.time_base = int(self.info.pts[index]), self.info.time_base
        return frame

    def _check_index(self) -> None:
        count = len(self._video)
        if count != self.info.frames:
            raise _error(self.info, f"it counts {count} frames, the index {self.info.frames}")
        times = np.asarray(self._video.get_frame_timestamp(np.arange(count)))[:, 0]
        wanted = (self.info.pts - self.info.pts[0]) * float(self.info.time_base)
        off = np.abs(times - times[0] - wanted) - 1e-6 * wanted
        if float(off.max()) > _SLACK:
            index = int(off.argmax())
            raise _error(
                self.info,
                f"it times frame {index} at {times[index]:.3f} s, not {wanted[index]:.3f}",
            )


def _open(info: VideoInfo, options: DecodeOptions) -> Any:
    try:
        import decord
    except ImportError as error:
        raise _error(info, f"it is not installed ({error})") from None
    try:
        return decord.VideoReader(info.path, ctx=decord.cpu(0), num_threads=options.threads)
    except Exception as error:  # noqa: BLE001 - decord's errors share no base class
        raise _error(info, f"it cannot open the file ({error})") from None


def _refuse(info: VideoInfo) -> None:
    reasons = {
        f"{info.colour.bits}-bit samples would be cut to 8": info.colour.bits > 8,
        f"{info.codec} is not decoded reliably": info.codec not in _CODECS,
        f"the container {info.container} is not seeked reliably": not any(
            name in info.container for name in _CONTAINERS
        ),
        "the picture is rotated": bool(info.rotation),
        "the clip does not start at time zero": bool(info.pts[0]),
        "several video streams confuse it": any(
            s.kind == "video" or (s.kind == "attachment" and "/" not in s.codec)
            for s in info.streams
        ),
    }
    for reason, applies in reasons.items():
        if applies:
            raise _error(info, reason)
    structure = _structure(info)
    if structure:
        raise _error(info, structure)


def _structure(info: VideoInfo) -> str:
    """An edit list or an open GOP, seen in the packets."""
    with open_input(info.path) as container:
        stream = next(s for s in container.streams.video if s.index == info.stream_index)
        keyframe: int | None = None
        for packet in container.demux(stream):
            if packet.pts is None:
                continue
            if packet.is_discard:
                return "an edit list hides frames"
            if keyframe is not None and packet.pts < keyframe:
                return "it has open GOPs"
            if packet.is_keyframe:
                keyframe = packet.pts
    return ""


def _error(info: VideoInfo, reason: str) -> MediaError:
    return MediaError(
        f"the decord reader cannot be used: {reason}",
        path=info.path,
        stage="decode",
        hint="use the default reader, pyav",
    )
