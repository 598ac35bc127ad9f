"""``vidswap train``: networks of your own, one verb for each method."""

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import click

from vidswap.cli.console import Console
from vidswap.cli.options import FILE, console_options
from vidswap.cli.signals import Interrupted

METHODS = {
    "stylegan2": "Train a StyleGAN2 generator on aligned pictures.",
    "identity": "Train an identity embedder (ArcFace margin); needs to know who is who.",
    "parser": "Train a face parser (BiSeNet); needs label maps.",
    "landmarks": "Train a landmark model with exchangeable shape, for LatentSwap's shape loss.",
    "encoder": "Train an encoder (e4e) into the codes of a trained generator.",
    "latentswap": "Train LatentSwap's mixer on the codes of a trained generator; needs no data.",
}


@contextmanager
def finishing_step() -> Iterator[list[int]]:
    """The first SIGINT or SIGTERM is noted, so that a step can end and be saved; a second one stops."""
    received: list[int] = []

    def note(signum: int, frame: FrameType | None) -> None:
        del frame
        received.append(signum)
        if len(received) > 1:
            raise Interrupted(signum)

    signals = (signal.SIGINT, signal.SIGTERM)
    previous = [signal.signal(number, note) for number in signals]
    try:
        yield received
    finally:
        for number, handler in zip(signals, previous, strict=True):
            signal.signal(number, handler)


@click.group()
def train() -> None:
    """Train networks: on your own pictures, or on procedural heads.

    One loop for all methods: checkpoints that a killed training goes on from with the same losses,
    moving averages, mixed precision, several processes by `torchrun -m vidswap train …`, figures as
    CSV and for TensorBoard, pictures as PNG. The finished network is in DIR/export.
    """


def _verb(name: str, summary: str) -> click.Command:
    @train.command(name, help=summary)
    @click.option(
        "--data",
        metavar="DIR|synthetic",
        help="Folder of pictures and videos, a data set of `vidswap synth faces`, or `synthetic` "
        "[data.path].",
    )
    @click.option(
        "-o", "--out", type=FILE, required=True, metavar="DIR", help="Folder of this training."
    )
    @click.option(
        "--recipe",
        "recipe_name",
        default=name,
        show_default=True,
        metavar="NAME|FILE",
        help=f"Training recipe; {name}-64 made the weights that come with vidswap.",
    )
    @click.option(
        "--set",
        "overrides",
        metavar="KEY=VALUE",
        multiple=True,
        help="Change one value of the recipe, such as --set loop.steps=5000; repeatable.",
    )
    @click.option("--device", metavar="DEVICE", help="auto, cpu, cuda or cuda:1 [loop.device].")
    @click.option("--fresh", is_flag=True, help="Begin anew instead of going on.")
    @click.option(
        "--dry-run", is_flag=True, help="Print the recipe and a cost estimate; train nothing."
    )
    @console_options
    def command(console: Console, **options: Any) -> None:
        _train(console, name, **options)

    return command


for _name, _summary in METHODS.items():
    _verb(_name, _summary)


@train.command("measure")
@click.option(
    "--weights",
    "pairs",
    metavar="ROLE=NAME",
    multiple=True,
    help="Measure other weights in a place: embedder, generator, encoder, mixer, parser or landmarks; "
    "a name or a safetensors file; repeatable.",
)
@console_options
def measure_weights(console: Console, pairs: Sequence[str]) -> None:
    """Measure the small weights that come with vidswap on people they were never trained on.

    Clips are swapped by the pipeline latentswap-demo, and left out where --weights names others.
    """
    from vidswap.bench import temporal
    from vidswap.errors import RecipeError
    from vidswap.train import quality

    names = dict(pair.partition("=")[::2] for pair in pairs)
    unknown = sorted(names.keys() - quality.NAMES.keys())
    if unknown or not all(names.values()):
        known = ", ".join(quality.NAMES)
        raise RecipeError(f"--weights: expected ROLE=NAME with a role of {known}; got {pairs}")
    rows = quality.measure(names, quality.face_finder())
    rows += [] if names else temporal.rows(progress=console.bars)
    console.result({"rows": quality.as_json(rows)}, quality.table(rows))


def _train(
    console: Console,
    method: str,
    *,
    data: str | None,
    out: Path,
    recipe_name: str,
    overrides: Sequence[str],
    device: str | None,
    fresh: bool,
    dry_run: bool,
) -> None:
    from vidswap import schema
    from vidswap.train.estimate import estimate
    from vidswap.train.loop import Watch, train
    from vidswap.train.options import load

    changes = list(overrides)
    changes += [f"data.path={_quoted(data)}"] if data is not None else []
    changes += [f"loop.device={_quoted(device)}"] if device is not None else []
    recipe = load(recipe_name, changes, method)
    if dry_run:
        from vidswap.cli.requests import show_plan

        show_plan(console, schema.encode(recipe) | {"estimate": estimate(recipe, out)})
        return
    with finishing_step() as received:
        watch = Watch(_bars(console), console.note, lambda: bool(received))
        outcome = train(recipe, out, fresh=fresh, watch=watch)
    facts = {
        "out": str(outcome.out),
        "steps": outcome.steps,
        "finished": outcome.finished,
        "figures": outcome.figures,
        "checkpoint": str(outcome.checkpoint),
        "exports": [str(path) for path in outcome.exports],
    }
    if outcome.finished:
        if outcome.first:
            console.result(facts, "\n".join(str(path) for path in outcome.exports))
        return
    if outcome.first:
        console.note(f"stopped after step {outcome.steps}; the same command goes on from there")
    # Where another of several processes was told to stop, this one was not.
    raise click.exceptions.Exit(128 + (received[0] if received else signal.SIGTERM))


def _quoted(text: str) -> str:
    import json

    return json.dumps(text)


def _bars(console: Console) -> Callable[[str, int, int], None]:
    return console.bars
