"""Several workers on one clip: the same bytes as one, also when they are killed."""

import hashlib
import os
import random
import shutil
import signal
import time

import pytest

from tests.farm.conftest import until
from vidswap.farm.queue import Queue
from vidswap.testing import Clip, write_clip

SMALL = ("--set", "run.chunk=12", "--set", "track.span=24")


@pytest.fixture(scope="module")
def film(media):
    return write_clip(media / "film.mp4", Clip(frames=60))


@pytest.fixture
def reference(call, film, recipe, tmp_path):
    """Digest of what ``vidswap run`` makes of the clip."""
    output = tmp_path / "reference.mp4"
    assert call("run", film, "-o", output, "-p", recipe, "--allow-no-face", *SMALL).code == 0
    return hashlib.sha256(output.read_bytes()).hexdigest()


def begin(start, film, recipe, tmp_path):
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    shutil.copyfile(film, source / "film.mp4")
    process = start(
        *("batch", source, out, "-p", recipe, "--allow-no-face", "--settle", "0"),
        *("--share", "chunks", "--workers", "2", "--attempts", "100", *SMALL),
    )
    return process, out


def check(out, reference):
    """One output, the same bytes, nothing left over, every part committed once."""
    made = out / "film_swapped.mp4"
    assert hashlib.sha256(made.read_bytes()).hexdigest() == reference
    assert sorted(p.name for p in out.iterdir()) == [".vidswap", "film_swapped.mp4"]
    queue = Queue.open(out / ".vidswap" / "queue")
    assert queue.drained()
    done = [key for key, _ in queue.index("done")]
    assert len(done) == len(set(done)) == 1 + 3 + 5  # the clip, its spans, its chunks
    for key in done:
        ends = [queue.end(key, n + 1).outcome for n in range(queue.last(key))]
        assert ends.count("commit") == 1
    return queue


def workers_of(queue):
    found = set()
    for path in (queue / "active").glob("*"):
        text = path.read_text() if path.exists() else ""
        if '"pid": ' in text:
            found.add(int(text.split('"pid": ')[1].split(",")[0]))
    return found


def test_two_workers_share_a_clip_and_one_is_killed(start, film, recipe, tmp_path, reference):
    process, out = begin(start, film, recipe, tmp_path)
    queue = out / ".vidswap" / "queue"
    done = queue / "done"
    assert until(lambda: len(list(done.rglob("*.1"))) >= 4, 120)  # three spans and a chunk
    victims = until(lambda: workers_of(queue))
    os.kill(min(victims), signal.SIGKILL)
    assert process.wait(timeout=240) == 0
    check(out, reference)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_many_kills_and_pauses(start, film, recipe, tmp_path, reference, seed):
    process, out = begin(start, film, recipe, tmp_path)
    queue, rng = out / ".vidswap" / "queue", random.Random(seed)
    assert until((queue / "active").exists)
    for _ in range(8):
        time.sleep(rng.uniform(0.2, 2.5))
        for pid in list(workers_of(queue))[:1]:
            number = rng.choice([signal.SIGKILL, signal.SIGSTOP])
            try:
                os.kill(pid, number)
                if number == signal.SIGSTOP:
                    time.sleep(rng.uniform(0.1, 1))
                    os.kill(pid, signal.SIGCONT)
            except ProcessLookupError:
                continue
    assert process.wait(timeout=300) == 0
    check(out, reference)
