"""Encoders may not make themselves more important than the rest of the machine."""

import os
from contextlib import suppress
from pathlib import Path

from av.codec.context import CodecContext


def open_codec(context: CodecContext) -> None:
    """Open a codec and give its threads, and the calling one, back their usual scheduling.

    SVT-AV1 makes the thread that opens it a real-time thread (SCHED_FIFO, 99) when it runs as root, as in
    most containers, and its own inherit that: they, and every process started afterwards, would go
    before everything else on the machine, whatever ``nice`` says.

    Raises:
        FFmpegError: The codec refuses.
    """
    before = _policy(0)
    try:
        context.open()
    finally:
        if before is not None and before != getattr(os, "SCHED_FIFO", None):
            _restore(before)


def _policy(thread: int) -> int | None:
    return os.sched_getscheduler(thread) if hasattr(os, "sched_getscheduler") else None


def _restore(policy: int) -> None:
    threads = Path("/proc/self/task")
    for thread in [int(t.name) for t in threads.iterdir()] if threads.is_dir() else [0]:
        # Threads come and go while one looks.
        with suppress(ProcessLookupError, PermissionError):
            if os.sched_getscheduler(thread) == os.SCHED_FIFO:
                os.sched_setscheduler(thread, policy, os.sched_param(0))
