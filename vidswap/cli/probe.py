"""``vidswap probe``: what a clip is."""

from pathlib import Path
from typing import Any

import click

from vidswap.cli.console import Console
from vidswap.cli.options import console_options, input_argument
from vidswap.cli.requests import show_plan


@click.command()
@input_argument
@console_options
def probe(console: Console, input_path: Path, **_: Any) -> None:
    """Print what vidswap knows about INPUT without decoding it.

    Frames and times come from an index of all packets, not from the header.
    """
    from vidswap.run.describe import describe_clip

    show_plan(console, describe_clip(input_path))
