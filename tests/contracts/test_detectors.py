"""What every detector must do. SCRFD runs where its pack is on disk."""

import cv2
import numpy as np
import pytest

from vidswap.errors import WeightsError
from vidswap.faces import graph, scrfd
from vidswap.faces.detect import detector_digest, open_detector
from vidswap.faces.tiling import everywhere, tiles
from vidswap.recipe import DetectOptions
from vidswap.types import Box


@pytest.fixture(scope="module", params=["mediapipe", "scrfd"])
def detector(request):
    if request.param == "mediapipe":
        pytest.importorskip("mediapipe")
    elif scrfd.find_model("detection") is None:
        pytest.skip("no InsightFace pack on disk")
    found = open_detector(DetectOptions(name=request.param))
    yield found
    found.close()


@pytest.fixture(scope="module")
def photo():
    return pytest.importorskip("skimage.data").astronaut()


FACE = np.array([165, 60, 280, 175], float)
"""Roughly where the astronaut's face is."""


def overlap(a, b):
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
    both = np.clip(high - low, 0, None).prod()
    return both / (np.ptp(a.reshape(2, 2), 0).prod() + np.ptp(b.reshape(2, 2), 0).prod() - both)


def check(face, where):
    assert face.box.shape == (4,)
    assert face.points.shape == (5, 2)
    assert face.box.dtype == face.points.dtype == np.float32
    assert 0 <= face.score <= 1
    assert overlap(face.box.astype(float), where) > 0.5
    left_eye, right_eye, nose, left_mouth, right_mouth = face.points
    assert left_eye[0] < nose[0] < right_eye[0]
    assert left_mouth[0] < right_mouth[0]
    assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])


@pytest.mark.parametrize("how", ["detect", "glance", "near"])
def test_a_face_is_found_with_its_points(detector, photo, how):
    extra = {"near": (Box(100, 0, 350, 250),)}.get(how, ())
    faces = getattr(detector, how)(photo, *extra)
    assert len(faces) == 1 or faces[0].score > faces[1].score
    check(faces[0], FACE)


def test_a_search_may_reach_outside_the_picture(detector, photo):
    check(detector.near(photo, Box(-80, -120, 420, 380))[0], FACE)


@pytest.mark.parametrize("place", [(1500, 700), (70, 90)])
def test_a_40_pixel_face_in_a_wide_shot_is_found(detector, photo, place):
    scale = 40 / 115
    small = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    ramp = np.linspace(40, 160, 1920)[None, :, None] + np.linspace(0, 60, 1080)[:, None, None]
    wide = np.repeat(ramp, 3, 2).astype(np.uint8)
    x, y = place
    wide[y : y + small.shape[0], x : x + small.shape[1]] = small
    where = FACE * scale + (x, y, x, y)
    faces = detector.detect(wide)
    assert max(overlap(f.box.astype(float), where) for f in faces) > 0.4


def test_nothing_is_found_in_nothing(detector):
    flat = np.full((240, 320, 3), 128, np.uint8)
    assert detector.detect(flat) == []
    assert detector.glance(flat) == []


def test_results_repeat_and_leave_the_picture_alone(detector, photo):
    before = photo.copy()
    a, b = detector.detect(photo), detector.detect(photo, everywhere)
    assert [f.box.tolist() for f in a] == [f.box.tolist() for f in b]
    np.testing.assert_array_equal(photo, before)


def test_two_faces_are_two(detector, photo):
    both = np.hstack([photo[:300, 60:360], photo[:300, 60:360][:, ::-1]])
    faces = detector.detect(both)
    good = [f for f in faces if f.score > 0.6]
    assert len(good) == 2
    assert sorted(float(f.box[0]) > 300 for f in good) == [False, True]


def test_tiles_cover_every_pixel_at_every_level():
    for width, height in ((1920, 1080), (1080, 1920), (512, 512), (640, 200)):
        boxes = tiles(width, height, 32)
        for side in {b.width for b in boxes}:
            seen = np.zeros((height, width), bool)
            level = [b for b in boxes if b.width == side]
            for b in level:
                assert b.height == side
                seen[b.top : b.bottom, b.left : b.right] = True
            assert seen.all()
    assert len(tiles(1920, 1080, 32)) < 35
    assert len(tiles(1920, 1080, 100)) < 15


@pytest.mark.parametrize("size", [(1920, 1080), (3840, 2160), (1280, 720), (854, 480), (608, 1080)])
def test_faces_of_every_size_lie_wholly_in_a_tile_that_shows_them(size):
    """Wherever they are; the network finds faces down to 15 of a tile's 192 pixels.

    The whole picture is searched as well, so that it counts as a tile.
    """
    boxes = tiles(*size, 32)
    rng = np.random.default_rng(0)
    for face in np.geomspace(36, 0.8 * min(size), 12):
        for _ in range(40):
            x, y = rng.uniform((0, 0), np.subtract(size, face))
            sides = [
                b.width for b in boxes
                if b.left <= x and x + face <= b.right and b.top <= y and y + face <= b.bottom
            ]  # fmt: skip
            assert face / min([*sides, max(size)]) > 0.077, (face, x, y)


def test_a_missing_detector_is_one_clear_error(monkeypatch, tmp_path):
    monkeypatch.setenv("VIDSWAP_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("INSIGHTFACE_HOME", str(tmp_path))
    with pytest.raises(WeightsError, match="InsightFace detection model") as caught:
        open_detector(DetectOptions(name="scrfd"))
    assert str(tmp_path) in caught.value.hint
    monkeypatch.setattr(graph, "find_spec", lambda name: None)
    for call in (open_detector, detector_digest):
        with pytest.raises(WeightsError, match="no face detector") as caught:
            call(DetectOptions())
        assert "scrfd" in caught.value.hint
        assert caught.value.exit_code == 4
