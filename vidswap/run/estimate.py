"""``--dry-run``: what a run would do and about how long it would take; nothing is written."""

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

from vidswap import schema
from vidswap.run.latents import prepare_latents
from vidswap.run.passes import cast_of, obtain, plans_for
from vidswap.run.prepare import Job, prepare
from vidswap.run.request import Request, Watch
from vidswap.run.swap import write_output

PROBED = 24
"""Frames that are really processed, from the middle of the clip."""
WARM = 2
"""Frames processed first, untimed: models load then."""


def plan_run(request: Request) -> dict[str, Any]:
    """Check everything a run checks, and process a few frames in a temporary folder.

    Raises:
        VidswapError: What the run itself would raise before it starts.
    """
    job = prepare(request)
    target = job.ready.target
    frames = target.stop - target.start
    return {
        "input": str(request.input),
        "output": str(job.output),
        "work": str(target.work),
        "analysis": "exists; used if it matches" if target.work.exists() else "will be made",
        "frames": frames,
        "range": [target.start, target.stop],
        "faces": [
            f"{person.who} ← {' '.join(map(str, person.photos))}" for person in job.ready.persons
        ],
        "engine": job.ready.engine.name,
        "encoder": {
            "name": job.encoder.encoder,
            "pix_fmt": job.encoder.pix_fmt,
            "options": " ".join(f"{k}={v}" for k, v in job.encoder.options.items()),
        },
        "notes": list(job.encoder.notes),
        "estimate": _estimate(request, job, frames),
        "free_bytes": shutil.disk_usage(job.output.resolve().parent).free,
        "recipe": schema.encode(request.recipe),
    }


def _estimate(request: Request, job: Job, frames: int) -> dict[str, Any]:
    silent = replace(request, watch=Watch(), allow_no_face=True, report=None)
    count = min(PROBED, frames)
    with tempfile.TemporaryDirectory(prefix="vidswap-estimate-") as folder:
        _sample(silent, job, min(WARM, frames), Path(folder) / "warm")
        found = _sample(silent, job, count, Path(folder) / "timed")
    analyse, render, size, faces = (value / count for value in found)
    return {
        "probed_frames": count,
        "faces_per_frame": round(faces, 2),
        "analyse_ms_per_frame": round(1000 * analyse, 1),
        "render_ms_per_frame": round(1000 * render, 1),
        "seconds": round(frames * (analyse + render), 1),
        "output_megabytes": round(frames * size / 1e6, 1),
    }


def _sample(request: Request, job: Job, count: int, folder: Path) -> tuple[float, float, int, int]:
    """Seconds of analysis, of rendering with verification, bytes, and faces of some frames."""
    target = job.ready.target
    start = target.start + (target.stop - target.start - count) // 2
    folder.mkdir()
    ready = replace(
        job.ready, target=replace(target, start=start, stop=start + count, work=folder / "work")
    )
    began = perf_counter()
    analysis = obtain(request, ready.target, ready.engine.needs)
    cast = cast_of(request, analysis, ready)
    prepare_latents(request, ready.target, analysis, ready.engine, cast)
    analysed = perf_counter()
    plans = plans_for(analysis, ready, cast)
    part = folder / f"sample{job.output.suffix}"
    done = write_output(request, replace(job, ready=ready), analysis, plans, part)
    return analysed - began, perf_counter() - analysed, part.stat().st_size, done.faces
