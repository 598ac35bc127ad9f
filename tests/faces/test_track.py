"""Tracks: one per face, both ways in time, across gaps, never across cuts."""

import numpy as np
import pytest

from vidswap.faces.follow import Motion
from vidswap.faces.landmarks import Region
from vidswap.faces.track import Tracker
from vidswap.recipe import DetectOptions, TrackOptions

FPS = 25


class Rows:
    """Keeps what tracking reports."""

    def __init__(self):
        self.rows, self.shots, self.closed = {}, {}, []

    def row(self, track, shot, picture, found):
        rows = self.rows.setdefault(track, [])
        assert track not in self.closed
        assert not rows or rows[-1][0] == picture.index - 1, "rows come in order without holes"
        rows.append((picture.index, found))
        self.shots[track] = shot

    def close(self, track):
        self.closed.append(track)

    def frames(self, track):
        return [i for i, _ in self.rows[track]]

    def unseen(self, track):
        return [i for i, found in self.rows[track] if found is None]

    def error(self, track, truth, places):
        """Mean distance to the truth in eye distances, over seen frames."""
        out = []
        for i, found in self.rows[track]:
            if found is not None:
                want = truth.at(*places[i])
                out.append(
                    np.linalg.norm(found.mesh[:, :2] - want, axis=1).mean()
                    / places[i][2]
                    / truth.eyes
                )
        return float(np.max(out))


@pytest.fixture
def follow(detector, landmarker, still):
    def run(pictures, cuts=(0,), samples=1, memory=96 << 20, **options):
        rows = Rows()
        track, detect = TrackOptions(samples=samples), DetectOptions(**options)
        tracker = Tracker(detector, landmarker, track, detect, rows, memory)
        for i, picture in enumerate(pictures):
            tracker.add(still(i, picture), i / FPS, starts_shot=i in cuts)
        tracker.finish()
        assert sorted(rows.closed) == sorted(rows.rows)
        return rows, tracker

    return run


def path(count, x=160.0, y=120.0, scale=0.8, sway=20.0):
    """Similarity motions as a talking head makes them."""
    t = np.arange(count) / FPS
    return [
        (x + sway * np.sin(2 * np.pi * 0.7 * s), y + 6 * np.sin(2 * np.pi * 1.1 * s),
         scale * (1 + 0.05 * np.sin(2 * np.pi * 0.5 * s)), 0.12 * np.sin(2 * np.pi * 0.6 * s))
        for s in t
    ]  # fmt: skip


def test_a_moving_face_is_one_track_on_its_place(follow, scene, truth):
    places = path(30)
    rows, tracker = follow([scene.draw(p) for p in places])
    assert list(rows.rows) == [0]
    assert rows.frames(0) == list(range(30))
    assert not rows.unseen(0)
    assert rows.error(0, truth, places) < 0.035
    assert tracker.counts.searches == 2  # the start, and one second later
    assert tracker.counts.passes < 40


def test_a_fast_head_is_kept(follow, scene, truth):
    places = [(160 + 75 * np.sin(2 * np.pi * 1.2 * i / FPS), 120, 0.7, 0.0) for i in range(30)]
    rows, _ = follow([scene.draw(p) for p in places])
    assert list(rows.rows) == [0]
    assert not rows.unseen(0)
    assert rows.error(0, truth, places) < 0.05


def test_a_hidden_face_is_the_same_track_when_it_comes_back(follow, scene):
    places = path(26, sway=5)
    hidden = range(10, 16)
    pictures = [
        scene.draw(p, grey=[(60, 20, 260, 230)] if i in hidden else ())
        for i, p in enumerate(places)
    ]
    rows, _ = follow(pictures)
    assert list(rows.rows) == [0]
    assert rows.frames(0) == list(range(26))
    assert rows.unseen(0) == list(hidden)


def test_a_face_away_for_longer_than_the_gap_is_a_new_track(follow, scene):
    places = path(40, sway=2)
    pictures = [scene.draw(p) if not 8 <= i < 26 else scene.draw() for i, p in enumerate(places)]
    rows, _ = follow(pictures)
    assert sorted(rows.rows) == [0, 1]
    assert rows.frames(0) == list(range(8))
    assert rows.frames(1) == list(range(26, 40))


def test_nothing_is_carried_across_a_cut(follow, scene):
    places = path(20, sway=2)
    rows, _ = follow([scene.draw(p) for p in places], cuts=(0, 9))
    assert [rows.frames(t) for t in (0, 1)] == [list(range(9)), list(range(9, 20))]
    assert rows.shots == {0: 0, 1: 1}


def test_two_faces_are_two_tracks(follow, photo, truth):
    from tests.faces.conftest import Scene

    wide = Scene(photo, 480, 240)
    left, right = path(15, x=120, sway=8), path(15, x=350, scale=0.65, sway=-8)
    rows, _ = follow([wide.draw(a, b) for a, b in zip(left, right, strict=True)])
    assert sorted(rows.rows) == [0, 1]
    middles = {t: float(rows.rows[t][0][1].mesh[:, 0].mean()) for t in rows.rows}
    one, two = sorted(rows.rows, key=middles.get)
    for track, places in ((one, left), (two, right)):
        assert rows.frames(track) == list(range(15))
        assert rows.error(track, truth, places) < 0.04


def test_a_late_find_is_traced_back(follow, photo):
    """The second face enters between two searches; it is followed back to where it entered."""
    from tests.faces.conftest import Scene

    wide = Scene(photo, 480, 240)
    pictures = [
        wide.draw((120, 120, 0.8, 0.0), *([(350, 120, 0.7, 0.0)] if i >= 18 else []))
        for i in range(32)
    ]
    rows, _ = follow(pictures)
    assert sorted(rows.rows) == [0, 1]
    assert rows.frames(1) == list(range(18, 32))
    short, _ = follow(pictures, memory=480 * 240 * 3)  # two frames of 4:2:0 are kept
    assert short.frames(1)[0] in (23, 24)


def test_no_face_no_track(follow, scene):
    rows, tracker = follow([scene.draw() for _ in range(6)])
    assert rows.rows == {}
    assert tracker.counts.glances == 5


def test_a_still_background_is_not_searched_again(follow, scene, detector, monkeypatch):
    looked = []
    search = detector.search
    monkeypatch.setattr(
        detector, "search", lambda rgb, boxes: looked.append(len(boxes)) or search(rgb, boxes)
    )
    rng = np.random.default_rng(0)
    base = scene.draw((160, 120, 0.8, 0.0)).astype(int)
    pictures = [np.clip(base + rng.integers(-4, 5, base.shape), 0, 255) for _ in range(12)]
    follow([p.astype(np.uint8) for p in pictures], interval=0.1)
    assert looked[0] >= 2
    assert len(looked) >= 4
    assert sum(looked[1:]) == 0


def test_a_small_face_that_enters_and_stands_still_is_found(follow, photo, detector, monkeypatch):
    """Searches for large faces lie between its entry and the next search that can see it."""
    from tests.faces.conftest import Scene

    detect = detector.detect

    def short_sighted(rgb, wanted, smallest=None):
        faces = detect(rgb, wanted, smallest)
        return [f for f in faces if f.box[3] - f.box[1] >= (smallest or 0)]

    monkeypatch.setattr(detector, "detect", short_sighted)
    wide = Scene(photo, 960, 540)
    small = (700, 400, 0.34, 0.0)  # 37 pixels
    pictures = [wide.draw((200, 200, 1.0, 0.0), *([small] if i >= 3 else [])) for i in range(18)]
    rows, tracker = follow(pictures, interval=0.2)
    assert tracker.counts.searches == 4  # the third after the first has small tiles
    assert sorted(rows.rows) == [0, 1]
    assert rows.frames(1) == list(range(3, 18))


def test_motion_expects_a_steady_course_and_takes_jumps():
    motion = Motion(Region(100, 50, 200, 0.0), 0.0)
    for k in range(1, 30):
        motion.correct(Region(100 + 4 * k, 50 - k, 200, 0.01 * k), k / 25)
    expected = motion.expect(30 / 25)
    assert expected.x == pytest.approx(220, abs=1)
    assert expected.y == pytest.approx(20, abs=0.5)
    assert expected.angle == pytest.approx(0.3, abs=0.01)
    motion.correct(Region(400, 50, 200, 0.0), 31 / 25)
    assert motion.expect(31 / 25).x == pytest.approx(400, abs=0.2)  # its grid
