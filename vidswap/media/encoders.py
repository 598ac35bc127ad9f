"""Which of the encoders that are used are built into this FFmpeg, and what they take."""

from fractions import Fraction
from typing import Any

import av
from av.codec.codec import PixFmtLoss, UnknownCodecError, find_best_pix_fmt_of_list
from av.error import FFmpegError

from vidswap.errors import RecipeError
from vidswap.media.priority import open_codec

ENCODERS = (
    "libx264",
    "libx265",
    "libsvtav1",
    "libvpx-vp9",
    "prores_ks",
    "ffv1",
    "h264_nvenc",
    "hevc_nvenc",
    "av1_nvenc",
    "h264_qsv",
    "h264_amf",
    "h264_videotoolbox",
)

REAL_LOSS = 63
"""Bits of ``PixFmtLoss`` that lose something; the higher ones say that the format holds more."""


def available_encoders() -> list[str]:
    """FFmpeg's names of those present; a hardware encoder also needs its driver to open."""
    return [name for name in ENCODERS if _present(name)]


def _present(name: str) -> bool:
    try:
        av.Codec(name, "w")
    except UnknownCodecError:
        return False
    return True


def opens(name: str) -> bool:
    """Whether an encoder that is built in starts: hardware needs its driver and its device."""
    try:
        context: Any = av.CodecContext.create(name, "w")
        context.width, context.height, context.pix_fmt = 640, 480, formats(name)[0]
        context.time_base, context.framerate = Fraction(1, 25), Fraction(25)
        open_codec(context)
    except (FFmpegError, ValueError, UnknownCodecError):
        return False
    return True


def is_hardware(name: str) -> bool:
    """Whether an encoder of ``ENCODERS`` runs on a device of its own."""
    return name.rpartition("_")[2] in ("nvenc", "qsv", "amf", "videotoolbox")


def build() -> str:
    """Versions that decide an encoder's bits: PyAV's, and FFmpeg's libavcodec."""
    return f"av {av.__version__} libavcodec {'.'.join(map(str, av.library_versions['libavcodec']))}"


def check_format(pix_fmt: str) -> None:
    """Refuse a pixel format that does not exist.

    Raises:
        RecipeError: Naming it.
    """
    try:
        av.VideoFormat(pix_fmt)
    except ValueError:
        raise RecipeError(
            f"encode.pix_fmt: no such pixel format: {pix_fmt}",
            hint="write FFmpeg's name, such as yuv420p, yuv420p10le or yuv422p10le",
        ) from None


def formats(encoder: str) -> list[str]:
    """Pixel formats that an encoder takes."""
    return [form.name for form in av.Codec(encoder, "w").video_formats or []]


def nearest(encoder: str, source: str) -> tuple[str, PixFmtLoss]:
    """The encoder's format nearest to the source's, and what it cannot hold of it."""
    known = formats(encoder)
    for same in (source, source.replace("yuvj", "yuv")):
        if same in known:
            return same, PixFmtLoss.NONE
    best, loss = find_best_pix_fmt_of_list(known, source, has_alpha="yuva" in source)
    return best.name if best is not None else known[0], loss
