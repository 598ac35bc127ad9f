"""The report: numbers that mean something, one page that needs nothing else, names escaped."""

import json
import re
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest

from vidswap.errors import StateError
from vidswap.run.recorder import PICTURES, Recorder, composed, flicker, thumbnail
from vidswap.run.report import check_folder, jitter, ranges, write_report
from vidswap.types import Box, Patch, Shot, TargetFace, Track, TrackFrame

FRAMES = 40
EVIL = "<script>alert(1)</script>&.mp4"


def track(identifier, start, stop):
    frames = stop - start
    seen = np.ones(frames, bool)
    seen[3:5] = False
    return Track(
        identifier,
        0,
        start,
        stop,
        seen,
        np.linspace(0.5, 1, frames).astype(np.float32),
        np.tile(np.float32([10, 10, 60, 70]), (frames, 1)),
        np.zeros((frames, 3), np.float32),
    )


class Analysis:
    def __init__(self):
        pts = np.arange(FRAMES, dtype=np.int64)
        self.info = SimpleNamespace(pts=pts, seconds=lambda i: i / 25, time_base=Fraction(1, 25))
        self.shots = [Shot(0, 30), Shot(30, 40)]
        self.tracks = [track(0, 0, 30)]

    def at(self, found, index):
        mesh = np.full((478, 3), 30 + 0.1 * index, np.float32)
        return TrackFrame(found.id, index, 1.0, np.zeros(3, np.float32), mesh)

    def meshes(self, found, start, stop):
        return np.stack([self.at(found, i).mesh for i in range(start, stop)])

    def raw(self, found, start, stop):
        shake = np.random.default_rng(0).normal(0, 1, (found.frames, 1, 3))
        return self.meshes(found, start, stop) + shake[start - found.start : stop - found.start]


RESULT = {
    "output": EVIL,
    "input": EVIL,
    "frames": FRAMES,
    "faces": 30,
    "swapped": 29,
    "engine": "mesh",
    "encoder": "libx264",
    "seconds": {"decode": 1.0},
    "warnings": ["<b>untagged</b>"],
}


@pytest.fixture
def written(tmp_path):
    analysis = Analysis()
    recorder = Recorder(analysis.tracks)
    for index in range(30):
        rgb = np.full((60, 50, 3), 100 + (index % 2) * 10, np.uint8)
        face = TargetFace(rgb, Box(10, 10, 60, 70), analysis.at(analysis.tracks[0], index))
        patch = Patch(np.full((60, 50, 3), 105, np.uint8), face.box) if index != 7 else None
        recorder(face, patch)
    write_report(tmp_path / "a" / "report", analysis, recorder, RESULT)
    return tmp_path / "a" / "report"


def test_json_has_the_facts(written):
    report = json.loads((written / "report.json").read_text())
    (facts,) = report["tracks"]
    assert facts["missed"] == [[3, 5]]
    assert facts["left_alone"] == [[7, 8]]
    assert facts["swapped"] == 29
    assert facts["jitter_after"] == pytest.approx(0, abs=1e-6)
    assert facts["jitter_before"] > 0.01
    assert facts["flicker_before"] == pytest.approx(10 / 255, rel=1e-3)
    assert facts["flicker_after"] < facts["flicker_before"] / 3
    assert [s["tracks"] for s in report["shots"]] == [[0], []]


def test_the_page_is_self_contained_and_escaped(written):
    html = (written / "report.html").read_text()
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert "<b>untagged" not in html
    assert not re.findall(
        r"""(?:src|href)=["']?(?!data:|#)[a-z/]""", html.replace("xlink:href", "")
    )
    assert html.count("data:image/jpeg") == PICTURES
    assert html.count("<svg") == 1


def test_a_file_in_the_way_is_refused_early(tmp_path):
    (tmp_path / "report").write_text("x")
    with pytest.raises(StateError):
        check_folder(tmp_path / "report")


def test_a_slow_fade_is_no_flicker_and_alternation_is():
    assert flicker(np.linspace(0, 1, 50)) == pytest.approx(0, abs=1e-12)
    assert flicker([0, 0.1] * 10) == pytest.approx(0.1)
    assert flicker([1, 2]) is None


def test_jitter_ignores_steady_motion():
    steady = np.arange(30.0)[:, None, None] * np.ones((1, 5, 2))
    assert jitter(steady, 100) == pytest.approx(0, abs=1e-12)
    shaken = steady + np.random.default_rng(0).normal(0, 1, steady.shape)
    assert 0.02 < jitter(shaken, 100) < 0.06


def test_jitter_ignores_frames_that_were_shown_twice():
    moving = np.repeat(np.arange(60.0), [2 if i % 6 == 0 else 1 for i in range(60)])
    shaken = moving[:, None, None] * np.ones((1, 5, 2))
    assert jitter(shaken, 100) == pytest.approx(0, abs=1e-12)


def test_ranges():
    assert ranges(np.array([1, 1, 0, 0, 1], bool), 10) == [(10, 12), (14, 15)]
    assert ranges(np.zeros(0, bool)) == []


def test_composed_puts_a_patch_into_its_box():
    face = TargetFace(np.zeros((10, 10, 3), np.uint16), Box(5, 5, 15, 15), None)
    patch = Patch(np.full((2, 3, 3), 9, np.uint16), Box(6, 7, 9, 9))
    after = composed(face, patch)
    assert after.sum() == 9 * 18
    assert (after[2:4, 1:4] == 9).all()
    assert composed(face, None) is face.rgb


def test_thumbnails_are_small_and_8_bit():
    deep = thumbnail(np.full((400, 200, 3), 65535, np.uint16), 100)
    assert deep.shape == (100, 50, 3)
    assert deep.dtype == np.uint8
    assert (deep == 255).all()
