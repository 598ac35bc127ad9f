"""Every codec that ``--codec`` names, in every container, at 8 and 10 bit; and hardware that is not there."""

from dataclasses import replace

import av
import pytest
from av.error import ExternalError

from vidswap.errors import MediaError
from vidswap.media import encode as module
from vidswap.media.containers import check_streams
from vidswap.media.decode import open_reader
from vidswap.media.encode import plan_encoder
from vidswap.media.probe import probe
from vidswap.media.verify import verify
from vidswap.recipe import DecodeOptions, EncodeOptions
from vidswap.testing import Audio, read_barcode

FITS = {
    "h264": {".mp4", ".mov", ".mkv"},
    "hevc": {".mp4", ".mov", ".mkv"},
    "av1": {".mp4", ".mkv", ".webm"},
    "vp9": {".mp4", ".mkv", ".webm"},
    "prores": {".mov", ".mkv"},
    "ffv1": {".mp4", ".mkv"},
}
QUICK = {"h264": "ultrafast", "hevc": "ultrafast", "av1": "12", "vp9": "8"}
FRAMES = 3


def source(make, bits):
    fields = {} if bits == 8 else {"codec": "libx265", "pix_fmt": "yuv420p10le"}
    return make(".mkv", frames=FRAMES, **fields)


def sound(path, info, writer, suffix):
    """Verified, and every frame is the one it should be."""
    verify(path, info, 0, FRAMES, suffix, writer.record)
    written = probe(path)
    with open_reader(written, DecodeOptions()) as reader:
        assert [read_barcode(frame.rgb()) for frame in reader.frames()] == list(range(FRAMES))
    return written


def test_the_table_is_whole():
    from typing import get_args, get_type_hints

    assert set(get_args(get_type_hints(EncodeOptions)["codec"])) == {"auto", *FITS}


@pytest.mark.parametrize("bits", [8, 10])
@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
@pytest.mark.parametrize("codec", FITS)
def test_every_codec_in_every_container_at_both_depths(make, rewrite, codec, suffix, bits):
    options = EncodeOptions(codec=codec, preset=QUICK.get(codec))
    clip = source(make, bits)
    if suffix not in FITS[codec]:
        with pytest.raises(MediaError, match=f"as {codec} does not fit into"):
            rewrite(clip, suffix, options)
        return
    info, output, writer = rewrite(clip, suffix, options)
    written = sound(output, info, writer, suffix)
    assert written.codec == codec
    notes = plan_encoder(info, options, output).notes
    if codec == "prores":
        assert written.colour.bits == 10
    elif codec == "vp9" and bits == 10 and written.colour.bits == 8:
        # How libvpx is built decides; where it has no 10 bit, that is said.
        assert "does not take yuv420p10le: yuv420p is written" in notes[0]
    else:
        assert written.colour.bits == bits
        assert not notes


@pytest.mark.parametrize("codec", ["flac", "libopus"])
def test_sound_that_mov_refuses_is_named_before_anything_is_encoded(make, rewrite, codec):
    clip = make(".mkv", frames=FRAMES, audio=(Audio(codec=codec, seconds=0.2),))
    name = codec.removeprefix("lib")
    with pytest.raises(MediaError, match=rf"audio stream 1 \({name}.*\) does not fit into mov"):
        check_streams(probe(clip), clip.with_suffix(".mov"))
    info, output, writer = rewrite(clip, ".mp4")
    sound(output, info, writer, ".mp4")


def broken(monkeypatch, *names):
    """Encoders that are built in, and refuse to open as without their driver."""
    opened, really = [], module.open_codec

    def open_codec(context):
        opened.append(context.name)
        if context.name in names:
            raise ExternalError(542398533, "Generic error in an external library")
        return really(context)

    monkeypatch.setattr(module, "open_codec", open_codec)
    return opened


@pytest.mark.parametrize("bits", [8, 10])
@pytest.mark.parametrize("hardware", ["nvenc", "auto"])
def test_hardware_that_does_not_open_is_replaced_and_said(
    make, rewrite, monkeypatch, hardware, bits
):
    names = [f"{c}_{k}" for c in ("h264", "hevc") for k in ("nvenc", "qsv", "amf", "videotoolbox")]
    opened = broken(monkeypatch, *names)
    codec = "h264" if bits == 8 else "hevc"
    options = EncodeOptions(hardware=hardware, codec=codec, preset="ultrafast")
    info, output, writer = rewrite(source(make, bits), ".mp4", options)
    written = sound(output, info, writer, ".mp4")
    assert (written.codec, written.colour.bits) == (codec, bits)
    plan = plan_encoder(info, options, output)
    software = f"libx26{'4' if bits == 8 else '5'}"
    want = f"no usable {hardware} hardware encoder for {codec}: {software} takes over"
    assert plan.notes == (want,)
    assert plan == replace(
        plan_encoder(info, replace(options, hardware="off"), output), notes=(want,)
    )
    if f"{codec}_nvenc" in av.codec.codecs_available:
        assert f"{codec}_nvenc" in opened, "it was tried, not only looked for"


def test_the_next_kind_of_hardware_is_tried(make, tmp_path, monkeypatch):
    """A machine with a driver for one of several: the others' failure is no remark."""
    tried = []

    def only_amf(plan, info):
        tried.append(plan.encoder)
        if plan.encoder in ("h264_nvenc", "h264_qsv"):
            raise ExternalError(542398533, "Generic error in an external library")

    monkeypatch.setattr(module, "_open", only_amf)
    monkeypatch.setattr(module, "nearest", lambda name, fmt: (fmt, 0))
    plan = plan_encoder(
        probe(source(make, 8)), EncodeOptions(hardware="auto"), tmp_path / "out.mp4"
    )
    assert tried == ["h264_nvenc", "h264_qsv", "h264_amf", "h264_amf"]
    assert (plan.encoder, plan.notes) == ("h264_amf", ())


def test_software_that_fails_is_an_error_that_names_it(make, rewrite, monkeypatch, tmp_path):
    broken(monkeypatch, "libx264", "h264_nvenc")
    with pytest.raises(MediaError, match="libx264 does not take 192x112") as error:
        rewrite(source(make, 8), ".mp4", EncodeOptions(hardware="nvenc", codec="h264"))
    assert error.value.stage == "encode"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("source", "codec", "suffix", "written"),
    [
        ((".avi", "mpeg4"), "auto", ".mp4", "h264"),
        ((".webm", "libvpx-vp9"), "auto", ".mp4", "vp9"),
        ((".webm", "libvpx-vp9"), "h264", ".mkv", "h264"),
        ((".webm", "libvpx-vp9"), "hevc", ".mov", "hevc"),
        ((".webm", "libvpx-vp9"), "av1", ".webm", "av1"),
        ((".webm", "libvpx-vp9"), "prores", ".mov", "prores"),
        ((".webm", "libvpx-vp9"), "ffv1", ".mkv", "ffv1"),
    ],
)
def test_odd_sizes_stay_odd(make, rewrite, source, codec, suffix, written):
    """Half a chroma sample: x264 and x265 refuse it, so chroma is widened and nothing is cut off."""
    at, encoder = source
    clip = make(at, frames=FRAMES, width=321, height=241, codec=encoder)
    options = EncodeOptions(codec=codec, preset=QUICK.get(written))
    info, output, writer = rewrite(clip, suffix, options)
    found = sound(output, info, writer, suffix)
    assert (found.codec, found.width, found.height) == (written, 321, 241)
    notes = plan_encoder(info, options, output).notes
    assert any("321x241 at yuv420p" in note for note in notes) == (written in ("h264", "hevc"))


def test_doctor_tells_hardware_that_is_there_from_hardware_that_is_built_in(monkeypatch):
    from vidswap.media import encoders
    from vidswap.run import doctor

    def fails(context):
        raise ExternalError(542398533, "Generic error in an external library")

    really = encoders.open_codec
    monkeypatch.setattr(
        encoders, "open_codec", lambda c: (fails if "nvenc" in c.name else really)(c)
    )
    monkeypatch.setattr(encoders, "available_encoders", lambda: ["libx264", "h264_nvenc"])
    (check,) = (c for c in doctor.examine() if c.name == "encoders")
    assert check.mark == "ok"
    assert check.found == "libx264; built in, but without a device here: h264_nvenc"
    assert encoders.opens("libx264")
    assert not encoders.opens("no_such_encoder")
