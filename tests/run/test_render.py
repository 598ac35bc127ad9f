"""The swap stage: counts, order, batches, overlaps, and that batching changes no byte."""

import threading
from types import SimpleNamespace

import numpy as np
import pytest

from vidswap.recipe import RunOptions
from vidswap.run.render import FaceBatches, render
from vidswap.types import Box, Patch, Track, TrackFrame


class Picture:
    """A frame whose pixels live in RGB."""

    def __init__(self, index, width=64, height=48):
        self.index, self.width, self.height = index, width, height
        self.pixels = np.random.default_rng(index).integers(0, 200, (height, width, 3), np.uint8)

    def rgb(self, box):
        return self.pixels[box.top : box.bottom, box.left : box.right].copy()

    def paste(self, box, rgb, rest=None):
        assert rest is None
        self.pixels[box.top : box.bottom, box.left : box.right] = rgb


class Analysis:
    def __init__(self, *places):
        """Args: (start, stop, box) of each track."""
        self.boxes = [box for _, _, box in places]
        self.tracks = [
            Track(i, 0, a, b, *(np.zeros(0) for _ in range(4)))
            for i, (a, b, _) in enumerate(places)
        ]

    def at(self, track, index):
        return TrackFrame(track.id, index, 1.0, np.zeros(3), np.zeros((478, 3)))


class Engine:
    """Adds one to every pixel of the box and mixes in its neighbours, so that order shows."""

    def __init__(self, boxes, none_for=(), fail_at=None):
        self.boxes, self.none_for, self.fail_at = boxes, none_for, fail_at
        self.batches = []

    def footprint(self, at, plan):
        assert plan == f"plan {at.track}"
        return self.boxes[at.track]

    def swap(self, faces, plans):
        self.batches.append([(f.at.index, f.at.track) for f in faces])
        if any(f.at.index == self.fail_at for f in faces):
            raise ValueError("engine")
        return [
            None
            if f.at.track in self.none_for
            else Patch((f.rgb + np.roll(f.rgb, 1, 1) // 8 + 1).astype(np.uint8), f.box)
            for f in faces
        ]


class Sink:
    def __init__(self):
        self.frames, self.state = [], "open"

    def write(self, frame):
        self.frames.append(frame)

    def finish(self):
        self.state = "finished"

    def abort(self):
        self.state = "aborted"


def run(analysis, engine, count=20, plans=None, batch=4, queue=6, observe=None):
    plans = {t.id: f"plan {t.id}" for t in analysis.tracks} if plans is None else plans
    batches = FaceBatches(analysis, engine, plans, RunOptions(batch=batch, queue=queue), observe)
    sink = Sink()
    done = render((Picture(i) for i in range(count)), batches, sink, queue)
    assert sink.state == "finished"
    assert [f.index for f in sink.frames] == list(range(count))
    assert done.frames == count
    return done, [f.pixels for f in sink.frames]


ONE = Box(5, 5, 25, 25)
OTHER = Box(40, 5, 60, 25)
BIG = Box(10, 8, 50, 44)


def test_faces_of_several_frames_share_a_call():
    analysis = Analysis((0, 10, ONE), (0, 7, OTHER))
    engine = Engine(analysis.boxes)
    done, _ = run(analysis, engine, batch=4)
    assert (done.faces, done.swapped) == (17, 17)
    assert done.calls == len(engine.batches) == -(-17 // 4)
    assert all(len(b) <= 4 for b in engine.batches)


def test_a_frame_without_a_face_costs_no_call_and_stays_equal():
    analysis = Analysis((5, 7, ONE))
    engine = Engine(analysis.boxes)
    _, frames = run(analysis, engine)
    assert sorted(i for b in engine.batches for i, _ in b) == [5, 6]
    for i, pixels in enumerate(frames):
        assert np.array_equal(pixels, Picture(i).pixels) == (i not in (5, 6))


def test_only_tracks_with_a_plan_are_touched():
    analysis = Analysis((0, 20, ONE), (0, 20, OTHER))
    _, frames = run(analysis, Engine(analysis.boxes), plans={1: "plan 1"})
    for i, pixels in enumerate(frames):
        changed = (pixels != Picture(i).pixels).any(-1)
        assert changed[5:25, 40:60].all()
        changed[5:25, 40:60] = False
        assert not changed.any()


@pytest.mark.parametrize("batch", [1, 2, 3, 5, 64])
@pytest.mark.parametrize("queue", [1, 6])
def test_batch_and_queue_change_no_byte(batch, queue):
    analysis = Analysis((0, 20, ONE), (3, 15, BIG), (0, 20, OTHER), (8, 12, Box(20, 20, 45, 40)))
    _, expected = run(analysis, Engine(analysis.boxes), batch=1, queue=2)
    _, found = run(analysis, Engine(analysis.boxes), batch=batch, queue=queue)
    for a, b in zip(expected, found, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_later_overlapping_face_sees_the_earlier_paste():
    analysis = Analysis((0, 1, BIG), (0, 1, ONE))
    seen = {}
    run(
        analysis,
        Engine(analysis.boxes),
        count=1,
        observe=lambda face, patch: seen.update({face.at.track: face.rgb}),
    )
    before = Picture(0)
    assert np.array_equal(seen[1], before.rgb(ONE))
    assert not np.array_equal(seen[0], before.rgb(BIG))


def test_none_leaves_the_face_as_it_is():
    analysis = Analysis((0, 20, ONE))
    done, frames = run(analysis, Engine(analysis.boxes, none_for={0}))
    assert (done.faces, done.swapped) == (20, 0)
    assert all(np.array_equal(p, Picture(i).pixels) for i, p in enumerate(frames))


def test_footprints_are_clipped_and_empty_ones_cost_nothing():
    analysis = Analysis((0, 20, Box(50, 40, 90, 90)), (0, 20, Box(-20, 0, 0, 10)))
    engine = Engine(analysis.boxes)
    done, _ = run(analysis, engine)
    assert done.faces == 20


def test_frames_held_are_bounded_when_faces_are_rare():
    pulled, sink = [0], Sink()
    analysis = Analysis((0, 1, ONE))
    most = [0]

    def frames():
        for i in range(200):
            pulled[0] += 1
            most[0] = max(most[0], pulled[0] - len(sink.frames))
            yield Picture(i)

    plans = {0: "plan 0"}
    batches = FaceBatches(analysis, Engine(analysis.boxes), plans, RunOptions(batch=4, queue=3))
    render(frames(), batches, sink, 3)
    assert len(sink.frames) == 200
    assert most[0] <= 3 + 5 + 3 + 4


def failing_frames():
    yield from map(Picture, range(10))
    raise ValueError("decode")


class FailingSink(Sink):
    def write(self, frame):
        if frame.index == 8:
            raise ValueError("encode")
        super().write(frame)


@pytest.mark.parametrize("stage", ["decode", "engine", "encode", "observer"])
def test_any_stage_that_raises_ends_the_run_without_a_thread(stage):
    analysis = Analysis((0, 500, ONE))
    frames = failing_frames() if stage == "decode" else map(Picture, range(500))
    engine = Engine(analysis.boxes, fail_at=8 if stage == "engine" else None)
    sink = FailingSink() if stage == "encode" else Sink()

    def observe(face, patch):
        if stage == "observer" and face.at.index == 8:
            raise ValueError("observer")

    batches = FaceBatches(analysis, engine, {0: "plan 0"}, RunOptions(), observe)
    with pytest.raises(ValueError, match=stage):
        render(frames, batches, sink, 4)
    assert sink.state == "aborted"
    assert not [t for t in threading.enumerate() if t.name.startswith("vidswap")]


def test_an_engine_that_loses_a_face_is_a_bug():
    analysis = Analysis((0, 5, ONE))
    engine = SimpleNamespace(footprint=lambda *_: ONE, swap=lambda *_: [])
    batches = FaceBatches(analysis, engine, {0: None}, RunOptions())
    with pytest.raises(ValueError, match="zip"):
        render(map(Picture, range(5)), batches, Sink(), 4)
