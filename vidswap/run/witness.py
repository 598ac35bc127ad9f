"""Counts what the swap stage does in each chunk, and keeps what a report needs of it."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vidswap.engines import Plan
from vidswap.run.chunks import Chunk, Counts
from vidswap.run.people import Likeness
from vidswap.run.recorder import Recorder, Seen
from vidswap.run.render import Tracked
from vidswap.types import Patch, TargetFace

_SERIES = ("frames", "before", "after", "swapped", "likeness")


class Witness:
    """An observer of the swap stage that knows the grid.

    A chunk's faces have all passed before its last frame leaves the swap stage, so that ``close``
    may be called from the encoder's thread.

    Args:
        chunks: The whole grid.
        analysis: Where the tracks are.
        plans: By track id.
        likeness: For reports.
        reports: Whether to keep more than counts.
    """

    def __init__(
        self,
        chunks: Sequence[Chunk],
        analysis: Tracked,
        plans: Mapping[int, Plan],
        likeness: Likeness | None,
        reports: bool,
    ) -> None:
        self._first, self._size = chunks[0].start, max(chunks[0].frames, 1)
        self._last = len(chunks) - 1
        self._tracks = [track for track in analysis.tracks if track.id in plans]
        self._likeness, self._reports = likeness, reports
        self._counts: dict[int, Counts] = {}
        self._recorders: dict[int, Recorder] = {}

    def observe(self, face: TargetFace, patch: Patch | None) -> None:
        """Note one face."""
        # The grid is even but for its last chunk, which may be longer.
        index = min((face.at.index - self._first) // self._size, self._last)
        old = self._counts.get(index, Counts())
        self._counts[index] = Counts(old.faces + 1, old.swapped + (patch is not None))
        if self._reports:
            if index not in self._recorders:
                self._recorders[index] = Recorder(self._tracks, self._likeness)
            self._recorders[index](face, patch)

    def close(self, chunk: Chunk, part: Path) -> tuple[Counts, Path | None]:
        """What was seen in a chunk.

        Args:
            chunk: All its frames are through.
            part: Its temporary file; a file for the report goes beside it.
        """
        counts = self._counts.pop(chunk.index, Counts())
        if not self._reports:
            return counts, None
        recorder = self._recorders.pop(chunk.index, None) or Recorder([])
        path = part.with_name(f"{part.stem}.seen.part")
        _save(path, recorder.seen)
        return counts, path


def merged(recorder: Recorder, parts: Iterable[Path]) -> Recorder:
    """Fill a recorder with what the witnesses of all chunks kept.

    Args:
        recorder: Of the same tracks.
        parts: Files in the order of the frames.
    """
    for part in parts:
        with np.load(part) as arrays:
            for track, seen in recorder.seen.items():
                _extend(seen, arrays, track)
    return recorder


def _save(path: Path, seen: Mapping[int, Seen]) -> None:
    arrays: dict[str, Any] = {}
    for track, of in seen.items():
        if not of.frames:
            continue
        arrays |= {f"{track}.{name}": np.array(getattr(of, name)) for name in _SERIES}
        arrays[f"{track}.pictured"] = np.array([frame for frame, _, _ in of.pictures], np.int64)
        for frame, before, after in of.pictures:
            arrays |= {f"{track}.{frame}.before": before, f"{track}.{frame}.after": after}
    with path.open("wb") as file:
        np.savez(file, **arrays)
        file.flush()
        os.fsync(file.fileno())


def _extend(seen: Seen, arrays: Mapping[str, Any], track: int) -> None:
    if f"{track}.frames" not in arrays:
        return
    for name in _SERIES:
        getattr(seen, name).extend(arrays[f"{track}.{name}"].tolist())
    seen.pictures.extend(
        (frame, arrays[f"{track}.{frame}.before"], arrays[f"{track}.{frame}.after"])
        for frame in arrays[f"{track}.pictured"].tolist()
    )
