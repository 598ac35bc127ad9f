"""The two passes from end to end: ``run``, ``analyse`` and ``render``."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

from vidswap import __version__, schema
from vidswap.engines import Plan
from vidswap.errors import VidswapError
from vidswap.media.decode import open_reader
from vidswap.media.mux import Record, Writer
from vidswap.media.verify import verify
from vidswap.run.analysis import Analysis
from vidswap.run.job import producing_output
from vidswap.run.latents import prepare_latents
from vidswap.run.passes import cast_of, obtain, plans_for, require
from vidswap.run.people import likeness_of
from vidswap.run.prepare import Job, Target, engine_of, open_target, prepare
from vidswap.run.recorder import Recorder
from vidswap.run.render import FaceBatches, Rendered, render
from vidswap.run.report import write_report
from vidswap.run.request import Request, Watch
from vidswap.types import Need

AnalysisOf = Callable[[Request, Target, frozenset[Need]], Analysis]


def swap(request: Request) -> dict[str, Any]:
    """Analyse where needed, render, verify, and only then let the output appear.

    Returns:
        Facts of the run, ready for JSON.

    Raises:
        VidswapError: The request cannot be carried out; nothing is left half-written.
    """
    return _produce(request, obtain)


def render_only(request: Request) -> dict[str, Any]:
    """As ``swap``, from an analysis that must exist and match.

    Raises:
        StateError: There is none, or it was made from something else; names what differs.
    """
    return _produce(request, require)


def analyse_only(request: Request) -> dict[str, Any]:
    """Pass one alone.

    Returns:
        Facts of the analysis, ready for JSON.
    """
    began = perf_counter()
    target = open_target(request)
    engine = engine_of(request)
    analysis = obtain(request, target, engine.needs)
    prepare_latents(request, target, analysis, engine)
    return {
        "work": str(target.work),
        "input": str(request.input),
        "frames": target.stop - target.start,
        "shots": len(analysis.shots),
        "tracks": len(analysis.tracks),
        "seconds": round(perf_counter() - began, 3),
    }


def _produce(request: Request, analysis_of: AnalysisOf) -> dict[str, Any]:
    began = perf_counter()
    remarks: dict[str, list[str]] = {"notes": [], "warnings": []}
    request = replace(request, watch=_collecting(request.watch, remarks))
    job = prepare(request)
    with producing_output(job.output, overwrite=request.overwrite) as part:
        analysis = analysis_of(request, job.ready.target, job.ready.engine.needs)
        cast = cast_of(request, analysis, job.ready)
        prepare_latents(request, job.ready.target, analysis, job.ready.engine, cast)
        analysed = perf_counter()
        plans = plans_for(analysis, job.ready, cast)
        chosen = [track for track in analysis.tracks if track.id in plans]
        recorder = None if request.report is None else Recorder(chosen, likeness_of(cast))
        with _naming(part, job.output):
            done = write_output(request, job, analysis, plans, recorder, part)
    seconds = {"analyse": analysed - began, **done.seconds, "total": perf_counter() - began}
    result = _facts(request, job, done, seconds) | {"tracks": len(plans), **remarks}
    if request.report is not None and recorder is not None:
        write_report(request.report, analysis, recorder, result)
    return result


def write_output(
    request: Request,
    job: Job,
    analysis: Analysis,
    plans: Mapping[int, Plan],
    recorder: Recorder | None,
    part: Path,
) -> Rendered:
    """Render into a temporary file and verify it.

    Args:
        request: Recipe and watch.
        job: Clip, engine and encoder.
        analysis: Pass one.
        plans: By track id.
        recorder: Sees every face, for a report.
        part: File to write; its container follows the job's output.

    Raises:
        MediaError: Decoding, encoding, the disk or verification fails.
    """
    target = job.ready.target
    total = target.stop - target.start
    # The encoder's frames are gone when verifying needs memory of its own.
    rendered, record = _encoded(request, job, analysis, plans, recorder, part)
    request.watch.progress("verify", 0, total)
    began = perf_counter()
    suffix = job.output.suffix.lower()
    verify(part, target.info, target.start, target.stop, suffix, record)
    request.watch.progress("verify", total, total)
    rendered.seconds["verify"] = perf_counter() - began
    return rendered


def _encoded(
    request: Request,
    job: Job,
    analysis: Analysis,
    plans: Mapping[int, Plan],
    recorder: Recorder | None,
    part: Path,
) -> tuple[Rendered, Record]:
    target, options = job.ready.target, request.recipe.run
    total, done = target.stop - target.start, [0]

    def advance(count: int) -> None:
        done[0] += count
        request.watch.progress("render", done[0], total)

    batches = FaceBatches(analysis, job.ready.engine, plans, options, recorder)
    writer = Writer(
        target.info,
        job.encoder,
        part,
        container=job.output.suffix.lower(),
        start=target.start,
        stop=target.stop,
    )
    with open_reader(target.info, request.recipe.decode) as reader:
        frames = reader.frames(target.start, target.stop)
        rendered = render(frames, batches, writer, options.queue, advance)
    for remark in writer.notes:
        request.watch.note(remark)
    return rendered, writer.record


def _facts(
    request: Request, job: Job, done: Rendered, seconds: Mapping[str, float]
) -> dict[str, Any]:
    return {
        "output": str(job.output),
        "input": str(request.input),
        "work": str(job.ready.target.work),
        "frames": done.frames,
        "faces": done.faces,
        "swapped": done.swapped,
        "engine": job.ready.engine.name,
        "encoder": job.encoder.encoder,
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
        "frames_per_second": round(done.frames / max(seconds["total"], 1e-6), 2),
        "recipe": schema.encode(request.recipe),
        "version": __version__,
    }


def _collecting(watch: Watch, remarks: Mapping[str, list[str]]) -> Watch:
    """The same watch, with remarks kept for the result."""

    def note(message: str) -> None:
        remarks["notes"].append(message)
        watch.note(message)

    def warn(message: str) -> None:
        remarks["warnings"].append(message)
        watch.warn(message)

    return replace(watch, note=note, warn=warn)


@contextmanager
def _naming(part: Path, output: Path) -> Iterator[None]:
    """Errors about the temporary file name the output instead: the other is gone when one reads."""
    try:
        yield
    except VidswapError as error:
        if error.path != str(part):
            raise
        raise type(error)(error.message, path=output, stage=error.stage, hint=error.hint) from error
