"""Jobs in a work folder: begun, abandoned, finished."""

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from vidswap.errors import StateError
from vidswap.media.segment import digest_of
from vidswap.run.job import default_work, same_file
from vidswap.run.jobfile import NAME, PREFIX, JobFile, encode_request, folder_of, jobs_in, read_job
from vidswap.run.jobkey import job_key
from vidswap.run.lock import lock_path, locked
from vidswap.run.prepare import Job, output_of
from vidswap.run.request import Request, Watch


def begin(request: Request, job: Job) -> JobFile:
    """The job of a run, not stored yet."""
    key = job_key(request, job)
    target = job.ready.target
    folder = folder_of(target.work, job.output, key)
    stored = replace(request, output=job.output, work=target.work, watch=Watch())
    output = Path(os.path.abspath(job.output))  # noqa: PTH100 - symbolic links stay what they are
    return JobFile(folder, stored, output, key, (target.start, target.stop))


def abandon(file: JobFile) -> None:
    """After an error: a job of which nothing is rendered leaves nothing behind."""
    if any(file.folder.glob("chunk-*.json")):
        return
    shutil.rmtree(file.folder, ignore_errors=True)
    with suppress(OSError):
        file.folder.parent.rmdir()  # only if it is empty


def finish(file: JobFile) -> None:
    """The output stands: remove the chunks, older jobs of the same output, and remember that."""
    # Remembered last: a run that is killed in here finds the rest by the phase it was in.
    for path in file.folder.iterdir():
        if path.name != NAME:
            path.unlink(missing_ok=True)
    for other in _jobs(file.folder.parent):
        if other.folder != file.folder and same_file(other.output, file.output):
            shutil.rmtree(other.folder, ignore_errors=True)
    file.moved_to("finished")


def settle(request: Request) -> dict[str, Any] | None:
    """Finish what a run left that was killed between the rename and the end of its tidying up.

    Returns:
        The facts of that run if it was one of this very request, else None.

    Raises:
        StateError: Another run holds the output.
    """
    output = output_of(request)
    work = request.work or default_work(output)
    wanted = encode_request(replace(request, output=output, work=work))
    for file in _jobs(work):
        # A lock is the last thing that a run takes away.
        due = file.phase == "verified" or (file.phase == "finished" and lock_path(output).exists())
        if due and same_file(file.output, output) and output.is_file():
            with locked(output):
                if digest_of(output) != file.result["sha256"]:
                    continue
                finish(file)
            if _same(encode_request(file.request), wanted):
                return dict(file.result)
    return None


def _same(stored: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Whether two requests ask for the same video at the same place."""

    def essence(table: dict[str, Any]) -> dict[str, Any]:
        recipe = {**table["recipe"], "run": table["recipe"]["run"]["chunk"]}
        return {**table, "recipe": recipe, "overwrite": None, "work": None}

    return essence(stored) == essence(wanted)


def _jobs(work: Path) -> Iterator[JobFile]:
    """Jobs of a work folder that may not be there; damaged ones are passed over."""
    for path in sorted(work.glob(f"{PREFIX}*/{NAME}")):
        with suppress(StateError):
            yield read_job(path.parent)


def unfinished(work: Path) -> tuple[JobFile, ...]:
    """Jobs of a work folder that have no output yet, in the order of their outputs.

    Raises:
        StateError: It is no work folder, or it never held a job.
    """
    found = jobs_in(work)
    if not found:
        hint = "it holds an analysis at most: vidswap run or render begins a job"
        raise StateError("no job in this work folder", path=work, stage="job", hint=hint)
    return tuple(sorted((f for f in found if f.phase != "finished"), key=lambda f: f.output))
