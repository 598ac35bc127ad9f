"""Queues, clips, and a way to call the command line in this process."""

import json
import os
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from vidswap.cli import cli
from vidswap.cli.outcome import run_command
from vidswap.farm.queue import Queue
from vidswap.testing import Clip, write_clip

IDENTITY = 'summary = "Test."\n[engine]\nname = "identity"\n[track]\nsamples = 1\n[detect]\nmin_face = 100\n'


@pytest.fixture
def queue(tmp_path):
    return Queue.create(tmp_path / "queue")


@pytest.fixture(scope="session")
def media(tmp_path_factory):
    return tmp_path_factory.mktemp("farm")


@pytest.fixture(scope="session")
def recipe(media):
    """The identity pipeline as a file."""
    path = media / "identity.toml"
    path.write_text(IDENTITY)
    return path


@pytest.fixture(scope="session")
def clip(media):
    """A short clip without a face."""
    return write_clip(media / "clip.mp4", Clip(frames=8))


@pytest.fixture(scope="session")
def long_clip(media):
    """A clip that takes a moment."""
    return write_clip(media / "long.mp4", Clip(frames=40, width=320, height=192))


@pytest.fixture
def call(capsys):
    """Run a command: its exit code, stdout, stderr, and the JSON on stdout."""

    def run(*arguments):
        capsys.readouterr()
        code = run_command(cli, [str(a) for a in arguments])
        out, err = capsys.readouterr()
        result = json.loads(out) if out.startswith("{") else None
        return SimpleNamespace(code=code, out=out, err=err, result=result)

    return run


@pytest.fixture
def start(tmp_path):
    """Start ``vidswap`` in a process of its own, its remarks in a file; ended with the test."""
    processes = []

    def begin(*arguments, **options):
        log = (tmp_path / f"log-{len(processes)}.txt").open("w+")
        process = subprocess.Popen(
            [sys.executable, "-m", "vidswap", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            **options,
        )
        processes.append((process, log))
        return process

    yield begin
    for process, log in processes:
        process.kill()
        process.communicate()
        log.close()


def until(condition, seconds=90.0, every=0.05):
    """Wait for something to become true; what it was in the end."""
    deadline = time.monotonic() + seconds
    while not (found := condition()) and time.monotonic() < deadline:
        time.sleep(every)
    return found
