"""Pose: the signs of the types' convention, from a mesh turned by hand."""

import numpy as np
import pytest

from vidswap.faces.pose import PoseFit, eye_opening, mouth_opening

facemesh = pytest.importorskip("vidswap.faces.facemesh")


def turned(yaw, pitch, roll):
    """The mean face, turned: x right, y down, z away from the camera."""
    shape = facemesh.FaceMesh.load().shape.astype(float)
    a, b, c = np.radians([-yaw, -pitch, roll])
    ry = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    rx = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    rz = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return (120 * shape @ (rz @ ry @ rx).T + (300, 200, 0)).astype(np.float32)


@pytest.mark.parametrize("angles", [(0, 0, 0), (30, 0, 0), (0, 20, 0), (0, 0, -40), (-50, 15, 25)])
def test_angles_come_back(angles):
    mesh = turned(*angles)
    np.testing.assert_allclose(PoseFit().angles(mesh), angles, atol=1e-3)
    np.testing.assert_allclose(PoseFit().angles(np.stack([mesh, mesh])), [angles] * 2, atol=1e-3)


def test_signs_mean_what_the_types_say():
    nose, frontal = 4, turned(0, 0, 0)
    rigid = facemesh.FaceMesh.load().rigid
    middle = lambda m: rigid @ m  # noqa: E731
    right, up, clockwise = turned(30, 0, 0), turned(0, 20, 0), turned(0, 0, 20)
    assert right[nose, 0] - middle(right)[0] > frontal[nose, 0] - middle(frontal)[0] + 5
    assert up[nose, 1] - middle(up)[1] < frontal[nose, 1] - middle(frontal)[1] - 5
    assert clockwise[263, 1] > clockwise[33, 1]  # the image-right eye sinks


def test_a_mirrored_face_has_the_opposite_yaw_and_roll():
    mesh = turned(25, 10, 8)
    flipped = mesh[facemesh.FaceMesh.load().mirror] * (-1, 1, 1)
    np.testing.assert_allclose(PoseFit().angles(flipped), (-25, 10, -8), atol=1e-3)


def test_openings_on_a_real_face(truth):
    assert mouth_opening(truth.mesh) > 0.1  # she smiles
    left, right = eye_opening(truth.mesh)
    assert 0.15 < left < 0.6
    assert 0.15 < right < 0.6
    shut = truth.mesh.copy()
    shut[[160, 158]] = shut[[144, 153]]
    assert eye_opening(shut)[0] == pytest.approx(0, abs=1e-6)
    assert eye_opening(shut)[1] == right
