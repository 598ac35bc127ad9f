"""A local worker process, started as ``python -m vidswap.run.worker FOLDER``; see ``processes``.

Questions and progress go to standard output as JSON lines, answers come on standard input.
"""

import json
import os
import queue
import sys
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from vidswap.errors import VidswapError
from vidswap.run.chunks import Chunk, ChunkRecord
from vidswap.run.jobfile import read_job
from vidswap.run.processes import ANY, NEXT, NONE, STOP
from vidswap.run.session import Session, open_session

ORPHANED = 1
"""Exit status when the process that hands out chunks is gone."""


class Line:
    """The pipes to and from the process that hands out chunks."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._lock = threading.Lock()
        self._answers: queue.Queue[int] = queue.Queue()
        threading.Thread(target=self._read, name="vidswap-orders", daemon=True).start()

    def say(self, **message: Any) -> None:
        """Tell something; nobody to tell it to ends the process."""
        try:
            with self._lock:
                self._out.write(json.dumps(message) + "\n")
                self._out.flush()
        except OSError:
            os._exit(ORPHANED)

    def ask(self, want: str) -> int:
        """Index of a chunk, ``NONE`` or ``STOP``."""
        self.say(want=want)
        return self._answers.get()

    def _read(self) -> None:
        for line in sys.stdin:
            self._answers.put(int(line))
        os._exit(ORPHANED)  # whatever the codecs are doing: nobody waits for it


def work(session: Session, line: Line) -> None:
    """Render what is handed out until there is nothing left."""
    while (index := line.ask(ANY)) != STOP:
        session.render(
            _from(index, session.chunks, line),
            advance=lambda count: line.say(frames=count),
            committed=lambda record: _committed(record, line),
        )


def _from(index: int, chunks: tuple[Chunk, ...], line: Line) -> Iterator[Chunk]:
    """A chunk, and those after it as long as they are free."""
    while index not in (NONE, STOP):
        yield chunks[index]
        index = line.ask(NEXT)


def _committed(record: ChunkRecord, line: Line) -> None:
    line.say(done=record.index, length=record.frames)


def main(folder: str) -> int:
    """Work on one job; errors go to the process that hands out chunks."""
    # Libraries print to descriptor 1 as they please; the pipe moves out of their way.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    line = Line(out)
    try:
        with open_session(read_job(Path(folder))) as session:
            work(session, line)
    except VidswapError as error:
        line.say(
            error={
                "kind": type(error).__name__,
                "message": error.message,
                "path": error.path,
                "stage": error.stage,
                "hint": error.hint,
            }
        )
    except Exception:  # noqa: BLE001 - a bug, told to the process that can show it
        line.say(error={"kind": "bug", "message": traceback.format_exc()})
    else:
        return 0
    return 1


if __name__ == "__main__":
    code = main(sys.argv[1])
    sys.stdout.flush()
    os._exit(code)  # a codec's thread may still be busy
