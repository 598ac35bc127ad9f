"""Source photographs of any size and direction."""

import cv2
import numpy as np
import pytest

from vidswap.errors import MediaError, NoFaceError
from vidswap.faces.blazeface import MediaPipeDetector
from vidswap.faces.photo_faces import source_face
from vidswap.recipe import DetectOptions


@pytest.fixture(scope="module")
def find(landmarker):
    detector = MediaPipeDetector(DetectOptions(min_face=16, min_score=0.4))
    yield lambda rgb: source_face(rgb, "photo.jpg", detector, landmarker)
    detector.close()


def test_the_face_comes_with_margin_and_pose(find, photo):
    face = find(photo)
    xy = face.mesh[:468, :2]
    height, width = face.rgb.shape[:2]
    size = np.ptp(xy, axis=0).max()
    assert face.rgb.dtype == np.uint8
    assert face.mesh.shape == (478, 3)
    assert (xy.min(0) > 0.5 * size).all()
    assert (np.array([width, height]) - xy.max(0) > 0.5 * size).all()
    assert abs(face.pose[0]) < 10
    assert abs(face.pose[2]) < 10
    assert face.score > 0.95
    assert face.path == "photo.jpg"
    assert any("mouth is open" in w for w in face.warnings)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_lying_photographs_are_set_upright(find, photo, turns):
    straight, turned = find(photo), find(np.rot90(photo, turns))
    assert abs(turned.pose[2]) < 10
    np.testing.assert_allclose(turned.mesh, straight.mesh, atol=3)
    assert any("turned upright" in w for w in turned.warnings)


def test_sizes(find, photo):
    tiny = find(cv2.resize(photo[20:220, 120:320], (64, 64), interpolation=cv2.INTER_AREA))
    assert any("small" in w for w in tiny.warnings)
    huge = find(cv2.resize(photo, (4000, 4000)))
    straight = find(photo)
    scale = 4000 / 512
    eyes = np.linalg.norm(huge.mesh[33, :2] - huge.mesh[263, :2])
    assert eyes == pytest.approx(
        scale * np.linalg.norm(straight.mesh[33, :2] - straight.mesh[263, :2]), rel=0.02
    )
    close = find(photo[50:190, 165:285])
    assert close.score > 0.9
    assert not [w for w in close.warnings if "faces" in w]


def test_the_largest_of_several_is_taken(find, photo):
    second = cv2.resize(photo[:300, 80:380], None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)
    both = np.hstack([photo, np.full((512, 200, 3), 120, np.uint8)])
    both[200 : 200 + second.shape[0], 515 : 515 + second.shape[1]] = second
    face = find(both)
    assert any("2 faces" in w for w in face.warnings)
    assert np.ptp(face.mesh[:468, 0]) == pytest.approx(np.ptp(find(photo).mesh[:468, 0]), rel=0.03)


def test_no_face_names_the_file(find):
    rng = np.random.default_rng(0)
    with pytest.raises(NoFaceError, match=r"photo\.jpg.*no face"):
        find(rng.integers(0, 255, (120, 160, 3), dtype=np.uint8))
    with pytest.raises(MediaError, match="RGB"):
        find(np.zeros((40, 40), np.uint8))
