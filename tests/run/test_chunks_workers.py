"""Runs in chunks with several processes: the same bytes, and nobody is left behind."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.run.chunked import SIZE, StopError, ask, interrupted, stopping, workers_of
from vidswap.errors import MediaError
from vidswap.run.request import Watch
from vidswap.run.swap import swap


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
