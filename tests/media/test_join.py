"""Segments encoded apart and joined by packets: every frame, every time stamp, the same bytes."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from vidswap.errors import MediaError, StateError
from vidswap.media.decode import open_reader
from vidswap.media.encode import plan_encoder
from vidswap.media.join import Piece, Target, decoding_times, join
from vidswap.media.probe import probe
from vidswap.media.segment import SegmentWriter, digest_of, read_table
from vidswap.media.verify import verify
from vidswap.recipe import DecodeOptions, EncodeOptions
from vidswap.testing import Audio, read_barcode

VFR = tuple(int(p) for p in np.cumsum([7, 3, 5, 11, 2, 9] * 6))
CLIPS = {
    "x264 mp4": (".mp4", {"audio": (Audio("aac", 1.2),)}, {"preset": "veryfast"}),
    "x264 vfr mkv": (".mkv", {"pts": VFR, "time_base": Fraction(1, 240)}, {"preset": "medium"}),
    "x264 vfr mp4": (".mp4", {"pts": VFR, "time_base": Fraction(1, 240)}, {"preset": "medium"}),
    "x265 mp4": (".mp4", {}, {"codec": "hevc", "preset": "ultrafast"}),
    "x265 10 bit mkv": (
        ".mkv",
        {"pix_fmt": "yuv420p10le"},
        {"codec": "hevc", "preset": "superfast"},
    ),
    "svt-av1 mp4": (".mp4", {}, {"codec": "av1", "preset": "12"}),
    "vp9 webm": (".webm", {"codec": "libvpx-vp9"}, {"codec": "vp9", "preset": "8"}),
    "prores mov": (".mov", {"codec": "prores_ks", "pix_fmt": "yuv422p10le"}, {}),
    "ffv1 mkv": (".mkv", {"codec": "ffv1"}, {}),
    "tagged": (".mp4", {"colour": (1, 1, 1, 1)}, {"preset": "ultrafast"}),
    "turned": (".mov", {"rotation": 90}, {"preset": "ultrafast"}),
}


@pytest.fixture
def segments(tmp_path):
    """``segments(path, size, options)`` → (info, plan, pieces)."""

    def encode(path, size, suffix, options=None, start=0, stop=None, order=1):
        info = probe(path)
        stop = stop or info.frames
        plan = plan_encoder(info, EncodeOptions(**(options or {})), tmp_path / f"x{suffix}")
        pieces = []
        for a in list(range(start, stop, size))[::order]:
            b = min(a + size, stop)
            target = tmp_path / f"{a:03}-{order}"
            writer = SegmentWriter(info, plan, target, container=suffix, start=a, stop=b)
            with open_reader(info, DecodeOptions()) as reader:
                for frame in reader.frames(a, b):
                    writer.write(frame)
            done = writer.finish()
            assert (done.frames, done.pts) == (b - a, (info.pts[a], info.pts[b - 1]))
            assert (done.sha256, done.size) == (digest_of(target), target.stat().st_size)
            pieces.append(Piece(target, done.sha256, done.frames))
        return info, plan, pieces[::order]

    return encode


def seconds(info):
    return [int(p) * info.time_base for p in info.pts]


@pytest.mark.parametrize("name", CLIPS)
def test_joined_segments_are_the_clip(make, segments, tmp_path, name):
    suffix, fields, options = CLIPS[name]
    info, plan, pieces = segments(make(suffix, frames=36, **fields), 15, suffix, options)
    again = segments(make(suffix, frames=36, **fields), 15, suffix, options, order=-1)[2]
    assert [p.sha256 for p in pieces] == [p.sha256 for p in again]
    outputs = [tmp_path / "a.part", tmp_path / "b.part"]
    for output in outputs:
        done = join(info, plan, pieces, Target(output, suffix, 0, 36))
        verify(output, info, 0, 36, suffix, done.record)
    assert digest_of(outputs[0]) == digest_of(outputs[1])
    written = probe(outputs[0])
    assert seconds(written) == seconds(info)
    with open_reader(written, DecodeOptions()) as reader:
        numbers = [read_barcode(frame.rgb()) for frame in reader.frames()]
    assert numbers == list(range(36))


def test_a_range_keeps_its_times_and_its_sound(make, segments, tmp_path):
    clip = make(".mp4", frames=36, audio=(Audio("aac", 1.2),))
    info, plan, pieces = segments(clip, 10, ".mp4", start=7, stop=31)
    done = join(info, plan, pieces, Target(tmp_path / "o", "mp4", 7, 31))
    verify(tmp_path / "o", info, 7, 31, "mp4", done.record)


def test_pieces_of_other_headers_are_refused(make, segments, tmp_path):
    clip = make(".mp4", frames=36)
    info, plan, pieces = segments(clip, 18, ".mp4", {"preset": "medium"})
    other = segments(clip, 18, ".mp4", {"preset": "ultrafast"}, order=-1)[2]
    with pytest.raises(StateError, match="headers differ"):
        join(info, plan, [pieces[0], other[1]], Target(tmp_path / "o", "mp4", 0, 36))
    foreign = replace(plan, options={**plan.options, "preset": "ultrafast"})
    with pytest.raises(StateError, match="not encoded by"):
        join(info, foreign, pieces, Target(tmp_path / "o", "mp4", 0, 36))
    with pytest.raises(StateError, match="36 frames expected, the chunks hold 18"):
        join(info, plan, pieces[:1], Target(tmp_path / "o", "mp4", 0, 36))
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize("place", [10, -200, -3])
def test_a_changed_byte_is_found(make, segments, tmp_path, place):
    info, plan, pieces = segments(make(".mp4", frames=36), 18, ".mp4")
    data = bytearray(pieces[1].path.read_bytes())
    data[place] ^= 1
    pieces[1].path.write_bytes(data)
    with pytest.raises(StateError) as caught:
        join(info, plan, pieces, Target(tmp_path / "o", "mp4", 0, 36))
    assert caught.value.path == str(pieces[1].path)
    assert not (tmp_path / "o").exists()


def test_missing_frames_and_truncated_files(make, segments, tmp_path):
    info, plan, pieces = segments(make(".mp4", frames=36), 36, ".mp4")
    writer = SegmentWriter(info, plan, tmp_path / "s", container="mp4", start=0, stop=36)
    with pytest.raises(MediaError, match="0 packets"):
        writer.finish()
    writer.abort()
    assert not (tmp_path / "s").exists()
    data = pieces[0].path.read_bytes()
    for size in (0, 5, len(data) // 2, len(data) - 1):
        pieces[0].path.write_bytes(data[:size])
        with pytest.raises(StateError):
            read_table(pieces[0].path)


@pytest.mark.parametrize("delay", [0, 1, 2, 4])
def test_decoding_times_ascend_and_never_pass_showing(delay):
    pts = np.array(VFR, np.int64)
    whole = np.concatenate([decoding_times(pts, a, 12, delay) for a in (0, 12, 24)])
    assert (np.diff(whole) > 0).all()
    assert (whole[delay:] == pts[: len(pts) - delay]).all()
    assert (whole <= pts).all()
