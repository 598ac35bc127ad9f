"""``--report``: what happened, as JSON for machines and one page for eyes."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from vidswap.errors import StateError
from vidswap.run.job import writing
from vidswap.run.recorder import Recorder, flicker
from vidswap.run.report_page import page
from vidswap.types import F32, F64, Bool, Shot, Track, VideoInfo

PIECE = 1000
"""Frames of a track that are read at once."""
POINTS = slice(0, 468, 6)
"""Vertices that jitter is measured on: some of the surface, none of the irises."""


class Reported(Protocol):
    """The part of an analysis that a report reads."""

    @property
    def info(self) -> VideoInfo: ...
    @property
    def shots(self) -> Any: ...
    @property
    def tracks(self) -> Any: ...
    def meshes(self, track: Track, start: int | None = None, stop: int | None = None) -> F32:
        """(n, 478, 3) smoothed."""
        ...

    def raw(self, track: Track, start: int | None = None, stop: int | None = None) -> F32:
        """(n, 478, 3) before smoothing."""
        ...


def check_folder(folder: Path) -> None:
    """Refuse a report folder that is a file, before the work is done.

    Raises:
        StateError: It is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise StateError("is a file, expected a folder", path=folder, stage="report")


def write_report(
    folder: Path, analysis: Reported, recorder: Recorder, result: Mapping[str, Any]
) -> None:
    """Write ``report.json`` and ``report.html``.

    Args:
        folder: Made if it is missing; files of an older report are replaced.
        analysis: Pass one.
        recorder: What the render pass saw.
        result: What the run returns: recipe, encoder, times.

    Raises:
        MediaError: The disk is full or not writable.
    """
    report = {
        **result,
        "shots": [_shot(analysis, i, shot) for i, shot in enumerate(analysis.shots)],
        "tracks": [_track(analysis, track, recorder) for track in analysis.tracks],
    }
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(report, indent=1, ensure_ascii=False)
        (folder / "report.json").write_text(text, encoding="utf-8")
        html = page(report, analysis, recorder)
        (folder / "report.html").write_text(html, encoding="utf-8")


def ranges(mask: Bool, first: int = 0) -> list[tuple[int, int]]:
    """Half-open runs of True.

    Args:
        mask: (T,)
        first: Frame number of the first row.
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    return [(int(a) + first, int(b) + first) for a, b in edges.reshape(-1, 2)]


def jitter(positions: F64, size: float) -> float | None:
    """Shake of points: their second difference in time, as a share of the face's size.

    RMS over the points, median over the frames: shake is in every frame, while a start, a stop or a
    frame that a conversion of the rate repeated is real motion in a few.

    Args:
        positions: (T, N, 2) pixels.
        size: Height of the face, pixels.

    Returns:
        None below three frames.
    """
    if len(positions) < 3:
        return None
    bend = positions[2:] - 2 * positions[1:-1] + positions[:-2]
    each = np.sqrt((bend**2).sum(-1).mean(-1))
    return float(np.median(each) / max(size, 1.0))


def _shot(analysis: Reported, index: int, shot: Shot) -> dict[str, Any]:
    return {
        "index": index,
        "start": shot.start,
        "stop": shot.stop,
        "start_seconds": round(analysis.info.seconds(shot.start), 3),
        "tracks": [t.id for t in analysis.tracks if t.shot == index],
    }


def _track(analysis: Reported, track: Track, recorder: Recorder) -> dict[str, Any]:
    seen = recorder.seen.get(track.id)
    size = float((track.boxes[:, 3] - track.boxes[:, 1]).mean())
    steady = jitter(_positions(analysis.meshes, track), size)
    shaky = jitter(_positions(analysis.raw, track), size)
    facts: dict[str, Any] = {
        "index": track.id,
        "shot": track.shot,
        "person": track.person,
        "start": track.start,
        "stop": track.stop,
        "height": round(size, 1),
        "confidence": round(float(track.confidence.mean()), 4),
        "missed": ranges(~track.seen, track.start),
        "pose_range": {
            name: [round(float(track.pose[:, i].min()), 1), round(float(track.pose[:, i].max()), 1)]
            for i, name in enumerate(("yaw", "pitch", "roll"))
        },
        "jitter_before": shaky,
        "jitter_after": steady,
        "swapped": 0 if seen is None else int(sum(seen.swapped)),
    }
    if seen is not None:
        facts["flicker_before"] = flicker(seen.before)
        facts["flicker_after"] = flicker(seen.after)
        facts["identity"] = float(np.mean(seen.likeness)) if seen.likeness else None
        facts["left_alone"] = ranges(~np.array(seen.swapped, bool), track.start)
    return facts


def _positions(meshes: Callable[..., F32], track: Track) -> F64:
    """Some points of all frames, read in pieces so that memory stays small."""
    pieces = [
        meshes(track, start, min(start + PIECE, track.stop))[:, POINTS, :2]
        for start in range(track.start, track.stop, PIECE)
    ]
    found: F64 = np.concatenate(pieces).astype(np.float64)
    return found
