"""Tracks, looks and the swap end with their shot where it dissolves into another one."""

import cv2
import numpy as np
import pytest

from tests.run.test_analyse import draw, write_clip
from vidswap.recipe import Recipe, TrackOptions
from vidswap.run.analyse import analyse
from vidswap.types import Shot

pytest.importorskip("mediapipe")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

REST, LENGTH = 18, 12
NEEDS = frozenset({"mesh", "appearance"})


def other(picture):
    """Another place: what was red is blue there, and its ground is patterned."""
    y, x = np.mgrid[0:240, 0:320]
    ground = (100 + 80 * np.sin(x / 9) * np.cos(y / 14))[..., None].repeat(3, 2).astype(np.uint8)
    plain = cv2.absdiff(picture, draw_ground()).max(2) == 0
    return np.where(plain[..., None], ground, picture[..., ::-1])


def draw_ground():
    return draw(np.zeros((250, 212, 3), np.uint8))


@pytest.fixture(
    scope="module", params=[("beside", 110.0, 215.0, 20), ("in place", 160.0, 160.0, 26)]
)
def film(request, tmp_path_factory):
    """Two shots, each with a head of its own colours that stays at its place."""
    photo = pytest.importorskip("skimage.data").astronaut()
    head = np.ascontiguousarray(photo[10:260, 118:330])
    name, left, right, span = request.param
    a = draw(head, (left, 120.0, 0.7)).astype(np.float64)
    b = other(draw(np.ascontiguousarray(head[:, ::-1]), (right, 125.0, 0.75))).astype(np.float64)
    shares = [0.0] * REST + list((np.arange(LENGTH) + 1) / (LENGTH + 1)) + [1.0] * REST
    pictures = [np.round((1 - s) * a + s * b).astype(np.uint8) for s in shares]
    folder = tmp_path_factory.mktemp(name.replace(" ", "_"))
    clip = write_clip(folder / "film.mkv", pictures)
    return folder, clip, (left, right, span), analyse(clip, recipe(), folder / "whole", NEEDS)


def recipe(span=1500):
    return Recipe(track=TrackOptions(samples=1, span=span))


def test_each_shot_has_its_own_track(film):
    _, _, places, found = film
    middle = found.shots[1].start
    assert found.shots == (Shot(0, middle), Shot(middle, 2 * REST + LENGTH))
    assert abs(middle - (REST + LENGTH / 2)) <= 1
    first, second = found.tracks
    assert (first.start, first.shot, second.shot) == (0, 0, 1)
    assert REST < first.stop <= middle <= second.start < REST + LENGTH
    assert second.stop == 2 * REST + LENGTH
    for track, place in zip(found.tracks, places[:2], strict=True):
        middles = found.meshes(track)[:, :468, 0].mean(1)
        assert np.abs(middles - place).max() < 8


def test_the_swap_goes_with_its_face(film):
    _, _, _, found = film
    first, second = found.tracks
    for sure in (first.confidence, second.confidence[::-1]):
        assert sure[: REST - 2].min() > 0.9
        assert (np.diff(sure[REST - 2 :]) <= 1e-4).all()
        assert sure[-1] < 0.15


def test_looks_are_of_one_face(film):
    _, _, _, found = film
    red = [found.static(t)["texture"].reshape(-1, 3)[:, [0, 2]].mean(0) for t in found.tracks]
    assert red[0][0] > red[0][1] + 10
    assert red[1][0] < red[1][1] - 10


def test_spans_see_it_alike(film):
    """One border lies before the dissolve's middle, one after it."""
    folder, clip, (*_, span), whole = film
    assert REST < span < REST + LENGTH
    found = analyse(clip, recipe(span), folder / f"spans-{span}", NEEDS)
    assert found.shots == whole.shots
    assert [(t.start, t.stop) for t in found.tracks] == [(t.start, t.stop) for t in whole.tracks]
    for ours, theirs in zip(found.tracks, whole.tracks, strict=True):
        np.testing.assert_array_equal(ours.confidence, theirs.confidence)
        np.testing.assert_array_equal(found.meshes(ours), whole.meshes(theirs))
