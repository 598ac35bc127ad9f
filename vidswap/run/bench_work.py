"""One case of ``bench pipeline``, run as ``python -m vidswap.run.bench_work``.

CPU time is that of this process and all its threads from after the imports to the end.
"""

import json
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from vidswap.engines import create
from vidswap.media.decode import open_reader
from vidswap.media.encode import plan_encoder
from vidswap.media.mux import Writer
from vidswap.media.pictures import write_pictures
from vidswap.media.probe import probe
from vidswap.media.verify import verify
from vidswap.recipe import (
    DecodeOptions,
    EncodeOptions,
    EngineOptions,
    IdentityEngine,
    MeshEngine,
    Recipe,
    RunOptions,
)
from vidswap.run.analysis import Analysis
from vidswap.run.render import FaceBatches, render
from vidswap.types import U8, TargetFace, VideoInfo

ENCODE = EncodeOptions(codec="h264", preset="veryfast", crf=10)
RECIPE = Recipe(encode=ENCODE)
ENGINE_PASSES = 5
"""Times each face is swapped when the engine alone is measured."""


class Stopwatch:
    """CPU, wall-clock time and bytes written since it was made."""

    def __init__(self) -> None:
        self._cpu, self._wall, self._written = time.process_time(), time.perf_counter(), _written()

    def read(self, frames: int) -> dict[str, float]:
        """Figures for each of ``frames``."""
        cpu, wall = time.process_time() - self._cpu, time.perf_counter() - self._wall
        return {
            "frames": frames,
            "cpu_ms": 1000 * cpu / frames,
            "frames_per_second": frames / wall,
            "written_mb": (_written() - self._written) / 1e6,
        }


def _written() -> int:
    """Bytes this process has handed to ``write``; 0 where there is no ``/proc``."""
    with suppress(OSError):
        fields = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
        return int(fields["wchar"])
    return 0


def _peak() -> dict[str, float]:
    """Peak memory of this process since it started; empty where there is no ``/proc``.

    What ``wait4`` tells of a child includes its parent's memory at the time of the fork.
    """
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return {"rss_mb": int(line.split()[1]) / 1024}
    return {}


def passthrough(info: VideoInfo, frames: int, folder: Path) -> dict[str, float]:
    """Case a: what the codecs cost."""
    out = folder / "a.mp4"
    watch = Stopwatch()
    writer = _writer(info, frames, out)
    with open_reader(info, DecodeOptions()) as reader:
        for frame in reader.frames(0, frames):
            writer.write(frame)
    writer.finish()
    return watch.read(frames)


def pipeline(
    info: VideoInfo, frames: int, folder: Path, options: EngineOptions
) -> dict[str, float]:
    """Cases b and c: the render pass over the stored analysis."""
    out = folder / f"{options.name}.mp4"
    analysis = _analysis(info, frames, folder)
    engine, identity = _engine(options, info, frames)
    watch = Stopwatch()
    plans = {t.id: engine.plan(t, analysis.static(t), identity) for t in analysis.tracks}
    batches = FaceBatches(analysis, engine, plans, RunOptions())
    writer = _writer(info, frames, out)
    with open_reader(info, DecodeOptions()) as reader:
        render(reader.frames(0, frames), batches, writer, RunOptions().queue)
    figures = watch.read(frames)
    check = Stopwatch()
    verify(out, info, 0, frames)
    return {**figures, "verify_ms": check.read(frames)["cpu_ms"]}


def extracted(info: VideoInfo, frames: int, folder: Path) -> dict[str, float]:
    """Case d: every frame to a PNG, rewritten, then encoded, as most tools do it."""
    watch = Stopwatch()
    pictures = folder / "pictures"
    pictures.mkdir(exist_ok=True)
    with open_reader(info, DecodeOptions()) as reader:
        for frame in reader.frames(0, frames):
            _save(pictures / f"{frame.index:06}.png", frame.rgb().astype(np.uint8))
    files = sorted(pictures.iterdir())
    for file in files:
        _save(file, _load(file))
    options = {"preset": "veryfast", "crf": "10", "threads": "4"}
    write_pictures(folder / "d.mp4", map(_load, files), info.frame_rate, options=options)
    return watch.read(frames)


def analysed(info: VideoInfo, frames: int, folder: Path) -> dict[str, float]:
    """Pass one, stored for the others, and what decoding alone costs."""
    from vidswap.run.analyse import analyse

    decoding = Stopwatch()
    with open_reader(info, DecodeOptions()) as reader:
        for _ in reader.frames(0, frames):
            pass
    decode = decoding.read(frames)["cpu_ms"]
    needs = create(MeshEngine()).needs | create(IdentityEngine()).needs
    watch = Stopwatch()
    found = analyse(info, RECIPE, folder / "analysis", needs, (0, frames))
    return {**watch.read(frames), "decode_ms": decode, "tracks": len(found.tracks)}


def analysed_by_stage(info: VideoInfo, frames: int, folder: Path) -> dict[str, float]:
    """Pass one again, stage by stage."""
    from vidswap.run.bench_stages import stages

    return stages(info, RECIPE, create(MeshEngine()).needs, frames, folder / "stages")


def engine_alone(info: VideoInfo, frames: int, folder: Path) -> dict[str, float]:
    """CPU of the mesh engine for each face, frames decoded beforehand; the best of some passes for each.

    Frames are short, and what else a machine does can only add to them: on two rented cores it adds up to
    half.
    """
    from vidswap.run.analyse import analyse

    engine, identity = _engine(MeshEngine(), info, frames)
    analysis = analyse(info, RECIPE, folder / "face", engine.needs, (0, frames))
    track = max(analysis.tracks, key=lambda t: t.frames)
    planning = Stopwatch()
    plan = engine.plan(track, analysis.static(track), identity)
    plan_ms = planning.read(1)["cpu_ms"]
    faces = []
    with open_reader(info, DecodeOptions()) as reader:
        for frame in reader.frames(track.start, track.stop):
            at = analysis.at(track, frame.index)
            box = engine.footprint(at, plan).clip(frame.width, frame.height)
            faces.append(TargetFace(frame.rgb(box), box, at))
    engine.swap(faces[:2], [plan] * 2)
    passes = np.empty((ENGINE_PASSES, len(faces)))
    for row in passes:
        for i, face in enumerate(faces):
            watch = Stopwatch()
            engine.swap([face], [plan])
            row[i] = watch.read(1)["cpu_ms"]
    heights = [float(np.ptp(f.at.mesh[:468, 1])) for f in faces]
    cpu = float(passes.min(0).mean())
    height = float(np.mean(heights))
    return {"engine_ms": cpu, "plan_ms": plan_ms, "face": height, "faces": len(faces)}


def _engine(options: EngineOptions, info: VideoInfo, frames: int) -> tuple[Any, Any]:
    """An engine and the person of the clip's own middle frame: a source that is always there."""
    engine = create(options)
    if options.name == "identity":
        return engine, engine.identify([])
    from vidswap.faces.photo_faces import source_face

    middle = frames // 2
    with open_reader(info, DecodeOptions()) as reader:
        rgb = next(iter(reader.frames(middle, middle + 1))).rgb()
    return engine, engine.identify([source_face(rgb.astype(np.uint8), info.path)])


def _analysis(info: VideoInfo, frames: int, folder: Path) -> Analysis:
    needs = create(MeshEngine()).needs | create(IdentityEngine()).needs
    return Analysis.open(folder / "analysis", info, RECIPE, needs, (0, frames))


def _writer(info: VideoInfo, frames: int, out: Path) -> Writer:
    plan = plan_encoder(info, ENCODE, out)
    return Writer(info, plan, out, container=".mp4", start=0, stop=frames)


def _save(path: Path, rgb: U8) -> None:
    cv2.imwrite(str(path), rgb[..., ::-1])


def _load(path: Path) -> U8:
    picture = cv2.imread(str(path))
    return np.ascontiguousarray(np.asarray(picture, np.uint8)[..., ::-1])


def main(arguments: list[str]) -> None:
    """Run ``CASE CLIP FRAMES FOLDER RESULT``; the figures go to RESULT."""
    case, clip, count, folder, result = arguments
    cases: dict[str, Callable[[VideoInfo, int, Path], dict[str, float]]] = {
        "a": passthrough,
        "b": partial(pipeline, options=IdentityEngine()),
        "c": partial(pipeline, options=MeshEngine()),
        "d": extracted,
        "analyse": analysed,
        "stages": analysed_by_stage,
        "engine": engine_alone,
    }
    info = probe(clip)
    figures = cases[case](info, min(int(count), info.frames), Path(folder))
    Path(result).write_text(json.dumps({**figures, **_peak()}))


if __name__ == "__main__":
    main(sys.argv[1:])
