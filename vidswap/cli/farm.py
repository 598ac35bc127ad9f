"""``vidswap farm``: a run in the hands of somebody else's scheduler."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from vidswap.cli.console import Console
from vidswap.cli.options import (
    FILE,
    console_options,
    encode_options,
    input_argument,
    recipe_options,
    source_options,
    trim_options,
    work_option,
)
from vidswap.cli.requests import build_request
from vidswap.cli.toml import dump

if TYPE_CHECKING:
    from vidswap.run.request import Request, Watch

F = TypeVar("F", bound=Callable[..., Any])

EVERY_SECONDS = 1.0
"""Between two lines of progress for a scheduler."""


def request_options(command: F) -> F:
    """Everything that says what is to be done: the same for every step of one run."""
    own = (
        click.option("-o", "--output", type=FILE, help="Video to write."),
        click.option("--overwrite", is_flag=True, help="Replace an output that exists."),
        click.option(
            "--allow-no-face", is_flag=True, help="Write a video even if nobody is swapped."
        ),
        click.option("--report", type=FILE, metavar="DIR", help="Write a report there."),
        click.option("--commercial", is_flag=True, help="Refuse weights not licensed for that."),
    )
    for option in (encode_options, recipe_options, trim_options, work_option, *reversed(own)):
        command = option(command)
    return input_argument(source_options(command))


step_option = click.option("--openjd", is_flag=True, hidden=True)
index_option = click.option(
    "--index", type=click.IntRange(0), required=True, help="Which one, from 0."
)
take_over_option = click.option(
    "--take-over",
    is_flag=True,
    help="Drop locks that an earlier attempt left on another machine; only where a scheduler never "
    "runs two attempts at once.",
)


@click.group()
def farm() -> None:
    """Hand one run to a scheduler: OpenJD and Slurm, or any other that starts commands.

    \b
    span    any number of machines, optional: parts of the analysis
    plan    once, after them: the analysis as a whole, and the job
    chunk   any number of machines: parts of the video
    join    once, after them: joins, verifies, and lets the output appear

    Every step takes the options of `vidswap run`, may be repeated, and keeps what is done. The work
    folder has to be seen by all of them, or be carried from step to step.
    """


@farm.command("openjd")
@request_options
@click.option("--template", type=FILE, metavar="FILE", help="[default: OUTPUT.openjd.json]")
@click.option("--cpus", type=click.IntRange(1), default=2, show_default=True, help="For each task.")
@click.option(
    "--memory",
    type=click.FloatRange(0.1),
    default=4.0,
    show_default=True,
    help="GiB for each task.",
)
@click.option("--gpus", type=click.IntRange(0), default=0, show_default=True, help="For each task.")
@click.option("--gpu-memory", type=click.FloatRange(0), default=0.0, help="GiB on each GPU.")
@click.option(
    "--daemon", is_flag=True,
    help="Keep the engine loaded for all chunks of one session, in a step environment.",
)  # fmt: skip
@console_options
def openjd(console: Console, input_path: Path, **options: Any) -> None:
    """Write an Open Job Description template (2023-09) that renders INPUT.

    Tasks are numbered by the grid of chunks. The values of its parameters are written beside it:
    `openjd run T.json --run-dependencies --step Join -p file://T.parameters.json` runs everything
    here.

    On stdout: the template, or with --json what is in it.
    """
    from vidswap.farm.openjd import Hosts, template
    from vidswap.farm.steps import check_request, size

    path, daemon = options.pop("template"), options.pop("daemon")
    names = ("cpus", "memory", "gpus", "gpu_memory")
    hosts = Hosts(*(options.pop(name) for name in names))
    request = build_request(console, input_path, **options)
    check_request(request)
    found = size(request)
    made = template(request, found, _recipe(request), hosts, daemon=daemon)
    path = path or _beside(request, ".openjd.json")
    values = made.write(path)
    facts = {"template": str(path), "parameters": str(values)}
    console.result(facts | _parts(found), str(path))


@farm.command("slurm")
@request_options
@click.option("--script", type=FILE, metavar="FILE", help="[default: OUTPUT.slurm.sh]")
@click.option("--cpus", type=click.IntRange(1), default=2, show_default=True, help="For each task.")
@click.option(
    "--memory",
    type=click.FloatRange(0.1),
    default=4.0,
    show_default=True,
    help="GiB for each task.",
)
@click.option("--gpus", type=click.IntRange(0), default=0, show_default=True, help="For each task.")
@click.option("--partition", metavar="NAME", help="Slurm's partition.")
@click.option("--time", "limit", default="04:00:00", show_default=True, help="For each task.")
@click.option(
    "--at-once", type=click.IntRange(0), default=0, help="Chunks at the same time; 0: no limit."
)
@click.option(
    "--array-limit", type=click.IntRange(1), default=1000, show_default=True,
    help="Tasks in one array job (MaxArraySize - 1).",
)  # fmt: skip
@click.option(
    "--command", default="vidswap", show_default=True,
    help="How nodes call vidswap, such as 'apptainer exec vidswap.sif vidswap'.",
)  # fmt: skip
@console_options
def slurm(console: Console, input_path: Path, **options: Any) -> None:
    """Write a script that renders INPUT on Slurm: array jobs, then one that joins.

    `bash SCRIPT` submits it; after a failure the same again goes on with what is missing.

    On stdout: the script's path, or with --json what is in it.
    """
    from vidswap.farm.slurm import Jobs, script, write_script
    from vidswap.farm.steps import check_request, size

    path = options.pop("script")
    names = ("cpus", "memory", "gpus", "partition", "limit", "at_once", "array_limit", "command")
    jobs = Jobs(*(options.pop(name) for name in names))
    request = build_request(console, input_path, **options)
    check_request(request)
    found = size(request)
    path = path or _beside(request, ".slurm.sh")
    write_script(path, script(request, found, _recipe(request), jobs))
    console.result({"script": str(path)} | _parts(found), str(path))


@farm.command("span")
@request_options
@index_option
@step_option
@console_options
def span(console: Console, input_path: Path, index: int, openjd: bool, **options: Any) -> None:
    """Analyse one span of INPUT, unless it is done.

    On stdout: with --json, what was done.
    """
    from vidswap.farm.steps import run_span

    request = _request(console, input_path, openjd, options)
    console.result(run_span(request, index), f"span {index}")


@farm.command("plan")
@request_options
@click.option("--expect", type=click.IntRange(1), help="Chunks that the scheduler was told of.")
@take_over_option
@step_option
@console_options
def plan(
    console: Console,
    input_path: Path,
    expect: int | None,
    take_over: bool,
    openjd: bool,
    **options: Any,
) -> None:
    """Analyse INPUT, or what spans have left of it, and store the job for chunks.

    On stdout: the job's folder, or with --json its facts.
    """
    from vidswap.farm.steps import run_plan

    request = _request(console, input_path, openjd, options)
    found = run_plan(request, expect, take_over=take_over)
    console.result(found, found["folder"])


@farm.command("chunk")
@request_options
@index_option
@click.option("--daemon", type=FILE, metavar="PLACE", help="Let `vidswap farm daemon` do it.")
@step_option
@console_options
def chunk(
    console: Console,
    input_path: Path,
    index: int,
    daemon: Path | None,
    openjd: bool,
    **options: Any,
) -> None:
    """Render one chunk of INPUT, unless it is done.

    On stdout: with --json, what was done.
    """
    request = _request(console, input_path, openjd, options)
    if daemon is not None:
        from vidswap.farm.daemon import ask

        found = ask(daemon, request, index)
    else:
        from vidswap.farm.steps import run_chunk

        found = run_chunk(request, index)
    console.result(found, f"chunk {index}")


@farm.command("join")
@request_options
@take_over_option
@step_option
@console_options
def join(console: Console, input_path: Path, take_over: bool, openjd: bool, **options: Any) -> None:
    """Join the chunks of INPUT, verify the video, and let it appear.

    A chunk that is missing or damaged is rendered here. Once the output stands there is nothing more
    to do.

    On stdout: the path of the video, or with --json its facts.
    """
    from vidswap.farm.steps import run_join

    request = _request(console, input_path, openjd, options)
    found = run_join(request, take_over=take_over)
    console.result(found, str(found["output"]))


@farm.group("daemon")
def daemon() -> None:
    """Keep an engine loaded between the chunks of a session."""


@daemon.command("start")
@click.argument("place", type=FILE)
@request_options
@console_options
def start(console: Console, place: Path, input_path: Path, **options: Any) -> None:
    """Start a process that renders chunks of INPUT for `vidswap farm chunk --daemon PLACE`.

    It ends with `vidswap farm daemon end PLACE`, when PLACE is removed, and when the process that
    started this command ends, however it does.

    On stdout: its process id.
    """
    from vidswap.farm.daemon import start as begin

    pid = begin(place, build_request(console, input_path, **options))
    console.result({"pid": pid, "place": str(place)}, str(pid))


@daemon.command("end")
@click.argument("place", type=FILE)
@console_options
def end(console: Console, place: Path) -> None:
    """End the process of `vidswap farm daemon start PLACE`; one that is gone is no error.

    On stdout: whether it was there.
    """
    from vidswap.farm.daemon import end as finish

    found = finish(place)
    console.result({"ended": found}, "ended" if found else "was gone already")


def _request(
    console: Console, input_path: Path, openjd: bool, options: dict[str, Any]
) -> "Request":
    request = build_request(console, input_path, **options)
    return replace(request, watch=_reporting(console, request.watch)) if openjd else request


def _reporting(console: Console, watch: "Watch") -> "Watch":
    """The same watch; progress is told the way Open Job Description wants it, too."""
    told = [("", float("-inf"))]

    def progress(stage: str, done: int, total: int) -> None:
        watch.progress(stage, done, total)
        now = time.monotonic()
        if stage != told[0][0]:
            console.out.write(f"openjd_status: {stage}\n")
        elif now - told[0][1] < EVERY_SECONDS and done < total:
            return
        told[0] = stage, now
        console.out.write(f"openjd_progress: {100 * done / max(total, 1):.1f}\n")
        console.out.flush()

    return replace(watch, progress=progress)


def _beside(request: "Request", suffix: str) -> Path:
    from vidswap.run.prepare import output_of

    output = output_of(request)
    return output.with_name(f"{output.name}{suffix}")


def _recipe(request: "Request") -> str:
    from vidswap import schema

    return dump(schema.encode(request.recipe))


def _parts(found: Any) -> dict[str, int]:
    return {"spans": found.spans, "chunks": found.chunks, "frames": found.frames}
