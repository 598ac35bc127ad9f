"""``vidswap preview``: a look before a long run."""

from pathlib import Path
from typing import Any

import click

from vidswap.cli.console import Console
from vidswap.cli.options import (
    FILE,
    console_options,
    input_argument,
    recipe_options,
    source_options,
)
from vidswap.cli.requests import build_request


@click.command()
@input_argument
@source_options
@click.option(
    "-t",
    "--time",
    "times",
    multiple=True,
    metavar="TIME",
    help="Moment to show: 12.5, 00:01:02.5 or 250f; repeatable [default: three over the clip].",
)
@click.option(
    "-o",
    "--output",
    "picture",
    type=FILE,
    metavar="PNG",
    help="Picture to write [default: <stem>_preview.png beside the input].",
)
@click.option("--overwrite", is_flag=True, help="Replace an existing picture.")
@recipe_options
@console_options
def preview(
    console: Console,
    input_path: Path,
    times: tuple[str, ...],
    picture: Path | None,
    overwrite: bool,
    **options: Any,
) -> None:
    """Show frames of INPUT before and after, without writing a video.

    Only a second around each moment is analysed, so colours and edges are as in the video while
    smoothing sees less of the motion, and track indices are those of the short window.

    On stdout: the path of the picture.
    """
    from vidswap.run.preview import preview as make_preview
    from vidswap.run.trim import parse

    request = build_request(console, input_path, **options)
    shown = make_preview(request, [parse(t) for t in times], picture, overwrite=overwrite)
    console.result(shown, str(shown["output"]))
