"""``vidswap resume``: carry on with whatever in a work folder has no output yet."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from vidswap.run.jobfile import JobFile, jobs_in
from vidswap.run.jobs import unfinished
from vidswap.run.request import Request, Watch
from vidswap.run.swap import swap


def resume(work: Path, watch: Watch, workers: int | None = None) -> dict[str, Any]:
    """Finish the jobs of a work folder, one after the other.

    Nothing but the folder is needed: the request lies in it.

    Args:
        work: The folder.
        watch: Who is told how it gets on.
        workers: Processes; None keeps what the job was begun with.

    Returns:
        ``outputs`` of all its jobs, and ``finished``: the facts of those finished now.

    Raises:
        StateError: No job is there, it is damaged, or another run holds its output.
        VidswapError: A job cannot be carried out.
    """
    left = unfinished(work)
    outputs = [str(file.output) for file in jobs_in(work)]
    if not left:
        watch.note("nothing to do: every job here is finished")
    return {
        "work": str(work),
        "outputs": outputs,
        "finished": [swap(_request(file, watch, workers)) for file in left],
    }


def _request(file: JobFile, watch: Watch, workers: int | None) -> Request:
    recipe = file.request.recipe
    if workers is not None:
        recipe = replace(recipe, run=replace(recipe.run, workers=workers))
    # The folder may have been moved since; where it is now counts.
    return replace(file.request, recipe=recipe, work=file.folder.parent, watch=watch)
