"""Whole runs in chunks: the same bytes whatever happens, and what an interrupted one leaves."""

import json
import os
import random
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from vidswap import recipe as recipes
from vidswap.errors import MediaError, StateError
from vidswap.media.pictures import write_pictures
from vidswap.media.segment import digest_of
from vidswap.run import session as sessions
from vidswap.run.clean import clean
from vidswap.run.jobfile import jobs_in, read_job
from vidswap.run.lock import lock_path, locked
from vidswap.run.request import Request, Watch
from vidswap.run.resume import resume
from vidswap.run.session import open_session
from vidswap.run.status import status
from vidswap.run.swap import plan, render_only, swap
from vidswap.testing import Audio, Clip, write_clip

FRAMES, SIZE = 40, 8
OPTIONS = ("track.samples=1", f"run.chunk={SIZE}", 'encode.preset="ultrafast"')


class StopError(Exception):
    """A run is ended from outside."""


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("chunks")


@pytest.fixture(scope="session")
def clip(folder):
    return write_clip(folder / "clip.mp4", Clip(frames=FRAMES, audio=(Audio(seconds=1.3),)))


@pytest.fixture(scope="session")
def undisturbed(folder, clip):
    """A work folder with the analysis, and the digest of an undisturbed run's output."""
    output = folder / "undisturbed.mp4"
    found = swap(ask(clip, output, folder / "work"))
    assert found["chunks"] == {"all": FRAMES // SIZE, "kept": 0}
    assert found["sha256"] == digest_of(output)
    return folder / "work", found["sha256"]


@pytest.fixture
def analysed(undisturbed, tmp_path_factory):
    """The same with a work folder of the test's own."""
    work = tmp_path_factory.mktemp("job") / "work"
    shutil.copytree(undisturbed[0], work, ignore=shutil.ignore_patterns("render-*"))
    return work, undisturbed[1]


def ask(clip, output, work=None, *options, **fields):
    recipe = recipes.load("mesh", [*OPTIONS, *options])
    recipe = replace(recipe, engine=recipes.IdentityEngine())
    return Request(clip, recipe, output=output, work=work, allow_no_face=True, **fields)


def stopping(chunks, kind=StopError):
    """A watch that ends a run once some chunks are on the disk."""

    def progress(stage, done, total):
        if stage == "render" and done >= (chunks + 1) * SIZE:
            raise kind

    return Watch(progress=progress)


def notes(request):
    said = []
    return replace(request, watch=Watch(note=said.append)), said


def interrupted(clip, work, output, chunks=2):
    with pytest.raises(StopError):
        swap(replace(ask(clip, output, work), watch=stopping(chunks)))
    (file,) = [f for f in jobs_in(work) if f.output == output]
    return file


def test_a_run_leaves_its_output_and_its_analysis(clip, analysed, tmp_path):
    output = tmp_path / "o.mp4"
    found = swap(ask(clip, output))
    assert found["sha256"] == analysed[1]
    work = tmp_path / "o.mp4.vidswap"
    assert sorted(p.name for p in tmp_path.iterdir()) == [output.name, work.name]
    (file,) = jobs_in(work)
    assert file.phase == "finished"
    assert [p.name for p in file.folder.iterdir()] == ["job.json"]


def test_an_interrupted_run_goes_on_where_it_stopped(clip, analysed, tmp_path):
    work, digest = analysed
    output = tmp_path / "o.mp4"
    file = interrupted(clip, work, output)
    kept = len(list(file.folder.glob("chunk-*.json")))
    assert kept >= 2
    assert not output.exists()
    job = next(j for j in status(work)["jobs"] if j["output"] == str(output))
    assert (job["phase"], job["chunks"], job["running"]) == (
        "render",
        {"done": kept, "all": 5},
        None,
    )
    request, said = notes(ask(clip, output, work))
    found = swap(request)
    assert found["chunks"] == {"all": 5, "kept": kept}
    assert f"resuming: {kept} of 5 chunks are done" in said
    assert found["sha256"] == digest


def test_a_worker_in_another_process_needs_the_folder_alone(clip, analysed, tmp_path):
    work, digest = analysed
    output = tmp_path / "o.mp4"
    file = interrupted(clip, work, output)
    with open_session(file) as session:
        order = list(session.pending())
        random.Random(4).shuffle(order)
        for chunk in order:
            session.render([chunk])
            assert chunk not in session.pending()
        session.render(session.chunks[1:3])  # twice is no harm
        with pytest.raises(ValueError, match="does not come after"):
            session.render([session.chunks[3], session.chunks[1]])
    found = resume(work, Watch())
    assert found["finished"][0]["chunks"] == {"all": 5, "kept": 5}
    assert digest_of(output) == digest


def test_a_scheduler_plans_renders_elsewhere_and_joins(clip, analysed, tmp_path):
    work, digest = analysed
    request = ask(clip, tmp_path / "o.mp4", work)
    file = plan(request)
    with open_session(read_job(file.folder)) as session:
        session.render(reversed(session.chunks[-1:]))
        session.render(session.chunks[:-1])
    found = swap(read_job(file.folder).request)
    assert found["chunks"] == {"all": 5, "kept": 5}
    assert found["sha256"] == digest


def test_two_processes_give_the_same_bytes(clip, analysed, tmp_path):
    work, digest = analysed
    found = swap(ask(clip, tmp_path / "o.mp4", work, "run.workers=2"))
    assert found["sha256"] == digest
    assert found["warnings"] == jobs_warnings(clip)


def jobs_warnings(clip):
    from vidswap.media.probe import probe

    return list(probe(clip).warnings)


def test_a_stopped_run_takes_its_workers_along(clip, analysed, tmp_path):
    request = ask(clip, tmp_path / "o.mp4", analysed[0], "run.workers=2")
    with pytest.raises(StopError):
        swap(replace(request, watch=stopping(1)))
    assert workers_of(os.getpid()) == []


def test_a_killed_worker_costs_nothing_but_time(clip, analysed, tmp_path):
    work, digest = analysed
    killed, warned = [], []

    def progress(stage, done, total):
        children = workers_of(os.getpid())
        if stage == "render" and done >= SIZE and not killed and children:
            killed.append(children[0])
            os.kill(children[0], signal.SIGKILL)

    watch = Watch(progress=progress, warn=warned.append)
    found = swap(replace(ask(clip, tmp_path / "o.mp4", work, "run.workers=2"), watch=watch))
    assert killed
    assert any("a worker died" in text for text in warned)
    assert found["sha256"] == digest


def workers_of(pid):
    """Processes that render for a process; zombies do not count."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            stat = (path / "stat").read_text().rpartition(")")[2].split()
            command = (path / "cmdline").read_bytes()
        except OSError:
            continue
        if stat[0] != "Z" and int(stat[1]) == pid and b"vidswap.run.worker" in command:
            found.append(int(path.name))
    return found


def test_workers_end_when_their_parent_is_killed(clip, analysed, tmp_path):
    work, _ = analysed
    file = interrupted(clip, work, tmp_path / "o.mp4", 0)
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom vidswap.run.processes import Dispatcher\n"
        "from vidswap.run.chunks import grid\n"
        "d = Dispatcher(Path(sys.argv[1]), print, print)\n"
        "d._start()\nprint('up', flush=True)\ntime.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(file.folder)], stdout=subprocess.PIPE, text=True
    ) as parent:
        parent.stdout.readline()
        (child,) = workers_of(parent.pid)
        parent.kill()
    deadline = time.monotonic() + 20
    while (Path("/proc") / str(child) / "cmdline").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not (Path("/proc") / str(child)).exists()


def test_an_error_in_a_worker_is_the_runs_and_finished_chunks_stay(clip, analysed, tmp_path):
    work, digest = analysed
    file = interrupted(clip, work, tmp_path / "o.mp4", 1)
    copy = file.folder / "chunk-00004.json"
    copy.mkdir()  # nothing can be renamed over a folder
    with pytest.raises((MediaError, RuntimeError, OSError)):
        swap(ask(clip, tmp_path / "o.mp4", work, "run.workers=2"))
    copy.rmdir()
    assert swap(ask(clip, tmp_path / "o.mp4", work))["sha256"] == digest


def test_a_read_error_in_mid_file_keeps_what_was_before_it(clip, analysed, tmp_path, monkeypatch):
    work, digest = analysed
    output = tmp_path / "o.mp4"
    real = sessions.open_reader

    class Failing:
        def __init__(self, *args):
            self.reader = real(*args)

        def frames(self, start, stop):
            for frame in self.reader.frames(start, stop):
                if frame.index == 3 * SIZE + 2:
                    raise MediaError("input/output error", path=clip, stage="decode")
                yield frame

        def close(self):
            self.reader.close()

    with monkeypatch.context() as patch:
        patch.setattr(sessions, "open_reader", Failing)
        with pytest.raises(MediaError) as caught:
            swap(ask(clip, output, work))
    assert (caught.value.stage, caught.value.exit_code) == ("decode", 3)
    found = swap(ask(clip, output, work))
    assert found["chunks"]["kept"] in (2, 3)  # the last one may still have been in the encoder
    assert found["sha256"] == digest


@pytest.mark.parametrize("stage", ["render", "join", "verify"])
def test_a_source_that_changes_is_named_and_no_output_appears(clip, analysed, tmp_path, stage):
    work, digest = analysed
    output, source = tmp_path / "o.mp4", tmp_path / "clip.mp4"
    source.write_bytes(clip.read_bytes())
    touched = []

    def progress(now, done, total):
        if now == stage and (done >= total / 2 or stage == "verify") and not touched:
            touched.append(True)
            os.utime(source, ns=(1, 1))

    with pytest.raises(StateError) as caught:
        swap(replace(ask(source, output, work), watch=Watch(progress=progress)))
    assert touched
    assert (caught.value.path, caught.value.exit_code) == (str(source), 6)
    assert not output.exists()
    assert swap(ask(source, output, work))["sha256"] == digest


@pytest.mark.parametrize("kind", ["touched", "replaced", "cut short"])
def test_a_source_that_changes_in_pass_one_leaves_nothing_of_it(clip, analysed, tmp_path, kind):
    _, digest = analysed
    output, source, other = tmp_path / "o.mp4", tmp_path / "clip.mp4", tmp_path / "other.mp4"
    source.write_bytes(clip.read_bytes())
    write_clip(other, Clip(frames=FRAMES, matrix=6, audio=(Audio(seconds=1.3),)))
    changed = []

    def progress(stage, done, total):
        if stage == "analyse" and done >= total / 2 and not changed:
            changed.append(stage)
            if kind == "replaced":
                other.replace(source)
            elif kind == "cut short":
                os.truncate(source, source.stat().st_size // 3)
            else:
                os.utime(source, ns=(1, 1))

    with pytest.raises(StateError, match="was changed") as caught:
        swap(replace(ask(source, output), watch=Watch(progress=progress)))
    assert (changed, caught.value.path) == (["analyse"], str(source))
    assert not output.exists()
    assert not list(tmp_path.glob("o.mp4.vidswap/analysis.json"))
    source.write_bytes(clip.read_bytes())
    assert swap(ask(source, output))["sha256"] == digest


def test_a_source_with_other_content_begins_anew(clip, analysed, tmp_path):
    _, digest = analysed
    output, source = tmp_path / "o.mp4", tmp_path / "clip.mp4"
    source.write_bytes(clip.read_bytes())
    interrupted(source, tmp_path / "work", output)
    write_clip(source, Clip(frames=FRAMES, matrix=6))
    found = swap(ask(source, output, tmp_path / "work"))
    assert found["chunks"]["kept"] == 0
    assert found["sha256"] != digest
    assert len(jobs_in(tmp_path / "work")) == 1  # the chunks of the old content are gone


@pytest.mark.parametrize(("limit", "kept"), [(6_000, 0), (60_000, 5)])
def test_a_full_disk_ends_a_run_that_can_go_on(clip, analysed, tmp_path, limit, kept):
    work, digest = analysed
    output = tmp_path / "o.mp4"

    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    recipe = tmp_path / "recipe.toml"
    recipe.write_text('[engine]\nname = "identity"\n')
    sets = [a for option in OPTIONS for a in ("--set", option)]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "vidswap", "run", clip, "-p", recipe, "-o", output, *sets),
            *("--work", work, "--allow-no-face", "--log-format", "json"),
        ],
        preexec_fn=limited,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 3, done.stderr
    error = json.loads(done.stderr.splitlines()[-1])
    assert (error["stage"], error["path"]) == ("write", str(output))
    assert not output.exists()
    found = swap(ask(clip, output, work))
    assert found["chunks"]["kept"] == kept
    assert found["sha256"] == digest


def test_a_clock_that_jumps_changes_nothing(clip, analysed, tmp_path, monkeypatch):
    work, digest = analysed
    rng = random.Random(1)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + rng.uniform(-1e8, 1e8))
    assert swap(ask(clip, tmp_path / "o.mp4", work))["sha256"] == digest


def test_a_second_runner_stops_at_the_lock(clip, analysed, tmp_path):
    work, _ = analysed
    output = tmp_path / "o.mp4"
    interrupted(clip, work, output)
    with locked(output):
        job = next(j for j in status(work)["jobs"] if j["output"] == str(output))
        assert job["running"]["pid"] == os.getpid()
        for again in (lambda: swap(ask(clip, output, work)), lambda: resume(work, Watch())):
            with pytest.raises(StateError, match="another run"):
                again()
        assert clean([work])["removed"] == []
    assert resume(work, Watch())["finished"][0]["chunks"]["kept"] >= 2


def test_a_damaged_chunk_is_rendered_anew(clip, analysed, tmp_path):
    work, digest = analysed
    file = interrupted(clip, work, tmp_path / "o.mp4")
    video = file.folder / "chunk-00001.video"
    data = bytearray(video.read_bytes())
    data[len(data) // 3] ^= 4
    video.write_bytes(data)
    found = swap(ask(clip, tmp_path / "o.mp4", work))
    assert found["sha256"] == digest
    assert 1 <= found["chunks"]["kept"] < 5


def test_a_run_killed_after_the_rename_is_finished_by_the_next(
    clip, analysed, tmp_path, monkeypatch
):
    work, digest = analysed
    output = tmp_path / "o.mp4"

    def killed(file):
        raise StopError

    with monkeypatch.context() as patch:
        patch.setattr("vidswap.run.swap.finish", killed)
        with pytest.raises(StopError):
            swap(ask(clip, output, work))
    assert output.exists()
    stamp = output.stat().st_mtime_ns
    found = swap(ask(clip, output, work))
    assert found["sha256"] == digest_of(output) == digest
    assert output.stat().st_mtime_ns == stamp
    (file,) = [f for f in jobs_in(work) if f.output == output]
    assert file.phase == "finished"
    assert [p.name for p in file.folder.iterdir()] == ["job.json"]
    with pytest.raises(StateError, match="exists already"):
        swap(ask(clip, output, work))


def test_a_refused_run_leaves_no_job(clip, tmp_path):
    with pytest.raises(StateError):
        render_only(ask(clip, tmp_path / "o.mp4"))
    assert not list(tmp_path.iterdir())


def test_clean_removes_finished_jobs_and_nothing_else(clip, analysed, tmp_path):
    done, half = tmp_path / "done", tmp_path / "half"
    for work in (done, half):
        shutil.copytree(analysed[0], work, ignore=shutil.ignore_patterns("render-*"))
    swap(ask(clip, tmp_path / "a.mp4", done))
    interrupted(clip, half, tmp_path / "b.mp4", 1)
    (done / "mine.txt").write_text("a note")
    found = clean([done, half])
    assert found["removed"] == []
    assert [k["work"] for k in found["kept"]] == [str(done), str(half)]
    assert [p.name for p in done.iterdir()] == ["mine.txt"]
    resume(half, Watch())
    assert clean([half]) == {"removed": [str(half)], "kept": []}
    assert not half.exists()
    assert (tmp_path / "b.mp4").exists()
    for wrong in (tmp_path, tmp_path / "nowhere", done):
        with pytest.raises(StateError):
            clean([wrong])
    assert (done / "mine.txt").exists()


@pytest.fixture(scope="session")
def face(folder):
    """One face that sways, and a photo of it."""
    data = pytest.importorskip("skimage.data")
    portrait = np.ascontiguousarray(data.astronaut()[:256, 96:352])

    def picture(index):
        matrix = np.float32([[1, 0, 6 * np.sin(index / 3)], [0, 1, 0]])
        return cv2.warpAffine(portrait, matrix, (256, 256), borderMode=cv2.BORDER_REPLICATE)

    path, photo = folder / "face.mp4", folder / "photo.png"
    write_pictures(path, map(picture, range(24)), options={"crf": "12"})
    cv2.imwrite(str(photo), portrait[..., ::-1])
    return path, photo


def test_a_report_is_the_same_after_an_interruption(face, tmp_path):
    clip, photo = face
    recipe = recipes.load("mesh", OPTIONS)
    reports = []
    for name in ("whole", "halves", "both"):
        part = tmp_path / name
        part.mkdir()
        workers = replace(recipe.run, workers=2 if name == "both" else 1)
        request = Request(
            clip,
            replace(recipe, run=workers),
            (photo,),
            output=part / "o.mp4",
            report=part / "r",
            work=tmp_path / "work",
        )
        if name == "halves":
            with pytest.raises(StopError):
                swap(replace(request, watch=stopping(1)))
        found = swap(request)
        assert (found["chunks"]["kept"] > 0) == (name == "halves")
        assert (found["faces"], found["swapped"]) == (24, 24)
        reports.append(
            (found["sha256"], json.loads((part / "r/report.json").read_text())["tracks"])
        )
    assert reports[0] == reports[1] == reports[2]
    assert len(reports[0][1]) == 1


def test_a_run_killed_with_nothing_left_but_its_lock_was_finished(clip, analysed, tmp_path):
    work, _ = analysed
    output = tmp_path / "o.mp4"
    found = swap(ask(clip, output, work))
    lock = lock_path(output)
    lock.write_text(json.dumps({"pid": 4194305, "host": socket.gethostname(), "started": ""}))
    assert swap(ask(clip, output, work))["sha256"] == found["sha256"]
    assert not lock.exists()
