"""``vidswap bench pipeline``: interleaved runs, each in a process of its own."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from vidswap.errors import MediaError
from vidswap.run.bench_clip import write_bench_clip
from vidswap.run.bench_stages import STAGES
from vidswap.run.job import check_input

CASES = {
    "a": "decode → encode",
    "b": "identity swap",
    "c": "mesh engine",
    "d": "PNG per frame",
}
FACES = (308, 616)
"""Face heights in pixels that the engine is measured at."""
ENGINE_FRAMES = 24
TARGET = 15.0
"""Milliseconds that detection and landmarks may take for a frame of 1080p with one tracked face."""

Watch = Callable[[str, int, int], None]


def measure(clip: Path | None, *, frames: int, rounds: int, watch: Watch) -> dict[str, Any]:
    """Run every case ``rounds`` times in turn and take medians.

    Args:
        clip: A clip of the user's, or None to make one.
        frames: Frames of the clip that are used.
        rounds: Rounds; the cases alternate within each, so that a busy moment hits all of them.
        watch: Told (stage, done, total).

    Returns:
        ``cases`` by letter, ``ratios``, ``analyse`` and ``engine`` figures, ready for JSON.

    Raises:
        MediaError: The clip cannot be read, or a case failed.
        RecipeError: There is neither a clip nor a photograph to make one from.
    """
    with tempfile.TemporaryDirectory(prefix="vidswap-bench-") as name:
        folder = Path(name)
        if clip is not None:
            check_input(clip)
        source = clip or write_bench_clip(folder / "clip.mp4", frames, FACES[0])
        analysis = _work(folder, "analyse", source, frames)
        staged = _work(folder, "stages", source, frames)
        runs: dict[str, list[dict[str, Any]]] = {case: [] for case in CASES}
        for done in range(rounds):
            for place, case in enumerate(CASES):
                runs[case].append(_work(folder, case, source, frames))
                watch("bench", done * len(CASES) + place + 1, rounds * len(CASES))
        cases = {case: _median(found) for case, found in runs.items()}
        engine = [] if clip is not None else [_engine(folder, size) for size in FACES]
    return {
        "frames": int(cases["a"]["frames"]),
        "clip": str(clip) if clip else "made: 1920x1080, 25 frames/s, one face",
        "settings": "libx264 veryfast crf 10",
        "rounds": rounds,
        "cases": {case: {"what": CASES[case], **cases[case]} for case in CASES},
        "ratios": {
            "b/a": _ratio(cases, "b", "a"),
            "c/a": _ratio(cases, "c", "a"),
            "d/b": _ratio(cases, "d", "b"),
        },
        "analyse": {
            **analysis,
            "tracked_ms": staged["tracked"],
            "stages": {stage: staged[stage] for stage in STAGES},
        },
        "engine": engine,
    }


def table(result: Mapping[str, Any]) -> str:
    """The result for eyes."""
    lines = [
        f"{result['clip']}; {result['frames']} frames, {result['settings']}, "
        f"medians of {result['rounds']} rounds",
        f"{'':2} {'':18}{'frames/s':>10}{'CPU ms/frame':>14}{'peak RSS MB':>13}{'written MB':>12}",
    ]
    for case, row in result["cases"].items():
        lines.append(
            f"{case:2} {row['what']:18}{row['frames_per_second']:10.1f}{row['cpu_ms']:14.1f}"
            f"{row['rss_mb']:13.0f}{row['written_mb']:12.1f}"
        )
    ratios = result["ratios"]
    lines.append(
        f"CPU: b/a {ratios['b/a']:.2f} (target ≤ 1.15), d/b {ratios['d/b']:.2f} (target ≥ 4), "
        f"c/a {ratios['c/a']:.2f}"
    )
    row = result["analyse"]
    lines.append(
        f"analyse: {row['cpu_ms']:.1f} ms CPU per frame, of which decoding {row['decode_ms']:.1f}; "
        f"verify: {result['cases']['b']['verify_ms']:.1f}"
    )
    lines.append(", ".join(f"{name} {spent:.1f}" for name, spent in row["stages"].items()))
    lines.append(
        f"detection and landmarks of a tracked face: {row['tracked_ms']:.1f} ms (target ≤ {TARGET:g})"
    )
    lines += [
        f"mesh engine: {row['engine_ms']:.1f} ms CPU per face of {row['face']:.0f} px at best, "
        f"{row['plan_ms']:.0f} ms once per track"
        for row in result["engine"]
    ]
    return "\n".join(lines)


def _ratio(cases: Mapping[str, Mapping[str, float]], top: str, bottom: str) -> float:
    return round(cases[top]["cpu_ms"] / max(cases[bottom]["cpu_ms"], 1e-9), 3)


def _median(runs: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    found = list(runs)
    return {key: round(statistics.median(run[key] for run in found), 3) for key in found[0]}


def _engine(folder: Path, size: int) -> dict[str, Any]:
    clip = folder / f"face{size}.mp4"
    write_bench_clip(clip, ENGINE_FRAMES, size)
    return _work(folder, "engine", clip, ENGINE_FRAMES)


def _work(folder: Path, case: str, clip: Path, frames: int) -> dict[str, Any]:
    """Run one case in a fresh process and add its peak memory.

    Raises:
        MediaError: The process failed; what it said is in the message.
    """
    told, said = folder / "told.json", folder / "said.txt"
    arguments = [sys.executable, "-m", "vidswap.run.bench_work", case, str(clip), str(frames)]
    with (
        said.open("w") as log,
        subprocess.Popen([*arguments, str(folder), str(told)], stdout=log, stderr=log) as process,
    ):
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            raise
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        message = f"case {case} failed: {said.read_text(errors='replace')[-2000:]}"
        raise MediaError(message, path=clip, stage="bench")
    result: dict[str, Any] = json.loads(told.read_text())
    # Kilobytes on Linux, bytes on macOS.
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    return {"rss_mb": round(usage.ru_maxrss / unit, 1), **result}
