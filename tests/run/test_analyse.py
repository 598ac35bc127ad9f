"""Pass one from a file to a stored analysis and back."""

import json
from dataclasses import replace
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest

from vidswap.errors import MediaError, StateError, WeightsError
from vidswap.faces import graph
from vidswap.media.probe import probe
from vidswap.recipe import DetectOptions, Recipe, SmoothOptions, TrackOptions
from vidswap.run import analyse as module
from vidswap.run.analyse import analyse
from vidswap.run.analysis import NAME, Analysis, analysis_key
from vidswap.run.stored_info import decode_info, encode_info
from vidswap.types import Shot

pytest.importorskip("mediapipe")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

WIDTH, HEIGHT = 320, 240
RECIPE = Recipe(track=TrackOptions(samples=1))
MESH = frozenset({"mesh"})


def write_clip(path, pictures, times=None):
    """Lossless clip; ``times`` in milliseconds."""
    times = list(range(0, 40 * len(pictures), 40)) if times is None else times
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv444p"
        stream.codec_context.time_base = stream.time_base = Fraction(1, 1000)
        for time, picture in zip(times, pictures, strict=True):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv444p")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return probe(path)


@pytest.fixture(scope="module")
def head():
    photo = pytest.importorskip("skimage.data").astronaut()
    return np.ascontiguousarray(photo[10:260, 118:330])


def draw(head, *faces):
    ramp = np.linspace(60, 120, WIDTH)[None, :, None] + np.linspace(0, 40, HEIGHT)[:, None, None]
    out = np.repeat(ramp, 3, 2).astype(np.uint8)
    for x, y, scale in faces:
        m = np.array([[scale, 0, x - 106 * scale], [0, scale, y - 125 * scale]])
        mask = cv2.warpAffine(np.full(head.shape[:2], 255, np.uint8), m, (WIDTH, HEIGHT))
        out = np.where(mask[..., None] > 127, cv2.warpAffine(head, m, (WIDTH, HEIGHT)), out)
    return out


def sway(i):
    return 160 + 15 * np.sin(2 * np.pi * 0.7 * i / 25), 120.0, 0.8


@pytest.fixture(scope="module")
def clip(tmp_path_factory, head):
    return write_clip(
        tmp_path_factory.mktemp("clips") / "one.mkv", [draw(head, sway(i)) for i in range(20)]
    )


@pytest.fixture(scope="module")
def done(tmp_path_factory, clip):
    folder = tmp_path_factory.mktemp("work") / "analysis"
    steps = []
    made = analyse(clip, RECIPE, folder, MESH, None, lambda n, total: steps.append((n, total)))
    assert steps == [(n, 20) for n in range(1, 21)]
    return folder, made


def test_one_face_from_end_to_end(done, clip):
    folder, made = done
    found = Analysis.open(folder, clip, RECIPE, MESH)
    assert found.key == made.key
    assert found.shots == (Shot(0, 20),)
    assert (found.start, found.stop) == (0, 20)
    assert found.missing() == ()
    (track,) = found.tracks
    assert (track.id, track.shot, track.start, track.stop) == (0, 0, 0, 20)
    assert track.seen.all()
    assert track.confidence.min() > 0.9
    assert track.boxes.shape == (20, 4)
    assert track.pose.shape == (20, 3)
    assert np.abs(track.pose[:, ::2]).max() < 12
    assert track.embedding is None
    middles = [found.at(track, i).mesh[:468, 0].mean() for i in range(20)]
    want = np.array([sway(i)[0] for i in range(20)])
    assert np.abs(np.array(middles) - want - np.mean(middles - want)).max() < 1.0


def test_rows_by_frame(done):
    found = Analysis(done[0])
    (track,) = found.tracks
    at = found.at(track, 7)
    assert (at.track, at.index) == (0, 7)
    assert at.mesh.shape == (478, 3)
    assert at.mesh.dtype == np.float32
    assert at.confidence == pytest.approx(float(track.confidence[7]))
    np.testing.assert_array_equal(at.pose, track.pose[7])
    np.testing.assert_array_equal(found.meshes(track, 7, 8)[0], at.mesh)
    assert found.meshes(track).shape == found.raw(track).shape == (20, 478, 3)
    assert 0 < np.abs(found.raw(track) - found.meshes(track)).max() < 3
    assert dict(at.data) == {}
    assert dict(found.static(track)) == {}
    for outside in (-1, 20):
        with pytest.raises(IndexError):
            found.at(track, outside)


def test_the_stored_clip_facts_are_those_of_the_clip(done, clip):
    stored = Analysis(done[0]).info
    np.testing.assert_array_equal(stored.pts, clip.pts)
    table = json.loads(json.dumps(encode_info(clip)))
    again = decode_info(table, clip.pts, clip.keyframes)
    for name in (
        "time_base",
        "sample_aspect",
        "frame_rate",
        "colour",
        "streams",
        "path",
        "warnings",
    ):
        assert getattr(again, name) == getattr(clip, name) == getattr(stored, name)


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"recipe": replace(RECIPE, smooth=SmoothOptions(pose=3.0))}, "recipe"),
        ({"needs": frozenset({"mesh", "appearance"})}, "needs"),
        ({"frames": (0, 12)}, "frames"),
    ],
)
def test_a_mismatch_names_the_key(done, clip, change, part):
    args = {"recipe": RECIPE, "needs": MESH, "frames": None} | change
    with pytest.raises(StateError, match=rf"\(key {part}\)"):
        Analysis.open(done[0], clip, args["recipe"], args["needs"], args["frames"])


def test_another_input_and_other_weights_are_told_apart(done, clip, head, tmp_path, monkeypatch):
    other = write_clip(tmp_path / "one.mkv", [draw(head, sway(i + 3)) for i in range(20)])
    with pytest.raises(StateError, match=r"another input file.*\(key input\)"):
        Analysis.open(done[0], other, RECIPE, MESH)
    monkeypatch.setattr("vidswap.run.analysis.detector_digest", lambda options: "other")
    with pytest.raises(StateError, match="key weights"):
        Analysis.open(done[0], clip, RECIPE, MESH)


def test_a_copied_or_touched_input_is_the_same(done, clip, tmp_path):
    copy = tmp_path / "renamed.mkv"
    copy.write_bytes(open(clip.path, "rb").read())  # noqa: PTH123, SIM115
    assert analysis_key(probe(copy), RECIPE, MESH) == done[1].key


def test_render_options_do_not_matter(done, clip):
    changed = replace(
        RECIPE, run=replace(RECIPE.run, batch=9), encode=replace(RECIPE.encode, crf=3.0)
    )
    assert Analysis.open(done[0], clip, changed, MESH).tracks


def test_no_analysis_and_a_damaged_one(done, clip, tmp_path):
    with pytest.raises(StateError, match="no analysis here"):
        Analysis.open(tmp_path, clip, RECIPE, MESH)
    (tmp_path / NAME).write_text("{")
    with pytest.raises(StateError, match="damaged"):
        Analysis.open(tmp_path, clip, RECIPE, MESH)
    table = json.loads((done[0] / NAME).read_text())
    data = tmp_path / table["data"]
    data.mkdir()
    for file in (done[0] / table["data"]).iterdir():
        (data / file.name).write_bytes(file.read_bytes()[: 100 if file.suffix == ".bin" else None])
    (tmp_path / NAME).write_text(json.dumps(table))
    with pytest.raises(StateError, match="expected 114720 bytes"):
        Analysis.open(tmp_path, clip, RECIPE, MESH)


def test_a_crash_leaves_the_old_analysis_and_nothing_else(clip, tmp_path, monkeypatch):
    folder = tmp_path / "work"

    def stop_at(count):
        def progress(n, total):
            if n == count:
                raise KeyboardInterrupt

        return progress

    with pytest.raises(KeyboardInterrupt):
        analyse(clip, RECIPE, folder, MESH, (0, 8), stop_at(5))
    assert not folder.exists()
    first = analyse(clip, RECIPE, folder, MESH, (0, 4))
    listing = sorted(p.name for p in folder.rglob("*"))
    with pytest.raises(KeyboardInterrupt):
        analyse(clip, RECIPE, folder, MESH, (0, 8), stop_at(5))
    assert sorted(p.name for p in folder.rglob("*")) == listing
    monkeypatch.setattr(module.Store, "commit", _full)
    with pytest.raises(StateError, match="No space left"):
        analyse(clip, RECIPE, folder, MESH, (0, 4))
    assert Analysis(folder).key == first.key
    monkeypatch.undo()
    assert analyse(clip, RECIPE, folder, MESH, (2, 7)).start == 2
    assert len(list(folder.iterdir())) == 2  # the old data are gone


def _full(*args):
    raise OSError(28, "No space left on device")


def test_a_clip_without_a_face_is_a_valid_analysis(tmp_path, head):
    info = write_clip(tmp_path / "empty.mkv", [draw(head) for _ in range(4)])
    found = analyse(info, RECIPE, tmp_path / "work", frozenset({"mesh", "appearance"}))
    assert found.tracks == ()
    assert found.missing() == (Shot(0, 4),)


def test_two_faces_a_cut_and_a_flicker(tmp_path, head):
    """Numbered by first frame, then from the left; a face of two frames is no face."""
    left, right = (85, 110, 0.5), (235, 130, 0.6)
    pictures = [draw(head, left, right) for _ in range(8)]
    pictures += [255 - draw(head)] * 6
    pictures += [255 - draw(head) for _ in range(3)] + [draw(head, (160, 120, 0.9))] * 2
    pictures += [255 - draw(head) for _ in range(5)]
    info = write_clip(tmp_path / "two.mkv", pictures)
    found = analyse(info, RECIPE, tmp_path / "work", MESH)
    assert [s.start for s in found.shots] == [0, 8]
    assert [(t.id, t.start, t.stop, t.shot) for t in found.tracks] == [(0, 0, 8, 0), (1, 0, 8, 0)]
    assert found.tracks[0].boxes[0, 0] < found.tracks[1].boxes[0, 0]
    assert found.missing() == (Shot(8, 24),)


def test_variable_frame_rate_is_smoothed_in_seconds(tmp_path, head):
    times = np.cumsum([0, *np.random.default_rng(0).choice([16, 33, 50], 23)]).tolist()
    pictures = [draw(head, sway(25 * t / 1000)) for t in times]
    info = write_clip(tmp_path / "vfr.mkv", pictures, times)
    found = analyse(info, RECIPE, tmp_path / "work", MESH)
    (track,) = found.tracks
    got = found.meshes(track)[:, :468, 0].mean(1)
    want = np.array([sway(25 * t / 1000)[0] for t in times])
    assert np.abs(got - want - np.mean(got - want)).max() < 1.0


def test_appearance_rows_and_statics_are_stored(tmp_path, clip):
    pytest.importorskip("vidswap.faces.appearance")
    needs = frozenset({"mesh", "appearance"})
    found = analyse(clip, RECIPE, tmp_path / "work", needs, (0, 8))
    (track,) = found.tracks
    at = found.at(track, 3)
    assert at.data
    assert all(np.isfinite(np.asarray(v, np.float64)).all() for v in at.data.values())
    assert found.static(track)
    assert Analysis.open(tmp_path / "work", clip, RECIPE, MESH, (0, 8)).tracks  # fewer needs fit


def test_damage_and_missing_weights_are_clear_errors(tmp_path, clip, monkeypatch):
    broken = tmp_path / "broken.mkv"
    data = open(clip.path, "rb").read()  # noqa: PTH123, SIM115
    broken.write_bytes(data[: len(data) * 2 // 3])
    with pytest.raises(MediaError):
        analyse(replace(clip, path=str(broken)), RECIPE, tmp_path / "work", MESH)
    assert not (tmp_path / "work").exists()
    scrfd = replace(RECIPE, detect=DetectOptions(name="scrfd"))
    monkeypatch.setenv("VIDSWAP_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("INSIGHTFACE_HOME", str(tmp_path))
    with pytest.raises(WeightsError):
        analyse(clip, scrfd, tmp_path / "work", MESH)
    monkeypatch.setattr(graph, "find_spec", lambda name: None)
    with pytest.raises(WeightsError, match="mediapipe is missing"):
        analyse(clip, RECIPE, tmp_path / "work", MESH)
