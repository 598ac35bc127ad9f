"""Which encoder is chosen, what is said about it, and that its bits repeat."""

import hashlib
from fractions import Fraction

import numpy as np
import pytest

from vidswap.errors import MediaError, RecipeError
from vidswap.media.decode import open_reader
from vidswap.media.encode import plan_encoder
from vidswap.media.probe import probe
from vidswap.media.verify import verify
from vidswap.recipe import DecodeOptions, EncodeOptions

HEVC10 = {"codec": "libx265", "pix_fmt": "yuv420p10le"}
TEN = {"pix_fmt": "yuv422p10le"}


@pytest.mark.parametrize(
    ("suffix", "fields", "target", "encoder", "pix_fmt"),
    [
        (".mp4", {}, "x.mp4", "libx264", "yuv420p"),
        (".mp4", TEN, "x.mkv", "libx264", "yuv422p10le"),
        (".mp4", HEVC10, "x.mov", "libx265", "yuv420p10le"),
        (".mov", {"codec": "prores_ks", **TEN}, "x.mov", "prores_ks", "yuv422p10le"),
        (
            ".mkv",
            {"codec": "libsvtav1", "options": {"preset": "12"}},
            "x.mp4",
            "libsvtav1",
            "yuv420p",
        ),
        (".mkv", {"codec": "ffv1", "pix_fmt": "yuv444p"}, "x.mkv", "ffv1", "yuv444p"),
    ],
)
def test_default_keeps_codec_depth_and_chroma(
    make, tmp_path, suffix, fields, target, encoder, pix_fmt
):
    plan = plan_encoder(probe(make(suffix, **fields)), EncodeOptions(), tmp_path / target)
    assert (plan.encoder, plan.pix_fmt, plan.notes) == (encoder, pix_fmt, ())


@pytest.mark.parametrize(
    ("suffix", "fields", "target", "encoder", "pix_fmt"),
    [
        (".avi", {"codec": "mpeg4"}, "x.mp4", "libx264", "yuv420p"),
        (".mkv", {"codec": "ffv1", **TEN}, "x.mov", "libx264", "yuv422p10le"),
        (".mp4", {}, "x.webm", "libsvtav1", "yuv420p"),
        (".mp4", HEVC10, "x.webm", "libsvtav1", "yuv420p10le"),
    ],
)
def test_what_cannot_be_kept_is_said(make, tmp_path, suffix, fields, target, encoder, pix_fmt):
    plan = plan_encoder(probe(make(suffix, **fields)), EncodeOptions(), tmp_path / target)
    assert (plan.encoder, plan.pix_fmt) == (encoder, pix_fmt)
    assert len(plan.notes) == 1
    assert "cannot be kept" in plan.notes[0]


def test_changes_of_format_are_said(make, tmp_path):
    info = probe(make(".mp4"))
    plan = plan_encoder(info, EncodeOptions(codec="prores"), tmp_path / "x.mov")
    assert plan.pix_fmt == "yuv422p10le"
    assert "does not take yuv420p" in plan.notes[0]
    plan = plan_encoder(info, EncodeOptions(pix_fmt="yuv444p"), tmp_path / "x.mp4")
    assert plan.notes == ("pixel format changes from yuv420p to yuv444p",)


def test_codec_that_the_container_refuses(make, tmp_path):
    with pytest.raises(MediaError, match="ffv1 does not fit into mov; it fits into: mp4, mkv"):
        plan_encoder(probe(make(".mp4")), EncodeOptions(codec="ffv1"), tmp_path / "x.mov")
    with pytest.raises(MediaError, match=r"cannot write \.gif"):
        plan_encoder(probe(make(".mp4")), EncodeOptions(), tmp_path / "x.gif")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (EncodeOptions(crf=70), r"encode\.crf: libx264 takes 0 to 51"),
        (EncodeOptions(preset="warp"), r"encode\.preset: libx264 takes ultrafast"),
        (EncodeOptions(codec="ffv1", crf=5), r"encode\.crf: ffv1 has no such setting"),
        (EncodeOptions(pix_fmt="nonsense"), r"encode\.pix_fmt: no such pixel format: nonsense"),
        (EncodeOptions(pix_fmt="yuv420p16le"), r"encode\.pix_fmt: libx264 has no yuv420p16le"),
    ],
)
def test_settings_that_do_not_exist(make, tmp_path, options, message):
    with pytest.raises(RecipeError, match=message):
        plan_encoder(probe(make(".mp4")), options, tmp_path / "x.mkv")


@pytest.mark.parametrize(("preset", "there"), [(None, True), ("slow", True), ("ultrafast", False)])
def test_x264_weighs_every_decision_unless_it_has_to_be_quick(make, tmp_path, preset, there):
    plan = plan_encoder(probe(make(".mp4")), EncodeOptions(preset=preset), tmp_path / "x.mp4")
    assert ("trellis=2" in plan.options["x264-params"].split(":")) is there


def test_absent_hardware_falls_back_and_says_so(make, tmp_path):
    options = EncodeOptions(hardware="videotoolbox")
    plan = plan_encoder(probe(make(".mp4")), options, tmp_path / "x.mp4")
    if plan.encoder == "libx264":
        assert "libx264 takes over" in plan.notes[0]


@pytest.mark.parametrize("codec", ["h264", "hevc", "ffv1", "vp9"])
def test_two_runs_give_the_same_bytes(make, rewrite, codec):
    """x264's default AVX-512 code does not at this width."""
    preset = {"h264": "veryfast", "hevc": "ultrafast", "vp9": "8"}.get(codec)
    source = make(".mp4", frames=12, width=320, height=180)
    digests = set()
    for _ in range(2):
        _, output, _ = rewrite(source, ".mp4", EncodeOptions(codec=codec, preset=preset))
        digests.add(hashlib.sha256(output.read_bytes()).hexdigest())
    assert len(digests) == 1


@pytest.mark.parametrize(
    ("codec", "target", "pix_fmt", "source_fmt", "limit"),
    [
        ("h264", ".mp4", None, "yuvj420p", 2),
        ("ffv1", ".mkv", None, "yuvj420p", 0),
        ("prores", ".mov", None, "yuv420p", 3),
        ("h264", ".mp4", "yuv420p10le", "yuv420p", 2),
        ("h264", ".mp4", None, "gbrp", 4),
        ("vp9", ".webm", None, "yuv444p", 3),
    ],
)
def test_change_of_format_keeps_colours(make, rewrite, codec, target, pix_fmt, source_fmt, limit):
    """Every conversion names its matrix and range: FFmpeg's default would be BT.601."""
    colour = (1, 1, 1, 2) if source_fmt == "yuvj420p" else (1, 1, 1, 1)
    colour = (1, 1, 0, 2) if source_fmt == "gbrp" else colour
    encoder = "libx264rgb" if source_fmt == "gbrp" else "libx264"
    fmt = "rgb24" if source_fmt == "gbrp" else source_fmt
    source = make(".mkv", frames=4, codec=encoder, pix_fmt=fmt, colour=colour, options={"crf": "0"})
    options = EncodeOptions(
        codec=codec, pix_fmt=pix_fmt, crf=None if codec in ("ffv1", "prores") else 4
    )
    info, output, _ = rewrite(source, target, options)
    written = probe(output)
    with (
        open_reader(info, DecodeOptions()) as old,
        open_reader(written, DecodeOptions()) as new,
    ):
        for a, b in zip(old.frames(), new.frames(), strict=True):
            before = a.rgb().astype(float) / (257 if a.bits == 16 else 1)
            after = b.rgb().astype(float) / (257 if b.bits == 16 else 1)
            assert np.abs(before - after).mean() <= limit


def test_apple_players_get_their_tag(make, rewrite):
    import av

    _, output, _ = rewrite(
        make(".mp4", **HEVC10), ".mp4", EncodeOptions(preset="ultrafast"), stop=3
    )
    with av.open(str(output)) as container:
        assert container.streams.video[0].codec_tag == "hvc1"


def test_odd_rates_open_every_encoder(make, tmp_path):
    info = probe(
        make(
            ".mp4",
            frames=7,
            time_base=Fraction(1, 90000),
            pts=(0, 1, 900, 4001, 9000, 90000, 90007),
        )
    )
    for codec in ("h264", "hevc", "av1", "vp9", "ffv1"):
        plan_encoder(info, EncodeOptions(codec=codec), tmp_path / "x.mkv")


@pytest.mark.parametrize(
    ("codec", "suffix"),
    [("h264", ".mp4"), ("hevc", ".mov"), ("av1", ".webm"), ("vp9", ".webm"), ("prores", ".mov")],
)
def test_every_family_writes_a_sound_file(make, rewrite, codec, suffix):
    preset = {"h264": "ultrafast", "hevc": "ultrafast", "av1": "12", "vp9": "8"}.get(codec)
    pts = (0, 3000, 6000, 9003, 12000, 30000, 33000, 90000)
    source = make(".mkv", frames=8, time_base=Fraction(1, 1000), pts=tuple(p // 90 for p in pts))
    info, output, writer = rewrite(source, suffix, EncodeOptions(codec=codec, preset=preset))
    verify(output, info, 0, 8, suffix, writer.record)
