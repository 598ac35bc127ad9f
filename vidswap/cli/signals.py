"""SIGINT and SIGTERM as one exception that unwinds every ``with`` block on its way out."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

GRACE_SECONDS = 1.5


class Interrupted(BaseException):
    """A signal asked the program to stop. No ``except Exception`` holds it up."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.name = signal.Signals(signum).name
        self.exit_code = 128 + signum


@contextmanager
def stopping_signals(received: list[int]) -> Iterator[None]:
    """Raise ``Interrupted`` in the main thread at the first SIGINT or SIGTERM.

    Another one within ``GRACE_SECONDS`` is ignored, as a terminal and a parent process often send
    both and cleaning up takes less than that; a later one raises again, the fourth kills at once.

    Args:
        received: Takes the number of each signal that comes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    times: list[float] = []

    def stop(signum: int, frame: FrameType | None) -> None:
        del frame
        received.append(signum)
        times.append(time.monotonic())
        if len(times) > 3:
            os._exit(128 + signum)
        if len(times) == 1 or times[-1] - times[-2] > GRACE_SECONDS:
            raise Interrupted(signum)

    signals = (signal.SIGINT, signal.SIGTERM)
    previous = [signal.signal(number, stop) for number in signals]
    try:
        yield
    finally:
        for number, handler in zip(signals, previous, strict=True):
            signal.signal(number, handler)
