"""What pass one found, stored in a folder: tracks, smoothed meshes and appearance, by frame.

``analysis.json`` names everything else and is put in place last, so that a folder either holds a
whole analysis or none. Rows are read by offset: memory does not grow with the clip.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from vidswap.errors import StateError
from vidswap.faces.detect import detector_digest
from vidswap.faces.embed import embedder_digest
from vidswap.recipe import Recipe
from vidswap.run.rows import RowFile
from vidswap.run.stored_info import decode_info
from vidswap.types import F32, Need, Shot, Track, TrackFrame, VideoInfo

FORMAT = 8
"""Raised with whatever pass one stores or computes otherwise: recipes do not name the code."""
NAME = "analysis.json"
MEASURED = 1 << 20
"""Bytes at either end of the input that its digest reads."""
LATER: frozenset[Need] = frozenset({"latents"})
"""Needs that a stage of its own serves once the tracks are known, see ``run.latents``."""
_MEANING = {
    "format": "another version of vidswap",
    "input": "another input file, or this one before it changed",
    "recipe": "other analysis options (decode, shots, detect, track or smooth)",
    "weights": "other detector or embedder weights",
    "frames": "another range of frames",
    "needs": "an engine that needs less",
}


class Analysis:
    """A stored analysis. Made by ``analyse``, opened by ``open``.

    Attributes:
        info: The clip it was made from.
        start: First frame analysed.
        stop: Frame after the last one.
        shots: Shots, covering all frames from ``start`` to ``stop``.
        tracks: Tracks by id.
        key: What it was made from, see ``analysis_key``.
    """

    info: VideoInfo
    start: int
    stop: int
    shots: tuple[Shot, ...]
    tracks: tuple[Track, ...]
    key: dict[str, str]

    def __init__(self, folder: Path) -> None:
        """Read ``analysis.json``.

        Raises:
            StateError: There is no analysis, or it is damaged.
        """
        path = folder / NAME
        try:
            table = json.loads(path.read_text(encoding="utf-8"))
            data = folder / table["data"]
            with np.load(data / "arrays.npz") as arrays:
                self._restore(table, data, arrays)
        except FileNotFoundError as error:
            raise StateError("no analysis here", path=folder, hint="run vidswap analyse") from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            message = f"the analysis is damaged ({type(error).__name__}: {error})"
            raise StateError(
                message, path=path, hint="delete the folder and analyse anew"
            ) from error

    def _restore(self, table: dict[str, Any], data: Path, arrays: Mapping[str, Any]) -> None:
        self.key = dict(table["key"])
        self.start, self.stop = table["frames"]
        self.info = decode_info(table["info"], arrays["pts"], arrays["keyframes"])
        self.shots = tuple(Shot(*s) for s in table["shots"])
        self.tracks = tuple(_track(t, arrays) for t in table["tracks"])
        self._data = data
        self._rows = {
            t["id"]: {name: RowFile.restore(data, r) for name, r in t["rows"].items()}
            for t in table["tracks"]
        }
        self._static = {t["id"]: t["static"] for t in table["tracks"]}
        self._attached: dict[int, dict[str, NDArray[np.generic]]] = {}
        for files in self._rows.values():
            for file in files.values():
                file.check()

    @classmethod
    def open(
        cls,
        folder: Path,
        info: VideoInfo,
        recipe: Recipe,
        needs: frozenset[Need],
        frames: tuple[int, int] | None = None,
    ) -> Self:
        """Open a stored analysis that was made from exactly this.

        Raises:
            StateError: None is there, it is damaged, or it was made from something else; says from
                what.
        """
        return cls.matching(folder, analysis_key(info, recipe, needs, frames))

    @classmethod
    def matching(cls, folder: Path, key: Mapping[str, str] | None = None) -> Self:
        """Open a stored analysis whose key holds these values; any analysis for None.

        Raises:
            StateError: As for ``open``.
        """
        path = folder / NAME
        if key is not None and path.is_file():
            try:
                stored = json.loads(path.read_text(encoding="utf-8"))["key"]
            except (OSError, ValueError, KeyError, TypeError):
                stored = None  # damaged: the constructor says how
            if stored is not None and (wrong := differing(stored, key)):
                raise StateError(
                    "the analysis was made from " + ", from ".join(_MEANING.get(n, n) for n in wrong)
                    + f" (key {', '.join(wrong)})",
                    path=folder,
                    stage="analysis",
                    hint="run vidswap analyse again, or choose another work folder",
                )  # fmt: skip
        return cls(folder)

    def at(self, track: Track, index: int) -> TrackFrame:
        """One track in one frame.

        Args:
            track: One of ``tracks``.
            index: Frame number in the clip, within the track.

        Raises:
            IndexError: The track does not cover the frame.
        """
        row = self._row(track, index)
        rows = {n: f[row : row + 1][0] for n, f in self._rows[track.id].items() if n not in _OWN}
        mesh = self._rows[track.id]["mesh"][row : row + 1][0]
        confidence = float(track.confidence[row])
        return TrackFrame(track.id, index, confidence, track.pose[row], mesh, rows)

    def attach(
        self,
        track: Track,
        rows: Mapping[str, RowFile],
        static: Mapping[str, NDArray[np.generic]] | None = None,
    ) -> None:
        """Add what a later stage made for a track.

        Args:
            track: One of ``tracks``.
            rows: Per-frame rows; ``at`` returns them too.
            static: Arrays of the track as a whole; ``static`` returns them too.

        Raises:
            StateError: They are not as many as the track has frames.
        """
        for name, file in rows.items():
            if len(file) != track.frames:
                message = f"{len(file)} rows of {name}, expected {track.frames}"
                raise StateError(message, path=file.path, stage="analysis")
        self._rows[track.id].update(rows)
        self._attached[track.id] = dict(static or {})

    def meshes(self, track: Track, start: int | None = None, stop: int | None = None) -> F32:
        """(n, 478, 3) smoothed meshes of frames ``[start, stop)``, by default of the whole track."""
        return self._rows[track.id]["mesh"][self._range(track, start, stop)]

    def raw(self, track: Track, start: int | None = None, stop: int | None = None) -> F32:
        """(n, 478, 3) meshes as the landmarker gave them; unseen frames are interpolated.

        Kept as a half-precision difference to the smoothed mesh: exact to a thousandth of a pixel.
        """
        rows = self._range(track, start, stop)
        files = self._rows[track.id]
        unsteady: F32 = files["unsteady"][rows].astype(np.float32)
        return files["mesh"][rows] + unsteady

    def static(self, track: Track) -> Mapping[str, NDArray[np.generic]]:
        """Arrays of the track as a whole, by name; empty where nothing was asked for."""
        name, more = self._static[track.id], self._attached.get(track.id, {})
        if name is None:
            return more
        try:
            with np.load(self._data / name) as arrays:
                return {n: arrays[n] for n in arrays.files} | more
        except (OSError, ValueError) as error:
            message = f"cannot be read: {error}"
            raise StateError(message, path=self._data / name, stage="analysis") from error

    def missing(self) -> tuple[Shot, ...]:
        """Ranges of frames without any face."""
        faces = np.ones(self.stop - self.start + 2, np.int8)
        faces[1:-1] = 0
        for track in self.tracks:
            faces[1 + track.start - self.start : 1 + track.stop - self.start] = 1
        edges = np.flatnonzero(np.diff(faces)) + self.start
        return tuple(Shot(int(a), int(b)) for a, b in edges.reshape(-1, 2))

    def _row(self, track: Track, index: int) -> int:
        if not track.start <= index < track.stop:
            raise IndexError(f"track {track.id} covers {track.start}-{track.stop - 1}, not {index}")
        return index - track.start

    def _range(self, track: Track, start: int | None, stop: int | None) -> slice:
        first = track.start if start is None else start
        last = track.stop if stop is None else stop
        return slice(max(first - track.start, 0), max(last - track.start, 0))


_OWN = ("mesh", "unsteady")


def _track(table: dict[str, Any], arrays: Mapping[str, Any]) -> Track:
    def rows(name: str) -> Any:
        return arrays[f"{table['name']}.{name}"]

    return Track(
        table["id"], table["shot"], table["start"], table["stop"],
        rows("seen"), rows("confidence"), rows("boxes"), rows("pose"),
        rows("embedding") if table["embedding"] else None,
        table["person"],
    )  # fmt: skip


def differing(stored: Mapping[str, str], wanted: Mapping[str, str]) -> list[str]:
    """Names of the key's parts that do not fit; an analysis made for more needs fits fewer."""
    wrong = []
    for name, value in wanted.items():
        have = stored.get(name, "")
        fits = set(value.split(",")) <= set(have.split(",")) if name == "needs" else have == value
        if not fits:
            wrong.append(name)
    return wrong


def analysis_key(
    info: VideoInfo,
    recipe: Recipe,
    needs: frozenset[Need],
    frames: tuple[int, int] | None = None,
) -> dict[str, str]:
    """What an analysis depends on.

    The input counts by content: its size, its first and last megabyte and the time stamps of its
    frames; a copy or a touched file has the same key.

    Raises:
        WeightsError: The detector of the recipe is not installed.
        StateError: The input cannot be read.
    """
    start, stop = frames or (0, info.frames)
    weights = [detector_digest(recipe.detect), embedder_digest()]
    return {
        "format": str(FORMAT),
        "input": _input_digest(info),
        "recipe": recipe.analyse_key(),
        "weights": "+".join(w for w in weights if w),
        "frames": f"{start}-{stop}",
        "needs": ",".join(sorted({"mesh", *needs} - LATER)),
    }


def _input_digest(info: VideoInfo) -> str:
    total = hashlib.sha256()
    try:
        with Path(info.path).open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            total.update(str(size).encode())
            for offset in (0, max(size - MEASURED, 0)):
                file.seek(offset)
                total.update(file.read(MEASURED))
    except OSError as error:
        message = f"cannot be read: {error.strerror}"
        raise StateError(message, path=info.path, stage="analysis") from error
    total.update(np.ascontiguousarray(info.pts, np.int64).data)
    return total.hexdigest()[:32]
