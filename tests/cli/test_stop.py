"""Signals, kills, full disks and slow encoders: no half output, no stale lock."""

import json
import os
import resource
import signal
import subprocess
import sys
import time

import pytest

from vidswap.testing import Clip, write_clip

SECONDS = 30
"""After which a test gives up on a process."""


@pytest.fixture(scope="module")
def long_clip(media):
    quick = {"preset": "ultrafast"}
    # More than the encoders hold back, so that rendering lasts.
    return write_clip(media / "long.mp4", Clip(frames=72, width=320, height=192, options=quick))


def start(*arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "vidswap", *map(str, arguments), "--log-format", "json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def wait_for(process, stage):
    """Read stderr until a stage reports progress."""
    for line in process.stderr:
        fields = json.loads(line)
        if fields.get("stage") == stage and fields["event"] == "progress":
            return fields
    raise AssertionError(f"{stage} never came")


def slow(long_clip, recipe, output):
    """A run whose render takes long: a slow preset."""
    return start(
        *("run", long_clip, "-p", recipe, "-o", output, "--allow-no-face"),
        *("--codec", "hevc", "--preset", "veryslow"),
    )


def hidden(folder):
    return [p.name for p in folder.iterdir() if p.name.startswith(".")]


@pytest.mark.parametrize(
    ("number", "code", "stage"),
    [
        (signal.SIGINT, 130, "render"),
        (signal.SIGTERM, 143, "render"),
        (signal.SIGTERM, 143, "analyse"),
    ],
)
def test_signals_stop_within_a_second_and_leave_nothing(
    long_clip, recipe, tmp_path, number, code, stage
):
    output = tmp_path / "out.mp4"
    with slow(long_clip, recipe, output) as process:
        wait_for(process, stage)
        began = time.monotonic()
        process.send_signal(number)
        _, err = process.communicate(timeout=SECONDS)
        took = time.monotonic() - began
    assert process.returncode == code
    assert took < 2, f"{took:.1f} s"  # one second of ours, one of a busy machine's
    assert json.loads(err.splitlines()[-1])["code"] == "cancelled"
    assert "Traceback" not in err
    assert not output.exists()
    assert not hidden(tmp_path)


def test_kill_leaves_only_hidden_files_and_the_next_run_takes_over(
    long_clip, empty_clip, recipe, tmp_path
):
    output = tmp_path / "out.mov"
    arguments = ("run", long_clip, "-p", recipe, "-o", output, "--allow-no-face")
    with start(*arguments, "--codec", "prores") as process:
        wait_for(process, "render")
        while not any(name.endswith(".part") for name in hidden(tmp_path)):
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
    assert not output.exists()
    assert any(name.endswith(".part") for name in hidden(tmp_path))
    assert any(name.endswith(".lock") for name in hidden(tmp_path))
    with start("run", empty_clip, "-p", recipe, "-o", output, "--allow-no-face") as again:
        _, err = again.communicate(timeout=SECONDS)
    assert again.returncode == 0, err
    assert output.exists()
    assert not hidden(tmp_path)


def test_the_second_run_on_one_output_stops_at_the_lock(long_clip, empty_clip, recipe, tmp_path):
    output = tmp_path / "out.mp4"
    with slow(long_clip, recipe, output) as first:
        wait_for(first, "analyse")
        with start("run", empty_clip, "-p", recipe, "-o", output, "--allow-no-face") as second:
            _, err = second.communicate(timeout=SECONDS)
        first.terminate()
    assert second.returncode == 6
    error = json.loads(err.splitlines()[-1])
    assert (error["code"], error["stage"]) == ("state_error", "lock")


def limit_file_size():
    # Less than the video, more than the rows of a face that is seen in the pattern.
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)


@pytest.mark.slow
def test_a_full_disk_is_an_error_and_leaves_nothing(long_clip, recipe, tmp_path):
    output = tmp_path / "out.mkv"
    arguments = ("run", long_clip, "-p", recipe, "-o", output, "--allow-no-face", "--codec", "ffv1")
    with start(*arguments, preexec_fn=limit_file_size) as process:
        _, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 3, err
    error = json.loads(err.splitlines()[-1])
    assert error["stage"] == "write"
    assert error["path"] == str(output)
    assert not output.exists()
    assert not hidden(tmp_path)


def test_a_closed_pipe_is_no_bug(face_clip):
    with start("probe", face_clip, "--json") as process:
        process.stdout.close()
        err = process.stderr.read()
    assert "Traceback" not in err


def test_stdout_has_one_record_and_stderr_only_json(face_clip, recipe, tmp_path):
    with start(
        *("run", face_clip, "-p", recipe, "-o", tmp_path / "o.mp4", "--json"),
        env={**os.environ, "PYTHONWARNINGS": "default"},
    ) as process:
        out, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, err
    assert len(out.splitlines()) == 1
    assert json.loads(out)["frames"] == 16
    events = [json.loads(line) for line in err.splitlines()]
    assert {"progress"} <= {e["event"] for e in events}
    stages = [e["stage"] for e in events if e["event"] == "progress"]
    assert stages.index("analyse") < stages.index("render")
