"""Interlaced clips: refused unless they are to be made progressive, and then frame for frame."""

from fractions import Fraction

import av
import numpy as np
import pytest
from av.filter import Graph

from vidswap.errors import MediaError
from vidswap.media.decode import open_reader
from vidswap.media.encode import plan_encoder
from vidswap.media.mux import Writer
from vidswap.media.probe import probe
from vidswap.media.verify import verify
from vidswap.recipe import DecodeOptions, EncodeOptions
from vidswap.testing import Audio

ON = DecodeOptions(deinterlace=True)
SIZE, SPEED = (192, 112), 6


def bar(moment):
    """A bright bar that moves SPEED pixels from field to field, on grey: (h, w) luma."""
    luma = np.full((SIZE[1], SIZE[0]), 60, np.uint8)
    left = 10 + SPEED * moment
    luma[:, left : left + 24] = 200
    return luma


class Marker:
    """Says of frames which field is first; PyAV has no other way."""

    def __init__(self, order):
        self.graph = Graph()
        source = self.graph.add_buffer(
            width=SIZE[0], height=SIZE[1], format="yuv420p", time_base=Fraction(1, 25)
        )
        mark, sink = self.graph.add("setfield", order), self.graph.add("buffersink")
        source.link_to(mark)
        mark.link_to(sink)
        self.graph.configure()

    def __call__(self, frame):
        self.graph.push(frame)
        return self.graph.pull()


@pytest.fixture(scope="module")
def woven(tmp_path_factory):
    """``woven(top_first)`` → a clip of 12 frames, each woven of two moments, with sound."""
    folder = tmp_path_factory.mktemp("woven")

    def build(top_first):
        path = folder / f"{top_first}.mp4"
        if path.exists():
            return path
        with av.open(str(path), "w") as out:
            stream = out.add_stream("libx264", rate=25)
            stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
            context = stream.codec_context
            context.thread_count = 1
            order = "tff" if top_first else "bff"
            context.options = {
                "flags": "+ildct+ilme", "crf": "4", "g": "5",
                "x264-params": f"log-level=none:mbtree=0:{order}=1",
            }  # fmt: skip
            marked = Marker(order)
            for index in range(12):
                early, late = bar(2 * index), bar(2 * index + 1)
                frame = av.VideoFrame(*SIZE, "yuv420p")
                luma = early.copy()
                luma[int(top_first) :: 2] = late[int(top_first) :: 2]
                for plane, values in zip(frame.planes, (luma, None, None), strict=True):
                    data = np.full((plane.height, plane.line_size), 128, np.uint8)
                    if values is not None:
                        data[:, : SIZE[0]] = values
                    plane.update(data.tobytes())
                frame.pts, frame.time_base = index, Fraction(1, 25)
                out.mux(stream.encode(marked(frame)))
            out.mux(stream.encode(None))
        return path

    return build


def lumas(info, options=ON, start=0, stop=None):
    with open_reader(info, options) as reader:
        return [(f.index, f.pts, f.rgb()[..., 1].astype(float)) for f in reader.frames(start, stop)]


def test_without_the_option_it_is_refused_with_a_way_out(woven):
    for options in (DecodeOptions(), DecodeOptions(reader="decord", deinterlace=True)):
        with pytest.raises(MediaError, match=r"interlaced video .top field first") as caught:
            open_reader(probe(woven(True)), options)
        assert "--deinterlace" in caught.value.hint


@pytest.mark.parametrize("top_first", [True, False])
def test_every_frame_shows_one_moment(woven, top_first):
    info = probe(woven(top_first))
    frames = lumas(info)
    assert [(i, pts) for i, pts, _ in frames] == list(enumerate(info.pts.tolist()))
    for index, _, picture in frames[1:-1]:
        want = bar(2 * index).astype(float)
        inside = np.abs(picture - picture[:, want[0] > 100].mean())[:, want[0] > 100]
        combs = np.abs(np.diff(picture, axis=0)).mean()
        assert combs < 2.0, index  # a woven frame has 16
        assert inside.mean() < 8, index


def test_any_range_gives_the_same_pixels(woven):
    info = probe(woven(True))
    whole = lumas(info)
    for start, stop in ((0, 3), (4, 9), (5, 6), (11, 12), (7, 7)):
        part = lumas(info, start=start, stop=stop)
        assert [i for i, _, _ in part] == list(range(start, stop))
        assert all(np.array_equal(p, whole[i][2]) for i, _, p in part)


def test_the_output_is_progressive_and_verified(woven, tmp_path):
    info, output = probe(woven(True)), tmp_path / "out.mp4"
    plan = plan_encoder(info, EncodeOptions(preset="ultrafast"), output)
    writer = Writer(info, plan, output, container="mp4")
    with open_reader(info, ON) as reader:
        for frame in reader.frames():
            writer.write(frame)
    writer.finish()
    verify(output, info, 0, info.frames, "mp4", writer.record)
    written = probe(output)
    assert written.field_order == ""
    assert np.array_equal(written.pts * written.time_base, info.pts * info.time_base)


def test_progressive_clips_pass_through_untouched(make):
    info = probe(make(".mp4", audio=(Audio(),)))
    plain, filtered = lumas(info, DecodeOptions()), lumas(info)
    assert len(plain) == len(filtered) == 30
    assert all(np.array_equal(a[2], b[2]) for a, b in zip(plain, filtered, strict=True))
