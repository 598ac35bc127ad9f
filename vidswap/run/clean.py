"""``vidswap clean``: remove the work folders of finished jobs, and nothing else."""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from vidswap.run.analysis import NAME as ANALYSIS
from vidswap.run.jobfile import PREFIX as JOBS
from vidswap.run.jobfile import jobs_in
from vidswap.run.jobs import unfinished
from vidswap.run.latents import FOLDER as LATENTS
from vidswap.run.lock import holder
from vidswap.run.spans import PREFIX as SPANS
from vidswap.run.store import PREFIX as DATA


def clean(works: Sequence[Path]) -> dict[str, Any]:
    """Remove work folders whose jobs are all finished; files of others in them stay.

    Every folder is looked at before the first is touched.

    Args:
        works: The folders.

    Returns:
        ``removed`` folders, and those ``kept`` with the reason, ready for JSON.

    Raises:
        StateError: One is no work folder of a job; nothing was removed.
    """
    reasons = {work: _in_use(work) for work in works}
    removed, kept = [], []
    for work, reason in reasons.items():
        if reason is None:
            reason = _remove(work)
        if reason is None:
            removed.append(str(work))
        else:
            kept.append({"work": str(work), "reason": reason})
    return {"removed": removed, "kept": kept}


def _in_use(work: Path) -> str | None:
    """Why a folder has to stay."""
    left = unfinished(work)
    if left:
        return f"{left[0].output.name} is not finished"
    for name in (work, *(file.output for file in jobs_in(work))):
        owner = holder(name)
        if owner is not None:
            return f"process {owner.pid} on {owner.host} works on {name.name}"
    return None


def _remove(work: Path) -> str | None:
    """Remove what is ours; says what is left, if anything."""
    for path in _ours(work):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    others = sorted(path.name for path in work.iterdir())
    if others:
        return f"it also holds {', '.join(others[:5])}"
    work.rmdir()
    return None


def _ours(work: Path) -> Iterator[Path]:
    for pattern in (ANALYSIS, LATENTS, f"{DATA}*", f"{SPANS}*", f".{DATA}*.part", f"{JOBS}*"):
        yield from work.glob(pattern)
