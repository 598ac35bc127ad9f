"""``vidswap worker``: one process that works on a queue."""

import os
from pathlib import Path
from typing import Any

import click

from vidswap.cli.console import Console
from vidswap.cli.farm_options import limit_options
from vidswap.cli.options import FILE, console_options


@click.command()
@click.argument("queue_path", metavar="QUEUE", type=FILE)
@click.option("--stay", is_flag=True, help="Wait for more when the queue is empty.")
@click.option("--limit", type=click.IntRange(1), help="End after so many items.")
@limit_options
@click.option("--with-parent", is_flag=True, hidden=True)
@console_options
def worker(console: Console, queue_path: Path, **options: Any) -> int:
    """Take clips and chunks from QUEUE, the folder OUT/.vidswap/queue of a batch.

    Start as many as wanted, on as many machines as see the folder and the clips under the same
    paths. A worker ends when nothing is left. What it holds when it dies is done by another one, at
    once on the same machine and after --lease elsewhere; one that was only paused finds out and
    writes nothing.

    On stdout: how many items it did, or with --json the counts. Exit code 0 even if clips failed:
    their errors are in the batch's summary. SIGTERM: 143, everything resumable.
    """
    from vidswap.farm.queue import Queue
    from vidswap.farm.stopping import Stop, end_with_parent
    from vidswap.farm.task import Bench
    from vidswap.farm.worker import Worker, shipped_tasks

    if options["nice"]:
        os.nice(options["nice"])
    stop = Stop(options["grace"])
    with stop.signals():
        if options["with_parent"]:
            end_with_parent(stop)
        queue = Queue.open(queue_path)
        bench = Bench(
            progress=console.bars,
            note=console.note,
            warn=lambda message: console.note(message, level="warning"),
        )
        chosen = _worker_options(options)
        tally = Worker(queue, shipped_tasks(), chosen, stop, bench).run()
    counts = {
        name: getattr(tally, name) for name in ("done", "failed", "lost", "released", "waiting")
    }
    console.result(counts, f"{tally.done} done, {tally.failed} failed")
    return stop.code


def _worker_options(options: dict[str, Any]) -> Any:
    from vidswap.farm.budget import Budget, parse_bytes, parse_seconds
    from vidswap.farm.worker import WorkerOptions

    sizes = {
        name: None if options[key] is None else parse_bytes(options[key], f"--{key}")
        for name, key in (("ram", "max_ram"), ("vram", "max_vram"), ("disk", "max_disk"))
    }
    deadline = options["deadline"]
    seconds = None if deadline is None else parse_seconds(deadline, "--deadline")
    return WorkerOptions(
        options["lease"], options["stay"], options["limit"], seconds, Budget(**sizes)
    )
