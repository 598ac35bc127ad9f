"""Everything a run can refuse is refused here, before any frame is decoded."""

from dataclasses import dataclass
from pathlib import Path

from vidswap.engines import Execution, SwapEngine, create
from vidswap.errors import RecipeError, StateError
from vidswap.media.containers import SUFFIXES, check_streams
from vidswap.media.decode import refuse_interlaced
from vidswap.media.encode import EncoderPlan, plan_encoder
from vidswap.media.probe import probe
from vidswap.recipe import Recipe
from vidswap.run.guard import Guard
from vidswap.run.job import (
    check_distinct,
    check_input,
    check_output,
    default_output,
    default_work,
)
from vidswap.run.licence import check_commercial
from vidswap.run.people import Person, check_photos, check_rules, people
from vidswap.run.report import check_folder
from vidswap.run.request import Request
from vidswap.run.trim import frame_range
from vidswap.types import VideoInfo

WITHOUT_NETWORK = ("mesh", "identity")
"""Engines that run on the CPU alone: importing torch for them would cost seconds and 180 MB."""


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """A clip and the part of it that is worked on."""

    info: VideoInfo
    start: int
    stop: int
    work: Path
    """Folder of the analysis."""
    guard: Guard
    """The clip as it was before it was probed."""


@dataclass(frozen=True, slots=True, eq=False)
class Ready:
    """A clip, an engine and the people to put in."""

    target: Target
    engine: SwapEngine
    persons: tuple[Person, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """A run that nothing known beforehand stands in the way of."""

    ready: Ready
    output: Path
    encoder: EncoderPlan


def output_of(request: Request) -> Path:
    """Where the video goes; Matroska where the input's own container cannot be written."""
    if request.output is not None:
        return request.output
    output = default_output(request.input)
    return output if output.suffix.lower() in SUFFIXES else output.with_suffix(".mkv")


def open_target(request: Request) -> Target:
    """Probe the clip and resolve its range and work folder.

    Raises:
        MediaError: The clip cannot be read.
        RecipeError: The range is empty.
        StateError: The work folder is a file.
    """
    check_input(request.input)
    guard = Guard([request.input])
    info = probe(request.input)
    refuse_interlaced(info, request.recipe.decode)
    for remark in info.warnings:
        request.watch.warn(remark)
    start, stop = frame_range(info, request.start, request.end)
    work = request.work or default_work(output_of(request))
    if work.exists() and not work.is_dir():
        raise StateError("is a file, expected a work folder", path=work, stage="analysis")
    return Target(info, start, stop, work, guard)


def make_ready(request: Request) -> Ready:
    """Check clip, photos and device, and open what a swap needs.

    Raises:
        RecipeError: Options that cannot be carried out.
        MediaError: A file that cannot be read.
        NoFaceError: A photo without a face.
    """
    return _with_people(request, _asked_for(request))


def _asked_for(request: Request) -> Target:
    """The clip, of a request whose options and files are there."""
    photos = photos_of(request)
    if not photos and request.recipe.engine.name != "identity":
        hint = "give a photo of a face with --source"
        raise RecipeError("nobody to swap in", stage="usage", hint=hint)
    check_input(request.input)
    check_photos(photos)
    check_rules(request)
    return open_target(request)


def _with_people(request: Request, target: Target) -> Ready:
    """Opens the engine and finds the faces of the photographs: seconds."""
    engine = engine_of(request)
    return Ready(target, engine, people(request, engine))


def engine_of(request: Request) -> SwapEngine:
    """The recipe's engine on the recipe's device.

    Raises:
        RecipeError: The device is not here, or options do not go with the weights.
        WeightsError: Weights are missing, or not what they should be.
    """
    recipe = request.recipe
    run = recipe.run
    how = Execution(device_of(recipe), run.precision, recipe.invert, run.compile, run.winograd)
    return create(recipe.engine, how)


def prepare(request: Request) -> Job:
    """Check everything a run can be refused for, cheapest first.

    Raises:
        RecipeError: Options that cannot be carried out.
        MediaError: A file that cannot be read or an output that cannot be written.
        StateError: An output that is in the way.
        WeightsError: Weights that forbid the commercial use that was asked for.
        NoFaceError: A photo without a face.
    """
    output = output_of(request)
    check_input(request.input)
    check_distinct(output, [request.input, *photos_of(request)])
    check_output(output, overwrite=request.overwrite)
    if request.report is not None:
        check_folder(request.report)
    if request.commercial:
        check_commercial(request.recipe)
    target = _asked_for(request)
    check_streams(target.info, output)
    encoder = plan_encoder(target.info, request.recipe.encode, output)
    for remark in encoder.notes:
        request.watch.note(remark)
    return Job(_with_people(request, target), output, encoder)


def photos_of(request: Request) -> list[Path]:
    """Every photo that is read."""
    references = [Path(who) for who in (request.faces, *(who for who, _ in request.mapping))]
    named = [path for path in references if path.is_file()]
    return [*request.sources, *(photo for _, photo in request.mapping), *named]


def device_of(recipe: Recipe) -> str:
    """The device that ``run.device`` means here.

    Raises:
        RecipeError: It names one that this machine lacks.
    """
    wanted = recipe.run.device
    if wanted == "cpu" or (wanted == "auto" and recipe.engine.name in WITHOUT_NETWORK):
        return "cpu"
    import torch

    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=wanted)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise RecipeError(
            f"run.device: {wanted!r} cannot be used: {reason}",
            hint="vidswap doctor lists the devices of this machine",
        ) from None
    return wanted
