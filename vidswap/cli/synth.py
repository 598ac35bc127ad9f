"""``vidswap synth``: drawn heads with ground truth, as data sets and clips."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from vidswap.cli.console import Console
from vidswap.cli.options import FILE, console_options
from vidswap.errors import RecipeError

if TYPE_CHECKING:
    pass

F = TypeVar("F", bound=Callable[..., Any])


@click.group()
def synth() -> None:
    """Draw heads whose identity, expression, pose, light and labels are known exactly.

    Everything follows from the seeds: the same command makes the same files, with any number of
    processes. Training sets use seeds below 1,000,000, evaluation seeds from there on.
    """


def _dataset_options(command: F) -> F:
    for option in reversed((
        click.argument("folder", metavar="OUT", type=FILE),
        click.option("-n", "--count", type=int, default=1000, show_default=True, help="Items."),
        click.option("--size", type=int, default=64, show_default=True, help="Side, pixels."),
        click.option("--seed", type=int, default=0, show_default=True, help="Of the first item."),
        click.option("--shard", type=int, default=1000, show_default=True, help="Items in a shard."),
        click.option("--whole", is_flag=True, help="The camera's field instead of FFHQ crops."),
        click.option("--expressive", is_flag=True, help="More open mouths and shut eyes than in talk."),
        jobs_option,
        console_options,
    )):  # fmt: skip
        command = option(command)
    return command


def jobs_option(command: F) -> F:
    """Processes."""
    return click.option(
        "-j", "--jobs", type=click.IntRange(1), default=None,
        help="Processes that draw [default: one for each core].",
    )(command)  # fmt: skip


@synth.command()
@_dataset_options
@click.option("--views", is_flag=True, help="8 pictures of each person; COUNT is that of people.")
def faces(console: Console, folder: Path, *, views: bool, **options: Any) -> None:
    """Pictures with parameters, labels, points and pose, in shards of .npy files.

    A stopped run goes on where it was when it is given again. On stdout: the folder.
    """
    _draw(console, folder, "people" if views else "faces", **options)


@synth.command()
@_dataset_options
def pairs(console: Console, folder: Path, **options: Any) -> None:
    """Source, target and the true swap of each pair, in shards of .npy files.

    Target and truth show the same crop. On stdout: the folder.
    """
    _draw(console, folder, "pairs", **options)


def _draw(
    console: Console, folder: Path, kind: Any, *, jobs: int | None, whole: bool, **options: Any
) -> None:
    import time

    from vidswap.synth.dataset import IMAGES, DatasetPlan, write_dataset

    plan: DatasetPlan = DatasetPlan(
        kind, options["count"], options["size"], options["seed"], not whole, options["shard"],
        options["expressive"],
    )  # fmt: skip
    done = list[int]()

    def progress(stage: str, now: int, total: int) -> None:
        done.append(now)
        console.bars(stage, now, total)

    started = time.monotonic()
    drawn = write_dataset(plan, folder, jobs=jobs or _cores(), progress=progress)
    seconds = time.monotonic() - started
    images = (done[-1] - done[0]) * IMAGES[kind]
    if images:
        console.note(f"{images} images in {seconds:.1f} s: {images / seconds:.1f} images/s")
    console.result(
        {
            "output": str(folder), "kind": kind, "count": plan.count, "shards_drawn": drawn,
            "images_drawn": images, "seconds": seconds,
        },
        str(folder),
    )  # fmt: skip


def _cores() -> int:
    import os

    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _size(_: click.Context, __: click.Parameter, value: str) -> tuple[int, int]:
    try:
        width, height = (int(v) for v in value.lower().split("x"))
    except ValueError as error:
        raise click.BadParameter(f"expected WIDTHxHEIGHT, got {value}") from error
    return width, height


def _rate(_: click.Context, __: click.Parameter, value: str) -> Fraction:
    try:
        return Fraction(value)
    except (ValueError, ZeroDivisionError) as error:
        raise click.BadParameter(f"expected a number or a fraction, got {value}") from error


@synth.command()
@click.argument("output", metavar="OUT", type=FILE)
@click.option("--seconds", type=float, default=4.0, show_default=True, help="Length.")
@click.option("--fps", callback=_rate, default="25", show_default=True, help="25 or 30000/1001.")
@click.option(
    "--size",
    callback=_size,
    default="640x360",
    show_default=True,
    metavar="WxH",
    help="Width and height, pixels.",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Who, and how.")
@click.option("--people", type=int, default=1, show_default=True, help="Heads, 1 to 4.")
@click.option(
    "--occluder", type=click.Choice(["none", "hand", "mic"]), default="none", show_default=True,
    help="What passes before the first face.",
)  # fmt: skip
@click.option("--cuts", type=int, default=0, show_default=True, help="Cuts to another camera.")
@click.option(
    "--swap", type=click.IntRange(0), metavar="SEED",
    help="Also write OUT with .swapped before its suffix: the first person as that of SEED.",
)  # fmt: skip
@click.option("--overwrite", is_flag=True, help="Replace existing files.")
@jobs_option
@console_options
def clip(
    console: Console, output: Path, *, swap: int | None, overwrite: bool, jobs: int | None,
    **options: Any,
) -> None:  # fmt: skip
    """A talking clip with a voice, and its truth as OUT's stem + .truth.npz.

    With --swap, a picture of the new person (.source.png) and the true swap are written too. On
    stdout: the clip.
    """
    from vidswap.synth.clip import clip as make

    if not output.suffix:
        raise RecipeError(f"{output}: expected a name with a suffix, such as .mp4", stage="synth")
    made = make(options.pop("seed"), options.pop("seconds"), options.pop("fps"), **options)
    wanted = [(made, output)]
    if swap is not None:
        from vidswap.synth.sample import identity

        truth = output.with_name(f"{output.stem}.swapped{output.suffix}")
        wanted.append((made.swapped({0: identity(swap)}), truth))
        _source(swap, output.with_name(f"{output.stem}.source.png"), overwrite=overwrite)
    from vidswap.synth.movie import write_movie

    for one, path in wanted:
        write_movie(one, path, jobs=jobs or _cores(), progress=console.bars, overwrite=overwrite)
    console.result(
        {"output": str(output), "frames": len(made), "written": [str(p) for _, p in wanted]},
        str(output),
    )


def _source(seed: int, path: Path, *, overwrite: bool) -> None:
    from vidswap.synth.movie import write_portrait

    write_portrait(seed, path, overwrite=overwrite)
