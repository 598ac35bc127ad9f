"""A run in steps that a scheduler of its own hands out: spans, plan, chunks, join.

    size(request)              # how many spans and chunks; known from the clip alone
    run_span(request, 3)       # any span, anywhere; optional, ``run_plan`` does what is missing
    run_plan(request)          # once, after them: analysis and job
    run_chunk(request, 17)     # any chunk, anywhere
    run_join(request)          # once, after them: joins, verifies, publishes

Every step is told the whole request, with the paths of the machine that it runs on: a farm may mount
its folders elsewhere on each. What has been planned is recognised by the job's key, which holds
contents and no paths. Every step may be done again, or twice at once, without harm.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidswap.errors import RecipeError, StateError
from vidswap.farm.memory import halving
from vidswap.recipe import Recipe
from vidswap.run.chunks import grid
from vidswap.run.job import check_distinct, check_input, default_work, same_file
from vidswap.run.jobfile import NAME, JobFile, folder_of, jobs_in
from vidswap.run.lock import lock_path
from vidswap.run.request import Request
from vidswap.run.spans import spans

if TYPE_CHECKING:
    from vidswap.run.session import Session

Fence = Callable[[object], None]


def _no_fence(_chunk: object) -> None:
    """Let everything count."""


@dataclass(frozen=True, slots=True)
class Size:
    """Into how many parts a request falls."""

    spans: int
    """Of pass one."""
    chunks: int
    """Of pass two."""
    frames: int


def check_request(request: Request) -> None:
    """Refuse what every step would be refused for later, as far as this machine can tell.

    Raises:
        RecipeError: Nobody to swap in, or the output is also read.
        MediaError: A file that cannot be read.
    """
    from vidswap.run.people import check_photos, check_rules
    from vidswap.run.prepare import output_of, photos_of

    photos = photos_of(request)
    if not photos and request.recipe.engine.name != "identity":
        hint = "give a photo of a face with --source"
        raise RecipeError("nobody to swap in", stage="usage", hint=hint)
    check_input(request.input)
    check_photos(photos)
    check_rules(request)
    check_distinct(output_of(request), [request.input, *photos])


def size(request: Request) -> Size:
    """Count the parts of a request, from its clip, range and recipe.

    Raises:
        MediaError: The clip cannot be read.
        RecipeError: The range is empty.
    """
    from vidswap.run.prepare import open_target

    target = open_target(request)
    frames, recipe = (target.start, target.stop), request.recipe
    parts = len(spans(*frames, recipe.track.span)), len(grid(*frames, recipe.run.chunk))
    return Size(*parts, target.stop - target.start)


def run_span(request: Request, number: int) -> dict[str, Any]:
    """Analyse one span, unless it is done.

    Raises:
        RecipeError: There is no such span.
        VidswapError: It cannot be done.
    """
    from vidswap.farm.share import span_task
    from vidswap.run.analyse_span import analyse_span
    from vidswap.run.passes import require
    from vidswap.run.prepare import open_target
    from vidswap.run.spans import pending

    target = open_target(request)
    task = span_task(request, target)
    _check("span", number, len(task.spans))
    span = task.spans[number]
    try:
        require(request, target, task.needs)
    except StateError:
        missing = span in pending(task)
    else:
        missing = False  # the analysis is whole
    if missing:
        total = span.stop - span.start
        analyse_span(task, span, lambda done: request.watch.progress("analyse", done, total))
    return {"span": number, "frames": span.stop - span.start, "done_before": not missing}


def run_plan(
    request: Request, expected: int | None = None, *, take_over: bool = False
) -> dict[str, Any]:
    """Finish the analysis and store the job.

    Args:
        request: With an output.
        expected: Chunks that the scheduler was told of.
        take_over: Drop locks that an earlier attempt left on another machine. Only for schedulers
            that never run two attempts at once.

    Raises:
        StateError: The clip does not fall into as many chunks as were expected.
        VidswapError: As ``plan``.
    """
    from vidswap.run.swap import plan

    found = size(request)
    if expected is not None and found.chunks != expected:
        raise StateError(
            f"the clip falls into {found.chunks} chunks, the scheduler was told {expected}",
            path=request.input,
            stage="plan",
            hint="the clip or run.chunk has changed since: write the template or script again",
        )
    if take_over:
        _unlock(request)
    file = plan(request)
    facts = {"folder": str(file.folder), "output": str(file.output), "job": file.digest}
    return {**facts, "chunks": found.chunks, "frames": found.frames}


def run_chunk(request: Request, index: int, fence: Fence = _no_fence) -> dict[str, Any]:
    """Render one chunk of a planned request, unless it is done.

    Args:
        request: As it was planned; paths may differ.
        index: On the grid.
        fence: Called right before the chunk counts; may raise to keep it out.

    Raises:
        RecipeError: There is no such chunk.
        StateError: Nothing was planned, or something else.
        VidswapError: It cannot be done.
    """
    from vidswap.run.session import open_session

    file = find_job(request)
    if file.phase == "finished":
        return {"chunk": index, "frames": 0, "done_before": True}

    def rendered(recipe: Recipe) -> dict[str, Any]:
        here = replace(file, request=replace(request, recipe=recipe))
        with open_session(here, request.watch) as session:
            return render_one(session, index, fence)

    return halving(request.recipe, rendered, request.watch.note)


def render_one(session: "Session", index: int, fence: Fence = _no_fence) -> dict[str, Any]:
    """Render one chunk with a session that is open, unless it is done.

    Raises:
        RecipeError: There is no such chunk.
        VidswapError: It cannot be done.
    """
    _check("chunk", index, len(session.chunks))
    chunk, done = session.chunks[index], [0]
    missing = session.folder.record(chunk, seen=session.reports) is None

    def advance(count: int) -> None:
        done[0] += count
        session.request.watch.progress("render", done[0], chunk.frames)

    if missing:
        session.render([chunk], advance=advance, fence=fence)
    return {"chunk": index, "frames": chunk.frames, "done_before": not missing}


def run_join(request: Request, *, take_over: bool = False) -> dict[str, Any]:
    """Join, verify and publish; a chunk that is missing or damaged is rendered here.

    Args:
        request: As it was planned; paths may differ.
        take_over: As for ``run_plan``.

    Returns:
        Facts of the run; those of an earlier call where it had finished.

    Raises:
        StateError: Nothing was planned, or an output is in the way.
        VidswapError: As ``swap``.
    """
    from vidswap.run.prepare import output_of
    from vidswap.run.swap import swap

    file, output = find_job(request), output_of(request)
    if file.phase == "finished" and output.is_file():
        return {**file.result, "output": str(output)}
    if take_over:
        _unlock(request)
    place = folder_of(file.folder.parent, output, file.key)
    if place != file.folder and not place.exists():
        # The output has another path here than where it was planned.
        file.folder.rename(place)
    return swap(request)


def work_of(request: Request) -> Path:
    """Work folder of a request."""
    from vidswap.run.prepare import output_of

    return request.work or default_work(output_of(request))


def find_job(request: Request) -> JobFile:
    """The job that was planned last for the request's output.

    Raises:
        StateError: There is none.
    """
    from vidswap.run.prepare import output_of

    output, work = output_of(request), work_of(request)
    found = jobs_in(work) if work.is_dir() else ()
    found = tuple(f for f in found if same_file(f.output, output)) or found
    if not found:
        hint = "vidswap farm plan, with the same options, comes first"
        raise StateError("nothing was planned here", path=work, stage="job", hint=hint)
    return max(found, key=lambda file: (file.folder / NAME).stat().st_mtime_ns)


def _check(kind: str, index: int, count: int) -> None:
    if not 0 <= index < count:
        message = f"there is no {kind} {index}: they are numbered 0 to {count - 1}"
        raise RecipeError(message, stage="usage")


def _unlock(request: Request) -> None:
    from vidswap.run.prepare import output_of

    for place in (output_of(request), work_of(request)):
        lock_path(place).unlink(missing_ok=True)
