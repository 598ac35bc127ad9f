"""What passes in front of a face stays in front of it."""

from importlib import import_module

import cv2
import numpy as np
import pytest

from vidswap.engines.mesh.occlude import SIZE, Looks, occluded


@pytest.fixture(scope="module")
def swap(scene, meshed):
    engine, _, plan = meshed

    def on(picture):
        face = scene.face(engine, plan, 3, picture=picture)
        out = picture.copy()
        box = face.box
        out[box.top : box.bottom, box.left : box.right] = engine.swap([face], [plan])[0].rgb
        return out

    return on


def with_microphone(picture, mesh, colour):
    """A ball on a stick in front of one cheek, and where it is opaque."""
    width = float(np.ptp(mesh[:, 0]))
    centre = tuple((mesh[50, :2] + [0, 0.1 * width]).astype(int).tolist())
    layer = np.zeros(picture.shape[:2], np.uint8)
    foot = (centre[0], picture.shape[0] - 1)
    cv2.line(layer, centre, foot, 255, round(0.07 * width), cv2.LINE_AA)
    cv2.circle(layer, centre, round(0.13 * width), 255, -1, cv2.LINE_AA)
    share = layer[..., None] / 255
    drawn = np.round(picture * (1 - share) + share * np.array(colour)).astype(np.uint8)
    return drawn, layer


@pytest.mark.parametrize("colour", [(30, 30, 34), (245, 245, 245), (40, 90, 190)])
def test_a_microphone_stays_in_front_of_the_swapped_face(scene, swap, colour):
    picture, layer = with_microphone(scene.frames[3], scene.meshes[3], colour)
    result = swap(picture)
    inside = cv2.erode(layer, np.ones((7, 7), np.uint8)) > 0
    change = np.abs(result.astype(int) - picture).max(-1)
    assert np.percentile(change[inside], 95) <= 12
    # Elsewhere the swap goes on as if it were not there.
    away = cv2.dilate(layer, np.ones((41, 41), np.uint8)) == 0
    without = swap(scene.frames[3])
    assert np.percentile(np.abs(result.astype(int) - without).max(-1)[away], 99) <= 10


def test_an_unhidden_talking_face_has_no_occluder(scene, meshed, monkeypatch):
    found = []

    def spy(*arguments):
        found.append(occluded(*arguments))
        return found[-1]

    monkeypatch.setattr(import_module("vidswap.engines.mesh.render"), "occluded", spy)
    engine, _, plan = meshed
    faces = [scene.face(engine, plan, i) for i in range(len(scene.frames))]
    engine.swap(faces, [plan] * len(faces))
    assert len(found) == len(faces)
    assert all(mask is None for mask in found)


def flat_face(side=96):
    looks = Looks(
        np.zeros((SIZE, SIZE, 3), np.float32) + np.log(0.5 + 0.06).astype(np.float32),
        np.full((SIZE, SIZE), 0.2, np.float32),
    )
    uv = np.stack(np.meshgrid(*[np.linspace(0.2, 0.8, side)] * 2), -1).astype(np.float32)
    return looks, uv, np.ones((side, side), np.float32)


def test_exposure_and_a_side_light_are_no_occluders():
    looks, uv, alpha = flat_face()
    ramp = 0.5 * np.exp(np.linspace(-0.5, 0.3, 96))[None, :, None] * np.ones((96, 96, 3))
    assert occluded(looks, np.round(255 * ramp).astype(np.uint8), uv, alpha) is None


def test_occluder_is_found_where_it_is_and_deep_pictures_agree():
    looks, uv, alpha = flat_face()
    cells = np.full((96, 96, 3), 128, np.uint8)
    cells[30:60, 20:50] = (20, 22, 25)
    mask = occluded(looks, cells, uv, alpha)
    assert mask[34:56, 24:46].min() > 0.9
    assert mask[:25].max() < 0.05
    assert mask[:, 58:].max() < 0.05
    deep = occluded(looks, cells.astype(np.uint16) * 257, uv, alpha)
    np.testing.assert_allclose(deep, mask, atol=1e-3)


@pytest.mark.parametrize("size", [2, 4])
def test_specks_are_no_occluders(size):
    looks, uv, alpha = flat_face()
    cells = np.full((96, 96, 3), 128, np.uint8)
    cells[40 : 40 + size, 40 : 40 + size] = 10
    assert occluded(looks, cells, uv, alpha) is None


def test_a_hand_before_the_mouth_hides_it_though_lips_may_look_like_anything():
    looks, uv, alpha = flat_face()
    tolerance = looks.tolerance.copy()
    tolerance[60:72, 44:84] = 3.0
    looks = Looks(looks.logs, tolerance)
    cells = np.full((96, 96, 3), 128, np.uint8)
    cells[25:70, 15:85] = (170, 105, 85)
    lips = (slice(44, 52), slice(26, 70))
    assert occluded(looks, cells, uv, alpha)[lips].min() > 0.9
    # Lips alone that look unusual speak.
    cells[:] = 128
    cells[lips] = (170, 105, 85)
    assert occluded(looks, cells, uv, alpha) is None


def test_a_hand_that_differs_in_colour_alone_is_found():
    looks, uv, alpha = flat_face()
    cells = np.full((96, 96, 3), 128, np.uint8)
    cells[30:60, 20:50] = np.round(128 * np.exp([0.15, 0.0, -0.15])).astype(np.uint8)
    mask = occluded(looks, cells, uv, alpha)
    assert mask is not None
    assert mask[34:56, 24:46].min() > 0.5
