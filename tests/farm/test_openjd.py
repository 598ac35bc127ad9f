"""A run in steps: the template that farms read, the daemon of a session, the whole under ``openjd``."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.farm.conftest import until
from vidswap.testing import Clip, write_clip

SMALL = ("--allow-no-face", "--set", "run.chunk=6", "--set", "track.span=12")


@pytest.fixture(scope="module")
def film(media):
    return write_clip(media / "steps.mp4", Clip(frames=30))


@pytest.fixture(scope="module")
def short(media):
    return write_clip(media / "steps-short.mp4", Clip(frames=12))


@pytest.fixture
def options(recipe):
    return ("-p", recipe, *SMALL)


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def reference(call, clip, options, folder):
    output = folder / "reference.mp4"
    assert call("run", clip, "-o", output, *options).code == 0
    return digest(output)


def written(call, clip, options, folder, *more):
    done = call("farm", "openjd", clip, "-o", folder / "out.mp4", *options, *more, "--json")
    assert done.code == 0, done.err
    table = json.loads(Path(done.result["template"]).read_text())
    return done.result, table, {step["name"]: step for step in table["steps"]}


def test_the_template_numbers_chunks_by_the_grid(call, film, options, tmp_path):
    result, table, steps = written(call, film, options, tmp_path, "--gpus", "1")
    assert (result["spans"], result["chunks"], result["frames"]) == (3, 5, 30)
    assert list(steps) == ["Analyse", "Plan", "Render", "Join"]
    space = steps["Render"]["parameterSpace"]["taskParameterDefinitions"]
    assert space == [{"name": "Chunk", "type": "INT", "range": "0-4"}]
    before = {n: [d["dependsOn"] for d in s.get("dependencies", ())] for n, s in steps.items()}
    assert before == {"Analyse": [], "Plan": ["Analyse"], "Render": ["Plan"], "Join": ["Render"]}
    flows = {p["name"]: p["dataFlow"] for p in table["parameterDefinitions"] if p["type"] == "PATH"}
    assert flows == {"Input": "IN", "Output": "OUT", "Work": "INOUT"}
    needs = {n: [a["name"] for a in s["hostRequirements"]["amounts"]] for n, s in steps.items()}
    assert "amount.worker.gpu" in needs["Render"]
    assert "amount.worker.gpu" not in needs["Join"]


@pytest.mark.parametrize("daemon", [(), ("--daemon",)])
def test_the_template_is_valid(call, film, options, tmp_path, daemon):
    model = pytest.importorskip("openjd.model", reason="openjd-model is not installed")
    photo = tmp_path / "eve.png"
    photo.write_bytes(b"\x89PNG")
    people = ("--map", f"0={photo}", "--start", "2f", "--report", tmp_path / "report")
    _, table, steps = written(call, film, options, tmp_path, *daemon, *people)
    made = model.decode_job_template(template=table)
    assert [step.name for step in made.steps] == ["Analyse", "Plan", "Render", "Join"]
    assert "0={{Param.Source1}}" in steps["Plan"]["script"]["actions"]["onRun"]["args"]
    assert ("stepEnvironments" in steps["Render"]) == bool(daemon)


def test_one_span_needs_no_step_of_its_own(call, short, options, tmp_path):
    _, _, steps = written(call, short, options, tmp_path)
    assert list(steps) == ["Plan", "Render", "Join"]


@pytest.mark.parametrize(
    ("wrong", "code"), [(("-p", "mesh"), 2), (("--source", "nobody.png"), 3), (("-o", "IN"), 2)]
)
def test_what_no_task_could_do_is_refused_at_once(call, short, options, tmp_path, wrong, code):
    wrong = [short if word == "IN" else word for word in wrong]
    done = call("farm", "openjd", short, *options, "-o", tmp_path / "o.mp4", *wrong)
    assert done.code == code, done.err
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_steps_in_any_order_and_twice_give_the_bytes_of_a_run(call, film, options, tmp_path):
    wanted = reference(call, film, options, tmp_path)
    output = tmp_path / "out.mp4"
    step = [film, "-o", output, *options]
    for number in (2, 0, 1, 2):
        assert call("farm", "span", *step, "--index", number).code == 0
    assert call("farm", "plan", *step, "--expect", 5, "--take-over").code == 0
    for index in (4, 1, 0, 3):
        done = call("farm", "chunk", *step, "--index", index, "--json")
        assert done.result == {"chunk": index, "frames": 6, "done_before": False}
    assert call("farm", "chunk", *step, "--index", 4, "--json").result["done_before"]
    joined = call("farm", "join", *step, "--json")  # chunk 2 is missing
    assert joined.result["chunks"] == {"all": 5, "kept": 4}
    assert digest(output) == wanted
    again = call("farm", "join", *step, "--take-over", "--json")
    assert (again.code, again.result["sha256"]) == (0, wanted)
    assert call("farm", "chunk", *step, "--index", 2, "--json").result["done_before"]


def test_every_step_may_see_the_folders_elsewhere(call, short, options, tmp_path):
    wanted = reference(call, short, options, tmp_path)
    here = tmp_path / "here"
    for number, command in enumerate((["plan"], ["chunk", "--index", 1], ["join"])):
        there = tmp_path / f"mount-{number}"
        here.rename(there) if here.exists() else there.mkdir()
        shutil.copyfile(short, there / "clip.mp4")
        step = [there / "clip.mp4", "-o", there / "out.mp4", *options]
        done = call("farm", *command, *step, "--json")
        assert done.code == 0, done.err
        here = there
    assert done.result["chunks"] == {"all": 2, "kept": 1}
    assert digest(here / "out.mp4") == wanted


def test_wrong_steps_say_what_is_wrong(call, short, options, tmp_path):
    step = [short, "-o", tmp_path / "out.mp4", *options]
    done = call("farm", "chunk", *step, "--index", 0)
    assert (done.code, "nothing was planned" in done.err) == (6, True)
    done = call("farm", "plan", *step, "--expect", 7)
    assert (done.code, "told 7" in done.err) == (6, True)
    assert call("farm", "span", *step, "--index", 3).code == 2
    assert call("farm", "plan", *step).code == 0
    assert call("farm", "chunk", *step, "--index", 5).code == 2
    other = [*step, "--crf", "30"]
    done = call("farm", "chunk", *other, "--index", 0)
    assert (done.code, "encoder" in done.err) == (6, True)


def under_openjd(call, clip, options, folder, *more):
    pytest.importorskip("openjd.cli", reason="openjd-cli is not installed")
    result, _, _ = written(call, clip, options, folder, *more)
    program = folder / "vidswap"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m vidswap "$@"\n')
    program.chmod(0o755)
    command = [
        *(sys.executable, "-m", "openjd", "run", result["template"], "--step", "Join"),
        *("--run-dependencies", "-p", f"file://{result['parameters']}", "-p", f"Vidswap={program}"),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(folder)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=500)


def test_the_whole_runs_under_openjd(call, short, options, tmp_path):
    wanted = reference(call, short, options, tmp_path)
    done = under_openjd(call, short, options, tmp_path)
    assert done.returncode == 0, done.stdout[-3000:]
    assert digest(tmp_path / "out.mp4") == wanted
    assert "Chunks run: 4" in done.stdout  # plan, two chunks, join
    assert "render" in done.stdout


@pytest.mark.slow
def test_the_whole_with_spans_and_a_daemon_under_openjd(call, film, options, tmp_path):
    wanted = reference(call, film, options, tmp_path)
    done = under_openjd(call, film, options, tmp_path, "--daemon")
    assert done.returncode == 0, done.stdout[-3000:]
    assert digest(tmp_path / "out.mp4") == wanted
    assert "Chunks run: 10" in done.stdout
    assert "rendering without it" not in done.stdout


PARENT = """
import subprocess, sys, time
subprocess.run([sys.executable, "-m", "vidswap", "farm", "daemon", "start", *sys.argv[1:]], check=True)
time.sleep(600)
"""


def alive(pid):
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_a_daemon_that_loses_its_parent_ends_by_itself(call, short, options, tmp_path):
    step = [short, "-o", tmp_path / "out.mp4", *options]
    assert call("farm", "plan", *step).code == 0
    place = tmp_path / "engine.json"
    words = [str(word) for word in (place, *step)]
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, *words], stdout=subprocess.PIPE, text=True
    )
    try:
        pid = int(parent.stdout.readline())
        done = call("farm", "chunk", *step, "--index", 1, "--daemon", place, "--json")
        assert done.result == {"chunk": 1, "frames": 6, "done_before": False}
        assert "rendering without it" not in done.err
        assert alive(pid)
        os.kill(parent.pid, signal.SIGKILL)
        assert until(lambda: not alive(pid), 30)
    finally:
        parent.kill()
        parent.communicate()
    # A task that meets a dead daemon does without it.
    done = call("farm", "chunk", *step, "--index", 0, "--daemon", place, "--json")
    assert done.result["frames"] == 6
    assert "rendering without it" in done.err
    assert call("farm", "daemon", "end", place).out == "was gone already\n"
