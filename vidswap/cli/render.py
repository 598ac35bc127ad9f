"""``vidswap render``: pass two alone."""

from pathlib import Path
from typing import Any

import click

from vidswap.cli.console import Console
from vidswap.cli.options import (
    console_options,
    encode_options,
    input_argument,
    output_options,
    recipe_options,
    source_options,
    trim_options,
    work_option,
    workers_option,
)
from vidswap.cli.requests import build_request, show_plan, show_result


@click.command()
@input_argument
@source_options
@output_options
@work_option
@trim_options
@recipe_options
@encode_options
@workers_option
@console_options
def render(console: Console, input_path: Path, dry_run: bool, **options: Any) -> None:
    """Render INPUT from an analysis that exists, with any photo, engine or encoder.

    An analysis that was made from another clip, range or pipeline is an error that names what
    differs; nothing is detected again.

    On stdout: the path of the video, or with --json its facts.
    """
    request = build_request(console, input_path, **options)
    if dry_run:
        from vidswap.run.estimate import plan_run

        show_plan(console, plan_run(request))
        return
    from vidswap.run.swap import render_only

    show_result(console, render_only(request))
