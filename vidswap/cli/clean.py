"""``vidswap clean``: remove the work folders of finished jobs."""

from pathlib import Path

import click

from vidswap.cli.console import Console
from vidswap.cli.options import FILE, console_options


@click.command()
@click.argument("works", metavar="WORK...", type=FILE, nargs=-1, required=True)
@console_options
def clean(console: Console, works: tuple[Path, ...]) -> None:
    """Remove the work folders WORK whose jobs are all finished; their videos stay.

    A folder with an unfinished job, or one that a run is using, is kept, and so is every file in it
    that vidswap did not put there. Rendering again needs a new analysis afterwards.

    On stdout: the folders removed, or with --json also those kept and why.
    """
    from vidswap.run.clean import clean as remove

    found = remove(works)
    for kept in found["kept"]:
        console.note(f"{kept['work']}: kept, {kept['reason']}", level="warning")
    console.result(found, "\n".join(found["removed"]))
