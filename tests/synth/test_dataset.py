import json
from dataclasses import replace

import numpy as np
import pytest

from vidswap.errors import MediaError, RecipeError, StateError
from vidswap.media.probe import probe
from vidswap.synth.clip import clip
from vidswap.synth.dataset import DatasetPlan, write_dataset
from vidswap.synth.movie import write_movie, write_portrait
from vidswap.synth.params import HeadParams, swap_truth
from vidswap.synth.render import ffhq_window, render
from vidswap.synth.sample import sample

PLAN = DatasetPlan("faces", count=5, size=24, first=40, shard=2)


def _write(plan, folder, jobs=1):
    seen = []
    drawn = write_dataset(plan, folder, jobs=jobs, progress=lambda *at: seen.append(at))
    return drawn, seen


def test_faces(tmp_path):
    drawn, seen = _write(PLAN, tmp_path)
    assert drawn == 3
    assert seen[0] == ("draw", 0, 5)
    assert seen[-1] == ("draw", 5, 5)
    images = [np.load(tmp_path / f"0000{i}_images.npy") for i in range(3)]
    assert [len(i) for i in images] == [2, 2, 1]
    assert np.array_equal(images[1][0], render(sample(42), 24, aligned=True).rgb)
    assert np.array_equal(np.load(tmp_path / "00002_params.npy")[0], sample(44).vector())
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["names"] == list(HeadParams().names())
    assert not list(tmp_path.glob(".*"))


def test_stopped_set_goes_on(tmp_path):
    _write(PLAN, tmp_path)
    whole = (tmp_path / "00001_images.npy").read_bytes()
    (tmp_path / "00001_images.npy").unlink()
    (tmp_path / ".00001_images.npy.abc.part").write_bytes(b"half")
    drawn, seen = _write(PLAN, tmp_path)
    assert drawn == 1
    assert seen[0] == ("draw", 3, 5)
    assert (tmp_path / "00001_images.npy").read_bytes() == whole
    assert not list(tmp_path.glob(".*"))
    assert _write(PLAN, tmp_path)[0] == 0


def test_processes_do_not_change_the_pictures(tmp_path):
    _write(PLAN, tmp_path / "one")
    _write(PLAN, tmp_path / "two", jobs=2)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_people_and_pairs(tmp_path):
    _write(replace(PLAN, kind="people", count=2), tmp_path / "people")
    assert np.load(tmp_path / "people" / "00000_identity.npy").tolist() == [40] * 8 + [41] * 8
    _write(replace(PLAN, kind="pairs", count=1), tmp_path / "pairs")
    a, b = (
        HeadParams.from_vector(np.load(tmp_path / "pairs" / f"00000_{n}_params.npy")[0])
        for n in ("source", "target")
    )
    truth = np.load(tmp_path / "pairs" / "00000_truth.npy")[0].astype(int)
    # Vectors are float32: a grey level of rounding is allowed, and more on a few edges.
    again = render(swap_truth(a, b), 24, crop=ffhq_window(b)).rgb
    assert np.median(np.abs(truth - again)) <= 1
    assert np.abs(truth - again).mean() < 2


def test_expressive_sets_talk_and_blink(tmp_path):
    plan = replace(PLAN, count=40, size=16, shard=40, expressive=True)
    _write(plan, tmp_path)
    plain = np.stack([sample(s).vector() for s in range(40, 80)])
    lively = np.load(tmp_path / "00000_params.npy")
    for name in ("jaw", "blink_left"):
        (column,) = [i for i, n in enumerate(HeadParams().names()) if n.endswith(name)]
        assert (lively[:, column] > 0.2).mean() > 0.4 > (plain[:, column] > 0.2).mean()
    changed = {n for n, c in zip(HeadParams().names(), (plain != lively).any(0), strict=True) if c}
    assert {n.rpartition(".")[2] for n in changed} == {
        "jaw",
        "blink_left",
        "blink_right",
        "yaw",
        "pitch",
    }
    with pytest.raises(StateError, match="another data set"):
        _write(replace(plan, expressive=False), tmp_path)


def test_sets_of_before_there_were_expressive_ones_go_on(tmp_path):
    _write(PLAN, tmp_path)
    path = tmp_path / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["plan"]["expressive"]
    path.write_text(json.dumps(manifest))
    assert _write(PLAN, tmp_path)[0] == 0


def test_another_set_is_in_the_way(tmp_path):
    _write(replace(PLAN, count=1), tmp_path)
    with pytest.raises(StateError, match="another data set"):
        _write(PLAN, tmp_path)


def test_other_files_are_in_the_way(tmp_path):
    (tmp_path / "letters.txt").write_text("dear")
    with pytest.raises(StateError, match="not empty"):
        _write(PLAN, tmp_path)


def test_broken_manifest(tmp_path):
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(StateError, match="manifest"):
        _write(PLAN, tmp_path)


def test_folder_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(MediaError, match="cannot be written"):
        _write(PLAN, tmp_path / "file")


@pytest.mark.parametrize(
    "wrong", [{"count": 0}, {"size": 3}, {"first": -1}, {"shard": 0}, {"kind": "cats"}]
)
def test_impossible_plans(wrong):
    with pytest.raises(RecipeError, match="expected"):
        replace(PLAN, **wrong)


def test_movie_and_its_truth(tmp_path):
    made = clip(1, 1, 6, size=(64, 48), people=2)
    path = tmp_path / "a.mp4"
    truth = write_movie(made, path, progress=lambda *_: None)
    info = probe(path)
    assert (info.width, info.height, info.frames) == (64, 48, 6)
    assert [s.kind for s in info.streams] == ["audio"]
    with np.load(truth) as data:
        assert data["params"].shape == (6, 2, len(HeadParams().vector()))
        assert data["mesh"].shape == (6, 2, 478, 3)
        assert data["pose"][3, 1, 0] == pytest.approx(made.params[3][1].pose.yaw, abs=1e-4)
    with pytest.raises(StateError, match="exists"):
        write_movie(made, path, progress=lambda *_: None)
    write_movie(made, path, progress=lambda *_: None, overwrite=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.mp4", "a.truth.npz"]


def test_movie_with_odd_sides(tmp_path):
    with pytest.raises(MediaError, match="even"):
        write_movie(clip(1, 1, 5, size=(65, 48)), tmp_path / "a.mp4", progress=lambda *_: None)


def test_portrait(tmp_path):
    write_portrait(3, tmp_path / "p.png", size=32)
    with pytest.raises(StateError):
        write_portrait(3, tmp_path / "p.png", size=32)
