"""Indexing by demuxing, on the inputs that broke other tools."""

from fractions import Fraction

import numpy as np
import pytest

from vidswap.errors import MediaError
from vidswap.media.probe import probe
from vidswap.testing import Audio, write_clip


def test_plain_clip(make):
    info = probe(make(".mp4"))
    assert info.frames == 30
    assert (info.width, info.height, info.rotation) == (192, 112, 0)
    assert info.codec == "h264"
    assert info.pix_fmt == "yuv420p"
    assert info.frame_rate == 30
    assert info.duration * info.time_base == 1
    assert info.keyframes.tolist() == [0]


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_rotation_gives_upright_size(make, rotation):
    info = probe(make(".mp4", rotation=rotation))
    assert (info.width, info.height, info.rotation) == (192, 112, rotation)


def test_variable_frame_rate_keeps_every_pts(make):
    pts = tuple(3000 * i for i in range(15)) + tuple(45000 + 9000 * i for i in range(15))
    info = probe(make(".mp4", time_base=Fraction(1, 90000), pts=pts))
    assert info.pts.tolist() == list(pts)


def test_edit_list_hides_frames(make):
    info = probe(make(".mp4", frames=40, pts=tuple(range(-10, 30))))
    assert info.frames == 30
    assert info.pts[0] == 0


def test_start_offset_is_kept(make):
    pts = tuple(range(45, 75))
    info = probe(make(".mp4", pts=pts, audio=(Audio(seconds=2),)))
    assert info.pts[0] * info.time_base == Fraction(3, 2)


def test_missing_duration(make):
    info = probe(make(".mkv", container_options={"live": "1"}))
    assert info.frames == 30
    assert abs(info.duration * info.time_base - 1) < Fraction(1, 100)


def test_longer_audio_adds_no_frames(make):
    info = probe(make(".mp4", audio=(Audio(seconds=3),)))
    assert info.frames == 30
    assert info.duration * info.time_base == 1


def test_streams_are_described(make):
    info = probe(
        make(
            ".mkv",
            audio=(Audio(language="eng", title="Talk"), Audio("flac", language="deu")),
            subtitles=(("subrip", ((0.1, 0.5, "hi"),)),),
            attachments=(("a.ttf", "font/ttf", b"\0" * 8),),
        )
    )
    assert [(s.kind, s.codec, s.language) for s in info.streams] == [
        ("audio", "aac", "eng"),
        ("audio", "flac", "deu"),
        ("subtitle", "subrip", None),
        ("attachment", "font/ttf", None),
    ]
    assert info.streams[0].title == "Talk"


@pytest.mark.parametrize(
    ("size", "matrix"), [((192, 112), 6), ((1280, 720), 1), ((720, 1280), 1), ((1280, 540), 6)]
)
def test_untagged_colour_is_assumed_and_said(make, size, matrix):
    info = probe(
        make(".mp4", frames=1, width=size[0], height=size[1], options={"preset": "ultrafast"})
    )
    assert (info.colour.matrix, info.colour.assumed) == (matrix, True)
    assert any("assumed" in w for w in info.warnings)


@pytest.mark.parametrize("transfer", [16, 18])
def test_hdr_tags_are_read_without_remark(make, transfer):
    info = probe(
        make(".mp4", codec="libx265", pix_fmt="yuv420p10le", colour=(9, transfer, 9, 1), matrix=9)
    )
    colour = info.colour
    assert (colour.primaries, colour.transfer, colour.matrix, colour.bits) == (9, transfer, 9, 10)
    assert not colour.full_range
    assert not colour.assumed
    assert info.warnings == ()


def test_full_range(make):
    assert probe(make(".mp4", colour=(1, 1, 1, 2))).colour.full_range


def test_sample_aspect(make):
    assert probe(make(".mp4", sample_aspect=Fraction(64, 45))).sample_aspect == Fraction(64, 45)


@pytest.mark.parametrize(
    ("params", "order"), [("tff=1", "top field first"), ("bff=1", "bottom field first")]
)
def test_field_order_is_known(make, params, order):
    options = {"flags": "+ildct+ilme", "x264-params": params}
    assert probe(make(".mp4", options=options)).field_order == order
    assert probe(make(".mp4")).field_order == ""


def test_hidden_vp8_frames_do_not_count(make):
    options = {"auto-alt-ref": "1", "lag-in-frames": "16", "b": "100k", "cpu-used": "5"}
    assert probe(make(".webm", frames=40, codec="libvpx", options=options)).frames == 40


def test_stream_that_begins_in_mid_gop(make, tmp_path):
    whole = make(".ts", frames=60, options={"g": "12"})
    data = whole.read_bytes()
    cut = tmp_path / "cut.ts"
    cut.write_bytes(data[: 188 * 3] + data[len(data) // 188 // 3 * 188 :])
    info = probe(cut)
    assert info.frames < 60
    assert any("before the first keyframe" in w for w in info.warnings)


def _half(path, target, share=0.6):
    data = path.read_bytes()
    target.write_bytes(data[: int(len(data) * share)])
    return target


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        (".mp4", {"movflags": "faststart"}),
        (".mp4", {"movflags": "frag_keyframe+empty_moov"}),
        (".mkv", {}),
    ],
)
def test_cut_short_is_refused_unless_allowed(make, tmp_path, suffix, options):
    whole = make(suffix, frames=60, options={"g": "12"}, container_options=options)
    cut = _half(whole, tmp_path / f"cut{suffix}")
    with pytest.raises(MediaError, match="cut short"):
        probe(cut)
    info = probe(cut, allow_truncated=True)
    assert 10 < info.frames < 60
    assert any("cut short" in w for w in info.warnings)


@pytest.mark.parametrize("suffix", [".mkv", ".webm"])
@pytest.mark.parametrize("share", [0.5, 0.9, 0.999])
def test_a_short_matroska_file_is_missed_to_the_byte(make, tmp_path, suffix, share):
    """Its duration alone cannot tell: audio and video seldom end together."""
    fields = {} if suffix == ".mkv" else {"codec": "libvpx-vp9", "options": {"cpu-used": "8"}}
    cut = _half(make(suffix, frames=20, **fields), tmp_path / f"cut{suffix}", share)
    with pytest.raises(MediaError, match=r"cut short: \d+ of \d+ bytes"):
        probe(cut)


def test_no_moov(make, tmp_path):
    with pytest.raises(MediaError, match="moov"):
        probe(_half(make(".mp4"), tmp_path / "cut.mp4"))


def test_missing_empty_garbage_and_folder(tmp_path):
    with pytest.raises(MediaError, match="no such file"):
        probe(tmp_path / "none.mp4")
    with pytest.raises(MediaError, match="not a file"):
        probe(tmp_path)
    empty = tmp_path / "empty.mp4"
    empty.touch()
    with pytest.raises(MediaError, match="empty"):
        probe(empty)
    garbage = tmp_path / "garbage.mp4"
    garbage.write_bytes(np.random.default_rng(0).bytes(5000))
    with pytest.raises(MediaError, match="not a media file"):
        probe(garbage)


def test_sound_only(tmp_path):
    import av

    path = tmp_path / "sound.mkv"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), layout="mono")
        frame.sample_rate = 8000
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    with pytest.raises(MediaError, match="no video"):
        probe(path)


def test_two_frames_at_one_time(make, tmp_path):
    first = make(".ts", audio=())
    second = write_clip(tmp_path / "again.ts")
    both = tmp_path / "both.ts"
    both.write_bytes(first.read_bytes() + second.read_bytes())
    with pytest.raises(MediaError, match="share one timestamp"):
        probe(both)


def test_cover_art_is_not_the_video(make, png):
    info = probe(make(".mp4", cover=png))
    assert info.codec == "h264"
    assert [(s.kind, s.codec) for s in info.streams] == [("attachment", "png")]
