"""``vidswap analyse``: pass one alone."""

from pathlib import Path
from typing import Any

import click

from vidswap.cli.console import Console
from vidswap.cli.options import (
    console_options,
    input_argument,
    recipe_options,
    trim_options,
    work_option,
)
from vidswap.cli.requests import build_request


@click.command()
@input_argument
@work_option
@trim_options
@recipe_options
@console_options
def analyse(console: Console, input_path: Path, **options: Any) -> None:
    """Find, follow and measure every face of INPUT; write no video.

    The analysis goes to --work, by default the folder that `vidswap run INPUT` would use, so that
    `run` and `render` find it there. An analysis that matches already is kept.

    On stdout: the folder, or with --json what was found.
    """
    from vidswap.run.swap import analyse_only

    found = analyse_only(build_request(console, input_path, **options))
    console.result(found, str(found["work"]))
