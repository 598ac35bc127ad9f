"""``vidswap status``: what a work folder holds and how far its jobs are; nothing is locked."""

from pathlib import Path
from typing import Any

from vidswap.errors import StateError
from vidswap.run.analysis import NAME as ANALYSIS
from vidswap.run.analysis import Analysis
from vidswap.run.jobfile import JobFile, jobs_in
from vidswap.run.lock import holder
from vidswap.run.session import chunk_folder
from vidswap.run.spans import PREFIX as SPANS
from vidswap.run.spans import TABLE, spans


def status(work: Path) -> dict[str, Any]:
    """Describe a work folder.

    Returns:
        ``analysis`` (None, or shots and tracks) and ``jobs``, ready for JSON. A job's ``phase`` is
        ``analyse``, ``render``, ``join`` or ``finished``: what is to be done next; ``spans`` are
        the units of pass one, ``chunks`` those of pass two.

    Raises:
        StateError: It is no work folder, or damaged.
    """
    found = jobs_in(work)
    analysis = _analysis(work)
    if not found and analysis is None:
        raise StateError("neither an analysis nor a job is here", path=work, stage="status")
    return {"work": str(work), "analysis": analysis, "jobs": [_job(f, analysis) for f in found]}


def _analysis(work: Path) -> dict[str, Any] | None:
    if not (work / ANALYSIS).is_file():
        return None
    analysis = Analysis.matching(work)
    return {
        "frames": [analysis.start, analysis.stop],
        "shots": len(analysis.shots),
        "tracks": [
            {
                "index": track.id,
                "shot": track.shot,
                "start": track.start,
                "stop": track.stop,
                "seen": int(track.seen.sum()),
                "person": track.person,
            }
            for track in analysis.tracks
        ],
    }


def _job(file: JobFile, analysis: dict[str, Any] | None) -> dict[str, Any]:
    phase, done, chunks = "analyse", 0, 0
    frames = file.frames[1] - file.frames[0]
    rendered = 0
    if file.phase == "finished":
        phase, rendered = "finished", frames
    elif analysis is not None:
        folder = chunk_folder(file)
        reports = file.request.report is not None
        pending = folder.pending(seen=reports, check=False)
        chunks, done = len(folder.chunks), len(folder.chunks) - len(pending)
        rendered = frames - sum(chunk.frames for chunk in pending)
        phase = "render" if pending else "join"
    owner = holder(file.output)
    return {
        "output": str(file.output),
        "input": str(file.request.input),
        "engine": file.request.recipe.engine.name,
        "phase": phase,
        "spans": _spans(file) if phase == "analyse" else None,
        "chunks": {"done": done, "all": chunks},
        "frames": {"done": rendered, "all": frames},
        "running": None if owner is None else {"pid": owner.pid, "host": owner.host},
        "folder": str(file.folder),
    }


def _spans(file: JobFile) -> dict[str, int]:
    """How much of pass one is stored."""
    whole = len(spans(*file.frames, file.request.recipe.track.span))
    tables = file.folder.parent.glob(f"{SPANS}*/span-?????/{TABLE}")
    return {"done": min(sum(1 for _ in tables), whole), "all": whole}
