"""Options that ``batch`` and ``worker`` share."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def limit_options(command: F) -> F:
    """What one process, or all local ones together, may use."""
    options = (
        click.option(
            "--max-ram", metavar="SIZE", help="Memory, such as 8G; more halves the batch of faces."
        ),
        click.option("--max-vram", metavar="SIZE", help="Video memory, such as 10G."),
        click.option(
            "--max-disk",
            metavar="SIZE",
            help="Disk for unfinished work; no clip is begun while more is in use.",
        ),
        click.option(
            "--deadline", metavar="TIME", help="Stop after 8h, 90m or 30s; the rest stays queued."
        ),
        click.option("--nice", type=click.IntRange(0, 19), help="Lower the processes' priority."),
        click.option(
            "--grace",
            type=click.FloatRange(0),
            default=20.0,
            show_default=True,
            help="Seconds after SIGTERM or SIGINT in which a clip may still be finished.",
        ),
        click.option(
            "--lease",
            type=click.FloatRange(0.2),
            default=90.0,
            show_default=True,
            help="Seconds of silence after which another machine's item is taken over; the same for "
            "all workers of a queue.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command
