"""Where pictures come from, and that bad ones are named."""

from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from vidswap.errors import MediaError, RecipeError
from vidswap.media.pictures import write_pictures
from vidswap.train.codes import codes_of
from vidswap.train.data import Pictures, fit, open_data, rows_of
from vidswap.train.landmarks import partners
from vidswap.train.options import DataOptions, load, shipped


def opened(path, cache, **options):
    return open_data(DataOptions(path=str(path), size=16, **options), cache)


def test_epochs_show_every_picture_once():
    seen = np.concatenate([rows_of(s, length=12, batch=5, seed=3) for s in range(12)])
    assert len(seen) == 60
    for epoch in seen.reshape(5, 12):
        assert sorted(epoch) == list(range(12))
    assert list(seen[:12]) != list(seen[12:24])


def test_processes_share_an_epoch():
    parts = [
        rows_of(s, length=12, batch=3, seed=3, rank=r, count=2) for s in (0, 1) for r in (0, 1)
    ]
    assert sorted(np.concatenate(parts)) == list(range(12))
    assert list(np.concatenate(parts[:2])) == list(rows_of(0, length=12, batch=6, seed=3))


def test_batch_keeps_rows_together(data, tmp_path):
    batch = opened(data, tmp_path).batch(np.array([5, 2, 5]))
    pictures = np.load(data / "pictures.npy")
    shown = ((batch["pictures"] + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    assert np.array_equal(shown, pictures[[5, 2, 5]])
    assert batch["identity"].tolist() == [5, 2, 5]
    assert batch["index"].tolist() == [5, 2, 5]


def test_folder_of_photos_and_video(photos, tmp_path):
    clip = [np.full((32, 48, 3), 40 * k, np.uint8) for k in range(5)]
    write_pictures(photos / "clip.mp4", clip, Fraction(5))
    found = opened(photos, tmp_path, interval=0.4)
    assert len(found) == 12 + 3
    assert found.arrays["pictures"].shape == (15, 16, 16, 3)
    grey = found.arrays["pictures"][-3:].mean((1, 2, 3))
    assert np.abs(grey - [0, 80, 160]).max() < 4


def test_pictures_are_decoded_once(photos, tmp_path):
    opened(photos, tmp_path)
    (kept,) = tmp_path.glob("pictures-*.npy")
    stamp = kept.stat().st_mtime_ns
    opened(photos, tmp_path)
    assert kept.stat().st_mtime_ns == stamp
    Image.new("RGB", (40, 40)).save(photos / "more.png")
    assert len(opened(photos, tmp_path)) == 13


def test_middle_square_is_kept():
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, 20:40] = 255
    assert fit(wide, 16).min() == 255


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "empty"), (b"not a picture", "not a picture"), (None, "at least 32")],
)
def test_bad_pictures_are_named(photos, tmp_path, content, message):
    if content is None:
        Image.new("RGB", (3, 1)).save(photos / "bad.png")
    else:
        (photos / "bad.png").write_bytes(content)
    with pytest.raises(MediaError, match=message) as caught:
        opened(photos, tmp_path)
    assert "bad.png" in str(caught.value)
    assert not list(tmp_path.glob("pictures-*"))


def test_no_data(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(MediaError, match="neither pictures nor videos"):
        opened(tmp_path / "empty", tmp_path)
    with pytest.raises(RecipeError, match="no such folder"):
        opened(tmp_path / "nowhere", tmp_path)
    with pytest.raises(RecipeError, match="--data"):
        opened("", tmp_path)


def test_arrays_must_agree(tmp_path):
    np.save(tmp_path / "pictures.npy", np.zeros((4, 16, 16, 3), np.uint8))
    np.save(tmp_path / "identity.npy", np.zeros(3, int))
    with pytest.raises(MediaError, match="identity"):
        opened(tmp_path, tmp_path)
    np.save(tmp_path / "identity.npy", np.zeros(4, int))
    with pytest.raises(RecipeError, match="16x16x3"):
        open_data(DataOptions(path=str(tmp_path), size=32), tmp_path)


def test_shards_are_joined(tmp_path):
    for number, count in ((0, 3), (1, 2)):
        shard = np.full((count, 16, 16, 3), number, np.uint8)
        np.save(tmp_path / f"{number:05}_images.npy", shard)
        np.save(tmp_path / f"{number:05}_params.npy", np.full((count, 7), number, np.float32))
    found = opened(tmp_path, tmp_path)
    assert found.arrays["pictures"][:, 0, 0, 0].tolist() == [0, 0, 0, 1, 1]
    assert found.arrays["parameters"].shape == (5, 7)


def test_held_out_people_are_refused(tmp_path):
    with pytest.raises(RecipeError, match="evaluation"):
        opened("synthetic", tmp_path, seed=999_999, count=8)


def test_codes_are_normal_and_follow_the_parameters():
    rng = np.random.default_rng(0)
    parameters = rng.uniform(size=(4000, 6)) ** 3
    parameters[:, 4] = np.where(rng.uniform(size=4000) < 0.7, 0, parameters[:, 4])
    parameters[:, 5] = parameters[:, 0]
    z = codes_of(parameters, 8, seed=1)
    assert np.abs(z.mean(0)).max() < 0.05
    assert np.abs(np.cov(z.T) - np.eye(8)).max() < 0.06
    near = np.argsort(np.abs(parameters - parameters[0]).sum(1))[1:6]
    assert np.linalg.norm(z[near] - z[0], axis=1).mean() < np.linalg.norm(z - z[0], axis=1).mean()
    more = codes_of(np.concatenate([parameters, parameters[:500]]), 8, seed=1)
    assert np.abs(more[:4000] - z).mean() < 0.35
    with pytest.raises(RecipeError, match="do not fit"):
        codes_of(parameters, 5, seed=1)


def test_partners_are_other_pictures_of_the_same_person():
    people = np.array([3, 1, 3, 2, 1, 3])
    other = partners(people, 0)
    assert (people[other] == people).all()
    assert sorted(other) == list(range(6))
    assert [int(i) for i in np.flatnonzero(other == np.arange(6))] == [3]


def test_shipped_recipes_are_valid():
    for name in shipped():
        recipe = load(name)
        method, *size = name.split("-")
        assert recipe.method.name == method
        assert size in ([], ["64"], ["64", "features"], ["64", "truth"])
        assert recipe.summary
    with pytest.raises(RecipeError, match="not parser"):
        load("identity", method="parser")
    with pytest.raises(RecipeError, match=r"loop\.stepz"):
        load("identity", ["loop.stepz=3"])
    with pytest.raises(RecipeError, match="multiple of 16"):
        load("identity", ["data.size=100"])


def test_mirroring_is_asked_for(data, tmp_path):
    assert not opened(data, tmp_path).mirror
    assert isinstance(opened(data, tmp_path, mirror=True), Pictures)
