"""Whatever stage fails, a pipeline ends at once, in order, with no thread left."""

import threading
import time

import pytest

from vidswap.run.prefetch import Clock, consuming, producing


class Sink:
    def __init__(self, fail_at=None, slow=0.0, finish_error=None):
        self.items, self.state = [], "open"
        self.fail_at, self.slow, self.finish_error = fail_at, slow, finish_error

    def write(self, item):
        if item == self.fail_at:
            raise ValueError("sink")
        time.sleep(self.slow)
        self.items.append(item)

    def finish(self):
        if self.finish_error:
            raise self.finish_error
        self.state = "finished"

    def abort(self):
        self.state = "aborted"


def pipeline(items, sink, middle=lambda x: x):
    with consuming(sink, 3, name="t-encode") as put, producing(items, 3, name="t-decode") as source:
        for item in source:
            put(middle(item))


def threads():
    return [t for t in threading.enumerate() if t.name.startswith("t-")]


def test_everything_arrives_in_order():
    sink = Sink()
    pipeline(range(500), sink)
    assert sink.items == list(range(500))
    assert sink.state == "finished"
    assert not threads()


def fail_at(n, error):
    def items():
        for i in range(10_000):
            if i == n:
                raise error
            yield i

    return items()


def boom(item):
    if item == 20:
        raise ValueError("middle")
    return item


@pytest.mark.parametrize(
    ("items", "sink", "middle"),
    [
        (fail_at(20, ValueError("source")), Sink(), lambda x: x),
        (range(10_000), Sink(), boom),
        (range(10_000), Sink(slow=0.002), boom),
        (range(10_000), Sink(fail_at=20), lambda x: x),
        (range(10_000), Sink(fail_at=0), lambda x: x),
        (range(5), Sink(finish_error=ValueError("finish")), lambda x: x),
        (fail_at(0, KeyboardInterrupt()), Sink(), lambda x: x),
    ],
)
def test_any_stage_that_raises_stops_all_within_a_second(items, sink, middle):
    began = time.monotonic()
    with pytest.raises((ValueError, KeyboardInterrupt)):
        pipeline(items, sink, middle)
    assert time.monotonic() - began < 1
    assert sink.state == "aborted"
    assert not threads()


def test_the_producer_is_bounded():
    pulled = []

    def items():
        for i in range(100):
            pulled.append(i)
            yield i

    with producing(items(), 4, name="t-decode") as source:
        first = next(source)
        time.sleep(0.1)
        assert first == 0
        assert len(pulled) <= 1 + 4 + 1
    assert not threads()


def test_a_slow_sink_holds_the_others_back():
    alive, most, sink = [0], [0], Sink(slow=0.001)

    def items():
        for i in range(60):
            alive[0] += 1
            most[0] = max(most[0], alive[0] - len(sink.items))
            yield i

    pipeline(items(), sink)
    assert len(sink.items) == 60
    assert most[0] <= 3 + 3 + 3


def test_an_abandoned_generator_is_closed_in_its_thread():
    closed = []

    def items():
        try:
            yield from range(100)
        finally:
            closed.append(threading.current_thread().name)

    with producing(items(), 2, name="t-decode") as source:
        next(source)
    assert closed == ["t-decode"]


def test_a_stuck_thread_does_not_hold_up_an_error():
    release = threading.Event()

    class Stuck(Sink):
        def write(self, item):
            release.wait(10)

    began = time.monotonic()
    with pytest.raises(ValueError, match="middle"):
        pipeline(range(100), Stuck(), lambda x: boom(20))
    assert time.monotonic() - began < 1
    release.set()


def test_clock_counts_busy_time():
    clock = Clock()
    with clock:
        time.sleep(0.02)
    assert 0.015 < clock.seconds < 0.5
