"""``vidswap bench``: measurements on this machine."""

from pathlib import Path

import click

from vidswap.cli.console import Console
from vidswap.cli.options import FILE, console_options


@click.group()
def bench() -> None:
    """Measure how fast this machine runs vidswap."""


@bench.command("pipeline")
@click.option(
    "--input",
    "input_path",
    type=FILE,
    help="Clip to measure on [default: a 1080p clip made for it, with a face if scikit-image is "
    "installed].",
)
@click.option(
    "--frames", type=click.IntRange(8), default=100, show_default=True, help="Frames for each run."
)
@click.option(
    "--rounds",
    type=click.IntRange(1),
    default=3,
    show_default=True,
    help="Interleaved rounds; medians are printed.",
)
@console_options
def pipeline(console: Console, input_path: Path | None, frames: int, rounds: int) -> None:
    """Compare whole pipelines, each run in a process of its own.

    \b
    a  decode → encode, nothing else
    b  the pipeline with a swap that changes nothing
    c  the pipeline with the mesh engine
    d  the usual design: every frame to PNG, rewrite, re-encode

    Prints frames/s, CPU seconds per frame, peak memory and bytes written, then b/a and d/b, the
    time of each stage of `analyse`, and the mesh engine at two face sizes.
    """
    from vidswap.run.bench import measure, table

    result = measure(input_path, frames=frames, rounds=rounds, watch=console.bars)
    console.result(result, table(result))


@bench.command("chunks")
@click.option(
    "--input",
    "input_path",
    type=FILE,
    help="Clip that the cost of chunks is measured on [default: a 1080p clip made for it].",
)
@click.option(
    "--frames", type=click.IntRange(80), default=480, show_default=True, help="Frames for each run."
)
@click.option(
    "--rounds",
    type=click.IntRange(1),
    default=2,
    show_default=True,
    help="Interleaved rounds; medians are printed.",
)
@console_options
def chunks(console: Console, input_path: Path | None, frames: int, rounds: int) -> None:
    """Measure what rendering in chunks costs and what workers gain.

    Chunks against one long encoder (CPU, bytes), joining against encoding, two workers against one
    on a clip that the engine is busy with, and the frames that a killed worker's successor repeats.
    The machine should have nothing else to do.
    """
    from vidswap.bench.chunks import measure, table

    result = measure(input_path, frames=frames, rounds=rounds, watch=console.bars)
    console.result(result, table(result))
