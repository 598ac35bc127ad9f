"""Codes of tracks on disk while they are made: what a crash leaves is taken up again."""

import json
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from vidswap.run.rows import RowFile, Spool

FORMAT = 2
"""Raised with whatever is stored, or computed otherwise from the same key."""
NAME = "state.json"
Row = NDArray[np.generic]


class LatentStore:
    """A folder of codes, by track.

    While a track grows, its rows are appended to raw files; ``checkpoint`` notes how many of them
    count. ``finish`` puts the track's final files in place of the raw ones. ``state.json`` is
    replaced as a whole, so that it never promises what is not on the disk.

    Args:
        folder: Made if it does not exist.
        key: What the codes depend on; codes made from anything else are dropped.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self._folder, self._key = folder, key
        self._state = _read(folder / NAME, key)
        self._open: dict[tuple[int, str], BinaryIO] = {}
        self._grown: dict[int, int] = {}

    def rows(self, track: int) -> int:
        """Rows that count of a track that is not finished."""
        return self._grown.get(track, int(self._of(track).get("rows", 0)))

    def files(self, track: int) -> dict[str, RowFile] | None:
        """The files of a finished track; None before, or where one of them is gone or cut short."""
        table = self._of(track).get("files")
        if table is None:
            return None
        files = {name: RowFile.restore(self._folder, row) for name, row in table.items()}
        whole = all(
            f.path.is_file() and f.path.stat().st_size == int(np.prod(f.shape)) * f.dtype.itemsize * f.rows
            for f in files.values()
        )  # fmt: skip
        return files if whole else None

    def begin(self, tracks: Iterable[int]) -> None:
        """Make ready to append to tracks that are not finished; their files are cut to what counts."""
        if not self._state["tracks"]:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True, exist_ok=True)
        for track in tracks:
            entry = self._of(track)
            if "files" in entry or not self._cut(track, entry):
                self._state["tracks"].pop(str(track), None)
            self._grown[track] = self.rows(track)

    def append(self, track: int, rows: Mapping[str, Row]) -> None:
        """Add (n, ...) rows of one track by name; they count after the next checkpoint."""
        entry = self._state["tracks"].setdefault(str(track), {"rows": 0, "raw": {}})
        for name, block in rows.items():
            if (track, name) not in self._open:
                self._open[track, name] = self._raw(track, name).open("ab")
            file = RowFile(self._raw(track, name), block.shape[1:], block.dtype.str, 0)
            entry["raw"].setdefault(name, file.describe())
            self._open[track, name].write(np.ascontiguousarray(block).data)
            count = len(block)
        self._grown[track] = self._grown.get(track, 0) + count

    def checkpoint(self) -> None:
        """Make everything appended so far count, whatever happens next.

        Files are closed too: a film has more tracks than a process may have files.
        """
        for file in self._open.values():
            file.flush()
            os.fsync(file.fileno())
        self.close()
        for track, rows in self._grown.items():
            if str(track) in self._state["tracks"]:
                self._state["tracks"][str(track)]["rows"] = rows
        self._write()

    def close(self) -> None:
        """Close the files."""
        for file in self._open.values():
            file.close()
        self._open.clear()

    def raw(self, track: int) -> dict[str, RowFile]:
        """What was appended to a track, by name."""
        self.checkpoint()
        entry = self._of(track)
        tables = {n: {**row, "rows": entry["rows"]} for n, row in entry["raw"].items()}
        return {n: RowFile.restore(self._folder, row) for n, row in tables.items()}

    def finish(self, track: int, blocks: Iterable[Mapping[str, Row]]) -> dict[str, RowFile]:
        """Store the final rows of a track, given as blocks in order, and drop the raw ones.

        Nothing may be appended to the track since ``raw`` was called.
        """
        spools: dict[str, Spool] = {}
        for block in blocks:
            for name, rows in block.items():
                path = self._folder / f"track-{track:05d}.{name}.bin"
                spools.setdefault(name, Spool(path))
                spools[name].append(rows)
        files = {name: spool.close() for name, spool in spools.items()}
        raw = self._of(track).get("raw", {})
        described = {n: f.describe() for n, f in files.items()}
        self._state["tracks"][str(track)] = {"files": described}
        self._grown.pop(track, None)
        self._write()
        for name in raw:
            self._raw(track, name).unlink(missing_ok=True)
        return files

    def beside(self, track: int, ending: str) -> Path:
        """Where another file of a track lies."""
        return self._folder / f"track-{track:05d}.{ending}"

    def _of(self, track: int) -> dict[str, Any]:
        entry: dict[str, Any] = self._state["tracks"].get(str(track), {})
        return entry

    def _raw(self, track: int, name: str) -> Path:
        return self._folder / f"track-{track:05d}.{name}.raw"

    def _cut(self, track: int, entry: Mapping[str, Any]) -> bool:
        """Cut raw files to the rows that count; False where there are fewer."""
        for stale in self._folder.glob(f"track-{track:05d}.*.raw"):
            name = stale.name.split(".")[1]
            table = entry.get("raw", {}).get(name)
            if table is None:
                stale.unlink()
                continue
            row = RowFile.restore(self._folder, table)
            wanted = int(np.prod(row.shape)) * row.dtype.itemsize * int(entry["rows"])
            if stale.stat().st_size < wanted:
                return self._forget(track)
            os.truncate(stale, wanted)
        return all(self._raw(track, name).is_file() for name in entry.get("raw", {})) or (
            self._forget(track)
        )

    def _forget(self, track: int) -> bool:
        for path in self._folder.glob(f"track-{track:05d}.*.raw"):
            path.unlink()
        return False

    def _write(self) -> None:
        draft = self._folder / f".{NAME}"
        with draft.open("w", encoding="utf-8") as text:
            json.dump(self._state, text)
            text.flush()
            os.fsync(text.fileno())
        draft.replace(self._folder / NAME)


def _read(path: Path, key: str) -> dict[str, Any]:
    fresh: dict[str, Any] = {"format": FORMAT, "key": key, "tracks": {}}
    try:
        state: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        sound = state["format"] == FORMAT and state["key"] == key and state["tracks"] is not None
    except (OSError, ValueError, KeyError, TypeError):
        return fresh
    return state if sound else fresh
