"""Local workers: processes of their own that are replaced when they die.

A pool of the standard library gives up on everything when one process is killed; here the queue
keeps the work, and a worker is nothing but somebody who takes from it.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from vidswap.errors import MediaError, RecipeError, StateError, VidswapError, WeightsError

QUICK_SECONDS = 20.0
"""A worker that dies sooner has probably not been killed by a clip."""
QUICK_DEATHS = 5
"""So many in a row, for each worker, and there is no point in starting more."""
KILL_SECONDS = 5.0
"""After the grace, before a worker is killed."""
TAIL = 3000


class Process(Protocol):
    """What a pool asks of a process, as ``subprocess.Popen`` has it."""

    pid: int

    @property
    def returncode(self) -> int | None: ...
    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def terminate(self) -> None: ...
    def kill(self) -> None: ...


Start = Callable[[Sequence[str], Path, int], Process]
"""Starts a worker: arguments of ``vidswap``, file for what it says, workers in all."""


@dataclass(slots=True, eq=False)
class _Worker:
    process: Process
    log: Path
    began: float


def start_here(arguments: Sequence[str], log: Path, workers: int) -> "subprocess.Popen[bytes]":
    """A worker on this machine."""
    with log.open("wb") as file:
        return subprocess.Popen(
            [sys.executable, "-m", "vidswap", *arguments],
            stdin=subprocess.PIPE,  # held open: its end tells a worker that this process died
            stdout=file,
            stderr=file,
            env=_environment(workers),
            start_new_session=True,  # a Ctrl-C in the terminal reaches workers through us
        )


class Pool:
    """Workers that are replaced when they die.

    Args:
        arguments: Of ``python -m vidswap``.
        count: How many.
        logs: Folder for what they say; those of workers that end well are removed.
        start: Starts one.
    """

    def __init__(
        self, arguments: Sequence[str], count: int, logs: Path, start: Start = start_here
    ) -> None:
        self._arguments, self._begin = list(arguments), start
        self._count, self._logs = count, logs
        self._workers: list[_Worker] = []
        self._started = self._deaths = 0

    @property
    def pids(self) -> list[int]:
        """Processes that run."""
        return [w.process.pid for w in self._workers if w.process.poll() is None]

    def fill(self) -> None:
        """Start workers until there are enough."""
        while len(self._workers) < self._count:
            self._workers.append(self._start())

    def reap(self) -> list[str]:
        """Forget workers that have ended; returns a remark on each that died.

        Raises:
            VidswapError: Workers say that this machine cannot do the work, or die as they start.
        """
        remarks = []
        for worker in [w for w in self._workers if w.process.poll() is not None]:
            self._workers.remove(worker)
            code = worker.process.returncode or 0
            if code in (0, 130, 143):
                self._deaths = 0
                worker.log.unlink(missing_ok=True)
                continue
            _refuse(code, worker.log)
            quick = time.monotonic() - worker.began < QUICK_SECONDS
            self._deaths = self._deaths + 1 if quick else 0
            how = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
            remarks.append(f"worker {worker.process.pid} died ({how}); see {worker.log}")
            if self._deaths > QUICK_DEATHS * self._count:
                raise StateError(
                    f"workers die as soon as they start: {_tail(worker.log)}",
                    path=worker.log,
                    stage="worker",
                )
        return remarks

    def stop(self, grace: float) -> None:
        """End all workers: ask, wait for the grace, kill."""
        for worker in self._workers:
            with suppress(ProcessLookupError):
                worker.process.terminate()
        until = time.monotonic() + grace + KILL_SECONDS
        for worker in self._workers:
            try:
                worker.process.wait(max(until - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()
            _close(worker)
        self._workers.clear()

    def _start(self) -> _Worker:
        self._logs.mkdir(parents=True, exist_ok=True)
        self._started += 1
        log = self._logs / f"{os.getpid()}-{self._started:03}.jsonl"
        process = self._begin(self._arguments, log, self._count)
        return _Worker(process, log, time.monotonic())


def _environment(workers: int) -> Mapping[str, str]:
    """Threads of array libraries shared out, unless the user has decided."""
    threads = str(max((os.cpu_count() or 1) // max(workers, 1), 1))
    return {"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads, **os.environ}


def _refuse(code: int, log: Path) -> None:
    """A worker that ended with an error of its own, not of a clip: every other would as well."""
    kinds = {2: RecipeError, 3: MediaError, 4: WeightsError, 6: StateError}
    if code not in kinds:
        return
    import json

    for line in reversed(_tail(log).splitlines()):
        with suppress(ValueError, KeyError, TypeError):
            said = json.loads(line)
            if said["event"] == "error":
                kind: type[VidswapError] = kinds[code]
                raise kind(
                    said["message"], path=said["path"], stage=said["stage"], hint=said["hint"]
                )


def _tail(log: Path) -> str:
    with suppress(OSError):
        return log.read_bytes()[-TAIL:].decode(errors="replace").strip()
    return ""


def _close(worker: _Worker) -> None:
    stdin = getattr(worker.process, "stdin", None)
    if stdin is not None:
        with suppress(OSError):
            stdin.close()
    if worker.process.returncode in (0, -signal.SIGTERM, 130, 143):
        worker.log.unlink(missing_ok=True)
