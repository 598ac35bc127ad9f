"""The script for Slurm: clean, quoted, and it submits the right jobs."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from vidswap.testing import Clip, write_clip

SMALL = ("--allow-no-face", "--set", "run.chunk=12", "--set", "track.span=24")

SBATCH = """#!{python}
import json, os, sys
log = os.environ["SUBMITTED"]
words = sys.argv[1:]
with open(log, "a") as file:
    file.write(json.dumps(words) + "\\n")
print(sum(1 for _ in open(log)))
"""
VIDSWAP = """#!{python}
import json, sys
print(json.dumps(sys.argv[1:]))
"""


@pytest.fixture
def script(call, media, recipe, tmp_path):
    clip = write_clip(media / "it's a $clip.mp4", Clip(frames=60))
    program = tmp_path / "vidswap"
    program.write_text(VIDSWAP.format(python=sys.executable))
    program.chmod(0o755)
    done = call(
        *("farm", "slurm", clip, "-o", tmp_path / "my out.mp4", "-p", recipe, *SMALL),
        *("--gpus", "1", "--array-limit", "3", "--at-once", "2", "--command", program, "--json"),
    )
    assert done.code == 0, done.err
    assert done.result["chunks"] == 5
    return Path(done.result["script"])


def shellcheck():
    found = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if found is None:
        pytest.skip("shellcheck is not installed")
    return found


def test_shellcheck_has_nothing_to_say(script):
    done = subprocess.run([shellcheck(), str(script)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_arrays_are_cut_at_the_limit_and_jobs_wait_for_each_other(script, tmp_path):
    tools, log = tmp_path / "bin", tmp_path / "submitted"
    tools.mkdir()
    (tools / "sbatch").write_text(SBATCH.format(python=sys.executable))
    (tools / "sbatch").chmod(0o755)
    environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "SUBMITTED": str(log)}
    done = subprocess.run(["bash", script], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    jobs = [json.loads(line) for line in log.read_text().splitlines()]
    found = []
    for words in jobs:
        options = dict(w.split("=", 1) for w in words if w.startswith("--") and "=" in w)
        found.append((words[-1], options.get("--dependency"), options.get("--array")))
        assert (
            options["--export"].endswith("_BASE=3") == (options.get("--array") == "0-1%2")
            if "--export" in options
            else words[-1] in ("plan", "join")
        )
        assert ("--gres=gpu:1" in words) == (words[-1] in ("plan", "chunk"))
    assert found == [
        ("span", None, "0-2%2"),
        ("plan", "afterok:1", None),
        ("chunk", "afterok:2", "0-2%2"),
        ("chunk", "afterok:2", "0-1%2"),
        ("join", "afterok:3:4", None),
    ]


def test_a_job_calls_its_step_with_the_index_on_the_grid(script):
    environment = {**os.environ, "VIDSWAP_BASE": "3", "SLURM_ARRAY_TASK_ID": "1"}
    done = subprocess.run(
        ["bash", script, "chunk"], env=environment, capture_output=True, text=True, check=True
    )
    words = json.loads(done.stdout)
    assert words[:2] == ["farm", "chunk"]
    assert words[words.index("--index") + 1] == "4"
    assert words[2].endswith("it's a $clip.mp4")
    assert words[words.index("--output") + 1].endswith("my out.mp4")


def test_an_unknown_step_is_refused(script):
    done = subprocess.run(["bash", script, "dance"], capture_output=True, text=True)
    assert done.returncode == 2
