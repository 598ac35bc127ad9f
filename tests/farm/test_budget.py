"""Budgets, out of memory, outages: work goes on in smaller portions or stops in good order."""

import os
import threading
import time
from contextlib import suppress

import pytest

from vidswap.errors import MediaError, RecipeError, VidswapError, WeightsError
from vidswap.farm import clip as clips
from vidswap.farm.bench import measure_queue, table
from vidswap.farm.budget import Budget, parse_bytes, parse_seconds, resident, size_of
from vidswap.farm.claim import claim
from vidswap.farm.memory import OverBudgetError, halving, is_memory, smaller
from vidswap.farm.outage import Outage
from vidswap.farm.owner import this_process
from vidswap.farm.stopping import Stop, StoppedError
from vidswap.farm.sweep import Sweeper
from vidswap.farm.task import Bench, MachineError, Outcome, is_environment, is_final
from vidswap.farm.token import Item, key_of
from vidswap.farm.worker import Worker, WorkerOptions
from vidswap.recipe import Recipe, RunOptions


class Notes(list):
    def __call__(self, text):
        self.append(text)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OverBudgetError("12 MB in use"),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        type("OutOfMemoryError", (RuntimeError,), {})("of torch"),
    ],
)
def test_out_of_memory_halves_the_batch_and_goes_on(error):
    tried, notes = [], Notes()

    def work(recipe):
        tried.append((recipe.run.batch, recipe.run.queue))
        if recipe.run.batch > 2:
            raise error
        return "done"

    assert halving(Recipe(run=RunOptions(batch=8, queue=4)), work, notes) == "done"
    assert tried == [(8, 4), (4, 4), (2, 4)]
    assert len(notes) == 2
    assert "run.batch=4" in notes[0]


def test_with_nothing_left_to_halve_it_says_so():
    def work(recipe):
        raise MemoryError("cannot allocate")

    with pytest.raises(VidswapError, match=r"out of memory even with run\.batch=1") as caught:
        halving(Recipe(), work, Notes())
    assert "--max-ram" in caught.value.hint
    assert not is_final(caught.value)  # a larger machine may do it


def test_other_errors_are_not_taken_for_memory():
    assert not is_memory(RuntimeError("device-side assert"))
    assert not is_memory(MediaError("out of memory card"))
    with pytest.raises(RuntimeError, match="assert"):
        halving(Recipe(), lambda _: (_ for _ in ()).throw(RuntimeError("assert")), Notes())
    assert smaller(Recipe(run=RunOptions(batch=1, queue=1))) is None


def test_less_memory_changes_nothing_that_is_hashed():
    less = smaller(Recipe())
    assert less.render_key() == Recipe().render_key()
    assert less.analyse_key() == Recipe().analyse_key()


@pytest.mark.parametrize(
    ("text", "size"), [("8G", 8 << 30), ("512m", 512 << 20), ("1.5 GiB", 3 << 29), ("100", 100)]
)
def test_sizes(text, size):
    assert parse_bytes(text, "--max-ram") == size


@pytest.mark.parametrize(
    ("text", "seconds"), [("8h", 28800), ("1h30m", 5400), ("90s", 90), ("45", 45), ("1d", 86400)]
)
def test_times(text, seconds):
    assert parse_seconds(text, "--deadline") == seconds


@pytest.mark.parametrize("text", ["", "G", "0", "-1G", "1X", "8 G B"])
def test_what_is_no_size(text):
    with pytest.raises(RecipeError, match="--max-ram"):
        parse_bytes(text, "--max-ram")


@pytest.mark.parametrize("text", ["", "h", "8x", "-1h", "1m1h"])
def test_what_is_no_time(text):
    with pytest.raises(RecipeError, match="--deadline"):
        parse_seconds(text, "--deadline")


def test_a_budget_of_memory():
    assert 1 << 20 < resident() < 1 << 40
    Budget(ram=1 << 40).check_ram()
    with pytest.raises(OverBudgetError, match="1 MB allowed"):
        Budget(ram=1 << 20).check_ram()


def test_a_budget_of_disk(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "part").write_bytes(b"0" * 1000)
    assert size_of(tmp_path) == 1000
    assert Budget(disk=1001).has_disk([tmp_path / "a", tmp_path / "none"])
    assert not Budget(disk=1000).has_disk([tmp_path / "a"])


def test_an_outage_is_borne_for_a_while(tmp_path):
    now, notes = [0.0], Notes()
    outage = Outage(tmp_path, notes, patience=10, clock=lambda: now[0])

    def fail():
        with outage.bearing():
            raise OSError(116, "Stale file handle")

    fail()
    now[0] = 9
    fail()
    assert len(notes) == 1
    with outage.bearing():
        pass
    now[0] = 18
    fail()
    now[0] = 28
    with pytest.raises(MediaError, match="out of reach for 10 s: Stale"):
        fail()


def test_what_is_the_machines_fault():
    full = MediaError("no space left on the disk")
    full.__cause__ = OSError(28, "No space left on device")
    assert is_environment(full)
    assert is_environment(WeightsError("missing"))
    assert is_environment(MachineError("no cuda here"))
    assert not is_final(MachineError("no cuda here"))
    assert not is_environment(MediaError("truncated"))
    assert is_final(RecipeError("crf"))


def worker(queue, task, stop=None, **options):
    chosen = WorkerOptions(lease=1, **options)
    return Worker(queue, {"write": task}, chosen, stop or Stop(0.1), Bench())


def fill(queue, count=3, **payload):
    keys = [key_of({"name": number}) for number in range(count)]
    for key in keys:
        queue.add(key, Item("write", dict(payload)))
    return keys


def test_a_full_disk_ends_the_worker_and_blames_no_clip(queue):
    keys = fill(queue)

    def task(claim, bench):
        raise OSError(28, "No space left on device")

    with pytest.raises(MediaError, match="No space left"):
        worker(queue, task).run()
    ends = [queue.end(key, 1) for key in keys]
    assert [end.outcome for end in ends if end] == ["released"]
    assert [queue.state(key) for key in keys] == ["waiting"] * 3


def test_a_broken_machine_does_not_try_every_clip(queue):
    keys = fill(queue, 20)

    def task(claim, bench):
        raise ValueError("the card has fallen off the bus")

    with pytest.raises(MachineError, match="fallen off the bus"):
        worker(queue, task).run()
    assert sum(queue.last(key) for key in keys) == 5


def test_an_unknown_kind_goes_to_quarantine(queue):
    key = key_of({"name": "new"})
    queue.add(key, Item("hologram", {}, attempts=1))
    assert worker(queue, lambda claim, bench: Outcome()).run().failed == 1
    assert "hologram" in queue.end(key, 1).error["message"]


def test_a_worker_stops_when_its_time_is_over(queue):
    keys = fill(queue)

    def task(claim, bench):
        until = time.monotonic() + 20
        while time.monotonic() < until:
            bench.pulse()
            time.sleep(0.01)

    began = time.monotonic()
    stop = Stop(0.1)
    with stop.signals():
        tally = worker(queue, task, stop, seconds=0.2).run()
    assert time.monotonic() - began < 10
    assert tally.released == 1
    assert stop.code == 0
    assert [queue.state(key) for key in keys] == ["waiting"] * 3


def test_an_error_that_native_code_made_of_a_stop_is_no_failure(queue):
    keys = fill(queue)
    stop = Stop(0.0)

    def task(claim, bench):
        with suppress(StoppedError):
            stop.ask(143)
            time.sleep(5)  # the grace is over at once
        raise WeightsError("mediapipe does not load: initialization failed")

    with stop.signals():
        tally = worker(queue, task, stop).run()
    assert (tally.released, tally.failed) == (1, 0)
    assert [queue.state(key) for key in keys] == ["waiting"] * 3


def test_grace_lets_the_item_at_hand_be_finished(queue):
    fill(queue, 3)
    stop = Stop(20)

    def task(claim, bench):
        stop.ask(143)
        time.sleep(0.05)
        bench.pulse()
        return Outcome()

    assert worker(queue, task, stop).run().done == 1
    assert stop.code == 143


def test_disk_over_budget_waits_for_others_and_then_refuses(queue, tmp_path):
    (tmp_path / "stage").mkdir()
    (tmp_path / "stage" / "part").write_bytes(b"0" * 100)
    fill(queue, 2, stage=str(tmp_path / "stage"))
    other = claim(queue, this_process())
    stop, seen = Stop(0.1), []
    timer = threading.Timer(0.5, lambda: (seen.append(True), other.release()))
    timer.start()
    tally = worker(queue, lambda *_: Outcome(), stop, budget=Budget(disk=50)).run()
    assert seen
    assert tally.done == 2
    timer.join()


def test_parts_of_an_item_come_before_new_ones(queue):
    new = key_of({"name": "new"})
    queue.add(new, Item("write", {}))
    taken = claim(queue, this_process())
    part = key_of({"name": "part"})
    queue.add(part, Item("write", {}, lane=3))
    taken.wait_for([part])
    assert queue.state(new) == "waiting"
    assert claim(queue, this_process()).token.key == part
    assert claim(queue, this_process()) is None
    sweeper = Sweeper(queue)
    sweeper.unblock()
    assert sweeper.parts() == (0, 1)


def test_a_clip_that_changed_since_it_was_queued_is_not_begun(queue, tmp_path, clip, recipe):
    from vidswap import recipe as recipes
    from vidswap.farm import ledger
    from vidswap.run.request import Request

    path = tmp_path / "clip.mp4"
    path.write_bytes(clip.read_bytes())
    wanted = Request(path, recipes.load(str(recipe)), output=tmp_path / "out.mp4")
    item = clips.Clip(wanted, ledger.identify(path), "settings", tmp_path / "a.json")
    assert clips.Clip.decode(item.encode()) == item
    queue.add(item.key, item.item(3))
    path.write_bytes(clip.read_bytes() + b"more")
    tasks = {clips.KIND: clips.run_clip}
    assert Worker(queue, tasks, WorkerOptions(), Stop(1), Bench()).run().failed == 1
    assert queue.state(item.key) == "quarantined"  # at once: it would be refused again
    assert "has changed since it was queued" in queue.end(item.key, 1).error["message"]
    assert not (tmp_path / "out.mp4").exists()


def test_memory_over_budget_in_a_clip_is_met_with_smaller_batches(
    queue, tmp_path, clip, recipe, monkeypatch
):
    """The real task, a swap that needs too much memory for more than one face at a time."""
    from vidswap import recipe as recipes
    from vidswap.farm import ledger
    from vidswap.run import swap as swaps
    from vidswap.run.request import Request

    batches = []

    def swap(request):
        batches.append(request.recipe.run.batch)
        if request.recipe.run.batch > 1:
            raise MemoryError
        request.output.write_bytes(b"video")
        return {"frames": 8}

    monkeypatch.setattr(swaps, "swap", swap)
    output = tmp_path / "out.mp4"
    wanted = Request(clip, recipes.load(str(recipe)), output=output, allow_no_face=True)
    item = clips.Clip(wanted, ledger.identify(clip), "settings", tmp_path / "ledger" / "a.json")
    queue.add(item.key, item.item(3))
    (tmp_path / ".out.mp4.0123abcd.stage").mkdir()  # of an older clip of this name
    tasks = {clips.KIND: clips.run_clip}
    assert Worker(queue, tasks, WorkerOptions(), Stop(1), Bench()).run().done == 1
    assert batches == [4, 2, 1]
    assert output.read_bytes() == b"video"
    entry = ledger.read(tmp_path / "ledger" / "a.json")
    assert (entry.key, entry.size) == (item.key, 5)
    assert not [p for p in os.listdir(tmp_path) if p.endswith(".stage")]  # noqa: PTH208


def test_the_benchmark_of_the_queue(tmp_path):
    result = measure_queue(tmp_path, items=50)
    assert result["claim_us"]["median"] > 0
    assert "50 items" in table(result)
    assert list(tmp_path.iterdir()) == []
