"""``vidswap compare``: what a viewer would see shows in the figures, and only that."""

from fractions import Fraction

import cv2
import numpy as np
import pytest

from vidswap.media.decode import open_reader
from vidswap.media.pictures import write_pictures
from vidswap.media.probe import probe
from vidswap.recipe import DecodeOptions
from vidswap.run.compare import LIMITS, _identity, beyond
from vidswap.run.compare_look import Look
from vidswap.types import Box

pytest.importorskip("mediapipe")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

LOSSLESS = {"preset": "ultrafast", "crf": "4", "threads": "1"}


@pytest.fixture(scope="module")
def pictures(face_clip):
    info = probe(face_clip)
    with open_reader(info, DecodeOptions()) as reader:
        whole = Box(0, 0, info.width, info.height)
        return [frame.rgb(whole) for frame in reader.frames(0, info.frames)], info


@pytest.fixture
def swapped(tmp_path, pictures):
    """A file of the clip's pictures, each changed by a function of number and picture."""

    def write(change, rate=None):
        frames, info = pictures
        path = tmp_path / "swapped.mp4"
        changed = [change(k, p.copy()) for k, p in enumerate(frames)]
        write_pictures(path, changed, rate or info.frame_rate, options=LOSSLESS)
        return path

    return write


def test_a_clip_is_like_itself(call, face_clip, recipe, tmp_path):
    done = call("compare", face_clip, face_clip, "-p", recipe, "--work", tmp_path / "w", "--json")
    assert done.code == 0, done.err
    (track,) = done.result["tracks"]
    assert track["looks"] == 16
    assert track["lost"] == track["beyond"] == []
    assert track["pose_degrees"] == track["expression_leak"] == 0
    assert track["shimmer"] == track["seam"] == track["detail"] == 1


def test_what_is_soft_and_shimmers_is_marked(call, face_clip, recipe, swapped, tmp_path):
    rng = np.random.default_rng(3)

    def bad(k, picture):
        """Soft, and brighter or darker from frame to frame."""
        soft = cv2.GaussianBlur(picture, (0, 0), 2.5)
        return np.clip(soft.astype(float) + rng.normal(0, 12), 0, 255).astype(np.uint8)

    done = call("compare", face_clip, swapped(bad), "-p", recipe, "--work", tmp_path / "w")
    assert done.code == 0, done.err
    marked = [line for line in done.out.splitlines() if line.strip().startswith("!")]
    assert any("texture change" in line for line in marked)
    assert any("fine detail" in line for line in marked)
    assert done.out.startswith("track 0, frames 0-15: looked at 16\n")


def test_frames_without_a_face_are_told(call, face_clip, recipe, swapped, tmp_path):
    path = swapped(lambda k, p: p if k < 12 else np.full_like(p, 90))
    done = call("compare", face_clip, path, "-p", recipe, "--work", tmp_path / "w", "--json")
    assert done.result["tracks"][0]["lost"] == [12, 13, 14, 15]


def test_a_track_that_shows_no_face_has_the_figures_of_any_other(
    call, face_clip, recipe, swapped, tmp_path
):
    path, rest = (
        swapped(lambda _, p: np.full_like(p, 90)),
        ("-p", recipe, "--work", tmp_path / "w"),
    )
    (empty,) = call("compare", face_clip, path, *rest, "--json").result["tracks"]
    (usual,) = call("compare", face_clip, face_clip, *rest, "--json").result["tracks"]
    assert list(empty) == list(usual)
    assert empty["looks"] == 0
    assert empty["beyond"] == []
    assert {empty[name] for name in LIMITS} == {None}
    done = call("compare", face_clip, path, *rest)
    assert done.code == 0, done.err
    assert done.out == "track 0, frames 0-15: looked at 16, 16 without a face\n"


@pytest.mark.parametrize("wrong", ["size", "count", "times"])
def test_two_clips_are_not_compared(call, face_clip, recipe, tmp_path, pictures, wrong):
    frames, info = pictures
    other = tmp_path / "other.mp4"
    if wrong == "size":
        frames = [p[:-16] for p in frames]
    if wrong == "count":
        frames = frames[:-1]
    rate = info.frame_rate * 2 if wrong == "times" else info.frame_rate
    write_pictures(other, frames, Fraction(rate), options=LOSSLESS)
    done = call("compare", face_clip, other, "-p", recipe, "--work", tmp_path / "w")
    assert done.code == 3
    assert "other.mp4" in done.err
    assert "expected" in done.err
    assert not (tmp_path / "w").exists()


def test_nobody_to_compare(call, empty_clip, recipe, tmp_path):
    done = call("compare", empty_clip, empty_clip, "-p", recipe, "--work", tmp_path / "w")
    assert done.code == 5
    assert "no face" in done.err


def test_identity_counts_frames_that_are_nearer_to_the_source():
    source, own, new = np.eye(3, dtype=np.float32)
    pair = (np.zeros((478, 3), np.float32),) * 2
    vectors = [(own, source), (own, 0.6 * source + 0.8 * new), (own, own)]
    looks = [Look(pair, (1, 1), (1, 1), v) for v in vectors]
    found = _identity(looks, source)
    assert found["identity"] == pytest.approx(1.6 / 3)
    assert found["nearer"] == pytest.approx(2 / 3)
    assert _identity(looks, None) == {}
    assert set(_identity([], source)) == set(found)


def test_limits():
    assert beyond("seam", 0.8)
    assert not beyond("seam", 1.0)
    assert beyond("seam", 1.2)
    assert not beyond("mouth_amplitude", 3.0)
    assert not beyond("pose_degrees", None)
    assert not beyond("identity", 0.1)
