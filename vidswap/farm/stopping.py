"""SIGTERM of a spot instance: stop taking work, finish or give back what is begun, in time."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

LAST_SECONDS = 3.0
"""After the grace, what a codec in mid-call gets before the process ends without it."""


class StoppedError(BaseException):
    """The grace is over. No ``except Exception`` holds it up."""


class Stop:
    """Whether and why a worker has to stop.

    Args:
        grace: Seconds that the work at hand gets.

    Attributes:
        wanted: Set when no more work is to be taken.
        code: Exit code, 128 + the signal; 0 while nothing stops it.
    """

    def __init__(self, grace: float) -> None:
        self.grace = grace
        self.wanted = threading.Event()
        self.code = 0
        self._over = threading.Event()
        self._busy = self._listening = False
        self._timers: list[threading.Timer] = []
        self._last: Callable[[], None] | None = None

    @contextmanager
    def signals(self) -> Iterator[None]:
        """Take SIGINT and SIGTERM for the length of the block, in the main thread."""

        def stop(signum: int, frame: FrameType | None) -> None:
            del frame
            if self._over.is_set():
                if self._busy:
                    raise StoppedError
            elif not self.wanted.is_set():
                self.ask(128 + signum)
            else:
                self._end(signum)  # asked twice: no more grace

        numbers = (signal.SIGINT, signal.SIGTERM)
        before = [signal.signal(number, stop) for number in numbers]
        self._listening = True
        try:
            yield
        finally:
            self._listening = False
            for timer in self._timers:
                timer.cancel()
            for number, handler in zip(numbers, before, strict=True):
                signal.signal(number, handler)

    @property
    def over(self) -> bool:
        """The grace is over: whatever the work at hand ends with is because of that."""
        return self._over.is_set()

    def ask(self, code: int) -> None:
        """Stop: no more work from now on, and none at all when the grace is over.

        Args:
            code: The exit code it gives.
        """
        if self.wanted.is_set():
            return
        self.code = code
        self.wanted.set()
        self._later(self.grace, self._end, signal.SIGTERM)

    @contextmanager
    def working(self, last: Callable[[], None]) -> Iterator[None]:
        """Raise ``StoppedError`` in the block when the grace is over.

        Args:
            last: Gives the work back where the block does not end by itself.
        """
        self._busy, self._last = True, last
        try:
            self.check()
            yield
        finally:
            self._busy, self._last = False, None

    def check(self) -> None:
        """Raise once the grace is over.

        Raises:
            StoppedError: It is.
        """
        if self._over.is_set():
            raise StoppedError

    def _end(self, signum: int) -> None:
        self._over.set()
        self._later(LAST_SECONDS, self._leave)
        if not self._busy:
            return
        if threading.current_thread() is threading.main_thread():
            raise StoppedError
        if self._listening:
            _signal_main(signum)

    def _later(self, seconds: float, what: Callable[..., None], *arguments: int) -> None:
        timer = threading.Timer(seconds, what, arguments)
        timer.daemon = True
        self._timers.append(timer)
        timer.start()

    def _leave(self) -> None:
        """A call into a codec does not return: give the work back and go without it."""
        last = self._last
        if last is not None:
            last()
            sys.stderr.flush()
            os._exit(self.code or 1)


def _signal_main(signum: int) -> None:
    """Send a signal to the main thread, which may be waiting for something."""
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, signum)
    else:
        signal.raise_signal(signum)


def end_with_parent(stop: Stop) -> None:
    """Stop once stdin closes: the process that started this one holds its other end."""

    def watch() -> None:
        while os.read(0, 4096):
            pass
        stop.ask(128 + signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()
