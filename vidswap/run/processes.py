"""Local workers: processes that render chunks which this one hands out.

``ProcessPoolExecutor`` gives up altogether when one process is killed. Here each worker is a process
with a pipe in each direction; its end closes the pipe, and what it had not committed goes to another.
The other way round a worker ends itself when its standard input closes, that is when this process is
gone, however it went.
"""

import json
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from vidswap import errors
from vidswap.errors import MediaError, StateError, VidswapError
from vidswap.run.chunks import Chunk

ATTEMPTS = 3
"""Workers that may die over one chunk before it is to blame."""
NEXT, ANY = "next", "any"
"""A worker asks for the chunk after its last one, at once or never, or waits for any."""
NONE, STOP = -1, -2
"""Answers instead of a chunk's index."""
_TAIL = 2000

Message = dict[str, Any]


class Board:
    """Which chunks are free and who has the others.

    Args:
        pending: What there is to do.
    """

    def __init__(self, pending: Sequence[Chunk]) -> None:
        self._free = {chunk.index: chunk for chunk in pending}
        self._taken: dict[int, tuple[int, Chunk]] = {}
        self._deaths: dict[int, int] = {}

    @property
    def open(self) -> bool:
        """Whether anything is not done."""
        return bool(self._free or self._taken)

    @property
    def free(self) -> bool:
        """Whether anything is left to hand out."""
        return bool(self._free)

    def take(self, worker: int, after: int | None) -> Chunk | None:
        """Hand out a chunk.

        Args:
            worker: To whom.
            after: Only the chunk right after this one; None gives the middle of the longest run of
                free ones, so that workers rarely meet and most chunks follow the one before, which
                needs no seek and no frame decoded twice.
        """
        index = self._middle() if after is None else after + 1
        if index is None or index not in self._free:
            return None
        chunk = self._free.pop(index)
        self._taken[index] = worker, chunk
        return chunk

    def done(self, index: int) -> None:
        """A chunk counts."""
        self._taken.pop(index, None)

    def died(self, worker: int) -> list[Chunk]:
        """Give back what a dead worker had.

        Raises:
            MediaError: It is the last of the workers that one chunk may cost.
        """
        lost = [chunk for owner, chunk in self._taken.values() if owner == worker]
        for chunk in lost:
            self._deaths[chunk.index] = self._deaths.get(chunk.index, 0) + 1
            if self._deaths[chunk.index] >= ATTEMPTS:
                raise MediaError(
                    f"frames {chunk.start} to {chunk.stop - 1} have cost {ATTEMPTS} workers their "
                    "lives",
                    stage="render",
                    hint="memory may be short: fewer --workers, or --workers 1 to see the cause",
                )
            del self._taken[chunk.index]
            self._free[chunk.index] = chunk
        return lost

    def _middle(self) -> int | None:
        """Where to start: the first free chunk if nothing is taken, else half into the longest run."""
        if not self._free:
            return None
        runs: list[list[int]] = []
        for index in sorted(self._free):
            if runs and runs[-1][-1] == index - 1:
                runs[-1].append(index)
            else:
                runs.append([index])
        longest = max(runs, key=len)
        begun = longest[0] - 1 in self._taken
        return longest[len(longest) // 2] if begun else longest[0]


class _Worker:
    """One process and the thread that reads what it says."""

    def __init__(
        self, number: int, folder: Path, events: "queue.Queue[tuple[_Worker, Any]]"
    ) -> None:
        self.number = number
        self.ahead = 0
        """Frames it has reported of chunks that do not count yet."""
        self._chatter: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by kill
        self._process = subprocess.Popen(
            [sys.executable, "-m", "vidswap.run.worker", str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._chatter,
            text=True,
            start_new_session=True,  # Ctrl-C is for this process, which then ends its workers
        )
        self._events = events
        threading.Thread(target=self._read, name=f"vidswap-worker-{number}", daemon=True).start()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def tell(self, answer: int) -> None:
        """Answer a question."""
        if self._process.stdin is not None:
            with suppress(OSError):  # it has just died; the reader will say so
                self._process.stdin.write(f"{answer}\n")
                self._process.stdin.flush()

    def kill(self) -> None:
        """End it, whatever it does."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._chatter):
            with suppress(OSError):
                if stream is not None:
                    stream.close()

    def last_words(self) -> str:
        """How it ended, and the end of what its libraries printed."""
        status = self._process.wait()
        self._chatter.seek(0)
        printed = self._chatter.read().decode(errors="replace")[-_TAIL:].strip()
        return f"exit status {status}" + (f": {printed}" if printed else "")

    def _read(self) -> None:
        stream = self._process.stdout
        if stream is not None:
            with stream, suppress(ValueError, OSError):
                for line in stream:
                    self._events.put((self, json.loads(line)))
        self._events.put((self, None))


class Dispatcher:
    """Renders chunks in several processes.

    Args:
        folder: The job's, with ``job.json`` and the chunks.
        advance: Told of frames that were encoded; negative for those that a dead worker takes along.
        warn: Told of workers that died.
    """

    def __init__(
        self, folder: Path, advance: Callable[[int], None], warn: Callable[[str], None]
    ) -> None:
        self._folder, self._advance, self._warn = folder, advance, warn
        self._events: queue.Queue[tuple[_Worker, Message | None]] = queue.Queue()
        self._workers: dict[int, _Worker] = {}
        self._idle: list[_Worker] = []
        self._last: dict[int, int] = {}
        self._begun = 0
        self._barren = 0
        """Workers in a row that died before they finished anything."""

    def render(self, pending: Sequence[Chunk], count: int) -> None:
        """Render chunks; returns once all of them count.

        Raises:
            VidswapError: What a worker met; the others are stopped, finished chunks stay.
            RuntimeError: A bug that a worker met.
        """
        board = Board(pending)
        try:
            for _ in range(min(count, len(pending))):
                self._start()
            while board.open:
                worker, message = self._events.get()
                if message is None:
                    self._died(worker, board)
                else:
                    self._heard(worker, message, board)
        finally:
            for worker in self._workers.values():
                worker.kill()

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids of the workers that run."""
        return tuple(worker.pid for worker in self._workers.values())

    def _start(self) -> None:
        self._begun += 1
        self._workers[self._begun] = _Worker(self._begun, self._folder, self._events)

    def _heard(self, worker: _Worker, message: Message, board: Board) -> None:
        if "frames" in message:
            worker.ahead += message["frames"]
            self._advance(message["frames"])
        elif "done" in message:
            self._barren = 0
            worker.ahead = max(worker.ahead - message["length"], 0)
            board.done(message["done"])
        elif "want" in message:
            self._answer(worker, message["want"], board)
        elif "error" in message:
            raise _error(message["error"])

    def _answer(self, worker: _Worker, want: str, board: Board) -> None:
        after = self._last.get(worker.number, NONE) if want == NEXT else None
        chunk = board.take(worker.number, after)
        if chunk is not None:
            self._last[worker.number] = chunk.index
            worker.tell(chunk.index)
        elif want == NEXT:
            worker.tell(NONE)
        else:
            self._idle.append(worker)  # another's chunk may come back yet

    def _died(self, worker: _Worker, board: Board) -> None:
        del self._workers[worker.number]
        self._idle = [other for other in self._idle if other is not worker]
        self._advance(-worker.ahead)
        words = worker.last_words()
        lost = board.died(worker.number)
        self._barren += 1
        if self._barren > ATTEMPTS * (len(self._workers) + 1):
            raise StateError(f"workers keep dying; the last one with {words}", stage="render")
        self._warn(f"a worker died ({words}); {len(lost)} of its chunks go to another")
        idle, self._idle = self._idle, []
        for other in idle:
            self._answer(other, ANY, board)
        if board.free:
            self._start()
        worker.kill()


def _error(table: Message) -> Exception:
    """The error a worker met, as if it had been met here."""
    kind = getattr(errors, str(table["kind"]), None)
    if isinstance(kind, type) and issubclass(kind, VidswapError):
        return kind(table["message"], path=table["path"], stage=table["stage"], hint=table["hint"])
    return RuntimeError(f"a worker met a bug:\n{table['message']}")
