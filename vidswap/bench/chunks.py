"""``vidswap bench chunks``: what chunks cost, and what workers gain, measured in one run."""

import os
import resource
import signal
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image

from vidswap.media.decode import open_reader
from vidswap.media.encode import EncoderPlan, plan_encoder
from vidswap.media.join import Piece, Target, join
from vidswap.media.mux import Writer
from vidswap.media.pictures import write_pictures
from vidswap.media.probe import probe
from vidswap.media.segment import SegmentWriter
from vidswap.recipe import EncodeOptions, Recipe, RunOptions, TrackOptions
from vidswap.run.bench_clip import portrait, write_bench_clip
from vidswap.run.chunks import grid
from vidswap.run.job import check_input
from vidswap.run.jobfile import read_job
from vidswap.run.jobs import begin
from vidswap.run.passes import obtain
from vidswap.run.prepare import prepare
from vidswap.run.processes import Dispatcher
from vidswap.run.request import Request
from vidswap.run.session import chunk_folder, open_session
from vidswap.types import U8, Box, VideoInfo

CHUNK = 240
"""Frames of a chunk where its cost is measured: the default."""
WORK_CHUNK = 40
"""Frames of a chunk where workers are measured, so that there are many."""
SIDE, FACE = 720, 616
"""Picture and face of the clip for workers, pixels: nearly all the time goes into the engine."""
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENCV_FOR_THREADS_NUM")
ENCODE = EncodeOptions(codec="h264", preset="veryfast", crf=18)
TARGETS = {"cpu": 1.03, "bytes": 1.02, "join": 50.0, "workers": 1.8}

Watch = Callable[[str, int, int], None]


def measure(clip: Path | None, *, frames: int, rounds: int, watch: Watch) -> dict[str, Any]:
    """Measure everything; what is compared alternates within each round.

    Args:
        clip: For the cost of chunks; None makes a 1080p clip.
        frames: Frames for each run.
        rounds: Medians are taken over these.
        watch: Told (stage, done, total).

    Returns:
        ``chunks``, ``workers`` and ``kill`` figures and the machine's load, ready for JSON.

    Raises:
        MediaError: The clip cannot be read.
        RecipeError: There is no photograph to make a clip from.
    """
    with tempfile.TemporaryDirectory(prefix="vidswap-bench-") as name:
        folder = Path(name)
        if clip is not None:
            check_input(clip)
        source = clip or write_bench_clip(folder / "clip.mp4", frames, 308)
        load = [round(value, 1) for value in os.getloadavg()]
        return {
            "clip": str(clip) if clip else "made: 1920x1080, 25 frames/s, one face",
            "cores": os.cpu_count(),
            "load": load,
            "rounds": rounds,
            "chunks": _cost(folder, probe(source), frames, rounds, watch),
            **_workers(folder, frames, rounds, watch),
            "targets": TARGETS,
        }


def table(result: Mapping[str, Any]) -> str:
    """The result for eyes."""
    cost, work, kill = result["chunks"], result["workers"], result["kill"]
    return "\n".join(
        [
            f"{result['clip']}; medians of {result['rounds']} rounds; {result['cores']} cores with a "
            f"load of {result['load'][0]} before",
            f"{cost['frames']} frames in {cost['count']} chunks against one encoder: "
            f"CPU {cost['cpu_ratio']:.3f} (target ≤ 1.03), bytes {cost['bytes_ratio']:.3f} (≤ 1.02)",
            f"join: {cost['join_ms']:.2f} ms CPU per frame, {cost['join_ratio']:.0f} times less than "
            "encoding (≥ 50)",
            f"two workers against one: {work['speed_up']:.2f} times the frames per second (≥ 1.8), "
            f"{work['one']['rate']:.1f} and {work['two']['rate']:.1f}; {work['cpu_ratio']:.2f} times "
            "the CPU per frame, the start of a second worker included",
            f"one of two workers killed: {kill['repeated']} frames rendered twice (≤ {kill['chunk']}, "
            "one chunk)",
        ]
    )


# --- chunks against one encoder


def _cost(
    folder: Path, info: VideoInfo, frames: int, rounds: int, watch: Watch
) -> dict[str, float | int]:
    stop = min(frames, info.frames)
    plan = plan_encoder(info, ENCODE, folder / "o.mp4")
    runs: list[dict[str, float]] = []
    for done in range(rounds):
        whole = _long(info, plan, stop, folder)
        watch("bench", 2 * done + 1, 2 * rounds)
        runs.append({**whole, **_chunked(info, plan, stop, folder)})
        watch("bench", 2 * done + 2, 2 * rounds)
    found = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
    return {
        "frames": stop,
        "count": len(grid(0, stop, CHUNK)),
        **{key: round(value, 3) for key, value in found.items()},
        "cpu_ratio": round(statistics.median(r["chunks_ms"] / r["long_ms"] for r in runs), 4),
        "bytes_ratio": round(found["chunks_bytes"] / found["long_bytes"], 4),
        "join_ratio": round(found["long_ms"] / max(found["join_ms"], 1e-6), 1),
    }


def _long(info: VideoInfo, plan: EncoderPlan, stop: int, folder: Path) -> dict[str, float]:
    out = folder / "long.mp4"
    began = time.process_time()
    writer = Writer(info, plan, out, container=".mp4", start=0, stop=stop)
    with open_reader(info, Recipe().decode) as reader:
        for frame in reader.frames(0, stop):
            writer.write(frame)
    writer.finish()
    spent = time.process_time() - began
    return {"long_ms": 1000 * spent / stop, "long_bytes": out.stat().st_size}


def _chunked(info: VideoInfo, plan: EncoderPlan, stop: int, folder: Path) -> dict[str, float]:
    out, pieces = folder / "chunks.mp4", []
    began = time.process_time()
    with open_reader(info, Recipe().decode) as reader:
        frames = reader.frames(0, stop)
        for chunk in grid(0, stop, CHUNK):
            path = folder / f"{chunk.index}.video"
            writer = SegmentWriter(
                info, plan, path, container=".mp4", start=chunk.start, stop=chunk.stop
            )
            for _ in range(chunk.frames):
                writer.write(next(frames))
            pieces.append(Piece(path, writer.finish().sha256, chunk.frames))
    encoded = time.process_time()
    join(info, plan, pieces, Target(out, ".mp4", 0, stop))
    ended = time.process_time()
    return {
        "chunks_ms": 1000 * (ended - began) / stop,
        "chunks_bytes": out.stat().st_size,
        "join_ms": 1000 * (ended - encoded) / stop,
    }


# --- workers


def _workers(folder: Path, frames: int, rounds: int, watch: Watch) -> dict[str, Any]:
    request = _request(folder, frames)
    job = prepare(request)
    file = begin(request, job)
    file.save()
    obtain(request, job.ready.target, job.ready.engine.needs)
    runs: dict[int, list[dict[str, float]]] = {1: [], 2: []}
    with _single_threaded():
        for done in range(rounds):
            for count, found in runs.items():
                chunk_folder(file).clear()
                found.append(_dispatched(file.folder, count))
                watch("bench", 2 * done + count, 2 * rounds)
        chunk_folder(file).clear()
        killed = _dispatched(file.folder, 2, kill_at=frames // 2)
    one, two = (
        {key: round(statistics.median(run[key] for run in runs[n]), 3) for key in runs[n][0]}
        for n in (1, 2)
    )
    with open_session(file) as session:
        whole = not session.pending()
    return {
        "workers": {
            "clip": f"{SIDE}x{SIDE}, one face of {FACE} px, mesh engine, one thread for each stage",
            "frames": frames,
            "one": one,
            "two": two,
            "speed_up": round(two["rate"] / one["rate"], 3),
            "cpu_ratio": round(two["cpu_ms"] / one["cpu_ms"], 3),
        },
        "kill": {"repeated": int(killed["repeated"]), "chunk": WORK_CHUNK, "whole": whole},
    }


def _dispatched(folder: Path, count: int, kill_at: int | None = None) -> dict[str, float]:
    """Render a job with some workers; rates count from the first frame on, when engines are up."""
    moments: list[float] = []
    lost, killed, done = [0], [False], [0]
    before = _children_cpu()

    def advance(frames: int) -> None:
        done[0] += frames
        lost[0] -= min(frames, 0)
        moments.extend([time.perf_counter()] * max(frames, 0))
        if kill_at is not None and done[0] >= kill_at and not killed[0]:
            killed[0] = True
            os.kill(dispatcher.pids[-1], signal.SIGKILL)

    dispatcher = Dispatcher(folder, advance, lambda _: None)
    chunks = grid(*_frames(folder), WORK_CHUNK)
    dispatcher.render(chunks, count)
    cpu, wall = _children_cpu() - before, moments[-1] - moments[0]
    rate = (len(moments) - 1) / max(wall, 1e-9)
    return {
        "rate": rate,
        "cpu_ms": 1000 * cpu / len(moments),
        "repeated": lost[0],
    }


@contextmanager
def _single_threaded() -> Iterator[None]:
    """Libraries of the workers use one thread, so that one worker is one core's worth."""
    old = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        yield
    finally:
        for name, value in old.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _frames(folder: Path) -> tuple[int, int]:
    return read_job(folder).frames


def _children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _request(folder: Path, frames: int) -> Request:
    clip, photo = folder / "face.mp4", folder / "photo.png"
    Image.fromarray(portrait()).save(photo)
    write_bench_clip(folder / "wide.mp4", frames, FACE)
    write_pictures(clip, _middle(folder / "wide.mp4", frames), options={"preset": "ultrafast"})
    recipe = Recipe(
        track=TrackOptions(samples=1),
        encode=EncodeOptions(codec="h264", preset="ultrafast", threads=1),
        run=RunOptions(chunk=WORK_CHUNK),
    )
    recipe = replace(recipe, decode=replace(recipe.decode, threads=1))
    return Request(clip, recipe, (photo,), output=folder / "swapped.mp4")


def _middle(clip: Path, frames: int) -> Iterator[U8]:
    info = probe(clip)
    left, top = (info.width - SIDE) // 2, (info.height - SIDE) // 2
    box = Box(left, top, left + SIDE, top + SIDE)
    with open_reader(info, Recipe().decode) as reader:
        pictures: Iterable[Any] = reader.frames(0, frames)
        for frame in pictures:
            yield frame.rgb(box)
