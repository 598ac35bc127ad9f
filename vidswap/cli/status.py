"""``vidswap status``: how far a job is."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from vidswap.cli.console import Console
from vidswap.cli.options import FILE, console_options


@click.command()
@click.argument("work", type=FILE)
@console_options
def status(console: Console, work: Path) -> None:
    """Show what the work folder WORK holds and how far its jobs are.

    A job goes through analyse, render, join and finished; what is shown is what it does next. Nothing
    is locked or changed, so it can be called while a run is on.

    On stdout: a few lines, or with --json all of it.
    """
    from vidswap.run.status import status as look

    found = look(work)
    console.result(found, "\n".join(_lines(found)))


def _lines(found: Mapping[str, Any]) -> Iterator[str]:
    analysis = found["analysis"]
    if analysis is None:
        yield "analysis: not finished"
    else:
        first, last = analysis["frames"]
        tracks = analysis["tracks"]
        yield f"analysis: frames {first}-{last - 1}, {analysis['shots']} shots, {len(tracks)} tracks"
        for track in tracks:
            yield f"  track {track['index']}: frames {track['start']}-{track['stop'] - 1}"
    for job in found["jobs"]:
        chunks, owner = job["chunks"], job["running"]
        spans = job["spans"]
        done = f", {chunks['done']} of {chunks['all']} chunks" if chunks["all"] else ""
        done += f", {spans['done']} of {spans['all']} spans" if spans else ""
        by = f", process {owner['pid']} on {owner['host']} is at it" if owner else ""
        yield f"{job['output']}: {job['phase']}{done}{by}"
