"""A worker whose task takes a moment and writes who did it; started by the process tests."""

import random
import sys
import time
from pathlib import Path

from vidswap.farm.queue import Queue
from vidswap.farm.stopping import Stop
from vidswap.farm.task import Bench, Outcome
from vidswap.farm.worker import Worker, WorkerOptions


def main(queue, out, lease, seconds):
    """Work until nothing is left."""

    def write(claim, bench):
        name = claim.item.payload["name"]
        if claim.item.payload.get("poison"):
            raise ValueError("poison")
        draft = out / f".{name}.{claim.token.generation}"
        until = time.monotonic() + random.uniform(0, 2 * seconds)
        while time.monotonic() < until:
            bench.pulse()
            time.sleep(0.005)
        draft.write_text(f"{claim.token.generation}")
        return Outcome(((draft, out / name),), (), {"generation": claim.token.generation})

    options = WorkerOptions(lease=lease)
    stop = Stop(0.2)
    with stop.signals():
        Worker(Queue.open(queue), {"write": write}, options, stop, Bench()).run()
    return stop.code


if __name__ == "__main__":
    root, target, lease, seconds = sys.argv[1:]
    sys.exit(main(Path(root), Path(target), float(lease), float(seconds)))
