"""Several spans at a time, each in a process of its own.

A process that dies takes its span with it and nothing else: the span is given to another one, until
it has killed as many as make it the one to blame.
"""

import base64
import pickle
import queue
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import IO

from vidswap.errors import StateError, VidswapError
from vidswap.run.spans import Span, SpanTask, pending

ATTEMPTS = 3
"""Processes that may die over one span."""


@dataclass(frozen=True, slots=True)
class _Said:
    """One line of one process."""

    span: Span
    line: str


def analyse_spans(
    task: SpanTask, todo: Sequence[Span], workers: int, progress: Callable[[int], None]
) -> None:
    """Do spans in processes.

    Args:
        task: The analysis.
        todo: Spans to do, in any order.
        workers: Processes at a time.
        progress: Told how many frames of these spans are done.

    Raises:
        VidswapError: What the first process that failed met.
        StateError: Several processes died over one span.
    """
    free, deaths = deque(todo), dict.fromkeys(todo, 0)
    running: dict[Span, subprocess.Popen[bytes]] = {}
    frames: dict[Span, int] = {}
    said: queue.Queue[_Said] = queue.Queue()
    try:
        while free or running:
            while free and len(running) < workers:
                span = free.popleft()
                running[span] = _start(task, span, said)
            told = said.get()
            if told.line.isdigit():
                frames[told.span] = int(told.line)
                progress(sum(frames.values()))
            elif told.line:
                raise _failure(task, told)
            else:
                code = running.pop(told.span).wait()
                if told.span in pending(task):
                    deaths[told.span] += 1
                    if deaths[told.span] >= ATTEMPTS:
                        raise _dead(task, told.span, code)
                    free.append(told.span)
    finally:
        for process in running.values():
            process.kill()
            process.wait()


def _start(task: SpanTask, span: Span, said: "queue.Queue[_Said]") -> "subprocess.Popen[bytes]":
    process = subprocess.Popen(
        [sys.executable, "-m", "vidswap.run.analyse_worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for this process, which then ends the others
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(pickle.dumps((task, span)))
        process.stdin.close()
    except OSError:
        pass  # it is dead already, which its silence will tell
    reader = threading.Thread(
        target=_read, args=(process.stdout, span, said), name="vidswap-spans", daemon=True
    )
    reader.start()
    return process


def _read(stream: IO[bytes], span: Span, said: "queue.Queue[_Said]") -> None:
    with stream:
        for line in stream:
            said.put(_Said(span, line.decode("ascii").strip()))
    said.put(_Said(span, ""))


def _failure(task: SpanTask, told: _Said) -> Exception:
    kind, _, data = told.line.partition(" ")
    content = base64.b64decode(data)
    if kind == "error":
        error = pickle.loads(content)
        return error if isinstance(error, VidswapError) else RuntimeError(str(error))
    return RuntimeError(f"{task.info.path}: analysing {told.span} failed\n{content.decode()}")


def _dead(task: SpanTask, span: Span, code: int) -> StateError:
    how = f"signal {-code}" if code < 0 else f"exit status {code}"
    return StateError(
        f"{ATTEMPTS} processes died over frames {span.start}-{span.stop - 1} ({how})",
        path=task.info.path,
        stage="analyse",
        hint="out of memory ends processes so; try --set run.workers=1",
    )
