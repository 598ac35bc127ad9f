"""SIGKILL at any moment: the next runs finish the job, with the bytes of an undisturbed one.

``at_call`` kills at the n-th operation that a crash could come before, see ``bomb``. ``after`` kills at
moments by the clock.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vidswap.media.segment import digest_of
from vidswap.run.jobfile import jobs_in
from vidswap.testing import Audio, Clip, write_clip

FRAMES, SIZE = 30, 6
EXISTS = 6
"""Exit status of a run whose output is there."""
RECIPE = f"""
[engine]
name = "identity"
[track]
samples = 1
[encode]
preset = "ultrafast"
[run]
chunk = {SIZE}
"""
BOMB = Path(__file__).with_name("bomb.py")

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("kills")


@pytest.fixture(scope="module")
def clip(folder):
    return write_clip(folder / "clip.mp4", Clip(frames=FRAMES, audio=(Audio(seconds=1.0),)))


def arguments(clip, output, workers=1):
    recipe = clip.with_name("recipe.toml")
    recipe.write_text(RECIPE)
    return [
        *("run", str(clip), "-p", str(recipe), "-o", str(output), "--allow-no-face", "--quiet"),
        *("--workers", str(workers)),
    ]


def at_call(number, command, counting, phase="any"):
    """Exit status of a run that kills itself at one of its operations; 0 for one that had fewer."""
    line = [sys.executable, str(BOMB), phase, str(number), str(counting), *command]
    return subprocess.run(line, capture_output=True, check=False).returncode


def after(seconds, command):
    """Exit status of a run that is killed by the clock, if it lasts so long."""
    line = [sys.executable, "-m", "vidswap", *command]
    with subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            return process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()


@pytest.fixture(scope="module")
def undisturbed(folder, clip):
    """Digest of the output, operations of the run, and its seconds."""
    output = folder / "undisturbed.mp4"
    began = time.monotonic()
    assert at_call(0, arguments(clip, output), folder / "count") == 0
    counts = json.loads((folder / "count").read_text())
    assert list(counts)[-5:] == ["analyse", "render", "join", "verify", "rename"]
    return digest_of(output), sum(counts.values()), time.monotonic() - began


def check(output, digest):
    """The output is there, whole, and nothing else is but the analysis and the job's file."""
    assert digest_of(output) == digest
    names = {path.name for path in output.parent.iterdir()}
    assert names == {output.name, f"{output.name}.vidswap"}
    (file,) = jobs_in(output.with_name(f"{output.name}.vidswap"))
    assert file.phase == "finished"
    assert [path.name for path in file.folder.iterdir()] == ["job.json"]


def test_a_kill_in_the_middle(clip, undisturbed, tmp_path):
    digest, calls, _ = undisturbed
    output, counting = tmp_path / "out.mp4", tmp_path.parent / "count"
    assert at_call(round(calls * 0.6), arguments(clip, output), counting) == -signal.SIGKILL
    assert not output.exists()
    assert at_call(0, arguments(clip, output), counting) == 0
    check(output, digest)


@pytest.mark.slow
def test_kills_at_every_operation_of_the_end_and_many_before(clip, undisturbed, tmp_path):
    digest, calls, _ = undisturbed
    counting = tmp_path / "count"
    moments = sorted({*range(1, calls - 30, 12), *range(calls - 30, calls + 1)})
    for number in moments:
        output = tmp_path / f"{number}" / "out.mp4"
        output.parent.mkdir()
        assert at_call(number, arguments(clip, output), counting) == -signal.SIGKILL, number
        assert not output.exists() or digest_of(output) == digest
        assert at_call(0, arguments(clip, output), counting) == 0, number
        check(output, digest)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_random_kills_until_it_is_done(clip, undisturbed, tmp_path, workers):
    digest, _, seconds = undisturbed
    rng = random.Random(workers)
    kills = trial = 0
    while trial < 4 or kills < 10:
        output = tmp_path / f"{trial}" / "out.mp4"
        output.parent.mkdir()
        before = kills
        while True:
            # A run that comes further each time lasts shorter each time.
            status = after(rng.uniform(0.3, 1.0) * seconds, arguments(clip, output, workers))
            if status == 0 or (status == EXISTS and output.exists()):
                break  # or it was killed when all was done, on its way out
            assert status == -signal.SIGKILL
            kills += 1
            assert not output.exists() or digest_of(output) == digest
            assert kills < 200
            # The machine is busier now, or was less so, than when it was measured.
            seconds *= 1.3 if (kills - before) % 8 == 0 else 1
        wait_for_orphans()
        check(output, digest)
        trial += 1
        assert trial < 40
        if kills - before < 2:
            seconds *= 0.7


def wait_for_orphans():
    """Workers of dead runs end by themselves."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and any(_orphans()):
        time.sleep(0.05)
    assert not any(_orphans())


def _orphans():
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            worker = b"vidswap.run.worker" in path.read_bytes()
            parent = int((path.parent / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        # Workers of other tests have a parent that lives.
        if worker and parent in (1, os.getpid()):
            yield path
