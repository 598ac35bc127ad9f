"""The two passes from end to end: ``run``, ``analyse`` and ``render``.

A run is a job (``jobfile``): its analysis, then its chunks, then one file joined from them, verified,
and renamed into place. Whatever ends it, the next run of the same command goes on from there.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

from vidswap import __version__, schema
from vidswap.engines import Plan
from vidswap.errors import VidswapError
from vidswap.media.segment import digest_of
from vidswap.run.analysis import Analysis
from vidswap.run.assemble import Assembled, assemble
from vidswap.run.chunks import ChunkFolder, grid
from vidswap.run.job import producing_output
from vidswap.run.jobfile import JobFile
from vidswap.run.jobs import abandon, begin, finish, settle
from vidswap.run.latents import prepare_latents
from vidswap.run.lock import locked
from vidswap.run.passes import cast_of, obtain, plans_for, require
from vidswap.run.people import likeness_of
from vidswap.run.prepare import Job, Target, engine_of, open_target, prepare
from vidswap.run.recorder import Recorder
from vidswap.run.report import write_report
from vidswap.run.request import Request, Watch
from vidswap.run.session import Session, chunk_folder
from vidswap.run.witness import merged
from vidswap.types import Need

AnalysisOf = Callable[[Request, Target, frozenset[Need]], Analysis]


def swap(request: Request) -> dict[str, Any]:
    """Analyse where needed, render, verify, and only then let the output appear.

    Returns:
        Facts of the run, ready for JSON.

    Raises:
        VidswapError: The request cannot be carried out; what is done of it stays in the work folder.
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


def plan(request: Request) -> JobFile:
    """Everything before the first chunk, for schedulers that hand out the chunks themselves.

    Any process may then render chunks with ``open_session(read_job(folder))``; once all are there,
    ``swap`` of the same request joins, verifies and publishes them.

    Returns:
        The job, stored in ``folder``.

    Raises:
        VidswapError: As ``swap``.
    """
    job = prepare(request)
    file = begin(request, job)
    with locked(job.output):
        try:
            file.save()
            analysis = obtain(request, job.ready.target, job.ready.engine.needs)
            cast = cast_of(request, analysis, job.ready)
            prepare_latents(request, job.ready.target, analysis, job.ready.engine, cast)
        except VidswapError:
            abandon(file)
            raise
    return file


def _produce(request: Request, analysis_of: AnalysisOf) -> dict[str, Any]:
    remarks: dict[str, list[str]] = {"notes": [], "warnings": []}
    request = replace(request, watch=_collecting(request.watch, remarks))
    if (settled := settle(request)) is not None:
        request.watch.note("the output was finished already: a run was stopped while tidying up")
        return settled
    production = _Production(request, prepare(request), remarks)
    with producing_output(
        production.job.output,
        overwrite=request.overwrite,
        verified=production.verified,
        published=production.published,
    ) as part:
        try:
            production.carry_out(analysis_of, part)
        except VidswapError:
            abandon(production.file)
            raise
    return production.result


class _Production:
    """One run under the lock of its output."""

    def __init__(self, request: Request, job: Job, remarks: Mapping[str, list[str]]) -> None:
        self.request, self.job, self._remarks = request, job, remarks
        self._began = perf_counter()
        self.file: JobFile = begin(request, job)
        self.result: dict[str, Any] = {}

    def carry_out(self, analysis_of: AnalysisOf, part: Path) -> None:
        """Both passes, into a temporary file."""
        request, job = self.request, self.job
        if analysis_of is obtain:
            self.file.save()  # from here on `vidswap resume` can carry on
        analysis = analysis_of(request, job.ready.target, job.ready.engine.needs)
        cast = cast_of(request, analysis, job.ready)
        prepare_latents(request, job.ready.target, analysis, job.ready.engine, cast)
        analysed = perf_counter()
        self.file.save()
        likeness = None if request.report is None else likeness_of(cast)
        plans = plans_for(analysis, job.ready, cast)
        folder = chunk_folder(self.file)
        folder.sweep()
        with Session(request, job, analysis, plans, folder, likeness) as session:
            done = assemble(session, part, self.file.folder)
        total = perf_counter() - self._began
        seconds = {"analyse": analysed - self._began, **done.seconds, "total": total}
        self.result = _facts(request, job, done, seconds)
        self.result |= {"tracks": len(plans), **self._remarks}
        if request.report is not None:
            chosen = [track for track in analysis.tracks if track.id in plans]
            recorder = merged(Recorder(chosen, likeness), map(folder.seen, folder.chunks))
            write_report(request.report, analysis, recorder, self.result)

    def verified(self, part: Path) -> None:
        """The file is on the disk: from its digest a later run sees that it was renamed."""
        self.result["sha256"] = digest_of(part)
        self.file = self.file.moved_to("verified", **self.result)

    def published(self) -> None:
        """The output stands."""
        finish(self.file)


def write_output(
    request: Request,
    job: Job,
    analysis: Analysis,
    plans: Mapping[int, Plan],
    part: Path,
) -> Assembled:
    """Render into a temporary file and verify it, without a job that could be resumed.

    Args:
        request: Recipe and watch.
        job: Clip, engine and encoder; chunks lie in its work folder for a while.
        analysis: Pass one.
        plans: By track id.
        part: File to write; its container follows the job's output.

    Raises:
        MediaError: Decoding, encoding, the disk or verification fails.
    """
    target = job.ready.target
    chunks = grid(target.start, target.stop, request.recipe.run.chunk)
    folder = ChunkFolder(target.work / "sample", "sample", chunks)
    with Session(request, job, analysis, plans, folder) as session:
        done = assemble(session, part)
    folder.clear()
    return done


def _facts(
    request: Request, job: Job, done: Assembled, seconds: Mapping[str, float]
) -> dict[str, Any]:
    return {
        "output": str(job.output),
        "input": str(request.input),
        "work": str(job.ready.target.work),
        "frames": done.frames,
        "faces": done.faces,
        "swapped": done.swapped,
        "chunks": {"all": done.chunks, "kept": done.kept},
        "engine": job.ready.engine.name,
        "encoder": job.encoder.encoder,
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
        "frames_per_second": round(done.rendered / max(seconds["total"], 1e-6), 2),
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
