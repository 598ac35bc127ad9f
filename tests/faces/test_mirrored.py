"""Landmarks read both ways have no side."""

import numpy as np
import pytest

from vidswap.faces.facemesh import FaceMesh
from vidswap.faces.landmarks import Region, eye_distance, region_of
from vidswap.faces.mirrored import IRISES, both_ways, mirrored_mesh

SAMPLES = 4


@pytest.fixture(scope="module")
def model():
    return FaceMesh.load()


@pytest.fixture
def face(scene, landmarker):
    """A photograph, its mirror image, and where the face is in either."""
    h, w = scene.face.shape[:2]
    region = region_of(landmarker.mesh(scene.face, Region(w / 2, h / 2, 200, 0.0), 1).mesh)
    there = region._replace(x=w - 1 - region.x, angle=-region.angle)
    return scene.face, np.ascontiguousarray(scene.face[:, ::-1]), region, there


def test_mirrored_twice_is_the_same(model):
    mesh = np.random.default_rng(1).uniform(0, 200, (478, 3)).astype(np.float32)
    back = mirrored_mesh(mirrored_mesh(mesh, 200, model), 200, model)
    np.testing.assert_allclose(back, mesh, atol=1e-4)


def test_a_mirrored_face_gives_the_mirrored_points(face, landmarker, model):
    picture, flipped, region, there = face
    one = both_ways(landmarker, picture, region, SAMPLES, model).mesh
    two = both_ways(landmarker, flipped, there, SAMPLES, model).mesh
    away = np.abs(mirrored_mesh(two, picture.shape[1], model) - one)
    assert away.max() < 1e-3 * eye_distance(one)
    # As read one way only it is not so, by far.
    single = landmarker.mesh(picture, region, SAMPLES).mesh
    other = landmarker.mesh(flipped, there, SAMPLES).mesh
    gap = np.abs(mirrored_mesh(other, picture.shape[1], model) - single)[:468].max()
    assert gap > 10 * away.max()


def test_irises_change_sides(face, landmarker, model):
    picture, flipped, region, there = face
    one = landmarker.mesh(picture, region, SAMPLES).mesh
    two = landmarker.mesh(flipped, there, SAMPLES).mesh
    near = np.linalg.norm(mirrored_mesh(two, picture.shape[1], model)[:, :2] - one[:, :2], axis=1)
    assert near[468:].max() < 0.05 * eye_distance(one)
    assert sorted(IRISES) == list(range(468, 478))


def test_no_face_is_none(landmarker, model):
    grey = np.full((200, 200, 3), 120, np.uint8)
    assert both_ways(landmarker, grey, Region(100, 100, 120, 0.0), SAMPLES, model) is None
