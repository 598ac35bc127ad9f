"""Writes an analysis so that it appears whole or not at all."""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import numpy as np

from vidswap.run.analysis import NAME
from vidswap.run.atomic import flush
from vidswap.run.finish import Collected
from vidswap.run.stored_info import encode_info
from vidswap.types import Shot, VideoInfo

PREFIX = "data-"


class Store:
    """A folder that is about to hold an analysis.

    Everything goes to a new folder inside it; ``commit`` gives that its name, which tells what it
    was made from, puts ``analysis.json`` in place, and removes what earlier runs left.

    Args:
        folder: Made if it does not exist.
        digest: Of what the analysis is made from.
    """

    def __init__(self, folder: Path, digest: str) -> None:
        self._folder = folder
        self._place = folder / f"{PREFIX}{digest[:12]}"
        self.data = folder / f".{self._place.name}.{uuid4().hex[:12]}.part"

    def __enter__(self) -> Self:
        for stale in self._folder.glob(f".{PREFIX}*.part"):
            shutil.rmtree(stale, ignore_errors=True)
        self.data.mkdir(parents=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        shutil.rmtree(self.data, ignore_errors=True)
        with suppress(OSError):
            self._folder.rmdir()

    def commit(
        self,
        info: VideoInfo,
        key: Mapping[str, str],
        frames: tuple[int, int],
        shots: Sequence[Shot],
        tracks: Sequence[Collected],
    ) -> None:
        """Make the analysis valid."""
        arrays: dict[str, Any] = {"pts": info.pts, "keyframes": info.keyframes}
        for track in tracks:
            arrays |= {f"{track.name}.{n}": a for n, a in track.arrays.items()}
        with (self.data / "arrays.npz").open("wb") as file:
            np.savez(file, **arrays)
            file.flush()
            os.fsync(file.fileno())
        table = {
            "key": dict(key),
            "data": self._place.name,
            "frames": list(frames),
            "info": encode_info(info),
            "shots": [list(s) for s in shots],
            "tracks": [track.describe(number) for number, track in enumerate(tracks)],
        }
        draft = self.data / NAME
        with draft.open("w", encoding="utf-8") as text:
            json.dump(table, text)
            text.flush()
            os.fsync(text.fileno())
        # Data of this name are those of a damaged analysis, or of one that is done anew.
        shutil.rmtree(self._place, ignore_errors=True)
        self.data.rename(self._place)
        flush(self._place)
        (self._place / NAME).replace(self._folder / NAME)
        flush(self._folder)
        for old in self._folder.glob(f"{PREFIX}*"):
            if old != self._place:
                shutil.rmtree(old, ignore_errors=True)
