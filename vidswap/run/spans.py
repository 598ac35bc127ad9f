"""Pass one in spans of frames: units that are done in any order, anywhere, and stored one by one.

A clip is cut on a fixed grid, by the recipe and never by the number of workers. What a span gave
appears in the work folder whole or not at all, under a key that says what it was made from; a run
that was killed goes on with the spans that are missing.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, Self
from uuid import uuid4

import numpy as np

from vidswap.errors import StateError, VidswapError
from vidswap.recipe import Recipe
from vidswap.run.analysis import analysis_key
from vidswap.run.atomic import flush
from vidswap.run.collect import Part
from vidswap.run.guard import Guard
from vidswap.run.rows import RowFile
from vidswap.types import Dissolve, Need, VideoInfo

PREFIX = "spans-"
TABLE = "span.json"
ARRAYS = "arrays.npz"


class Span(NamedTuple):
    """Frames ``[start, stop)``, one unit of work."""

    number: int
    start: int
    stop: int


def spans(start: int, stop: int, size: int) -> tuple[Span, ...]:
    """The grid over frames ``[start, stop)``; the last span may be shorter."""
    edges = [*range(start, stop, size), stop]
    return tuple(Span(n, a, b) for n, (a, b) in enumerate(pairwise(edges)))


@dataclass(frozen=True, slots=True, eq=False)
class SpanTask:
    """One analysis, as everybody who works on a span of it needs to know it. Can be pickled."""

    info: VideoInfo
    recipe: Recipe
    needs: frozenset[Need]
    start: int
    stop: int
    work: Path
    """Folder of the analysis."""
    key: dict[str, str]
    """What it is made from, see ``analysis_key``."""
    guard: Guard
    """The clip as it was when the key was made; whoever stores something asks it first."""

    @classmethod
    def of(
        cls,
        info: VideoInfo,
        recipe: Recipe,
        work: Path,
        needs: frozenset[Need],
        frames: tuple[int, int] | None = None,
    ) -> Self:
        """The task of analysing a range of frames, the whole clip for None.

        Raises:
            WeightsError: No detector is installed.
            StateError: The clip cannot be read.
        """
        start, stop = frames or (0, info.frames)
        guard = Guard([Path(info.path)])
        key = analysis_key(info, recipe, needs, (start, stop))
        return cls(info, recipe, needs, start, stop, work, key, guard)

    @property
    def spans(self) -> tuple[Span, ...]:
        """All of them, in order."""
        return spans(self.start, self.stop, self.recipe.track.span)

    @property
    def digest(self) -> str:
        """Of the key."""
        return hashlib.sha256(json.dumps(self.key, sort_keys=True).encode()).hexdigest()

    @property
    def folder(self) -> Path:
        """Where its spans are stored."""
        return self.work / f"{PREFIX}{self.digest[:12]}"

    def place(self, span: Span, seeds: str = "") -> Path:
        """Folder of one span; one that was done again from seeds lies beside the first."""
        return self.folder / f"span-{span.number:05d}{'-' if seeds else ''}{seeds[:12]}"


def pending(task: SpanTask) -> tuple[Span, ...]:
    """The spans that nobody has finished yet. Tells by the files' sizes; ``merge`` hashes them."""
    return tuple(span for span in task.spans if not _whole(task.place(span), task))


def _whole(folder: Path, task: SpanTask) -> bool:
    try:
        table = json.loads((folder / TABLE).read_text(encoding="utf-8"))
        return table["key"] == task.digest and all(
            (folder / name).stat().st_size == size for name, (size, _) in table["files"].items()
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False


@dataclass(frozen=True, slots=True, eq=False)
class SpanResult:
    """What one span gave."""

    span: Span
    lead: int
    """First frame that was followed; those before the span only let the tracks settle."""
    cuts: tuple[int, ...]
    """Frames of the span that start a shot."""
    parts: tuple[Part, ...]
    dissolves: tuple[Dissolve, ...] = ()
    """Those whose middle is one of the cuts; they may begin before the span and end after it."""


class Draft:
    """A folder that becomes a span's result when it is whole.

    Args:
        place: What it is to be called.
    """

    def __init__(self, place: Path) -> None:
        self._place = place
        self.folder = place.with_name(f".{place.name}.{uuid4().hex[:12]}.part")

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True)
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def commit(self, digest: str, result: SpanResult) -> None:
        """Make everything durable, then visible."""
        arrays = {f"{p.number}.{n}": a for p in result.parts for n, a in p.arrays.items()}
        with (self.folder / ARRAYS).open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
            file.flush()
            os.fsync(file.fileno())
        rows = [row.path for part in result.parts for row in part.rows.values()]
        table = {
            "key": digest,
            "span": list(result.span),
            "lead": result.lead,
            "cuts": list(result.cuts),
            "dissolves": [list(d) for d in result.dissolves],
            "parts": [_describe(part) for part in result.parts],
            "files": {f.name: (f.stat().st_size, _hash(f)) for f in [self.folder / ARRAYS, *rows]},
        }
        with (self.folder / TABLE).open("w", encoding="utf-8") as text:
            json.dump(table, text)
            text.flush()
            os.fsync(text.fileno())
        flush(self.folder)
        try:
            self.folder.rename(self._place)
        except OSError:
            # Somebody else has done the same span, or a damaged one is in the way.
            aside = self.folder.with_name(f"{self.folder.name}.old.part")
            with suppress(OSError):
                self._place.rename(aside)
            self.folder.rename(self._place)
            shutil.rmtree(aside, ignore_errors=True)
        flush(self._place.parent)


def read_span(place: Path, task: SpanTask) -> SpanResult | None:
    """What a span gave; None where it is missing, damaged, or of another analysis."""
    try:
        table = json.loads((place / TABLE).read_text(encoding="utf-8"))
        if table["key"] != task.digest:
            return None
        if any(_hash(place / name) != digest for name, (_, digest) in table["files"].items()):
            return None
        with np.load(place / ARRAYS) as arrays:
            parts = tuple(_restore(place, entry, arrays) for entry in table["parts"])
        dissolves = tuple(Dissolve(*d) for d in table["dissolves"])
        span = Span(*table["span"])
        return SpanResult(span, table["lead"], tuple(table["cuts"]), parts, dissolves)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def discard(folders: Sequence[Path]) -> None:
    """Remove folders of this module; what is gone already is no error."""
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def storing(work: Path) -> Iterator[None]:
    """Turn refusals of the file system into errors that name the work folder.

    Raises:
        StateError: The folder cannot be written to.
    """
    try:
        yield
    except OSError as error:
        if isinstance(error, VidswapError):
            raise
        message = f"cannot store the analysis: {error.strerror or error}"
        raise StateError(message, path=work, stage="analyse") from error


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _describe(part: Part) -> dict[str, Any]:
    return {
        "number": part.number, "start": part.start, "alive": part.alive,
        "rows": {name: row.describe() for name, row in part.rows.items()},
        "arrays": sorted(part.arrays),
    }  # fmt: skip


def _restore(place: Path, entry: Mapping[str, Any], arrays: Mapping[str, Any]) -> Part:
    return Part(
        entry["number"],
        entry["start"],
        {name: RowFile.restore(place, row) for name, row in entry["rows"].items()},
        {name: arrays[f"{entry['number']}.{name}"] for name in entry["arrays"]},
        entry["alive"],
    )
