"""Which of the encoders that are used are built into this FFmpeg."""

import av
from av.codec.codec import UnknownCodecError

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


def available_encoders() -> list[str]:
    """FFmpeg's names of those present; a hardware encoder also needs its driver to open."""
    return [name for name in ENCODERS if _present(name)]


def _present(name: str) -> bool:
    try:
        av.Codec(name, "w")
    except UnknownCodecError:
        return False
    return True


def build() -> str:
    """Versions that decide an encoder's bits: PyAV's, and FFmpeg's libavcodec."""
    return f"av {av.__version__} libavcodec {'.'.join(map(str, av.library_versions['libavcodec']))}"
