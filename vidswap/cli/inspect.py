"""``vidswap inspect``: who is in a clip."""

from pathlib import Path
from typing import Any

import click

from vidswap.cli.console import Console
from vidswap.cli.options import (
    FILE,
    console_options,
    input_argument,
    recipe_options,
    trim_options,
    work_option,
)
from vidswap.cli.requests import build_request


@click.command()
@input_argument
@click.option(
    "-o",
    "--output",
    "sheet",
    type=FILE,
    metavar="PNG",
    help="Contact sheet to write [default: <stem>_tracks.png beside the input].",
)
@click.option("--overwrite", is_flag=True, help="Replace an existing contact sheet.")
@work_option
@trim_options
@recipe_options
@console_options
def inspect(
    console: Console, input_path: Path, sheet: Path | None, overwrite: bool, **options: Any
) -> None:
    """Draw the faces of INPUT with their indices, timeline and confidence.

    The indices are those that `--faces` and `--map` of `vidswap run` take. The analysis is kept in
    --work and used again by `run` and `render`.

    On stdout: one line for each track, or with --json all of it.
    """
    from vidswap.run.inspect import inspect as make_sheet

    found = make_sheet(build_request(console, input_path, **options), sheet, overwrite=overwrite)
    rows = [
        f"{t['index']:>3}  {t['start_seconds']:8.2f}-{t['end_seconds']:.2f} s  "
        f"{t['frames']:5} frames  {t['height']:4.0f} px  confidence {t['confidence']:.2f}"
        for t in found["tracks"]
    ]
    console.result(found, "\n".join([str(found["output"]), *rows]))
