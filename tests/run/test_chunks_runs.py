"""Whole runs in chunks: the same bytes whatever happens, and what an interrupted one leaves."""

import json
import os
import random
import shutil
import socket
import time

import pytest

from tests.run.chunked import (
    StopError,
    ask,
    interrupted,
    notes,
)
from vidswap.errors import StateError
from vidswap.media.segment import digest_of
from vidswap.run.clean import clean
from vidswap.run.jobfile import jobs_in, read_job
from vidswap.run.lock import lock_path, locked
from vidswap.run.request import Watch
from vidswap.run.resume import resume
from vidswap.run.session import open_session
from vidswap.run.status import status
from vidswap.run.swap import plan, render_only, swap


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


def test_a_run_killed_with_nothing_left_but_its_lock_was_finished(clip, analysed, tmp_path):
    work, _ = analysed
    output = tmp_path / "o.mp4"
    found = swap(ask(clip, output, work))
    lock = lock_path(output)
    lock.write_text(json.dumps({"pid": 4194305, "host": socket.gethostname(), "started": ""}))
    assert swap(ask(clip, output, work))["sha256"] == found["sha256"]
    assert not lock.exists()
