"""Several workers on one queue while a test stops and kills them at random."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.farm.conftest import until
from vidswap.farm.queue import Queue
from vidswap.farm.token import Item, key_of

DRONE = Path(__file__).with_name("drone.py")
LEASE = 0.6


def start(queue, out, seconds):
    return subprocess.Popen(
        [sys.executable, DRONE, queue.root, out, str(LEASE), str(seconds)],
        stderr=subprocess.PIPE,
        text=True,
    )


def fill(queue, count, **more):
    keys = {}
    for number in range(count):
        name = f"item-{number:02}"
        keys[name] = key_of({"name": name})
        queue.add(keys[name], Item("write", {"name": name, **more}, attempts=1000))
    return keys


def check(queue, keys, out):
    """Every item was committed by exactly one generation, the one whose file stands."""
    for name, key in keys.items():
        last = queue.last(key)
        ends = [queue.end(key, n + 1) for n in range(last)]
        assert None not in ends
        commits = [n + 1 for n, end in enumerate(ends) if end.outcome == "commit"]
        assert commits == [last]
        assert (out / name).read_text() == str(last)
        assert ends[-1].result == {"generation": last}


def wait_drained(queue, workers, respawn, seconds):
    deadline = time.monotonic() + seconds
    while not queue.drained():
        assert time.monotonic() < deadline, "the queue never drained"
        for number, worker in enumerate(workers):
            if worker.poll() is not None:
                worker.communicate()
                workers[number] = respawn()
        time.sleep(0.05)


def end(workers):
    errors = []
    for worker in workers:
        if worker.poll() is None:
            worker.send_signal(signal.SIGCONT)
            worker.terminate()
        errors.append(worker.communicate(timeout=20)[1])
    return "".join(errors)


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="needs POSIX signals")
@pytest.mark.parametrize("seed", [1])
def test_killed_and_stopped_workers_commit_every_item_once(tmp_path, seed):
    torment(tmp_path, seed, items=12, workers=3, blows=10, seconds=0.15)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_more_of_the_same(tmp_path, seed):
    torment(tmp_path, seed, items=60, workers=4, blows=60, seconds=0.15)


def torment(tmp_path, seed, *, items, workers, blows, seconds):
    queue, out = Queue.create(tmp_path / "queue"), tmp_path / "out"
    out.mkdir()
    keys, rng = fill(queue, items), random.Random(seed)

    def respawn():
        return start(queue, out, seconds)

    running = [respawn() for _ in range(workers)]
    asleep = []
    for _ in range(blows):
        time.sleep(rng.uniform(0.05, 0.25))
        number = rng.randrange(workers)
        victim = running[number]
        if rng.random() < 0.5:
            victim.kill()
            victim.communicate()
            running[number] = respawn()
        elif victim.poll() is None and len(asleep) < 4:
            victim.send_signal(signal.SIGSTOP)
            asleep.append((time.monotonic(), victim))
            running[number] = respawn()
        for since, sleeper in list(asleep):
            if time.monotonic() - since > 2 * LEASE:
                sleeper.send_signal(signal.SIGCONT)
                asleep.remove((since, sleeper))
    woken = [sleeper for _, sleeper in asleep]
    for sleeper in woken:
        sleeper.send_signal(signal.SIGCONT)
    wait_drained(queue, running, respawn, 60)
    errors = end(running + woken)
    assert "Traceback" not in errors, errors
    check(queue, keys, out)


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="needs POSIX signals")
def test_a_worker_that_slept_beyond_its_lease_is_fenced_off(tmp_path):
    queue, out = Queue.create(tmp_path / "queue"), tmp_path / "out"
    out.mkdir()
    keys = fill(queue, 1)
    sleeper = start(queue, out, 10.0)
    assert until(lambda: list(queue.tokens("active")), every=0.01)
    sleeper.send_signal(signal.SIGSTOP)
    other = start(queue, out, 0.1)
    _, errors = other.communicate(timeout=30)
    assert other.returncode == 0, errors
    check(queue, keys, out)
    written = (out / "item-00").stat().st_mtime_ns
    sleeper.send_signal(signal.SIGCONT)
    _, errors = sleeper.communicate(timeout=30)
    assert sleeper.returncode == 0, errors
    assert (out / "item-00").stat().st_mtime_ns == written
    check(queue, keys, out)
    assert queue.last(keys["item-00"]) == 2


def test_sigterm_gives_the_item_back_without_counting_an_attempt(tmp_path):
    queue, out = Queue.create(tmp_path / "queue"), tmp_path / "out"
    out.mkdir()
    keys = fill(queue, 1)
    worker = start(queue, out, 30.0)
    assert until(lambda: list(queue.tokens("active")), every=0.01)
    began = time.monotonic()
    worker.terminate()
    _, errors = worker.communicate(timeout=30)
    assert worker.returncode == 143, errors
    assert time.monotonic() - began < 3
    (key,) = keys.values()
    assert queue.end(key, 1).outcome == "released"
    assert queue.end(key, 1).fails == 0
    assert queue.state(key) == "waiting"


def test_a_poisonous_item_stops_no_other(tmp_path):
    queue, out = Queue.create(tmp_path / "queue"), tmp_path / "out"
    out.mkdir()
    bad = key_of({"name": "bad"})
    queue.add(bad, Item("write", {"name": "bad", "poison": True}, attempts=3))
    keys = fill(queue, 3)
    worker = start(queue, out, 0.01)
    _, errors = worker.communicate(timeout=30)
    assert worker.returncode == 0, errors
    check(queue, keys, out)
    assert queue.state(bad) == "quarantined"
    assert [queue.end(bad, n).fails for n in (1, 2, 3)] == [1, 2, 3]
