"""What frames, parts and the queue cost on this machine: the constants of ``vidswap.farm.simulate``."""

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from PIL import Image

from vidswap.farm.claim import claim
from vidswap.farm.owner import this_process
from vidswap.farm.queue import Queue
from vidswap.farm.simulate import Costs
from vidswap.farm.sweep import Sweeper
from vidswap.farm.token import Item, key_of
from vidswap.recipe import EncodeOptions, Recipe, RunOptions
from vidswap.run.analyse import merge
from vidswap.run.analyse_span import analyse_span
from vidswap.run.assemble import assemble
from vidswap.run.bench_clip import portrait, write_bench_clip
from vidswap.run.jobs import begin
from vidswap.run.prepare import prepare
from vidswap.run.request import Request
from vidswap.run.session import open_session
from vidswap.run.spans import SpanTask

FACE = 308
"""Pixels, of a 1080p picture."""
CUTS = 8
"""Chunks that the clip is rendered in, compared with one."""
ENCODE = EncodeOptions(codec="h264", preset="veryfast", crf=18)
OPERATIONS = ("open", "os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir", "os.scandir",
              "os.listdir")  # fmt: skip
SAMPLE = 100
"""Items that operations are counted over."""
WATCH_SAMPLE = 15
"""Entries looked at by one watcher that looks at all."""

Watch = Callable[[str, int, int], None]


def measure_costs(costs: Costs, watch: Watch, frames: int = 48) -> Costs:
    """Processor time of one process for each frame and part; operations on files, counted.

    Args:
        costs: What is not measured stays as it is.
        watch: Told (stage, done, total).
        frames: Of the clip that is made.

    Raises:
        RecipeError: There is no photograph to make a clip from.
    """
    with tempfile.TemporaryDirectory(prefix="vidswap-bench-") as name:
        folder = Path(name)
        operations = count_operations(folder / "queue")
        clip = write_bench_clip(folder / "clip.mp4", frames, FACE)
        Image.fromarray(portrait()).save(folder / "photo.png")
        # The first run analyses, and loads what only a first run loads.
        runs: list[dict[str, float]] = []
        for done, chunk in enumerate((frames // 2, frames // CUTS, frames), 1):
            runs.append(_render(clip, chunk, analyse=not runs))
            watch("measure", done, 3)
    first, many, one = runs
    part = max((many["render"] - one["render"]) / (CUTS - 1), 0.0)
    spent = {**first, **one, "render": max(one["render"] - part, 0.0)}
    found = {
        f"{name}_ms": round(1000 * spent[name] / frames, 2)
        for name in ("analyse", "render", "join", "merge")
    }
    start = round(first["prepare"] + first["open"], 2)
    return replace(costs, **found, **operations, part_s=round(part, 3), start_s=start)


@dataclass(frozen=True, slots=True)
class _Spent:
    """Processor seconds of blocks, by name: other work on the machine does not count."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def on(self, name: str) -> Iterator[None]:
        """Time a block."""
        began = time.process_time()
        try:
            yield
        finally:
            self.seconds[name] = time.process_time() - began


def _render(clip: Path, chunk: int, *, analyse: bool) -> dict[str, float]:
    """Processor seconds of a whole run in chunks of a length, by stage."""
    folder, spent = clip.parent, _Spent()
    recipe = Recipe(encode=ENCODE, run=RunOptions(chunk=chunk))
    output, work = folder / f"{chunk}.mp4", folder / "work"
    request = Request(clip, recipe, (folder / "photo.png",), output=output, work=work)
    with spent.on("prepare"):
        job = prepare(request)
    file = begin(request, job)
    file.save()
    if analyse:
        target = job.ready.target
        task = SpanTask.of(target.info, recipe, work, job.ready.engine.needs)
        with spent.on("analyse"):
            analyse_span(task, task.spans[0])
        with spent.on("merge"):
            merge(task)
    with spent.on("open"):
        session = open_session(file)
    with session:
        with spent.on("render"):
            for part in session.chunks:  # as workers of a farm do, each with a seek of its own
                session.render([part])
        with spent.on("join"):
            assemble(session, output)
    return spent.seconds


def count_operations(folder: Path) -> dict[str, float]:
    """Files that are opened, renamed, linked, removed or listed: the same on every machine."""
    queue, me = Queue.create(folder), this_process()
    counter = _Counter()
    keys = [key_of({"number": number}) for number in range(SAMPLE)]
    for key in keys:
        queue.add(key, Item("bench", {}))
    with counter.counting():
        for _ in keys:
            taken = claim(queue, me)
            if taken is not None:
                taken.commit()
    claimed = counter.count / SAMPLE
    few = WATCH_SAMPLE
    for number in range(few):
        queue.add(key_of({"active": number}), Item("bench", {}))
        claim(queue, me)
    sweeper = Sweeper(queue)
    with counter.counting():
        sweeper.sweep()
    watched = counter.count / few
    parent = key_of({"part": 0})
    queue.add(parent, Item("bench", {}))
    for number in range(few):
        queue.add(key_of({"blocked": number}), Item("bench", {}, after=(parent,)))
    with counter.counting():
        sweeper.unblock()
    waited = counter.count / few
    return {"claim_ops": round(claimed, 1), "watch_ops": round(watched, 1),
            "wait_ops": round(waited, 1)}  # fmt: skip


class _Counter:
    """Counts file operations by Python's audit events; a hook cannot be removed, only silenced."""

    def __init__(self) -> None:
        self.count = 0
        self._on = False
        sys.addaudithook(self._hear)

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Count those of the block."""
        self.count, self._on = 0, True
        try:
            yield
        finally:
            self._on = False

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._on and event in OPERATIONS and not str(arguments[0]).startswith("/proc"):
            self.count += 1
