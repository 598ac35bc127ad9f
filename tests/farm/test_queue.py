"""The queue's promises: once, by one, resumable, and found again after any crash."""

import os
import random
import time
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vidswap.errors import StateError
from vidswap.farm.claim import claim, heartbeat
from vidswap.farm.owner import Owner, this_process
from vidswap.farm.queue import Queue
from vidswap.farm.sweep import Sweeper
from vidswap.farm.token import FencedError, Item, Token, key_of

ELSEWHERE = Owner("another-machine", "its boot", 1, "1")


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def add(queue, name="a", **options):
    key = key_of({"name": name})
    return key, queue.add(key, Item("write", {"name": name}, **options))


def entries(queue, name):
    return sorted(p.name for p in (queue.root / name).rglob("*") if p.is_file())


def test_an_item_is_handed_out_once_and_done_once(queue):
    key, before = add(queue)
    assert before == "unknown"
    assert add(queue)[1] == "waiting"
    taken = claim(queue, this_process())
    assert taken.token == Token(key, 1, 0)
    assert queue.state(key) == "active"
    assert add(queue)[1] == "active"
    assert claim(queue, this_process()) is None
    assert not queue.drained()
    taken.commit(result={"frames": 3})
    assert queue.state(key) == "done"
    assert queue.end(key, 1).result == {"frames": 3}
    assert add(queue)[1] == "done"
    assert queue.drained()
    with pytest.raises(FencedError):
        taken.commit()


def test_failures_are_counted_and_the_last_one_leads_to_quarantine(queue):
    key, _ = add(queue, attempts=2)
    claim(queue, this_process()).fail(ValueError("first"))
    assert queue.state(key) == "waiting"
    taken = claim(queue, this_process())
    assert taken.token == Token(key, 2, 1)
    taken.release()  # counts nothing
    taken = claim(queue, this_process())
    assert taken.token == Token(key, 3, 1)
    taken.fail(ValueError("second"))
    assert queue.state(key) == "quarantined"
    assert queue.end(key, 3).error["message"] == "ValueError: second"
    assert claim(queue, this_process()) is None
    assert queue.drained()
    assert queue.retry() == 1
    assert queue.state(key) == "waiting"
    assert claim(queue, this_process()).token == Token(key, 4, 0)


def test_a_final_failure_is_not_tried_again(queue):
    key, _ = add(queue, attempts=5)
    claim(queue, this_process()).fail(ValueError("no"), final=True)
    assert queue.state(key) == "quarantined"


def test_what_failed_waits_until_the_others_had_their_turn(queue):
    first, _ = add(queue, "a")
    claim(queue, this_process()).fail(ValueError("once"))
    second, _ = add(queue, "b")
    assert claim(queue, this_process()).token.key == second
    assert claim(queue, this_process()).token.key == first


def test_a_silent_owner_is_fenced_off_after_a_lease_of_the_watchers_clock(queue, tmp_path):
    key, _ = add(queue)
    slow = claim(queue, ELSEWHERE)
    clock = Clock()
    sweeper = Sweeper(queue, lease=10, clock=clock)
    assert not sweeper.sweep().lost
    clock.now = 9
    (queue.root / "active" / str(slow.token)).write_bytes(heartbeat(ELSEWHERE, 1))
    assert not sweeper.sweep().lost
    clock.now = 18
    assert not sweeper.sweep().lost
    clock.now = 19
    assert sweeper.sweep().lost == (slow.token,)
    quick = claim(queue, this_process())
    assert quick.token == Token(key, 2, 1)
    mine, theirs = tmp_path / "mine", tmp_path / "theirs"
    mine.write_text("2")
    theirs.write_text("1")
    with pytest.raises(FencedError):
        slow.commit([(theirs, tmp_path / "out")])
    assert slow.is_lost()
    quick.commit([(mine, tmp_path / "out")])
    with pytest.raises(FencedError):
        slow.fail(ValueError("late"))
    assert (tmp_path / "out").read_text() == "2"
    assert queue.state(key) == "done"
    assert entries(queue, "active") == []


def test_a_heartbeat_does_not_bring_an_entry_back(queue):
    add(queue)
    taken = claim(queue, this_process())
    with taken.beating(0.2):
        active = queue.root / "active" / str(taken.token)
        first = active.read_bytes()
        deadline = time.monotonic() + 5
        while active.read_bytes() == first and time.monotonic() < deadline:
            time.sleep(0.01)
        assert active.read_bytes() != first
        active.unlink()
        time.sleep(0.2)
        assert not active.exists()


@pytest.mark.parametrize("moved", [0, 1, 2])
def test_a_commit_that_was_cut_short_is_finished_by_somebody_else(queue, tmp_path, moved):
    key, _ = add(queue)
    taken = claim(queue, ELSEWHERE)
    moves = []
    for name in ("a", "b"):
        (tmp_path / f"{name}.part").write_text(name)
        moves.append((tmp_path / f"{name}.part", tmp_path / name))
    left = moves[moved:]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Queue, "carry_out", lambda *_: None)  # killed right after the decision
        taken.commit(moves, {"frames": 1}, [tmp_path / "stage"])
    (tmp_path / "stage").mkdir()
    for source, target in moves[:moved]:
        source.rename(target)
    clock = Clock()
    sweeper = Sweeper(queue, lease=10, clock=clock)
    sweeper.sweep()
    assert queue.state(key) == "active"
    assert all(source.exists() for source, _ in left)
    clock.now = 11
    assert sweeper.sweep().finished == (taken.token,)
    assert queue.state(key) == "done"
    assert [(tmp_path / name).read_text() for name in "ab"] == ["a", "b"]
    assert not (tmp_path / "stage").exists()


class CrashError(BaseException):
    """The process ends here."""


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 10**6))
def test_after_crashes_anywhere_every_item_ends_once(tmp_path_factory, seed):
    """Crash before any single file operation of any step; a sweep and the next worker go on."""
    rng = random.Random(seed)
    queue = Queue.create(tmp_path_factory.mktemp("crash") / "queue")
    keys = [add(queue, str(n), attempts=50)[0] for n in range(3)]
    clock = Clock()
    sweeper = Sweeper(queue, lease=1, clock=clock)
    for _ in range(400):
        with crashing(rng, armed=rng.random() < 0.7):
            taken = claim(queue, ELSEWHERE, rng.randrange(9))
            if taken is not None:
                rng.choice([taken.commit, taken.release, lambda t=taken: t.fail(ValueError())])()
        with crashing(rng, armed=rng.random() < 0.5):
            sweeper.sweep()
        clock.now += 1
        if queue.drained():
            break
    else:
        sweeper.sweep()
    assert queue.drained()
    for key in keys:
        outcomes = [queue.end(key, n + 1).outcome for n in range(queue.last(key))]
        assert outcomes.count("commit") == 1
        assert outcomes[-1] == "commit"
        assert queue.state(key) == "done"


class crashing:  # noqa: N801 - reads as a sentence
    """Let the process die at one of its next file operations."""

    def __init__(self, rng, *, armed):
        self._left = rng.randrange(12) if armed else -1
        self._patch = pytest.MonkeyPatch()

    def __enter__(self):
        for owner, name in (
            *((os, n) for n in ("open", "link", "scandir", "fsync")),
            *((Path, n) for n in ("unlink", "write_bytes", "replace", "open", "rename", "rmdir")),
        ):
            self._patch.setattr(owner, name, self._counted(getattr(owner, name)))

    def _counted(self, operation):
        def call(*args, **kwargs):
            if self._left == 0:
                self._left = -1
                raise CrashError
            self._left -= self._left > 0
            return operation(*args, **kwargs)

        return call

    def __exit__(self, kind, error, trace):
        self._patch.undo()
        return kind is CrashError


def test_items_wait_for_others_and_fail_with_them(queue):
    parts = [add(queue, name, attempts=1)[0] for name in "ab"]
    whole, _ = add(queue, "whole", after=tuple(parts))
    assert queue.state(whole) == "blocked"
    sweeper = Sweeper(queue)
    claim(queue, this_process()).commit()
    sweeper.sweep()
    assert queue.state(whole) == "blocked"
    assert not queue.drained()
    claim(queue, this_process()).commit()
    assert claim(queue, this_process()) is None
    sweeper.sweep()
    assert claim(queue, this_process()).token.key == whole

    bad, _ = add(queue, "bad", attempts=1)
    late, _ = add(queue, "late", after=(bad,))
    claim(queue, this_process()).fail(ValueError("no such film"))
    sweeper.sweep()
    assert queue.state(late) == "quarantined"
    assert "no such film" in queue.end(late, 1).error["message"]
    assert queue.retry() == 2
    assert claim(queue, this_process()).token.key == bad


def test_a_damaged_item_goes_to_quarantine_and_adding_it_repairs_it(queue):
    key, _ = add(queue)
    queue.item_path(key).write_text("{")
    assert claim(queue, this_process()) is None
    assert queue.state(key) == "quarantined"


def test_reopening_what_is_done(queue):
    key, _ = add(queue)
    claim(queue, this_process()).commit()
    queue.reopen(key)
    assert queue.state(key) == "waiting"
    assert claim(queue, this_process()).token == Token(key, 2, 0)


def test_a_folder_that_is_no_queue(tmp_path):
    with pytest.raises(StateError, match="not a queue"):
        Queue.open(tmp_path)
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(StateError, match="expected a folder"):
        Queue.create(file)
    Queue.create(tmp_path / "q")
    (tmp_path / "q" / "queue").write_text("vidswap queue 99\n")
    with pytest.raises(StateError, match="vidswap queue 1"):
        Queue.create(tmp_path / "q")


def test_memory_does_not_grow_with_the_queue(queue):
    """Twenty times the items, the same memory: nothing is listed whole."""

    def peak(count):
        for number in range(count):
            add(queue, f"{count}-{number}")
        tracemalloc.start()
        for _ in range(10):
            claim(queue, this_process()).commit()
        assert not queue.drained()
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return top

    peak(50)
    assert peak(2000) < 2 * peak(100)


def test_many_watchers_share_the_looking_and_miss_nothing(queue, monkeypatch):
    """With all looking at all, a thousand workers would keep the file server busy by that alone."""
    count, clock, read = 100, [0.0], []
    for number in range(count):
        add(queue, f"item {number}")
        claim(queue, Owner("elsewhere", "another", number, "1"))
    silent = Sweeper._silent
    monkeypatch.setattr(Sweeper, "_silent", lambda *a: read.append(a[1]) or silent(*a))
    watchers = [Sweeper(queue, 10.0, lambda: clock[0], salt=n) for n in range(60)]
    for watcher in watchers:
        watcher.sweep()
    assert len(read) < len(watchers) * 32
    assert len(set(read)) == count
    # All of them fall silent at once: a single watcher finds some, and then looks at everything.
    for _ in range(4):
        clock[0] += 11.0
        watchers[0].sweep()
    assert not entries(queue, "active")
