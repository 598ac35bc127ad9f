"""``vidswap bench``: measurements on this machine."""

from pathlib import Path
from typing import Any

import click

from vidswap.cli.console import Console
from vidswap.cli.options import FILE, console_options
from vidswap.errors import RecipeError


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
    time of each stage of `analyse`, and the mesh engine at two face sizes: the best of five passes over
    each face.
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


@bench.command("generator")
@click.option(
    "--sizes", default="256,512,1024", show_default=True, help="Sides of the pictures, pixels."
)
@click.option("--batches", default="1,4", show_default=True, help="Pictures generated at once.")
@click.option(
    "--rounds",
    type=click.IntRange(1),
    default=5,
    show_default=True,
    help="Interleaved rounds; medians are printed.",
)
@click.option(
    "--encoders/--no-encoders", default=True, show_default=True, help="Measure encoders too."
)
@click.option(
    "--compile/--no-compile",
    "compiled",
    default=True,
    show_default=True,
    help="Include what torch.compile makes of the networks: a minute or two each.",
)
@click.option(
    "--stock/--no-stock",
    default=True,
    show_default=True,
    help="Measure once more with the C library's own allocator.",
)
@console_options
def generator(
    console: Console,
    sizes: str,
    batches: str,
    rounds: int,
    encoders: bool,
    compiled: bool,
    stock: bool,
) -> None:
    """Compare the StyleGAN2 generator with its published formulation, on one CPU thread.

    \b
    published  weights modulated for each sample, two-dimensional filters
    eager      ours: activations scaled instead, gains folded in, channels last
    compiled   the same through torch.compile with frozen weights
    bf16       the same in bfloat16

    All forms take turns in one process with the same weights, codes and allocator, and must agree.
    Prints CPU seconds per picture, ratios, the share of this processor's measured peak, and which
    goals are met. Encoders are compared with their plain form.
    """
    from vidswap.bench.generator import ENCODERS, Plan, measure, table

    plan = Plan(
        _numbers("--sizes", sizes, (16, 32, 64, 128, 256, 512, 1024)),
        _numbers("--batches", batches),
        ENCODERS if encoders else (),
        rounds,
        compiled,
        stock,
    )
    result = measure(plan, console.bars)
    console.result(result, table(result))


@bench.command("quality")
@click.option(
    "-p",
    "--pipeline",
    "pipelines",
    multiple=True,
    metavar="NAME|FILE",
    help="Measure this pipeline too; repeatable. The mesh engine is always measured.",
)
@click.option(
    "--pairs", type=click.IntRange(0), default=16, show_default=True, help="Pairs of pictures."
)
@click.option(
    "--seconds",
    type=click.FloatRange(0.4, 600),
    default=2.0,
    show_default=True,
    help="Length of each of the three clips.",
)
@click.option(
    "--size",
    type=click.IntRange(96, 2048),
    default=256,
    show_default=True,
    help="Side of the frames, pixels, even.",
)
@click.option(
    "--seed",
    type=click.IntRange(1_000_000),
    default=1_000_000,
    show_default=True,
    help="Number of the first person; below a million they are for training.",
)
@click.option("--report", type=FILE, metavar="DIR", help="Write a page with pictures, and JSON.")
@console_options
def quality(
    console: Console,
    pipelines: tuple[str, ...],
    pairs: int,
    seconds: float,
    size: int,
    seed: int,
    report: Path | None,
) -> None:
    """Score engines against the true swap of synthetic people.

    Pairs of pictures and three clips (talking, with a hand before the face, with a cut) are drawn,
    swapped by every engine as `vidswap run` does it, and compared with how identity, pose, light and
    background should have come out. Copying the target and pasting the source photograph are always
    compared; the line of the truth itself shows what each measure can reach.
    """
    from vidswap.bench.quality import Plan, measure, table

    if size % 2:
        raise RecipeError(f"--size {size}: expected an even number")
    plan = Plan(pairs, seconds, size, pipelines, seed, report=report)
    result = measure(plan, console.bars)
    console.result(result, table(result))


@bench.command("memory")
@click.option(
    "--lengths", default="10,600", show_default=True, help="Lengths of the clips, seconds."
)
@click.option(
    "--rate", type=click.IntRange(4, 120), default=25, show_default=True,
    help="Frames per second of the clips.",
)  # fmt: skip
@click.option("--preset", metavar="NAME", help="The encoder's [default: that of `vidswap run`].")
@console_options
def memory(console: Console, lengths: str, rate: int, preset: str | None) -> None:
    """Measure the memory of `vidswap run` on a short 1080p clip and on a long one.

    Prints the peak of the largest process and of all together for each length, and how far it grew.
    Ten minutes at 25 frames a second can take an hour; a lower --rate takes less.
    """
    from vidswap.bench.memory import measure, table

    result = measure(_numbers("--lengths", lengths), rate, preset, console.bars)
    console.result(result, table(result))


@bench.command("farm")
@click.option("--workers", default="10,100,1000,10000", show_default=True, help="Sizes of farms.")
@click.option(
    "--chunks", default="60,120,240,480,960,1920", show_default=True, help="Frames of a chunk."
)
@click.option(
    "--minutes", type=click.FloatRange(1), default=1_000_000.0, show_default=True,
    help="Of video that is simulated.",
)  # fmt: skip
@click.option(
    "--failures", type=click.FloatRange(0), default=0.05, show_default=True,
    help="Deaths of a worker in an hour; none, ten and a hundred times as many are simulated too.",
)  # fmt: skip
@click.option("--analyse-ms", type=click.FloatRange(0), help="Of a worker, for each frame.")
@click.option("--render-ms", type=click.FloatRange(0), help="Of a worker, for each frame.")
@click.option("--server-ops", type=click.FloatRange(1), help="File operations per second.")
@click.option("--server-mb", type=click.FloatRange(0.1), help="Megabytes per second.")
@click.option(
    "--items", type=click.IntRange(0), default=10_000, show_default=True,
    help="Queued to measure the queue; 0 leaves that out.",
)  # fmt: skip
@click.option("--folder", type=FILE, metavar="DIR", help="Measure the queue there.")
@click.option(
    "--measure", "anew", is_flag=True, help="Measure this machine's frames and parts too."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of all that is drawn.")
@console_options
def farm(console: Console, **options: Any) -> None:
    """Measure the queue, and simulate farms of any size on it.

    Prints what adding, claiming and committing cost and how far memory grows over --items queued
    items; then, for each number of workers, hours, throughput, wasted work and tail by the length of
    chunks, the length it recommends, and what a shared folder's server runs out of first. The
    simulation gives the same numbers for the same seed.
    """
    from dataclasses import replace

    from vidswap.bench.farm import Plan, measure, table
    from vidswap.farm.simulate import Costs, Site

    given = {n: options[n] for n in ("analyse_ms", "render_ms") if options[n] is not None}
    costs = Costs()
    if options["anew"]:
        from vidswap.bench.farm_costs import measure_costs

        costs = measure_costs(costs, console.bars)
    names = {"ops": options["server_ops"], "megabytes": options["server_mb"]}
    site = replace(Site(), **{name: v for name, v in names.items() if v is not None})
    rate = options["failures"]
    plan = Plan(
        _numbers("--workers", options["workers"]),
        _numbers("--chunks", options["chunks"]),
        (0.0, rate, 10 * rate, 100 * rate),
        options["minutes"],
        options["seed"],
        options["items"],
        options["folder"],
        replace(costs, **given),
        site,
    )
    result = measure(plan, console.bars)
    console.result(result, table(result))


def _numbers(option: str, text: str, known: tuple[int, ...] = ()) -> tuple[int, ...]:
    """``1,4`` as numbers.

    Raises:
        RecipeError: Something else.
    """
    parts = [part.strip() for part in text.split(",")]
    good = all(p.isdigit() and int(p) > 0 and (not known or int(p) in known) for p in parts)
    if not good:
        wanted = ", ".join(map(str, known)) if known else "numbers from 1"
        raise RecipeError(f"{option} {text}: expected {wanted}, separated by commas")
    return tuple(int(p) for p in parts)
