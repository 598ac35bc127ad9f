"""What every engine promises."""

from dataclasses import replace

import numpy as np
import pytest

from tests.tiny_networks import NAMES
from vidswap.engines import ENGINES, create
from vidswap.recipe import IdentityEngine, LatentSwapEngine, MeshEngine
from vidswap.types import TargetFace

OPTIONS = {
    "mesh": MeshEngine(),
    "identity": IdentityEngine(),
    "latentswap": LatentSwapEngine(**NAMES),
}


@pytest.fixture(scope="module", params=sorted(ENGINES))
def engine(request, weights_here):
    return create(OPTIONS[request.param])


@pytest.fixture(scope="module")
def plan(engine, scene, hopper):
    return engine.plan(scene.track, scene.static, engine.identify([hopper]))


def test_every_engine_has_options_here():
    assert set(OPTIONS) == set(ENGINES)


def test_patch_has_the_shape_depth_and_place_of_its_face(engine, plan, scene):
    face = scene.face(engine, plan, 0)
    (patch,) = engine.swap([face], [plan])
    assert patch.box == face.box
    assert patch.rgb.shape == face.rgb.shape
    assert patch.rgb.dtype == face.rgb.dtype
    if patch.rest is not None:
        assert patch.rest.shape == face.rgb.shape
        assert patch.rest.dtype == np.int8


def test_batch_gives_what_single_faces_give(engine, plan, scene):
    faces = [scene.face(engine, plan, i) for i in range(4)]
    together = engine.swap(faces, [plan] * 4)
    alone = [engine.swap([face], [plan])[0] for face in faces]
    for a, b in zip(together, alone, strict=True):
        np.testing.assert_array_equal(a.rgb, b.rgb)


def test_same_input_same_output_and_input_untouched(engine, plan, scene, hopper):
    results, again = [], engine.plan(scene.track, scene.static, engine.identify([hopper]))
    for each in (plan, again):
        face = scene.face(engine, each, 3)
        before = face.rgb.copy()
        results.append(engine.swap([face], [each])[0].rgb)
        np.testing.assert_array_equal(face.rgb, before)
    np.testing.assert_array_equal(*results)


def test_one_photo_twice_is_that_photo(engine, plan, scene, hopper):
    twice = engine.plan(scene.track, scene.static, engine.identify([hopper, hopper]))
    once, both = (engine.swap([scene.face(engine, p, 0)], [p])[0].rgb for p in (plan, twice))
    assert np.abs(once.astype(int) - both).mean() < 1.0


def test_sixteen_bit_agrees_with_eight(engine, plan, scene):
    deep = scene.frames[2].astype(np.uint16) * 257
    (patch8,) = engine.swap([scene.face(engine, plan, 2)], [plan])
    (patch16,) = engine.swap([scene.face(engine, plan, 2, picture=deep)], [plan])
    assert patch16.rgb.dtype == np.uint16
    assert np.abs(patch16.rgb / 257 - patch8.rgb).mean() < 1.0
    assert patch16.rest is None


def test_face_at_the_frame_border(engine, plan, scene):
    picture = scene.frames[0]
    at = scene.at(0)
    half_out = np.array([at.mesh[:, 0].mean(), 0, 0], np.float32)
    moved = replace(at, mesh=at.mesh - half_out)
    box = engine.footprint(moved, plan).clip(*scene.size)
    (patch,) = engine.swap([TargetFace(scene.cut(picture, box), box, moved)], [plan])
    assert patch is None or patch.rgb.shape == (box.height, box.width, 3)
