"""Takes items from a queue and does them, one after the other."""

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from vidswap.errors import MediaError, VidswapError
from vidswap.farm.budget import Budget
from vidswap.farm.claim import BEATS, Claim, claim
from vidswap.farm.outage import Outage
from vidswap.farm.owner import Owner, this_process
from vidswap.farm.queue import Queue
from vidswap.farm.stopping import Stop, StoppedError
from vidswap.farm.sweep import LEASE_SECONDS, Sweeper
from vidswap.farm.task import Bench, MachineError, Task, is_environment, is_final
from vidswap.farm.token import FencedError, Token

IDLE_SECONDS = 0.5
"""Between two looks at a queue that has nothing to claim."""
BUGS = 5
"""Items in a row that fail with a bug before a worker takes no more."""
IDLE_MOST = 5.0
"""The same where nothing has come for long."""


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """How a worker behaves."""

    lease: float = LEASE_SECONDS
    stay: bool = False
    """Wait for more when the queue is empty."""
    limit: int | None = None
    """End after so many items."""
    seconds: float | None = None
    """Stop after so long, with the grace that a signal gives."""
    budget: Budget = field(default_factory=Budget)


@dataclass(frozen=True, slots=True)
class Tally:
    """What a worker did."""

    done: int = 0
    failed: int = 0
    lost: int = 0
    """Taken over by another worker in the meantime."""
    released: int = 0
    waiting: int = 0
    """Cut into parts that others work on too."""


def shipped_tasks() -> Mapping[str, Task]:
    """Every kind of item, by name."""
    from vidswap.farm import clip, share

    parts = share.Parts()
    whole = partial(clip.run_clip, cut=share.parts_to_do)
    return {clip.KIND: whole, share.SPAN: parts.run_span, share.CHUNK: parts.run_chunk}


class Worker:
    """One process that works on a queue.

    Args:
        queue: The queue.
        tasks: How each kind of item is done.
        options: Lease, budget, when to end.
        stop: Ends it from outside.
        bench: Who is told how it gets on.
        told: Called with a generation and how it went: ``done``, ``failed``, ``lost``, ``released``,
            ``waiting``.
    """

    def __init__(
        self,
        queue: Queue,
        tasks: Mapping[str, Task],
        options: WorkerOptions,
        stop: Stop,
        bench: Bench,
        told: Callable[[Token, str], None] = lambda token, how: None,
    ) -> None:
        self._queue, self._tasks, self._options, self._stop = queue, tasks, options, stop
        self._bench, self._told = bench, told
        self._owner: Owner = this_process()
        self._salt = int.from_bytes(os.urandom(4), "big")
        self._sweeper = Sweeper(queue, options.lease, salt=self._salt)
        self._tally = Tally()
        self._outage = Outage(queue.root, bench.warn)
        self._bugs = 0
        self._swept = float("-inf")

    def run(self) -> Tally:
        """Work until nothing is left, or until stopped.

        Raises:
            VidswapError: This machine cannot do any item, such as with a full disk; the item at hand
                is given back.
        """
        idle = IDLE_SECONDS
        with self._limited():
            while not self._is_over():
                found, empty = None, False
                with self._outage.bearing():
                    found = self._next()
                    empty = found is None and not self._options.stay and self._queue.drained()
                if found is not None:
                    idle = IDLE_SECONDS
                    self._do(found)
                elif empty:
                    break
                else:
                    self._stop.wanted.wait(idle)
                    idle = min(idle * 1.3, IDLE_MOST)
        return self._tally

    def _next(self) -> Claim | None:
        self._sweep()
        self._sweeper.unblock()
        return claim(self._queue, self._owner, self._salt) if self._has_disk() else None

    def _is_over(self) -> bool:
        done = self._tally.done + self._tally.failed
        enough = self._options.limit is not None and done >= self._options.limit
        return enough or self._stop.wanted.is_set()

    @contextmanager
    def _limited(self) -> Iterator[None]:
        """Stop when the time is over, with the same grace as for a signal."""
        if self._options.seconds is None:
            yield
            return
        timer = threading.Timer(self._options.seconds, self._stop.ask, [0])
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _sweep(self) -> None:
        now = time.monotonic()
        if now - self._swept < min(self._options.lease / BEATS, 5.0):
            return
        self._swept = now
        for token in self._sweeper.sweep().lost:
            self._bench.warn(f"{self._name(token)}: its worker is gone; it is done again")

    def _do(self, taken: Claim) -> None:
        """One item, whatever becomes of it."""
        how = "failed"
        try:
            with taken.beating(self._options.lease), self._stop.working(lambda: leave(taken)):
                how = self._commit(taken)
            self._bugs = 0
        except FencedError:
            how = "lost"
        except (StoppedError, KeyboardInterrupt):
            taken.release()
            how = "released"
        except Exception as error:
            if self._stop.over:
                # Native code makes an error of its own of a stop that finds it calling Python.
                taken.release()
                how = "released"
            elif is_environment(error):
                taken.release()
                raise _as_known(error, self._queue.root) from error
            else:
                how = self._fail(taken, error)
                self._count_bug(error)
        self._told(taken.token, how)
        self._tally = replace(self._tally, **{how: getattr(self._tally, how) + 1})

    def _commit(self, taken: Claim) -> str:
        task = self._tasks.get(taken.item.kind)
        if task is None:
            known = ", ".join(self._tasks)
            message = f"an item of an unknown kind {taken.item.kind!r}; known here: {known}"
            raise VidswapError(message, stage="queue", hint="another version of vidswap made it")
        bench = replace(self._bench, pulse=lambda: self._pulse(taken))
        self._options.budget.limit_vram()
        outcome = task(taken, bench)
        if outcome.after:
            taken.wait_for(outcome.after)
        else:
            taken.commit(outcome.moves, outcome.result, outcome.removes)
        return "waiting" if outcome.after else "done"

    def _pulse(self, taken: Claim) -> None:
        taken.check()
        self._stop.check()
        self._options.budget.check_ram()

    def _fail(self, taken: Claim, error: Exception) -> str:
        try:
            taken.fail(error, final=is_final(error))
        except FencedError:
            return "lost"
        self._bench.warn(f"{self._name(taken.token)}: attempt {taken.token.fails + 1}: {error}")
        return "failed"

    def _count_bug(self, error: Exception) -> None:
        """End where nothing works: one broken machine must not try every clip of a queue."""
        self._bugs = 0 if isinstance(error, VidswapError) else self._bugs + 1
        if self._bugs >= BUGS:
            raise MachineError(
                f"{BUGS} items in a row failed in ways that nobody foresaw; the last one: "
                f"{type(error).__name__}: {error}",
                stage="worker",
                hint="vidswap doctor; the items go to other workers or to quarantine",
            ) from error

    def _name(self, token: Token) -> str:
        """What a user calls an item."""
        with suppress(VidswapError, OSError):
            item = self._queue.item(token.key)
            return str(item.payload.get("name", token.key))
        return token.key

    def _has_disk(self) -> bool:
        """Whether the budget lets more work begin beside what is unfinished."""
        if self._options.budget.disk is None:
            return True
        active = list(self._queue.tokens("active"))
        if self._options.budget.has_disk(self._stages(active)):
            return True
        if not active:
            raise MediaError(
                "unfinished work of earlier runs fills --max-disk",
                path=self._queue.root,
                stage="disk",
                hint="a larger --max-disk, or remove the hidden .part folders of clips not wanted",
            )
        return False

    def _stages(self, active: list[Token]) -> set[Path]:
        """Folders of what is unfinished and worked on."""
        found = set()
        for token in active:
            with suppress(VidswapError, KeyError):
                found.add(Path(self._queue.item(token.key).payload["stage"]))
        return found


def leave(taken: Claim) -> None:
    """Give an item back from a process that will not get to its next line."""
    with suppress(OSError):
        taken.release()


def _as_known(error: Exception, root: Path) -> VidswapError:
    if isinstance(error, VidswapError):
        return error
    return MediaError(str(error), path=root, stage="queue")
