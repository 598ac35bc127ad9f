"""A job's frames on a fixed grid, and the folder that keeps what is rendered of them.

Every chunk has an encoder of its own, with one worker as with many: rate control carries state, so
nothing else gives the same bytes whoever renders which chunk, in which order, after how many kills.

The grid starts at the first frame of the range, because an analysis belongs to one range and nothing
is shared between two. Chunk ``k`` begins at ``start + k * size``; a rest below half a chunk is part of
the chunk before it, so only a clip shorter than that has a short one.

A chunk is done when ``chunk-00012.json`` is there, holds this job's key, and ``chunk-00012.video`` has
the digest it names. Both come by rename, the JSON last.
"""

import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from uuid import uuid4

from vidswap.errors import StateError
from vidswap.media.segment import Segment, digest_of
from vidswap.run.atomic import flush, write_json
from vidswap.run.lock import runs

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Chunk:
    """Frames ``[start, stop)``, rendered and kept as one."""

    index: int
    start: int
    stop: int

    @property
    def frames(self) -> int:
        """Number of frames."""
        return self.stop - self.start


def grid(start: int, stop: int, size: int) -> tuple[Chunk, ...]:
    """Cut frames ``[start, stop)`` into chunks of ``size``; the last has half to one and a half.

    Raises:
        ValueError: ``size`` is below 1, or the range is empty.
    """
    if size < 1 or stop <= start:
        raise ValueError(f"no grid of {size} over [{start}, {stop})")
    count = max((stop - start + size // 2) // size, 1)
    edges = [start + i * size for i in range(count)] + [stop]
    return tuple(Chunk(i, edges[i], edges[i + 1]) for i in range(count))


@dataclass(frozen=True, slots=True)
class ChunkRecord:
    """The JSON beside a finished chunk."""

    format: int
    index: int
    start: int
    stop: int
    key: str
    """Digest of everything that decides its bytes."""
    sha256: str
    """Of the video file."""
    size: int
    """Bytes."""
    frames: int
    faces: int
    """Faces handed to the engine."""
    swapped: int
    pts: tuple[int, int]
    """Of the first and the last frame, ticks of the source's time base."""
    extradata: str
    """SHA-256 of the codec's headers, the same in all chunks of a job."""
    seen: str | None = None
    """SHA-256 of what a report needs, where one was asked for."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What the swap stage did in one chunk."""

    faces: int = 0
    swapped: int = 0


class ChunkFolder:
    """Where a job's chunks lie.

    Args:
        path: The folder; made when the first chunk is.
        key: The job's; chunks of another one do not count.
        chunks: The whole grid.
    """

    def __init__(self, path: Path, key: str, chunks: tuple[Chunk, ...]) -> None:
        self.path, self.key, self.chunks = path, key, chunks

    def video(self, chunk: Chunk) -> Path:
        """The packets of a finished chunk."""
        return self.path / f"chunk-{chunk.index:05}.video"

    def seen(self, chunk: Chunk) -> Path:
        """What a report needs of a finished chunk."""
        return self.path / f"chunk-{chunk.index:05}.seen.npz"

    def part(self, chunk: Chunk) -> Path:
        """A name of nobody else's to write a chunk to."""
        self.path.mkdir(parents=True, exist_ok=True)
        who = f"{os.getpid()}@{socket.gethostname()}"
        return self.path / f"chunk-{chunk.index:05}.{who}.{uuid4().hex[:8]}.part"

    def record(self, chunk: Chunk, *, seen: bool = False, check: bool = True) -> ChunkRecord | None:
        """The record of a finished chunk; None where it has to be rendered.

        Args:
            chunk: Which.
            seen: Whether the part for a report has to be there.
            check: Whether to read the files through and compare their digests; else their sizes.
        """
        with suppress(OSError, ValueError, KeyError, TypeError):
            record = _decode(json.loads(self._json(chunk).read_text(encoding="utf-8")))
            place = (record.format, record.index, record.start, record.stop, record.key)
            wanted = (FORMAT, chunk.index, chunk.start, chunk.stop, self.key)
            if place != wanted or (seen and record.seen is None):
                return None
            if self.video(chunk).stat().st_size != record.size:
                return None
            if check and digest_of(self.video(chunk)) != record.sha256:
                return None
            if check and seen and digest_of(self.seen(chunk)) != record.seen:
                return None
            return record
        return None

    def pending(self, *, seen: bool = False, check: bool = True) -> tuple[Chunk, ...]:
        """Chunks that have to be rendered, in order; see ``record``."""
        return tuple(c for c in self.chunks if self.record(c, seen=seen, check=check) is None)

    def commit(
        self,
        chunk: Chunk,
        part: Path,
        segment: Segment,
        counts: Counts,
        seen: Path | None = None,
        fence: Callable[[], None] | None = None,
    ) -> ChunkRecord:
        """Make a chunk count, atomically; the same chunk committed twice is the same chunk.

        Args:
            chunk: Which.
            part: Its packets, on the disk already.
            segment: Facts of that file.
            counts: What was swapped.
            seen: What a report needs, on the disk already.
            fence: Called right before; may raise to keep a late worker's chunk out.

        Raises:
            StateError: From ``fence``.
            OSError: The disk fails.
        """
        record = ChunkRecord(
            FORMAT, chunk.index, chunk.start, chunk.stop, self.key, segment.sha256, segment.size,
            segment.frames, counts.faces, counts.swapped, segment.pts, segment.extradata,
            None if seen is None else digest_of(seen),
        )  # fmt: skip
        if fence is not None:
            fence()
        part.replace(self.video(chunk))
        if seen is not None:
            seen.replace(self.seen(chunk))
        flush(self.path)
        write_json(self._json(chunk), asdict(record))
        return record

    def records(self) -> tuple[ChunkRecord, ...]:
        """Records of all chunks, in order.

        Raises:
            StateError: One is not done.
        """
        return tuple(self._recorded())

    def _recorded(self) -> Iterator[ChunkRecord]:
        for chunk in self.chunks:
            record = self.record(chunk, check=False)
            if record is None:
                raise StateError(
                    f"chunk {chunk.index} (frames {chunk.start} to {chunk.stop - 1}) is not rendered",
                    path=self.path,
                    stage="join",
                    hint="run the same command again, or vidswap resume",
                )
            yield record

    def discard(self, chunk: Chunk) -> None:
        """Forget a chunk, so that it is rendered anew."""
        for path in (self._json(chunk), self.video(chunk), self.seen(chunk)):
            path.unlink(missing_ok=True)

    def sweep(self) -> None:
        """Remove what dead processes of this machine left half-written; of others nothing is known."""
        for path in self.path.glob("chunk-*.part"):
            pid, at, rest = path.name.partition(".")[2].partition("@")
            here = at and rest.startswith(f"{socket.gethostname()}.")
            if here and pid.isdecimal() and not runs(int(pid)):
                path.unlink(missing_ok=True)

    def clear(self) -> None:
        """Remove everything; nobody may be writing."""
        for path in self.path.glob("chunk-*"):
            path.unlink(missing_ok=True)

    def _json(self, chunk: Chunk) -> Path:
        return self.path / f"chunk-{chunk.index:05}.json"


def _decode(table: dict[str, object]) -> ChunkRecord:
    record = ChunkRecord(**table)  # type: ignore[arg-type]
    first, last = record.pts
    object.__setattr__(record, "pts", (int(first), int(last)))
    return record
