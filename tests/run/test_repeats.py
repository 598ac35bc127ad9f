"""Frames that a conversion of the rate repeated: what is drawn stands still there as the face does."""

from fractions import Fraction

import numpy as np
import pytest

from vidswap.media.pictures import write_pictures
from vidswap.media.probe import probe
from vidswap.recipe import Recipe, TrackOptions
from vidswap.run.analyse import analyse
from vidswap.run.finish import Distinct, Whole
from vidswap.run.rows import PickedRows

pytest.importorskip("mediapipe")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """A talking head of 20 pictures a second in a file of 30, as lossy as files are."""
    from vidswap.faces.photo_faces import source_face
    from vidswap.faces.puppet import Puppet, talk

    data = pytest.importorskip("skimage.data")
    portrait = source_face(data.astronaut(), "astronaut")
    puppet = Puppet(portrait.rgb, portrait.mesh, (320, 240))
    drawn = [puppet.frame(talk(i / 20))[0] for i in range(20)]
    shown = [2 * k // 3 for k in range(30)]
    path = tmp_path_factory.mktemp("clips") / "converted.mp4"
    options = {"preset": "medium", "crf": "22", "threads": "1"}
    write_pictures(path, [drawn[k] for k in shown], Fraction(30), options=options)
    again = np.r_[False, np.diff(shown) == 0]
    analysis = analyse(
        probe(path),
        Recipe(track=TrackOptions(samples=1)),
        path.parent / "w",
        frozenset({"mesh", "appearance"}),
    )
    return analysis, again


def test_everything_of_a_repeated_frame_is_that_of_its_picture(converted):
    analysis, again = converted
    (track,) = analysis.tracks
    assert (track.start, track.stop) == (0, 30)
    rows = [analysis.at(track, i) for i in range(30)]
    for before, row, repeat in zip(rows, rows[1:], again[1:], strict=False):
        assert np.array_equal(before.mesh, row.mesh) == repeat
        assert np.array_equal(before.pose, row.pose) == repeat
        if repeat:
            assert all(np.array_equal(before.data[n], value) for n, value in row.data.items())


def test_raw_landmarks_stay_those_of_each_frame(converted):
    analysis, _ = converted
    (track,) = analysis.tracks
    raw = analysis.raw(track)
    moved = np.abs(np.diff(raw, axis=0)).max((1, 2))
    assert (moved > 0).all()


def test_a_held_picture_is_one_without_appearance_too(tmp_path):
    data = pytest.importorskip("skimage.data")
    path = tmp_path / "held.mkv"
    write_pictures(path, [data.astronaut()[:256, 96:352]] * 20, Fraction(30), encoder="ffv1")
    recipe = Recipe(track=TrackOptions(samples=1))
    (track,) = analyse(probe(path), recipe, tmp_path / "w", frozenset({"mesh"})).tracks
    assert track.frames == 20
    assert len(np.unique(track.pose, axis=0)) == 1


def test_picked_rows():
    rows = PickedRows(np.arange(20.0)[:, None], np.array([0, 3, 4, 9, 19]))
    assert len(rows) == 5
    assert rows.dtype == np.float64
    assert rows[1:4].ravel().tolist() == [3, 4, 9]
    assert rows[-1:].ravel().tolist() == [19]
    assert rows[2:2].shape == (0, 1)


def test_a_block_of_pictures_gives_all_frames_that_show_them():
    change = np.full((9, 3), 8, np.float32)
    change[[2, 3, 7]] = 0
    whole = Whole(
        "t", 0, 5, {"change": change, "mesh": np.arange(9.0)[:, None]},
        np.ones(9), np.zeros(9), np.ones(9, bool), np.zeros((0, 512), np.float32), None, {},
    )  # fmt: skip
    distinct = Distinct.of(whole, np.arange(9) / 30, np.ones(9))
    assert distinct.rows["mesh"][0:6].ravel().tolist() == [0, 1, 4, 5, 6, 8]
    blocks = [distinct.frames(distinct.rows["mesh"][a : a + 2], a).ravel() for a in (0, 2, 4)]
    assert np.concatenate(blocks).tolist() == [0, 1, 1, 1, 4, 5, 6, 6, 8]
    assert [distinct.start(a) for a in (0, 2, 4)] == [0, 4, 6]
