"""One suite for every reader: exactly the frames of the index, or a refusal that says why."""

from fractions import Fraction

import numpy as np
import pytest

from vidswap.errors import MediaError, RecipeError
from vidswap.media.decode import open_reader
from vidswap.media.probe import probe
from vidswap.recipe import DecodeOptions
from vidswap.testing import Audio, Clip, read_barcode, write_clip
from vidswap.types import Box

READERS = ["pyav", "decord"]
VFR = tuple(3000 * i for i in range(15)) + tuple(45000 + 9000 * i for i in range(15))
OPEN_GOP = "open-gop=1:keyint=12:min-keyint=12:bframes=3:b-adapt=0:scenecut=0"

SOUND = {
    "b-frames.mp4": Clip(options={"bf": "3", "g": "8"}),
    "vfr.mp4": Clip(time_base=Fraction(1, 90000), pts=VFR, options={"g": "8"}),
    "vfr.mkv": Clip(time_base=Fraction(1, 1000), pts=tuple(p // 90 for p in VFR)),
    "hevc.mp4": Clip(
        codec="libx265", options={"x265-params": "log-level=none:open-gop=0:keyint=10:pools=1"}
    ),
    "audio.mkv": Clip(audio=(Audio(seconds=2, delay=0.3),)),
    "odd.webm": Clip(width=193, height=113, codec="libvpx-vp9", options={"cpu-used": "8"}),
}
TRAPS = {
    "edit-list.mp4": (Clip(frames=40, pts=tuple(range(-10, 30)), options={"bf": "2"}), 10),
    "open-gop.mp4": (Clip(options={"x264-params": OPEN_GOP}), 0),
    "open-gop.mkv": (Clip(codec="libx265", options={"x265-params": "log-level=none:keyint=10"}), 0),
    "transport.ts": (Clip(options={"g": "8"}, audio=(Audio(),)), 0),
    "offset.mp4": (Clip(pts=tuple(range(45, 75)), audio=(Audio(seconds=2),)), 0),
    "rotated.mp4": (Clip(rotation=90), 0),
    "ten-bit.mp4": (Clip(codec="libx265", pix_fmt="yuv420p10le"), 0),
    "b-frames.avi": (Clip(codec="mpeg4", options={"bf": "2", "g": "8"}), 0),
    "av1.mkv": (Clip(codec="libsvtav1", options={"preset": "12"}), 0),
}
"""Clip and the barcode of its first visible frame."""


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("readers")

    def build(name, clip):
        path = folder / name
        return probe(path if path.exists() else write_clip(path, clip))

    return build


def numbers(frames):
    return [read_barcode(frame.rgb()) for frame in frames]


def opened(info, name):
    return open_reader(info, DecodeOptions(reader=name))


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", SOUND)
def test_every_frame_once_in_order_with_its_pts(clips, reader, name):
    info = clips(name, SOUND[name])
    with opened(info, reader) as source:
        frames = list(source.frames())
    assert numbers(frames) == list(range(30))
    assert [frame.index for frame in frames] == list(range(30))
    assert [frame.pts for frame in frames] == info.pts.tolist()
    assert {(f.width, f.height, f.bits) for f in frames} == {(info.width, info.height, 8)}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", SOUND)
def test_ranges_equal_the_whole(clips, reader, name):
    with opened(clips(name, SOUND[name]), reader) as source:
        for start, stop in ((1, 4), (7, 9), (15, 22), (29, 30), (12, 12)):
            assert numbers(source.frames(start, stop)) == list(range(start, stop))


@pytest.mark.parametrize("reader", READERS)
def test_iterators_do_not_disturb_each_other(clips, reader):
    with opened(clips("b-frames.mp4", SOUND["b-frames.mp4"]), reader) as source:
        pairs = zip(source.frames(0, 6), source.frames(20, 26), strict=True)
        assert [(a.index, read_barcode(b.rgb())) for a, b in pairs] == [
            (i, i + 20) for i in range(6)
        ]


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(("start", "stop"), [(-1, 3), (5, 2), (0, 31)])
def test_ranges_outside_the_clip_are_refused(clips, reader, start, stop):
    with (
        opened(clips("b-frames.mp4", SOUND["b-frames.mp4"]), reader) as source,
        pytest.raises(RecipeError, match="do not lie"),
    ):
        source.frames(start, stop)


def test_readers_agree_on_the_picture(clips):
    info = clips("b-frames.mp4", SOUND["b-frames.mp4"])
    pictures = []
    for name in READERS:
        with opened(info, name) as source:
            pictures.append([f.rgb(Box(10, 40, 150, 100)).astype(int) for f in source.frames(0, 8)])
    assert np.abs(np.array(pictures[0]) - pictures[1]).mean() < 1.6


@pytest.mark.parametrize("name", TRAPS)
def test_pyav_reads_what_breaks_others(clips, name):
    clip, first = TRAPS[name]
    info = clips(name, clip)
    with opened(info, "pyav") as source:
        assert numbers(source.frames()) == list(range(first, first + 30))
        for start in (3, 11, 17, 29):
            frame = next(source.frames(start, start + 1))
            assert (read_barcode(frame.rgb()), frame.pts) == (first + start, info.pts[start])


@pytest.mark.parametrize("name", TRAPS)
def test_decord_refuses_what_it_gets_wrong(clips, name):
    with pytest.raises(MediaError, match="decord reader cannot be used") as caught:
        opened(clips(name, TRAPS[name][0]), "decord")
    assert "pyav" in caught.value.hint
