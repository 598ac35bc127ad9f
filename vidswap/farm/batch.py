"""Many clips: plan, let workers do them, watch, sum up."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from vidswap import __version__
from vidswap.errors import MediaError, VidswapError
from vidswap.farm.clip import Share
from vidswap.farm.folder import TEMPLATE
from vidswap.farm.outage import Outage
from vidswap.farm.plan import (
    Planned,
    Planner,
    PlanOptions,
    Wanted,
    check_people,
    check_weights,
    with_outputs,
)
from vidswap.farm.pool import Pool, Start, start_here
from vidswap.farm.queue import Queue
from vidswap.farm.stopping import Stop
from vidswap.farm.summary import Row, Summary, write_summary
from vidswap.farm.sweep import LEASE_SECONDS, Sweeper

HOME = ".vidswap"
"""Folder in OUT for queue, ledger and summary."""
LOOK_SECONDS = 0.3
SAY_SECONDS = 30.0
"""Between two summaries of a batch that is not finished."""
LOOKS = 200
"""Clips whose state is looked up each time."""
REMEMBERED = 20_000
"""Rows that a summary keeps; a batch that watches a folder goes on for ever."""


def _silent(*_: object) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True)
class BatchOptions:
    """How a batch is run."""

    out: Path
    template: str = TEMPLATE
    queue: Path | None = None
    """None is ``OUT/.vidswap/queue``."""
    workers: int = 1
    """0 only queues: workers are started elsewhere."""
    worker_options: Sequence[str] = ()
    """Further options of ``vidswap worker``."""
    attempts: int = 3
    lease: float = LEASE_SECONDS
    grace: float = 20.0
    seconds: float | None = None
    """End after so long; what is left stays queued."""
    watch: bool = False
    """Go on for ever, looking for new clips."""
    interval: float = 10.0
    """Seconds between two looks."""
    settle: float = 3.0
    retry: bool = False
    keep_work: bool = False
    share: Share = "auto"

    @property
    def home(self) -> Path:
        """Folder for what is no video."""
        return self.out / HOME

    @property
    def plan(self) -> PlanOptions:
        """What planning needs."""
        return PlanOptions(
            self.out, self.template, self.attempts, self.settle, self.retry, self.keep_work,
            self.share,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Told:
    """Who hears how a batch gets on."""

    progress: Callable[[str, int, int], None] = _silent
    note: Callable[[str], None] = _silent
    warn: Callable[[str], None] = _silent
    row: Callable[[Row], None] = _silent
    """Every clip, when its fate is known."""


@dataclass(slots=True, eq=False)
class _State:
    pending: dict[str, Planned] = field(default_factory=dict)
    rows: deque[Row] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    counts: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(
            ("clips", "done", "before", "failed", "unstable", "left"), 0
        )
    )
    refused: dict[Path, tuple[int, int] | None] = field(default_factory=dict)
    """Clips that a watching batch does not take again until they change, with their stamps."""
    trouble: str = ""
    """What the last look at the folder met."""


class Batch:
    """One call of ``vidswap batch``.

    Args:
        options: How it is run.
        clips: What is wanted now; called again and again by a batch that watches.
        stop: Ends it from outside.
        told: Hears how it gets on.
        start: Starts a worker.

    Raises:
        MediaError: The output folder cannot be made or written to.
        StateError: The queue's folder holds something else.
    """

    def __init__(
        self,
        options: BatchOptions,
        clips: Callable[[], Iterable[Wanted]],
        stop: Stop,
        told: Told,
        start: Start = start_here,
    ) -> None:
        self._start = start
        self._options, self._clips, self._stop, self._told = options, clips, stop, told
        _make(options.out)
        self._queue = Queue.create(options.queue or options.home / "queue")
        self._planner = Planner(self._queue, options.home / "outputs", options.plan)
        self._sweeper = Sweeper(self._queue, options.lease)
        self._outage = Outage(self._queue.root, told.warn)
        self._state = _State()
        self._began = time.monotonic()
        self._begun = datetime.now(UTC).isoformat(timespec="seconds")

    def run(self) -> Summary:
        """Do everything, or as much as time allows.

        Raises:
            RecipeError: Two clips have one output, or no clip could be done at all.
            VidswapError: Workers find that this machine cannot do the work.
        """
        self._scan()
        options = self._options
        if options.workers and (self._state.pending or options.watch):
            pool = Pool(self._arguments(), options.workers, self._queue.root / "logs", self._start)
            try:
                self._follow(pool)
            finally:
                pool.stop(options.grace)
                self._look(len(self._state.pending))
        for planned in self._state.pending.values():
            self._enter(Row(str(planned.wanted.request.input), str(planned.output), "left"))
        return self._sum_up()

    def _scan(self) -> None:
        """Plan what is new since the last scan."""
        state = self._state
        wanted = with_outputs(self._clips(), self._options.plan)
        known = {planned.wanted.request.input for planned in state.pending.values()}
        fresh = [one for one in wanted if one.request.input not in known and not self._knows(one)]
        first = not state.counts["clips"]
        if first and fresh:
            check_people(fresh[0].request)
        if self._options.workers:
            check_weights({one.request.recipe for one in fresh})
        state.counts["before"] = state.counts["unstable"] = 0
        for planned in self._planner.plan(fresh, self._stop.wanted.wait):
            self._sort(planned)
        state.counts["clips"] = len(wanted)

    def _knows(self, one: Wanted) -> bool:
        """Whether a clip was refused as it is now."""
        path = one.request.input
        return path in self._state.refused and self._state.refused[path] == _stamp(path)

    def _sort(self, planned: Planned) -> None:
        """Wait for a clip, or enter its fate."""
        path, output = planned.wanted.request.input, planned.output
        if planned.standing == "queued":
            self._state.pending[planned.key] = planned
        elif planned.standing == "done":
            self._state.counts["before"] += 1
        elif planned.standing == "unstable":
            self._enter(Row(str(path), str(output), "unstable"))
        else:
            self._refuse(planned)

    def _refuse(self, planned: Planned) -> None:
        path = planned.wanted.request.input
        self._state.refused[path] = _stamp(path)
        last = self._queue.last(planned.key) if planned.key else 0
        end = self._queue.end(planned.key, last) if last else None
        attempts = 0 if end is None else end.fails
        self._enter(Row(str(path), str(planned.output), "failed", attempts, {}, planned.error))

    def _enter(self, row: Row) -> None:
        self._state.counts[row.fate] += 1
        if row.fate != "unstable" or not self._options.watch:
            self._state.rows.append(row)
            self._told.row(row)

    def _follow(self, pool: Pool) -> None:
        """Keep workers alive until the last clip has its fate."""
        scanned = said = time.monotonic()
        while not self._stop.wanted.is_set() and not self._is_late():
            if self._options.watch and time.monotonic() - scanned > self._options.interval:
                self._scan_again()
                scanned = time.monotonic()
            if not self._state.pending and not self._options.watch:
                return
            pool.fill()
            self._stop.wanted.wait(LOOK_SECONDS)
            for remark in pool.reap():
                self._told.warn(remark)
            with self._outage.bearing():
                self._sweeper.sweep()
                self._look(LOOKS)
            if time.monotonic() - said > SAY_SECONDS:
                self._say()
                said = time.monotonic()
        if self._is_late():
            self._told.warn(f"--deadline: {len(self._state.pending)} clips are left")

    def _scan_again(self) -> None:
        """A folder that is away for a while, or a name clash, does not end a batch that watches."""
        try:
            self._scan()
        except VidswapError as error:
            if str(error) != self._state.trouble:
                self._told.warn(str(error))
            self._state.trouble = str(error)
        else:
            self._state.trouble = ""

    def _say(self) -> None:
        """What a person wants to know who looks in the middle of the night."""
        done, total = self._sweeper.parts()
        if total:
            self._told.note(f"{done} of {total} parts of shared clips are done")
        if self._state.rows:
            self._sum_up()

    def _is_late(self) -> bool:
        limit = self._options.seconds
        return limit is not None and time.monotonic() - self._began >= limit

    def _look(self, count: int) -> None:
        """Look up some of the clips that are waited for, those first that were not for longest."""
        pending, counts = self._state.pending, self._state.counts
        for _ in range(min(count, len(pending))):
            key = next(iter(pending))
            planned = pending.pop(key)
            row = self._fate(key, planned)
            if row is None:
                pending[key] = planned
            else:
                self._enter(row)
        finished = counts["done"] + counts["failed"]
        self._told.progress("batch", finished, finished + len(pending))

    def _fate(self, key: str, planned: Planned) -> Row | None:
        state = self._queue.state(key)
        if state not in ("done", "quarantined"):
            return None
        end = self._queue.end(key, self._queue.last(key))
        if end is None:
            return None
        path, output = planned.wanted.request.input, planned.output
        if state == "done":
            return Row(str(path), str(output), "done", end.fails + 1, end.result)
        self._state.refused[path] = _stamp(path)
        return Row(str(path), str(output), "failed", end.fails, {}, end.error)

    def _arguments(self) -> list[str]:
        options = self._options
        stay = ["--stay"] if options.watch else []
        return [
            "worker", str(self._queue.root), "--with-parent", "--log-format", "json",
            "--grace", str(options.grace), "--lease", str(options.lease),
            *stay, *options.worker_options,
        ]  # fmt: skip

    def _sum_up(self) -> Summary:
        state = self._state
        summary = Summary(
            str(self._options.out),
            str(self._queue.root),
            self._begun,
            round(time.monotonic() - self._began, 3),
            dict(state.counts),
            tuple(state.rows),
            __version__,
        )
        # A call every minute that had nothing to do leaves the page of the one that had.
        page = self._options.home / "summary.html"
        if state.rows or not page.exists():
            with suppress(OSError):
                write_summary(self._options.home, summary)
        return summary


def _make(out: Path) -> None:
    """Make the output folder.

    Raises:
        MediaError: It cannot be.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or str(error)
        message = f"cannot make the output folder: {reason}"
        raise MediaError(message, path=out, stage="output") from error


def _stamp(path: Path) -> tuple[int, int] | None:
    with suppress(OSError):
        found = path.stat()
        return found.st_size, found.st_mtime_ns
    return None


def outputs_of(summary: Summary) -> Iterator[str]:
    """Videos that this call made."""
    return (row.output for row in summary.rows if row.fate == "done")


def failed_text(summary: Summary) -> str:
    """Counts in one line: what went wrong, or that nothing did."""
    counts = summary.counts
    parts = [f"{counts[name]} {name}" for name in ("failed", "left") if counts[name]]
    parts = parts or [f"{counts['done'] + counts['before']} done"]
    return f"{', '.join(parts)} of {counts['clips']} clips"
