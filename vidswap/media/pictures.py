"""A clip from RGB pictures: for made-up material, never for a clip that exists already."""

from collections.abc import Iterable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from av.video.stream import VideoStream

from vidswap.types import U8

BT709 = 1
"""H.273 number of the primaries, transfer and matrix."""
LIMITED = 1


def write_pictures(
    path: Path,
    pictures: Iterable[U8],
    rate: Fraction = Fraction(25),
    encoder: str = "libx264",
    options: Mapping[str, str] | None = None,
) -> int:
    """Encode pictures at a constant rate as tagged 8-bit 4:2:0 BT.709.

    Args:
        path: Target; the container follows its suffix.
        pictures: (H, W, 3) each, all of one size with even sides.
        rate: Frames per second.
        encoder: FFmpeg's name of the encoder.
        options: Encoder options, such as ``{"crf": "18"}``.

    Returns:
        Number of pictures written.
    """
    reformatter = VideoReformatter()
    count = 0
    with av.open(str(path), "w") as out:
        stream = cast(VideoStream, out.add_stream(encoder, rate=rate, options=dict(options or {})))
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        context.color_primaries = context.color_trc = context.colorspace = BT709
        context.color_range = LIMITED
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
        out.mux(stream.encode(None))
    return count
