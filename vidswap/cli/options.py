"""Options that several commands share, each written down once."""

import json
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click

from vidswap import recipe as recipes
from vidswap.cli.console import console
from vidswap.errors import RecipeError

F = TypeVar("F", bound=Callable[..., Any])

FILE = click.Path(path_type=Path)
"""Existence is checked where the file is opened: with the right exit code and a better message."""


def _stack(*options: Callable[[F], F]) -> Callable[[F], F]:
    def decorate(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def input_argument(command: F) -> F:
    """The clip."""
    return click.argument("input_path", metavar="INPUT", type=FILE)(command)


def photos_option(text: str) -> Callable[[F], F]:
    """``--source``; what the photographs are for differs from command to command.

    Args:
        text: Its help.
    """
    return click.option(
        "-s", "--source", "sources", metavar="PHOTO", type=FILE, multiple=True, help=text
    )


source_options = _stack(
    photos_option("Photograph of the face to put in; several photos of one person are combined."),
    click.option(
        "--faces",
        default="all",
        show_default=True,
        metavar="WHO",
        help="Who is swapped: all, largest, most-seen, left, right, track indices as "
        "`vidswap inspect` prints them (2 or 0,3), or a photo of the person (needs an embedder).",
    ),
    click.option(
        "--map",
        "mapping",
        metavar="REF=PHOTO",
        multiple=True,
        help="Swap the person of REF (a photo or a track index) with PHOTO; repeatable.",
    ),
)

recipe_options = _stack(
    click.option(
        "-p",
        "--pipeline",
        default="mesh",
        show_default=True,
        metavar="NAME|FILE",
        help="Shipped pipeline (`vidswap pipelines`) or a TOML file.",
    ),
    click.option(
        "--set",
        "overrides",
        metavar="KEY=VALUE",
        multiple=True,
        help="Change one value of the pipeline, such as --set smooth.pose=3.5; repeatable.",
    ),
    click.option(
        "--detector",
        type=click.Choice(["mediapipe", "scrfd"]),
        help="Face detector [detect.name].",
    ),
    click.option(
        "--reader", type=click.Choice(["pyav", "decord"]), help="Video reader [decode.reader]."
    ),
    click.option(
        "--deinterlace",
        is_flag=True,
        default=None,
        help="Make interlaced video progressive, frame for frame [decode.deinterlace].",
    ),
    click.option("--device", metavar="DEVICE", help="auto, cpu, cuda or cuda:1 [run.device]."),
)

encode_options = _stack(
    click.option(
        "--codec",
        type=click.Choice(["auto", "h264", "hevc", "av1", "prores", "ffv1", "vp9"]),
        help="Video codec; auto keeps the source's family [encode.codec].",
    ),
    click.option(
        "--crf", type=float, help="Constant quality, in the encoder's own scale [encode.crf]."
    ),
    click.option("--preset", metavar="NAME", help="The encoder's speed preset [encode.preset]."),
    click.option("--pix-fmt", metavar="NAME", help="Pixel format, yuv420p10le [encode.pix_fmt]."),
    click.option(
        "--hardware",
        type=click.Choice(["auto", "off", "nvenc", "qsv", "amf", "videotoolbox"]),
        help="Hardware encoder; the software one takes over where it is absent [encode.hardware].",
    ),
)

workers_option = click.option(
    "--workers",
    type=click.IntRange(1),
    help="Processes that render, each with an engine of its own [run.workers].",
)

trim_options = _stack(
    click.option(
        "--start", metavar="TIME", help="First moment: 12.5, 00:01:02.5 or 250f (a frame number)."
    ),
    click.option("--end", metavar="TIME", help="Moment to stop before, written like --start."),
)

output_options = _stack(
    click.option(
        "-o",
        "--output",
        type=FILE,
        help="Video to write [default: <stem>_swapped<suffix> beside the input].",
    ),
    click.option(
        "--overwrite", is_flag=True, help="Replace an existing output once the new one is verified."
    ),
    click.option(
        "--allow-no-face", is_flag=True, help="Write the video even if nobody is swapped in it."
    ),
    click.option(
        "--report",
        type=FILE,
        metavar="DIR",
        help="Write report.json and a self-contained report.html there.",
    ),
    click.option(
        "--dry-run",
        is_flag=True,
        help="Print the resolved pipeline, the plan and a cost estimate; write nothing.",
    ),
    click.option(
        "--commercial",
        is_flag=True,
        help="Refuse weights whose licence forbids commercial use (the mesh engine needs none).",
    ),
)

work_option = click.option(
    "--work",
    type=FILE,
    metavar="DIR",
    help="Folder of the analysis [default: <output>.vidswap beside the output; it is kept, so that "
    "rendering again needs no detection].",
)


def console_options(command: F) -> F:
    """``--json``, ``--log-format`` and ``--quiet``; the command gets a ``console``."""

    @wraps(command)
    def with_console(*, log_format: Any, as_json: bool, quiet: bool, **others: Any) -> Any:
        with console(log_format, as_json=as_json, quiet=quiet) as opened:
            return command(console=opened, **others)

    return _stack(
        click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on stdout."),
        click.option(
            "--log-format",
            type=click.Choice(["auto", "text", "json"]),
            default="auto",
            show_default=True,
            help="Progress and remarks on stderr: bars on a terminal, JSON lines elsewhere.",
        ),
        click.option("-q", "--quiet", is_flag=True, help="No progress and no remarks."),
    )(with_console)  # type: ignore[return-value]


def resolve_recipe(pipeline: str, overrides: Sequence[str], **flags: Any) -> recipes.Recipe:
    """The pipeline with ``--set`` and then the dedicated options applied.

    Args:
        pipeline: ``--pipeline``.
        overrides: ``--set``, in order.
        **flags: Values of the options in ``KEYS``; None means not given.
    """
    own = [f"{KEYS[k]}={json.dumps(v)}" for k, v in flags.items() if v is not None]
    return recipes.load(pipeline, [*overrides, *own])


KEYS = {
    "detector": "detect.name",
    "reader": "decode.reader",
    "deinterlace": "decode.deinterlace",
    "device": "run.device",
    "codec": "encode.codec",
    "crf": "encode.crf",
    "preset": "encode.preset",
    "pix_fmt": "encode.pix_fmt",
    "hardware": "encode.hardware",
    "workers": "run.workers",
}
"""Recipe key of every option that only sets one."""


def parse_mapping(mapping: Sequence[str]) -> tuple[tuple[str, Path], ...]:
    """``REF=PHOTO`` pairs; a file name may hold ``=``, so the split that names files wins.

    Raises:
        RecipeError: No ``=``, or an empty side.
    """
    return tuple(_pair(text) for text in mapping)


def _pair(text: str) -> tuple[str, Path]:
    cuts = [i for i, letter in enumerate(text) if letter == "="]
    pairs = [(text[:i], Path(text[i + 1 :])) for i in cuts if text[:i] and text[i + 1 :]]
    if not pairs:
        raise RecipeError(f"--map {text}: expected REF=PHOTO, such as --map anna.jpg=eve.jpg")
    return next((pair for pair in pairs if pair[1].is_file()), pairs[0])
