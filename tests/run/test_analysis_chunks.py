"""Pass one in spans: the same tracks as at one go, whoever does them, whenever they are killed."""

import hashlib
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from vidswap.errors import MediaError, StateError
from vidswap.media.pictures import write_pictures
from vidswap.media.probe import probe
from vidswap.recipe import Recipe, TrackOptions
from vidswap.run import analyse as analysing
from vidswap.run import analyse_span as one_span
from vidswap.run.analyse import analyse, merge
from vidswap.run.analyse_workers import analyse_spans
from vidswap.run.spans import Span, SpanTask, pending, read_span, spans
from vidswap.testing import Clip, write_clip

pytest.importorskip("mediapipe")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

NEEDS = frozenset({"mesh", "appearance"})
MESH = frozenset({"mesh"})
FRAMES, CUT, SIZE, RATE = 84, 72, 32, Fraction(25, 2)
WHOLE = Recipe(track=TrackOptions(samples=1, span=10_000))
PARTS = Recipe(track=TrackOptions(samples=1, span=SIZE))


@pytest.fixture(scope="module")
def pictures():
    """A talking head in two shots."""
    from vidswap.faces.photo_faces import source_face
    from vidswap.faces.puppet import Puppet, talk

    data = pytest.importorskip("skimage.data")
    portrait = source_face(data.astronaut(), "astronaut")
    puppet = Puppet(portrait.rgb, portrait.mesh, (320, 240))
    drawn = [puppet.frame(talk(i / 25))[0] for i in range(40)]
    # There and back; then its mirror image, upside down at the side, so that nobody takes it for
    # the same shot.
    shot = [*drawn, *drawn[::-1]][:CUT]
    other = [np.ascontiguousarray(p[:, ::-1]) for p in drawn[: FRAMES - CUT]]
    for picture in other:
        picture[:, 250:] = 255 - drawn[0][::-1, 250:]
    return shot + other


@pytest.fixture(scope="module")
def clip(tmp_path_factory, pictures):
    path = tmp_path_factory.mktemp("clips") / "talk.mp4"
    # Slow, so that the seconds that are followed before a span are few frames.
    options = {"preset": "ultrafast", "crf": "12", "threads": "1"}
    write_pictures(path, pictures, RATE, options=options)
    return probe(path)


@pytest.fixture(scope="module")
def whole(clip, tmp_path_factory):
    return analyse(clip, WHOLE, tmp_path_factory.mktemp("whole") / "w", NEEDS)


@pytest.fixture(scope="module")
def in_parts(clip, tmp_path_factory):
    folder = tmp_path_factory.mktemp("parts") / "w"
    steps = []
    made = analyse(clip, PARTS, folder, NEEDS, None, lambda n, total: steps.append((n, total)))
    assert steps == [(n, FRAMES) for n in range(1, FRAMES + 1)]
    return folder, made


def digests(folder):
    """Name and content of everything in a folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_the_grid():
    assert spans(0, 100, 40) == (Span(0, 0, 40), Span(1, 40, 80), Span(2, 80, 100))
    assert spans(7, 47, 40) == (Span(0, 7, 47),)
    assert len(spans(0, 1_000_000, 1500)) == 667


def test_spans_give_what_one_pass_gives(whole, in_parts):
    """Equal, but for what two seconds of following cannot settle, which is the landmarks' noise."""
    folder, made = in_parts
    assert sorted(p.name[:5] for p in folder.iterdir()) == ["analy", "data-"]
    assert made.shots == whole.shots == ((0, CUT), (CUT, FRAMES))
    ranges = [(t.start, t.stop, t.shot) for t in whole.tracks]
    assert ranges == [(0, CUT, 0), (CUT, FRAMES, 1)]
    assert [(t.start, t.stop, t.shot) for t in made.tracks] == ranges
    for ours, theirs in zip(made.tracks, whole.tracks, strict=True):
        raw, want = made.raw(ours), whole.raw(theirs)
        eyes = np.linalg.norm(want[:, 263, :2] - want[:, 33, :2], axis=1)
        away = np.abs(raw - want)[..., :2].max((1, 2)) / eyes
        assert away.max() < 0.03
        assert (away > 1e-4).mean() < 0.25  # measured: 0.0
        smooth = np.abs(made.meshes(ours) - whole.meshes(theirs))[..., :2].max((1, 2)) / eyes
        assert smooth.max() < 0.02
        assert np.array_equal(ours.seen, theirs.seen)
        assert np.abs(ours.confidence - theirs.confidence).max() < 0.05
        static, wanted = made.static(ours), whole.static(theirs)
        assert np.abs(static["shape"] - wanted["shape"]).max() < 0.01
        texture = static["texture"].astype(int) - wanted["texture"]
        assert np.abs(texture).mean() < 1
    # From a cut on there is nothing to settle.
    assert np.array_equal(made.meshes(made.tracks[1]), whole.meshes(whole.tracks[1]))


CHILD = """
import os, pickle, signal, sys
from pathlib import Path
from types import SimpleNamespace
from vidswap.run.analyse import analyse
info, recipe, folder, needs, at = pickle.loads(Path(sys.argv[1]).read_bytes())
def progress(done, total):
    if done == at:
        os.kill(os.getpid(), signal.SIGKILL)
analyse(info, recipe, folder, needs, None, progress)
"""


@pytest.mark.slow
def test_any_order_and_any_kill_give_the_same_bytes(clip, in_parts, tmp_path):
    """The last span is done elsewhere; then a run is killed in the second one, and taken up."""
    work, order = tmp_path / "w", tmp_path / "order"
    task = pickle.loads(pickle.dumps(SpanTask.of(clip, PARTS, work, NEEDS)))
    one_span.analyse_span(task, task.spans[2])
    assert pending(task) == task.spans[:2]
    order.write_bytes(pickle.dumps((clip, PARTS, work, NEEDS, FRAMES - SIZE + 9)))
    done = subprocess.run([sys.executable, "-c", CHILD, str(order)], capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert not (work / "analysis.json").exists()
    assert pending(task) == task.spans[1:2]
    notes, steps = [], []
    analyse(clip, PARTS, work, NEEDS, None, lambda n, _: steps.append(n), notes.append)
    assert notes == ["resuming: 2 of 3 spans are analysed"]
    assert steps == list(range(FRAMES - SIZE + 1, FRAMES + 1))
    assert digests(work) == digests(in_parts[0])


def test_spans_of_something_else_do_not_count(clip, tmp_path):
    frames = (0, 2 * SIZE)
    task = SpanTask.of(clip, PARTS, tmp_path, MESH, frames)
    one_span.analyse_span(task, task.spans[0])
    other = SpanTask.of(
        clip, replace(PARTS, smooth=replace(PARTS.smooth, pose=3.0)), tmp_path, MESH, frames
    )
    assert [len(pending(t)) for t in (task, other)] == [1, 2]
    place = task.place(task.spans[0])
    row = next(place.glob("*.mesh.raw"))
    data = bytearray(row.read_bytes())
    data[1000] ^= 1
    row.write_bytes(data)
    assert read_span(place, task) is None  # by its hash
    assert len(pending(task)) == 1
    row.write_bytes(data[:-4])
    assert len(pending(task)) == 2
    table = place / "span.json"
    table.write_text(json.dumps(json.loads(table.read_text()) | {"key": "other"}))
    assert read_span(place, task) is None


class Blind:
    """A detector that sees nothing before a frame's time has come."""

    def __init__(self, real):
        self._real, self.name, self.open = real, real.name, False

    def detect(self, rgb, wanted=None, smallest=None):
        return self._real.detect(rgb) if self.open else []

    def glance(self, rgb):
        return self._real.glance(rgb) if self.open else []

    def near(self, rgb, box):
        return self._real.near(rgb, box)

    def close(self):
        self._real.close()


def test_a_face_that_only_the_span_before_knows_is_followed_on(clip, tmp_path, monkeypatch):
    """Turned away, a face is followed but not found: the next span is told where it is."""
    real = one_span.open_detector
    task = SpanTask.of(clip, PARTS, tmp_path, MESH, (0, 2 * SIZE - 10))
    one_span.analyse_span(task, task.spans[0])
    monkeypatch.setattr(one_span, "open_detector", lambda options: Blind(real(options)))
    one_span.analyse_span(task, task.spans[1])
    lonely = read_span(task.place(task.spans[1]), task)
    assert lonely is not None
    assert lonely.parts == ()
    found = merge(task)
    assert [(t.start, t.stop) for t in found.tracks] == [(0, 2 * SIZE - 10)]
    assert found.tracks[0].seen.all()


@pytest.mark.slow
def test_two_processes_give_the_same_bytes_though_one_is_killed(clip, in_parts, tmp_path):
    recipe = replace(PARTS, run=replace(PARTS.run, workers=2))
    steps, killed = [], []

    def progress(done, total):
        steps.append(done)
        if done >= 25 and not killed:
            killed.append(_a_child_of(os.getpid()))
            os.kill(killed[0], signal.SIGKILL)

    analyse(clip, recipe, tmp_path / "w", NEEDS, None, progress)
    assert killed
    assert max(steps) == FRAMES
    assert digests(tmp_path / "w") == digests(in_parts[0])


def _a_child_of(parent):
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if int(fields[1]) == parent and b"analyse_worker" in (entry / "cmdline").read_bytes():
                return int(entry.name)
    raise AssertionError("no worker runs")


def test_a_span_that_kills_its_processes_ends_the_run(clip, tmp_path, monkeypatch):
    dies = [sys.executable, "-c", "import os; os.abort()"]
    real = subprocess.Popen
    monkeypatch.setattr(
        "vidswap.run.analyse_workers.subprocess.Popen", lambda command, **more: real(dies, **more)
    )
    recipe = replace(PARTS, run=replace(PARTS.run, workers=2))
    with pytest.raises(StateError, match="3 processes died over frames"):
        analyse(clip, recipe, tmp_path / "w", MESH)
    assert not (tmp_path / "w").exists()


def test_errors_of_other_processes_are_errors_here(clip, tmp_path):
    recipe = replace(PARTS, run=replace(PARTS.run, workers=2))
    missing = replace(clip, path=str(tmp_path / "gone.mp4"))
    task = SpanTask.of(clip, recipe, tmp_path / "w", MESH)
    with pytest.raises(MediaError, match="gone"):
        analyse_spans(replace(task, info=missing), task.spans[:1], 2, print)


def test_a_read_error_names_its_file_and_keeps_the_spans_before_it(tmp_path, monkeypatch):
    clip = probe(write_clip(tmp_path / "plain.mp4", Clip(frames=18, width=64, height=48)))
    parts = Recipe(track=TrackOptions(samples=1, span=6))
    real = one_span.open_reader

    @contextmanager
    def failing(info, options):
        with real(info, options) as reader:
            yield SimpleNamespace(frames=lambda *at: frames(reader, *at))

    def frames(reader, *at):
        for frame in reader.frames(*at):
            if frame.index == 15:
                raise MediaError("input/output error", path=clip.path, stage="decode")
            yield frame

    folder, said = tmp_path / "w", []
    with monkeypatch.context() as patch:
        patch.setattr(one_span, "open_reader", failing)
        with pytest.raises(MediaError, match="input/output") as caught:
            analyse(clip, parts, folder, MESH)
    assert (caught.value.stage, caught.value.exit_code) == ("decode", 3)
    assert not (folder / "analysis.json").exists()
    analyse(clip, parts, folder, MESH, note=said.append)
    assert said == ["resuming: 2 of 3 spans are analysed"]
    analyse(clip, parts, tmp_path / "other", MESH)
    assert digests(folder) == digests(tmp_path / "other")


@pytest.mark.parametrize(("limit", "apart"), [(18, [(3, 1)]), (19, [])])
def test_long_analyses_leave_nothing_in_the_process(tmp_path, monkeypatch, limit, apart):
    clip = probe(write_clip(tmp_path / "plain.mp4", Clip(frames=18, width=64, height=48)))
    given = []

    def elsewhere(task, todo, workers, progress):
        given.append((len(todo), workers))

    monkeypatch.setattr(analysing, "APART", limit * 64 * 48)
    monkeypatch.setattr(analysing, "analyse_spans", elsewhere)
    recipe = Recipe(track=TrackOptions(samples=1, span=6))
    analyse(clip, recipe, tmp_path / "w", MESH)  # what nobody did is done when spans are joined
    assert given == apart


@pytest.mark.slow
def test_kills_at_random_moments_leave_no_trace(clip, in_parts, tmp_path):
    """Twelve kills, anywhere between the start and a little after what an undisturbed run takes."""
    work, order = tmp_path / "w", tmp_path / "order"
    order.write_bytes(pickle.dumps((clip, PARTS, work, NEEDS, -1)))
    command = [sys.executable, "-c", CHILD, str(order)]
    began = time.monotonic()
    subprocess.run(command, check=True, capture_output=True)
    lasts = time.monotonic() - began
    assert digests(work) == digests(in_parts[0])
    rng, kills, rounds = np.random.default_rng(7), 0, 0
    while kills < 12:
        if (work / "analysis.json").exists():
            assert digests(work) == digests(in_parts[0])
            shutil.rmtree(work)
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as child:
            try:
                # Resumed runs are shorter; so that most are hit, the next one is killed sooner.
                child.wait(rng.uniform(0.2, 1.1) * lasts * 0.8 ** (rounds % 4))
            except subprocess.TimeoutExpired:
                child.kill()
                kills += 1
        rounds += 1
    analyse(clip, PARTS, work, NEEDS)
    assert digests(work) == digests(in_parts[0])
