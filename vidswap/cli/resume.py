"""``vidswap resume``: carry on with an interrupted run."""

from pathlib import Path

import click

from vidswap.cli.console import Console
from vidswap.cli.options import FILE, console_options
from vidswap.cli.requests import watching


@click.command()
@click.argument("work", type=FILE)
@click.option(
    "--workers",
    type=click.IntRange(1),
    help="Processes that render [default: as many as the run was begun with].",
)
@console_options
def resume(console: Console, work: Path, workers: int | None) -> None:
    """Finish the runs whose work folder is WORK, wherever they were stopped.

    Chunks that are rendered are not rendered again, and the output has the bytes that an undisturbed
    run would have given it. A finished job is left as it is.

    On stdout: the paths of its videos, or with --json their facts.
    """
    from vidswap.run.resume import resume as carry_on

    found = carry_on(work, watching(console), workers)
    console.result(found, "\n".join(found["outputs"]))
