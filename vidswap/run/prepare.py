"""Everything a run can refuse is refused here, before any frame is decoded."""

from dataclasses import dataclass
from pathlib import Path

from vidswap.engines import SwapEngine, create
from vidswap.errors import RecipeError
from vidswap.media.encode import EncoderPlan, plan_encoder
from vidswap.media.mux import check_streams
from vidswap.media.probe import probe
from vidswap.recipe import Recipe
from vidswap.run.job import (
    check_distinct,
    check_input,
    check_output,
    default_output,
    default_work,
)
from vidswap.run.people import Person, check_photos, people
from vidswap.run.report import check_folder
from vidswap.run.request import Request
from vidswap.run.trim import frame_range
from vidswap.types import VideoInfo


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """A clip and the part of it that is worked on."""

    info: VideoInfo
    start: int
    stop: int
    work: Path
    """Folder of the analysis."""


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A run that nothing known beforehand stands in the way of."""

    target: Target
    output: Path
    encoder: EncoderPlan
    engine: SwapEngine
    persons: tuple[Person, ...]


def output_of(request: Request) -> Path:
    """Where the video goes."""
    return request.output or default_output(request.input)


def open_target(request: Request) -> Target:
    """Probe the clip and resolve its range and work folder.

    Raises:
        MediaError: The clip cannot be read.
        RecipeError: The range is empty.
    """
    check_input(request.input)
    info = probe(request.input)
    for remark in info.warnings:
        request.watch.warn(remark)
    start, stop = frame_range(info, request.start, request.end)
    return Target(info, start, stop, request.work or default_work(output_of(request)))


def prepare(request: Request) -> Prepared:
    """Check paths, streams, encoder, device and photos.

    Raises:
        RecipeError: Options that cannot be carried out.
        MediaError: A file that cannot be read or an output that cannot be written.
        StateError: An output that is in the way.
        NoFaceError: A photo without a face.
    """
    output = output_of(request)
    photos = [*request.sources, *(photo for _, photo in request.mapping)]
    if not photos and request.recipe.engine.name != "identity":
        raise RecipeError(
            "nothing to swap in", stage="usage", hint="give a photo of a face with --source"
        )
    check_input(request.input)
    check_photos(photos)
    check_distinct(output, [request.input, *photos])
    check_output(output, overwrite=request.overwrite)
    if request.report is not None:
        check_folder(request.report)
    target = open_target(request)
    check_streams(target.info, output)
    encoder = plan_encoder(target.info, request.recipe.encode, output)
    for remark in encoder.notes:
        request.watch.note(remark)
    engine = create(request.recipe.engine, device_of(request.recipe))
    return Prepared(target, output, encoder, engine, people(request, engine))


def device_of(recipe: Recipe) -> str:
    """The device that ``run.device`` means here.

    Raises:
        RecipeError: It names one that this machine lacks.
    """
    wanted = recipe.run.device
    if wanted == "cpu" or recipe.engine.name == "identity":
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
