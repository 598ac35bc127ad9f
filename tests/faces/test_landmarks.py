"""Points on our own regions: accurate, mirror-true, and quiet about start-up."""

import subprocess
import sys

import cv2
import numpy as np
import pytest

from vidswap.errors import WeightsError
from vidswap.faces import graph
from vidswap.faces.landmarks import Region, crop, eye_distance, region_of, reshaped


def test_points_follow_a_moved_turned_and_scaled_face(scene, landmarker, truth):
    for place in ((160, 120, 0.8, 0.0), (140, 110, 0.5, 0.4), (170, 125, 0.9, -0.3)):
        want = truth.at(*place)
        x, y = want[:468].mean(0)
        region = Region(x + 4, y - 3, 1.6 * np.ptp(want[:468], axis=0).max(), place[3])
        found = landmarker.mesh(scene.draw(place), region, 4)
        error = np.linalg.norm(found.mesh[:, :2] - want, axis=1).mean() / (truth.eyes * place[2])
        assert error < 0.03
        assert found.score > 0.95
        assert 0 < found.spread < 0.03


def test_a_mirrored_picture_gives_mirrored_points(scene, landmarker):
    facemesh = pytest.importorskip("vidswap.faces.facemesh").FaceMesh.load()
    h, w = scene.face.shape[:2]
    region = region_of(landmarker.mesh(scene.face, Region(w / 2, h / 2, 200, 0.0), 1).mesh)
    one = landmarker.mesh(scene.face, region, 8).mesh
    flipped = Region(w - 1 - region.x, region.y, region.size, -region.angle)
    two = landmarker.mesh(np.ascontiguousarray(scene.face[:, ::-1]), flipped, 8).mesh
    off = (w - 1 - two[facemesh.mirror, 0] - one[:468, 0]).mean()
    assert abs(off) < 0.5 * region.size / 192  # a wrong pixel centre gives 0.7 of a network pixel


def test_more_passes_are_steadier(scene, landmarker, truth):
    rng = np.random.default_rng(0)
    place = (160, 120, 0.8, 0.0)
    want = truth.at(*place)
    base, picture = region_of(np.c_[want, want[:, :1]].astype(np.float32)), scene.draw(place)

    def shake(samples):
        meshes = []
        for _ in range(12):
            noisy = np.clip(picture + rng.normal(0, 4, picture.shape), 0, 255).astype(np.uint8)
            moved = base.moved(*rng.normal(0, 0.01 * base.size, 2))
            meshes.append(landmarker.mesh(noisy, moved, samples).mesh[:, :2])
        return np.std(meshes, axis=0).mean()

    assert shake(4) < 0.75 * shake(1)


def test_further_passes_are_left_out_where_two_agree(scene, landmarker, truth):
    want = truth.at(160, 120, 0.8, 0.0)
    region = region_of(np.c_[want, want[:, :1]].astype(np.float32))
    picture = scene.draw((160, 120, 0.8, 0.0))
    two, four = (landmarker.mesh(picture, region, n) for n in (2, 4))
    np.testing.assert_array_equal(landmarker.mesh(picture, region, 4, 1.0).mesh, two.mesh)
    np.testing.assert_array_equal(landmarker.mesh(picture, region, 4, 1e-6).mesh, four.mesh)
    assert np.abs(two.mesh - four.mesh).max() > 0


def test_one_pass_does_where_it_agrees_with_the_frame_before(scene, landmarker, truth, monkeypatch):
    """A head that moved is one face; one whose features moved is looked at again."""
    want = truth.at(160, 120, 0.8, 0.0)
    region = region_of(np.c_[want, want[:, :1]].astype(np.float32))
    picture = scene.draw((160, 120, 0.8, 0.0))
    sent, passes = [], landmarker._passes

    def counted(picture, local, steps):
        sent.append(len(steps))
        return passes(picture, local, steps)

    monkeypatch.setattr(landmarker, "_passes", counted)
    alone = landmarker.mesh(picture, region, 1).mesh
    sent.clear()
    turned = alone.copy()
    turned[:, :2] = 1.1 * alone[:, :2] @ np.array([[0.96, 0.28], [-0.28, 0.96]]) + 40
    one = landmarker.mesh(picture, region, 4, 0.011, turned)
    assert sent == [1]
    np.testing.assert_array_equal(one.mesh, alone)
    assert one.spread < 1e-3
    sent.clear()
    smiling = alone.copy()
    smiling[61:100, 1] += 0.2 * eye_distance(alone)
    more = landmarker.mesh(picture, region, 4, 0.011, smiling)
    assert sent[:2] == [1, 2]
    assert more.spread > 1e-3
    assert np.abs(more.mesh - alone).max() > 0


def test_how_far_a_face_is_reshaped_leaves_its_motion_out():
    rng = np.random.default_rng(0)
    mesh = rng.normal(0, 50, (478, 3)).astype(np.float32)
    moved = mesh.copy()
    moved[:, :2] = 1.3 * mesh[:, :2] @ np.array([[0.8, 0.6], [-0.6, 0.8]]) + 200
    assert reshaped(mesh, moved) < 1e-5
    bent = moved.copy()
    shift = rng.normal(0, 1, (468, 2))
    bent[:468, :2] += shift
    rms = np.sqrt((shift**2).sum(1).mean()) / eye_distance(bent)
    assert reshaped(mesh, bent) == pytest.approx(rms, rel=0.03)


def test_a_region_without_a_face_has_none(scene, landmarker):
    rng = np.random.default_rng(1)
    noise = rng.integers(0, 255, (200, 200, 3), dtype=np.uint8)
    for picture in (noise, scene.background):
        found = landmarker.mesh(picture, Region(100, 100, 120, 0.0))
        assert found is None or found.score < 0.2


def test_a_face_across_the_picture_edge_is_read_with_repeated_borders(scene, landmarker, truth):
    place = (28, 110, 0.8, 0.0)
    want = truth.at(*place)
    assert want[:468, 0].min() < -3
    region = region_of(np.c_[want, want[:, :1]].astype(np.float32))
    found = landmarker.mesh(scene.draw(place), region, 2)
    inside = want[:, 0] > 10
    error = np.linalg.norm(found.mesh[:, :2] - want, axis=1)[inside].mean()
    assert error < 0.06 * truth.eyes * 0.8


def test_large_faces_are_reduced_before_they_are_read(scene, landmarker):
    big = cv2.resize(scene.face, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC)
    h, w = scene.face.shape[:2]
    region = region_of(landmarker.mesh(scene.face, Region(w / 2, h / 2, 200, 0.0)).mesh)
    small = landmarker.mesh(scene.face, region, 8).mesh
    large = landmarker.mesh(big, region.scaled(4), 8).mesh
    back = (large[:, :2] + 0.5) / 4 - 0.5
    assert np.linalg.norm(back - small[:, :2], axis=1).mean() < 0.004 * eye_distance(small) * 2


def test_crop_repeats_the_borders():
    rgb = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
    out = crop(rgb, -2, -1, 7, 6)
    assert out.shape == (7, 9, 3)
    np.testing.assert_array_equal(out[1:5, 2:7], rgb)
    np.testing.assert_array_equal(out[0, 0], rgb[0, 0])
    np.testing.assert_array_equal(out[-1, -1], rgb[-1, -1])
    assert crop(rgb, 1, 1, 3, 3).base is not None  # inside: a view, no copy
    assert crop(rgb, 20, 20, 26, 26).shape == (6, 6, 3)


def test_starting_says_nothing_on_stderr_and_loses_nothing():
    pytest.importorskip("mediapipe")
    code = (
        "import os, threading, time\n"
        "from vidswap.faces.landmarks import Landmarker\n"
        "stop = threading.Event()\n"
        "def talk():\n"
        "    n = 0\n"
        "    while not stop.is_set() and n < 200:\n"
        "        os.write(2, b'mine %d\\n' % n); n += 1; time.sleep(0.005)\n"
        "    print(n)\n"
        "t = threading.Thread(target=talk); t.start()\n"
        "Landmarker().close(); stop.set(); t.join()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    lines = done.stderr.splitlines()
    assert lines == [f"mine {n}" for n in range(int(done.stdout))]


def test_starting_loads_no_ready_made_solutions_but_leaves_them_to_be_had(tmp_path, photo):
    """In a process of its own: others here have MediaPipe loaded, and all its messages known."""
    pytest.importorskip("mediapipe")
    np.save(tmp_path / "picture.npy", photo)
    code = (
        "import sys\n"
        "import numpy as np\n"
        "from vidswap.faces.photo_faces import source_face\n"
        f"face = source_face(np.load({str(tmp_path / 'picture.npy')!r}), 'picture')\n"
        "print(face.mesh.shape)\n"
        "print('matplotlib' in sys.modules, 'mediapipe.python.solutions' in sys.modules)\n"
        "import mediapipe as mp\n"
        "print(mp.__version__, mp.solutions.face_mesh.__name__, hasattr(mp, 'nothing'))\n"
        "from mediapipe.tasks.python import vision\n"
        "mp.solutions.face_detection.FaceDetection().close()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    shape, first, second = done.stdout.splitlines()
    assert shape == "(478, 3)"
    assert first == "False False"
    assert second == "0.10.21 mediapipe.python.solutions.face_mesh False"


def test_without_mediapipe_the_error_says_how_to_get_a_detector(monkeypatch):
    monkeypatch.setattr(graph, "find_spec", lambda name: None)
    from vidswap.faces.landmarks import Landmarker

    with pytest.raises(WeightsError, match="mediapipe is missing") as caught:
        Landmarker()
    assert "pip install mediapipe==0.10.21" in caught.value.hint
    assert not graph.available()
    with pytest.raises(WeightsError):
        graph.digest()
