"""Which encoder with which settings, and the encoder itself: frames in, packets out.

Visually lossless defaults: x264 CRF 16, x265 CRF 17, SVT-AV1 CRF 18, VP9 CRF 18, hardware at the
like constant quality, ProRes at the source's profile or HQ, FFV1 lossless. Thread counts are pinned:
x264's bits depend on them and x265 records them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
from av.codec.codec import UnknownCodecError
from av.error import FFmpegError
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Interpolation

from vidswap.errors import MediaError, RecipeError
from vidswap.media import hdr
from vidswap.media.containers import codecs, holders, muxer
from vidswap.media.convert import swscale_space
from vidswap.media.encoders import REAL_LOSS, check_format, formats, nearest
from vidswap.media.frame import Frame
from vidswap.media.planes import layout, planar_format
from vidswap.media.priority import open_codec
from vidswap.recipe import EncodeOptions
from vidswap.types import VideoInfo

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.packet import Packet
    from av.video.codeccontext import VideoCodecContext
    from av.video.stream import VideoStream


BT709, LIMITED = 1, 1
"""Matrix and range that RGB is converted to where the encoder takes only YUV."""


Tags = tuple[int, int, int, int]
"""Primaries, transfer, matrix and range, as FFmpeg numbers them."""


@dataclass(frozen=True, slots=True)
class _Family:
    """One codec and how its software encoder is driven."""

    encoder: str
    crf: float | None
    """Default constant quality; None where the codec has no such thing."""
    crf_top: float = 0
    presets: tuple[str, ...] = ()
    """The default, then all that there are."""
    preset_key: str = "preset"
    options: Mapping[str, str] = field(default_factory=dict)


_X26 = "ultrafast superfast veryfast faster fast medium slow slower veryslow placebo"
_SHORT_SIGHTED = ("ultrafast", "superfast", "veryfast", "faster")
_FAMILIES = {
    "h264": _Family("libx264", 15, 51, ("medium", *_X26.split()), options={"threads": "4"}),
    "hevc": _Family("libx265", 17, 51, ("medium", *_X26.split())),
    "av1": _Family("libsvtav1", 18, 63, ("6", *map(str, range(14)))),
    "vp9": _Family(
        "libvpx-vp9",
        18,
        63,
        ("2", *map(str, range(9))),
        "cpu-used",
        {"b": "0", "row-mt": "1", "threads": "4"},
    ),
    "prores": _Family("prores_ks", None, options={"vendor": "apl0"}),
    "ffv1": _Family("ffv1", None, options={"level": "3", "slices": "12", "slicecrc": "1"}),
}
_HARDWARE = {
    "nvenc": ({"preset": "p6", "rc": "vbr", "b": "0"}, "cq"),
    "qsv": ({}, "global_quality"),
    "amf": ({"rc": "cqp"}, "qp_i"),
    "videotoolbox": ({}, "q"),
}
_EVEN = ("libx264", "libx265")
"""Refuse odd sizes where chroma has fewer samples."""
_PRORES = {"yuv422p10le": "3", "yuv444p10le": "4", "yuva444p10le": "4"}


@dataclass(frozen=True, slots=True)
class EncoderPlan:
    """Everything that decides the bits, so that chunks encoded anywhere agree."""

    encoder: str
    """FFmpeg's name."""
    pix_fmt: str
    options: dict[str, str]
    notes: tuple[str, ...] = ()
    """Fall-backs and changes of depth or chroma that a user should see."""


def plan_encoder(info: VideoInfo, options: EncodeOptions, output: Path) -> EncoderPlan:
    """Choose the encoder for a clip and prove that it opens.

    Args:
        info: The clip.
        options: What was asked for.
        output: Final file name; its suffix decides the container.

    Raises:
        MediaError: The codec does not fit the container, or the encoder refuses the clip.
        RecipeError: A setting that the encoder does not have.
    """
    container = muxer(output)
    if options.pix_fmt is not None:
        check_format(options.pix_fmt)
    source = planar_format(info.pix_fmt)
    family, notes = _family(info, options, container, source)
    pix_fmt, changes = _pix_fmt(_FAMILIES[family].encoder, source, options, info)
    plan = EncoderPlan(
        encoder=_FAMILIES[family].encoder,
        pix_fmt=pix_fmt,
        options=_options(family, options, info, pix_fmt),
        notes=(*notes, *changes, *_lost_static(family, info)),
    )
    if options.hardware != "off":
        plan = _hardware(plan, family, options, info)
    _try(plan, info, output)
    return plan


def _lost_static(family: str, info: VideoInfo) -> tuple[str, ...]:
    if family in ("h264", "hevc", "av1") or not hdr.read(info):
        return ()
    return (f"{family} cannot carry the HDR10 mastering and light-level data; it is left out",)


def _family(
    info: VideoInfo, options: EncodeOptions, container: str, source: str
) -> tuple[str, tuple[str, ...]]:
    """The codec to write, and why it is not the source's."""
    if options.codec != "auto":
        if options.codec not in codecs(container):
            fitting = holders(lambda name: options.codec in codecs(name))
            raise MediaError(
                f"video stream {info.stream_index} as {options.codec} does not fit into "
                f"{container}; it fits into: {fitting}",
                path=info.path,
                stage="write",
            )
        return options.codec, ()
    asked = options.pix_fmt or source
    order = ["h264", "hevc", "av1", "vp9"]
    order = [info.codec, *order] if info.codec in _FAMILIES else order
    fitting_here = [name for name in order if name in codecs(container)]
    exact = [n for n in fitting_here if not nearest(_FAMILIES[n].encoder, asked)[1] & REAL_LOSS]
    chosen = (exact or fitting_here)[0]
    if chosen == info.codec:
        return chosen, ()
    return chosen, (f"{info.codec} {source} cannot be kept in {container}: {chosen} is written",)


def _pix_fmt(
    encoder: str, source: str, options: EncodeOptions, info: VideoInfo
) -> tuple[str, tuple[str, ...]]:
    wanted = options.pix_fmt
    if wanted is None:
        name, loss = nearest(encoder, source)
        whole = name.replace("yuv420", "yuv444").replace("yuv422", "yuv444")
        # They could crop, as others' files do, but do not offer it.
        if encoder in _EVEN and name != whole and (info.width | info.height) % 2:
            size = f"{info.width}x{info.height}"
            return whole, (f"{encoder} does not take {size} at {name}: {whole} is written",)
        return name, (f"{encoder} does not take {source}: {name} is written",) if loss else ()
    if wanted not in formats(encoder):
        known = ", ".join(formats(encoder))
        raise RecipeError(f"encode.pix_fmt: {encoder} has no {wanted}; it has {known}")
    return wanted, (f"pixel format changes from {source} to {wanted}",) if wanted != source else ()


def _options(family: str, options: EncodeOptions, info: VideoInfo, pix_fmt: str) -> dict[str, str]:
    kind = _FAMILIES[family]
    out = {**kind.options, **_quality(kind, options)}
    if options.threads and "threads" in out:
        out["threads"] = str(options.threads)
    static = hdr.read(info)
    if family == "prores":
        out["profile"] = _PRORES[pix_fmt]
    elif family == "h264":
        fixed = ["log-level=none", "open-gop=0"]
        if out["preset"] not in _SHORT_SIGHTED:
            # Each frame looked ahead costs 7 MB at 1080p; beyond 10 it hardly pays at these qualities. Far
            # better pays trellis in every decision: calmer and as crisp, in less space, for little time.
            fixed.append("rc-lookahead=10:sync-lookahead=0:trellis=2")
        out["x264-params"] = ":".join([*fixed, *hdr.x264(static)])
    elif family == "hevc":
        pools = options.threads or 4
        fixed = ["log-level=none", "open-gop=0", f"pools={pools}", "frame-threads=2"]
        out["x265-params"] = ":".join([*fixed, *hdr.x265(static)])
    elif family == "av1" and static:
        out["svtav1-params"] = ":".join(hdr.svtav1(static))
    return out


def _quality(kind: _Family, options: EncodeOptions) -> dict[str, str]:
    if kind.crf is None:
        for name in ("crf", "preset"):
            if getattr(options, name) is not None:
                raise RecipeError(f"encode.{name}: {kind.encoder} has no such setting")
        return {}
    crf = kind.crf if options.crf is None else options.crf
    if not 0 <= crf <= kind.crf_top:
        raise RecipeError(f"encode.crf: {kind.encoder} takes 0 to {kind.crf_top:g}, not {crf:g}")
    preset = options.preset or kind.presets[0]
    if preset not in kind.presets:
        known = ", ".join(kind.presets[1:])
        raise RecipeError(f"encode.preset: {kind.encoder} takes {known}, not {preset}")
    return {"crf": f"{crf:g}", kind.preset_key: preset}


def _hardware(
    plan: EncoderPlan, family: str, options: EncodeOptions, info: VideoInfo
) -> EncoderPlan:
    kinds = list(_HARDWARE) if options.hardware == "auto" else [options.hardware]
    for kind in kinds:
        fixed, quality = _HARDWARE[kind]
        name = f"{family}_{kind}"
        crf = _FAMILIES[family].crf if options.crf is None else options.crf
        settings = {**fixed, quality: f"{crf or 18:g}"}
        try:
            pix_fmt, loss = nearest(name, plan.pix_fmt)
            candidate = EncoderPlan(name, pix_fmt, settings, plan.notes)
            if not loss & REAL_LOSS:
                _open(candidate, info)
                return candidate
        except (UnknownCodecError, FFmpegError, ValueError):
            continue
    note = f"no usable {options.hardware} hardware encoder for {family}: {plan.encoder} takes over"
    return EncoderPlan(plan.encoder, plan.pix_fmt, plan.options, (*plan.notes, note))


def _try(plan: EncoderPlan, info: VideoInfo, output: Path) -> None:
    try:
        _open(plan, info)
    except (FFmpegError, ValueError) as error:
        raise MediaError(
            f"{plan.encoder} does not take {info.width}x{info.height} {plan.pix_fmt} "
            f"with {plan.options}: {getattr(error, 'strerror', None) or error}",
            path=output,
            stage="encode",
        ) from error


def _open(plan: EncoderPlan, info: VideoInfo) -> None:
    """Open and drop an encoder; raises what FFmpeg says against it."""
    context: Any = av.CodecContext.create(plan.encoder, "w")
    _configure(context, info, plan)
    open_codec(context)


def _configure(context: VideoCodecContext, info: VideoInfo, plan: EncoderPlan) -> None:
    sideways = info.rotation in (90, 270)
    context.width, context.height = (
        (info.height, info.width) if sideways else (info.width, info.height)
    )
    context.pix_fmt = plan.pix_fmt
    context.time_base = info.time_base
    context.framerate = info.frame_rate.limit_denominator(100_000)
    context.sample_aspect_ratio = info.sample_aspect
    context.options = {**plan.options, **_machine_options(plan.encoder)}


def _machine_options(encoder: str) -> dict[str, str]:
    """What has to differ between machines so that the bits do not; quiets SVT-AV1 as well.

    With AVX-512, x264's macroblock tree reads uninitialised memory at many widths; its AVX2 code
    gives the bits that the AVX-512 code gives when that memory happens to be clean.
    """
    if encoder == "libsvtav1":
        # It prints a banner for each encoder and takes orders only from the environment.
        os.environ.setdefault("SVT_LOG", "1")
    cpu = Path("/proc/cpuinfo")
    if encoder == "libx264" and cpu.is_file() and "avx512f" in cpu.read_text(errors="replace"):
        return {"x264opts": "asm=avx2"}
    return {}


class Encoder:
    """One run of an encoder: frames in presentation order in, packets in decoding order out.

    Args:
        out: The container the packets are meant for; a stream is added to it.
        info: The clip.
        plan: The settings.
    """

    def __init__(self, out: OutputContainer, info: VideoInfo, plan: EncoderPlan) -> None:
        self.stream: VideoStream = out.add_stream(  # type: ignore[call-overload,assignment]
            plan.encoder, rate=info.frame_rate.limit_denominator(100_000)
        )
        self.stream.time_base = info.time_base
        self._context = self.stream.codec_context
        self._plan = plan
        self._from_rgb = layout(planar_format(info.pix_fmt)).kind == "rgb"
        self._from_rgb = self._from_rgb and layout(planar_format(plan.pix_fmt)).kind != "rgb"
        self._colour = info.colour
        if self._from_rgb:
            self._colour = replace(info.colour, matrix=BT709, full_range=False)
        self.tags: Tags | None = None
        """Set by the first frame or by ``tag``."""
        _configure(self._context, info, plan)
        if self._context.codec.canonical_name == "hevc" and out.format.name in ("mp4", "mov"):
            self._context.codec_tag = "hvc1"  # players of Apple's refuse hev1

    def encode(self, frame: Frame) -> list[Packet[VideoStream]]:
        """Encode one frame; packets carry the frames' own ticks.

        Raises:
            MediaError: The encoder fails.
        """
        native = frame.native
        if self.tags is None:
            self.tag(self._tags_of(native))
        if native.format.name != self._plan.pix_fmt:
            native = self._reformat(native)
        if not self._context.is_open:
            self.open()
        native.pict_type = 0  # the source's frame types are none of the encoder's business
        return self._run(native)

    def flush(self) -> list[Packet[VideoStream]]:
        """What the encoder still holds.

        Raises:
            MediaError: The encoder fails.
        """
        return self._run(None)

    def tag(self, tags: Tags) -> None:
        """Colour tags, before the first frame: a file joined from packets never sees one."""
        context, self.tags = self._context, tags
        context.color_primaries, context.color_trc, context.colorspace, context.color_range = tags

    @property
    def extradata(self) -> bytes:
        """The codec's headers, once it is open; empty where it has none."""
        return bytes(self._context.extradata or b"")

    def open(self) -> None:
        """Open the codec without a frame.

        Raises:
            MediaError: It refuses.
        """
        try:
            open_codec(self._context)
        except FFmpegError as error:
            raise MediaError(
                f"{self._plan.encoder} does not open: {error.strerror or error}", stage="encode"
            ) from error

    def _tags_of(self, native: VideoFrame) -> Tags:
        """Tags are copied, not derived: what the source left open stays open."""
        return (
            int(native.color_primaries),
            int(native.color_trc),
            int(self._colour.matrix if self._from_rgb else native.colorspace),
            int(LIMITED if self._from_rgb else native.color_range),
        )

    def _run(self, native: VideoFrame | None) -> list[Packet[VideoStream]]:
        try:
            packets: list[Packet[VideoStream]] = self.stream.encode(native)
        except FFmpegError as error:
            raise MediaError(
                f"{self._plan.encoder} failed: {error.strerror or error}", stage="encode"
            ) from error
        return packets

    def _reformat(self, native: VideoFrame) -> VideoFrame:
        """To the encoder's pixel format, with the matrix and range kept."""
        space, levels = swscale_space(self._colour)
        source = ColorRange.JPEG if self._from_rgb else levels
        return native.reformat(
            format=self._plan.pix_fmt,
            src_colorspace=space,
            dst_colorspace=space,
            src_color_range=source,
            dst_color_range=levels,
            interpolation=Interpolation.BICUBIC | Interpolation.ACCURATE_RND,
            threads=1,
        )
