"""``vidswap batch`` end to end, with the engine that changes nothing."""

import json
import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from tests.farm.conftest import until
from vidswap.farm.queue import Queue


@pytest.fixture
def folder(tmp_path, clip):
    """Two clips of one name in two folders, and files that are none of ours."""
    source = tmp_path / "in"
    (source / "day1").mkdir(parents=True)
    (source / ".hidden").mkdir()
    for place in ("a.mp4", "day1/a.mp4", ".hidden/h.mp4", "copying.mp4.part"):
        shutil.copyfile(clip, source / place)
    (source / "notes.txt").write_text("no clip")
    return source


@pytest.fixture
def batch(call, recipe):
    """Run a batch with the identity engine and no waiting."""

    def run(*arguments):
        options = ("-p", recipe, "--allow-no-face", "--settle", "0.05", "--json")
        return call("batch", *arguments, *options)

    return run


def videos(folder):
    """Every file and folder but the batch's own."""
    found = [p for p in folder.rglob("*") if ".vidswap" not in p.parts and p.is_file()]
    return sorted(str(p.relative_to(folder)) for p in found)


def stamps(folder):
    return {name: (folder / name).stat().st_mtime_ns for name in videos(folder)}


def test_one_bad_clip_among_good_ones_then_again_then_changes(batch, folder, tmp_path, clip):
    """One story, because every call starts a worker: bad clip, idempotence, change, retry."""
    out, bad = tmp_path / "out", folder / "bad.mp4"
    bad.write_bytes(clip.read_bytes()[:3000])
    done = batch(folder, out, "--attempts", 2)
    assert done.code == 7, done.err
    counts = done.result["counts"]
    assert (counts["clips"], counts["done"], counts["failed"]) == (3, 2, 1)
    assert videos(out) == ["a_swapped.mp4", "day1/a_swapped.mp4"]
    (failed,) = [row for row in done.result["rows"] if row["fate"] == "failed"]
    assert (failed["input"], failed["attempts"]) == (str(bad), 2)
    assert "cut off" in failed["error"]["message"]
    assert "1 failed of 3 clips" in done.err
    home = out / ".vidswap"
    assert json.loads((home / "summary.json").read_text())["counts"] == counts
    page = (home / "summary.html").read_text()
    assert "cut off" in page
    assert "http" not in page

    before = stamps(out)
    bad.unlink()
    began = time.monotonic()
    again = batch(folder, out)
    assert again.code == 0, again.err
    assert time.monotonic() - began < 5
    assert again.result["counts"]["before"] == 2
    assert again.result["rows"] == []
    assert stamps(out) == before

    os.utime(folder / "a.mp4", (1, 1))  # touched, not changed
    assert batch(folder, out).result["counts"]["before"] == 2

    shutil.copyfile(clip, bad)  # the bad one was mended
    with (folder / "a.mp4").open("ab") as file:  # and a good one has changed
        file.write(b"\0" * 64)
    changed = batch(folder, out)
    assert changed.code == 7
    (row,) = [row for row in changed.result["rows"] if row["fate"] == "failed"]
    assert row["error"]["code"] == "state_error"
    assert "has changed" in row["error"]["message"]
    assert "--overwrite" in row["error"]["hint"]
    assert stamps(out).items() >= before.items()
    assert "bad_swapped.mp4" in videos(out)

    anew = batch(folder, out, "--overwrite")
    assert anew.code == 0, anew.err
    assert (anew.result["counts"]["done"], anew.result["counts"]["before"]) == (1, 2)
    assert stamps(out)["a_swapped.mp4"] != before["a_swapped.mp4"]
    assert batch(folder, out).code == 0

    (out / "a_swapped.mp4").unlink()  # deleted by hand: wanted again
    assert batch(folder, out).result["counts"]["done"] == 1
    assert "a_swapped.mp4" in videos(out)


def test_foreign_outputs_and_other_settings_are_refused_clip_by_clip(batch, folder, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "a_swapped.mp4").write_bytes(b"mine")
    done = batch(folder, out)
    assert done.code == 7
    (failed,) = [row for row in done.result["rows"] if row["fate"] == "failed"]
    assert "not of this batch" in failed["error"]["message"]
    assert (out / "a_swapped.mp4").read_bytes() == b"mine"
    assert "day1/a_swapped.mp4" in videos(out)
    other = batch(folder, out, "--set", "smooth.pose=2", "--workers", 0)
    messages = [row["error"]["message"] for row in other.result["rows"]]
    assert any("another recipe" in message for message in messages)


def test_a_deadline_leaves_the_rest_to_the_next_call(batch, folder, tmp_path):
    out = tmp_path / "out"
    # Over before a worker could start: one that has would finish its clip within the grace.
    late = batch(folder, out, "--deadline", "0.001s")
    assert late.code == 7
    assert late.result["counts"]["left"] == 2
    assert "2 left of 2 clips" in late.err
    assert "the same command goes on" in late.err
    assert "Left for another call" in (out / ".vidswap" / "summary.html").read_text()
    assert videos(out) == []
    assert batch(folder, out).result["counts"]["done"] == 2


def test_name_clashes_are_refused_before_any_work(batch, folder, tmp_path):
    out = tmp_path / "out"
    done = batch(folder, out, "--template", "{stem}{suffix}")
    assert done.code == 2
    assert "two clips would be written to it" in done.err
    assert str(folder / "a.mp4") in done.err
    assert str(folder / "day1" / "a.mp4") in done.err
    assert videos(out) == []


def test_an_output_folder_that_cannot_be_written_to(batch, folder, tmp_path):
    out = tmp_path / "file"
    out.write_text("")
    assert batch(folder, out).code == 3
    read_only = tmp_path / "read_only"
    read_only.mkdir(mode=0o500)
    if os.access(read_only, os.W_OK):
        pytest.skip("this user may write everywhere")
    done = batch(folder, read_only)
    assert done.code == 3
    assert "cannot be written to" in done.err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["none", "out"], 3, "no such folder"),
        (["in"], 2, "IN and OUT"),
        (["in", "in"], 2, "same folder"),
        (["in", "out", "--template", "{date}"], 2, "no field {date}"),
        (["in", "out", "--template", "../{stem}{suffix}"], 2, "no file below"),
        (["in", "out", "--template", "{stem}.txt"], 2, "no container"),
        (["in", "out", "--template", "{stem"], 2, "--template"),
        (["in", "out", "--max-ram", "much"], 2, "--max-ram much"),
        (["in", "out", "--deadline", "soon"], 2, "--deadline soon"),
        (["in", "out", "--source", "none.jpg"], 3, "none.jpg"),
        (["in", "out", "-p", "mesh"], 2, "nobody"),
        (
            [
                "in",
                "out",
                "-p",
                "latentswap",
                "-s",
                "in/notes.txt",
                "--set",
                "engine.generator=nobodys",
            ],
            4,
            "nobodys",
        ),
        (["out", "--jobs", "none.toml"], 3, "none.toml"),
        (["in", "out", "--jobs", "jobs.toml"], 2, "no IN"),
    ],
)
def test_refusals(call, recipe, folder, tmp_path, monkeypatch, arguments, code, words):
    monkeypatch.chdir(tmp_path)
    pipeline = [] if "-p" in arguments else ["-p", recipe]
    done = call("batch", *arguments, *pipeline, "--json")
    assert done.code == code, done.err
    assert words in done.err
    assert "Traceback" not in done.err


def test_a_worker_without_a_queue(call, tmp_path):
    done = call("worker", tmp_path / "none")
    assert done.code == 6
    assert "not a queue" in done.err


def test_jobs_with_settings_of_their_own(batch, folder, tmp_path, call):
    jobs = tmp_path / "jobs.jsonl"
    rows = [
        {"input": "in/a.mp4", "output": "x/first.mkv", "start": "2f", "end": "6f"},
        {"input": "in/day1/a.mp4", "set": ["encode.codec=ffv1"], "output": "second.mkv"},
        {"input": "in/none.mp4"},
    ]
    jobs.write_text("\n".join(map(json.dumps, rows)))
    done = batch(tmp_path / "out", "--jobs", jobs)
    assert done.code == 7, done.err
    facts = {row["input"]: row for row in done.result["rows"]}
    assert facts[str(folder / "a.mp4")]["facts"]["frames"] == 4
    assert "no such file" in facts[str(tmp_path / "in" / "none.mp4")]["error"]["message"].lower()
    assert videos(tmp_path / "out") == ["second.mkv", "x/first.mkv"]
    probed = call("probe", tmp_path / "out" / "second.mkv", "--json").result
    assert (probed["codec"], probed["frames"]) == ("ffv1", 8)


@pytest.mark.slow
def test_reports_and_analyses_are_kept_where_they_belong(batch, folder, tmp_path):
    out, reports = tmp_path / "out", tmp_path / "reports"
    done = batch(folder, out, "--glob", "day1/*", "--report", reports, "--keep-work")
    assert done.code == 0, done.err
    page = reports / "day1" / "a.mp4" / "report.html"
    assert str(out / "day1" / "a_swapped.mp4") in page.read_text()
    assert ".part" not in page.read_text()
    assert (out / "day1" / "a_swapped.mp4.vidswap" / "analysis.json").is_file()


@pytest.fixture
def waiting(start, recipe, tmp_path, long_clip):
    """A batch process whose one clip takes seconds; waits until a worker has it."""
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    shutil.copyfile(long_clip, source / "long.mp4")

    def begin(*options):
        process = start(
            *("batch", source, out, "-p", recipe, "--allow-no-face", "--settle", "0.05"),
            *options,
        )
        queue = out / ".vidswap" / "queue"
        # The queue's folder is there before the folders in it.
        assert until(lambda: (queue / "active").is_dir() and any(Queue(queue).tokens("active")))
        return process, Queue(queue), out

    return begin


def owner_of(queue):
    def read():
        for path in (queue.root / "active").iterdir():
            text = path.read_text()
            if text:
                return json.loads(text)["owner"]["pid"]
        return None

    return until(read)


def test_a_killed_worker_is_replaced_and_its_clip_done(waiting):
    process, queue, out = waiting()
    first = owner_of(queue)
    os.kill(first, signal.SIGKILL)
    assert process.wait(timeout=240) == 0
    assert videos(out) == ["long_swapped.mp4"]
    ((key, _),) = queue.index("done")
    assert [queue.end(key, n).outcome for n in (1, 2)] == ["lost", "commit"]


def test_sigterm_gives_the_clip_back_and_the_next_call_goes_on(waiting, batch, tmp_path):
    process, queue, out = waiting("--grace", "0")
    began = time.monotonic()
    process.terminate()
    assert process.wait(timeout=60) == 143
    assert time.monotonic() - began < 6
    assert not (out / "long_swapped.mp4").exists()
    (hint,) = queue.hints()
    assert hint.name.endswith(".2.0")  # a second generation, no failure counted
    assert batch(tmp_path / "in", out).code == 0
    assert videos(out) == ["long_swapped.mp4"]


def test_workers_end_when_their_parent_is_killed(waiting):
    process, queue, _ = waiting("--grace", "0")
    worker = owner_of(queue)
    process.kill()
    process.wait()

    def gone():
        stat = Path(f"/proc/{worker}/stat")
        return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"

    assert until(gone, 10)


def test_watch_takes_a_file_once_it_is_stable(start, recipe, tmp_path, clip):
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    process = start(
        *("batch", source, out, "-p", recipe, "--allow-no-face", "--watch"),
        *("--interval", "0.2", "--settle", "0.4"),
    )
    data, growing = clip.read_bytes(), source / "new.mp4"
    assert until((out / ".vidswap" / "queue" / "queue").exists)
    items = out / ".vidswap" / "queue" / "items"
    for at in range(0, len(data), len(data) // 12 + 1):
        with growing.open("ab") as file:
            file.write(data[at : at + len(data) // 12 + 1])
        time.sleep(0.15)
        assert not items.exists(), "taken while it was being written"
    assert until((out / "new_swapped.mp4").exists)
    process.terminate()
    assert process.wait(timeout=60) == 143
    assert "stopped: 1 done of 1 clips" in (tmp_path / "log-0.txt").read_text()


@pytest.mark.slow
def test_two_batches_at_once_share_the_work(start, recipe, tmp_path, clip):
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    for number in range(2):
        shutil.copyfile(clip, source / f"{number}.mp4")
    command = ("batch", source, out, "-p", recipe, "--allow-no-face", "--settle", "0")
    both = [start(*command), start(*command)]
    assert [process.wait(timeout=240) for process in both] == [0, 0]
    queue = Queue.open(out / ".vidswap" / "queue")
    assert len(videos(out)) == 2
    assert sorted(n for _, n in queue.index("done")) == [1, 1]
