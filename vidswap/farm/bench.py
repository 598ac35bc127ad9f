"""What the queue costs: adding, claiming, committing, and memory, with many items."""

import random
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from time import perf_counter
from typing import Any

from vidswap.farm.budget import resident
from vidswap.farm.claim import claim
from vidswap.farm.owner import this_process
from vidswap.farm.queue import Queue
from vidswap.farm.sweep import Sweeper
from vidswap.farm.token import Item, key_of

ITEMS = 10_000
PAYLOAD = "x" * 1500
"""About what a clip's request takes."""


def _silent(*_: object) -> None:
    """Tell nobody."""


def measure_queue(
    folder: Path | None = None,
    items: int = ITEMS,
    watch: Callable[[str, int, int], None] = _silent,
    ended: int | None = None,
) -> dict[str, Any]:
    """Fill a queue and empty it again, one process.

    Args:
        folder: Where the queue lies while it is measured, such as on the farm's file server; None is
            the system's folder for temporary files.
        items: How many.
        watch: Called with (stage, items done, items in all).
        ended: How many are claimed and committed; None is all.

    Returns:
        Microseconds for each step, and growth of memory in bytes.
    """
    root = Path(tempfile.mkdtemp(prefix="vidswap-bench-", dir=folder))
    try:
        return _measured(
            Queue.create(root / "queue"), items, watch, items if ended is None else ended
        )
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _measured(
    queue: Queue, items: int, watch: Callable[[str, int, int], None], ended: int
) -> dict[str, Any]:
    me, sweeper = this_process(), Sweeper(queue)
    before = resident()
    add, peak = _Times(), before
    for number in range(items):
        key = key_of({"number": number})
        with add:
            queue.add(key, Item("bench", {"number": number, "payload": PAYLOAD}))
        watch("add", number + 1, items)
    peak = max(peak, resident())
    again = _Times()
    for number in range(items):
        with again:
            queue.state(key_of({"number": number}))
    taking, ending, salt = _Times(), _Times(), random.Random(0).randrange(1 << 30)
    for number in range(ended):
        with taking:
            taken = claim(queue, me, salt)
        if taken is None:
            raise RuntimeError(f"the queue was empty after {number} of {ended} items")
        with ending:
            taken.commit(result={"number": number})
        if number % 1000 == 0:
            sweeper.sweep()
            peak = max(peak, resident())
        watch("claim", number + 1, ended)
    with (drained := _Times()):
        queue.drained()
    return {
        "items": items,
        "folder": str(queue.root),
        "add_us": add.describe(),
        "state_us": again.describe(),
        "claim_us": taking.describe(),
        "commit_us": ending.describe(),
        "drained_us": drained.describe(),
        "memory_growth_bytes": max(peak, resident()) - before,
        "python": sys.version.split()[0],
    }


class _Times:
    """Seconds of repeated blocks."""

    def __init__(self) -> None:
        self._all: list[float] = []
        self._began = 0.0

    def __enter__(self) -> None:
        self._began = perf_counter()

    def __exit__(self, *_: object) -> None:
        self._all.append(perf_counter() - self._began)

    def describe(self) -> Mapping[str, float]:
        """Median and 99th percentile, microseconds."""
        ordered = sorted(self._all)
        return {
            "median": round(statistics.median(ordered) * 1e6, 1),
            "p99": round(ordered[len(ordered) * 99 // 100] * 1e6, 1),
        }


def table(result: Mapping[str, Any]) -> str:
    """The measurement as aligned lines."""
    lines = [f"queue of {result['items']} items in {result['folder']}"]
    for name in ("add", "state", "claim", "commit", "drained"):
        times = result[f"{name}_us"]
        lines.append(f"  {name:8} median {times['median']:9.1f} µs   p99 {times['p99']:9.1f} µs")
    lines.append(f"  memory grew by {result['memory_growth_bytes'] / 1e6:.1f} MB")
    return "\n".join(lines)
