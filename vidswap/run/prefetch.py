"""Bounded hand-over between threads that always ends: a failure on one side wakes the other."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from time import perf_counter
from types import TracebackType
from typing import Generic, Protocol, TypeVar

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)

JOIN_SECONDS = 0.7
"""How long a stopped pipeline waits for a thread: nothing can interrupt one inside a codec call."""


class Closed(Exception):  # noqa: N818 - a signal between two threads, never an error
    """The other side of a channel is gone."""


class Channel(Generic[T]):
    """A bounded queue whose two ends can be closed, with or without an error.

    ``queue.Queue`` cannot wake a blocked producer when its consumer has failed (before Python
    3.13), which is how pipelines hang for ever.

    Args:
        size: Items that may wait in the channel, at least 1.
    """

    def __init__(self, size: int) -> None:
        self._items: deque[T] = deque()
        self._size = max(size, 1)
        self._changed = threading.Condition()
        self._ended = False
        self._cancelled = False
        self._error: BaseException | None = None

    def put(self, item: T) -> None:
        """Wait for room and append.

        Raises:
            Closed: The consumer is gone.
        """
        with self._changed:
            while len(self._items) >= self._size and not self._cancelled:
                self._changed.wait()
            if self._cancelled:
                raise Closed
            self._items.append(item)
            self._changed.notify_all()

    def end(self, error: BaseException | None = None) -> None:
        """No more items will come; a waiting consumer gets ``error`` after what is queued."""
        with self._changed:
            self._ended, self._error = True, error
            self._changed.notify_all()

    def cancel(self) -> None:
        """The consumer stops: drop what is queued and wake the producer."""
        with self._changed:
            self._cancelled = True
            self._items.clear()
            self._changed.notify_all()

    @property
    def cancelled(self) -> bool:
        """Whether the consumer, or whoever owns both ends, has stopped."""
        return self._cancelled

    def __iter__(self) -> Iterator[T]:
        while True:
            with self._changed:
                while not (self._items or self._ended or self._cancelled):
                    self._changed.wait()
                if not self._items:
                    if self._error is not None:
                        raise self._error
                    return
                item = self._items.popleft()
                self._changed.notify_all()
            yield item


class Clock:
    """Seconds that a stage was busy, summed by one thread and read by another."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._since = 0.0

    def __enter__(self) -> "Clock":
        self._since = perf_counter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.seconds += perf_counter() - self._since


@contextmanager
def producing(
    items: Iterable[T], size: int, *, name: str, clock: Clock | None = None
) -> Iterator[Iterator[T]]:
    """Pull ``items`` in a thread of their own, at most ``size`` ahead.

    Leaving the block stops and joins the thread, whatever happened inside.

    Args:
        items: Iterated in the thread; if it is a generator it is closed there too.
        size: Items in flight.
        name: Thread name.
        clock: Counts the seconds spent in ``items``.

    Yields:
        An iterator over the same items that raises what ``items`` raised.
    """
    channel: Channel[T] = Channel(size)
    busy = clock or Clock()

    def work() -> None:
        source = iter(items)
        try:
            while True:
                with busy:
                    item = next(source)
                channel.put(item)
        except (StopIteration, Closed):
            channel.end()
        except BaseException as error:  # noqa: BLE001 - handed to the consumer, which raises it
            channel.end(error)
        finally:
            if close := getattr(source, "close", None):
                close()

    thread = threading.Thread(target=work, name=name, daemon=True)
    thread.start()
    try:
        yield iter(channel)
    finally:
        channel.cancel()
        thread.join(JOIN_SECONDS)


class Sink(Protocol[T_contra]):
    """What a pipeline writes into; used by one thread only."""

    def write(self, item: T_contra, /) -> None:
        """Take one item."""
        ...

    def finish(self) -> None:
        """Everything was written: flush and close."""
        ...

    def abort(self) -> None:
        """Close without finishing; never raises."""
        ...


@contextmanager
def consuming(
    sink: Sink[T], size: int, *, name: str, clock: Clock | None = None
) -> Iterator[Callable[[T], None]]:
    """Feed ``sink`` in a thread of its own, which alone touches it.

    Leaving the block normally waits until everything handed over was written and ``finish``
    returned, and raises what they raised. Leaving it by an exception drops what is queued and
    lets the thread ``abort``.

    Args:
        sink: Called in the thread, items in order.
        size: Items in flight.
        name: Thread name.
        clock: Counts the seconds spent in ``sink``.

    Yields:
        ``put(item)``, which blocks while the queue is full and raises what ``sink`` raised.
    """
    channel: Channel[T] = Channel(size)
    failure: list[BaseException] = []
    thread = threading.Thread(
        target=_drain, args=(channel, sink, clock or Clock(), failure), name=name, daemon=True
    )

    def put(item: T) -> None:
        try:
            channel.put(item)
        except Closed:
            raise failure[0] from None

    thread.start()
    try:
        yield put
        channel.end()
        thread.join()
    except BaseException:
        channel.cancel()
        thread.join(JOIN_SECONDS)
        raise
    if failure:
        raise failure[0]


def _drain(channel: Channel[T], sink: Sink[T], clock: Clock, failure: list[BaseException]) -> None:
    try:
        for item in channel:
            with clock:
                sink.write(item)
        if channel.cancelled:
            sink.abort()
        else:
            with clock:
                sink.finish()
    except BaseException as error:  # noqa: BLE001 - handed to the producer, which raises it
        failure.append(error)
        channel.cancel()
        sink.abort()
