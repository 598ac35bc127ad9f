"""Encoded video of a range of frames in a file of its own: what chunks are made of.

The packets lie one after the other, then a table of them as JSON, its length in eight bytes and
``MAGIC``. Containers are of no use here: they round time stamps, each in its own way, and a segment
is never played. Every byte counts towards its digest.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import av
import numpy as np

from vidswap.errors import MediaError, StateError
from vidswap.media.containers import SUFFIXES
from vidswap.media.encode import Encoder, EncoderPlan, Tags
from vidswap.media.frame import Frame
from vidswap.types import I64, VideoInfo

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.stream import VideoStream

MAGIC = b"vidswap1"
_LENGTH = 8
BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Segment:
    """Facts of a finished segment."""

    sha256: str
    """Of the whole file."""
    size: int
    """Bytes of the whole file."""
    frames: int
    pts: tuple[int, int]
    """Of the first and the last frame shown, in the source's ticks."""
    extradata: str
    """SHA-256 of the codec's headers."""


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """What a segment holds besides the packets' bytes."""

    sizes: I64
    """(N,) bytes of each packet, in decoding order."""
    pts: I64
    """(N,) ticks of the source's time base."""
    durations: I64
    """(N,) likewise; 0 is unknown."""
    keyframes: I64
    """(N,) 1 for a keyframe, else 0."""
    luma: tuple[float, ...]
    """Mean luma of every frame, [0, 255], in the order they are shown."""
    tags: Tags
    extradata: bytes

    @property
    def ranks(self) -> I64:
        """(N,) place of each packet in the order of showing."""
        order = np.argsort(self.pts, kind="stable")
        ranks = np.empty_like(order)
        ranks[order] = np.arange(len(order))
        return ranks

    @property
    def delay(self) -> int:
        """Packets by which decoding has to run ahead of showing."""
        return int((np.arange(len(self.pts)) - self.ranks).max(initial=0))


class SegmentWriter:
    """Encodes frames with an encoder of its own and keeps the packets.

    Args:
        info: The clip.
        plan: The encoder.
        path: File to write.
        container: FFmpeg's muxer name, or a suffix, of the file the packets will go into.
        start: First frame.
        stop: One past the last.
    """

    def __init__(
        self,
        info: VideoInfo,
        plan: EncoderPlan,
        path: Path,
        *,
        container: str,
        start: int,
        stop: int,
    ) -> None:
        self._path, self._next, self._stop = path, start, stop
        # Nothing is written to it; the container decides how the encoder lays out its headers.
        self._out = av.open(io.BytesIO(), "w", format=SUFFIXES.get(container, container))
        self._encoder = Encoder(self._out, info, plan)
        self._file: IO[bytes] = path.open("wb")
        self._digest = hashlib.sha256()
        self._size = 0
        self._rows: list[tuple[int, int, int, int]] = []
        self._luma: list[float] = []

    def write(self, frame: Frame) -> None:
        """Encode the next frame.

        Raises:
            MediaError: The encoder fails.
            OSError: The disk does.
            ValueError: It is not the next frame.
        """
        if frame.index != self._next or frame.index >= self._stop:
            raise ValueError(f"frame {self._next} expected, got frame {frame.index}")
        self._next += 1
        self._luma.append(frame.mean_luma())
        self._keep(self._encoder.encode(frame))

    def finish(self) -> Segment:
        """Flush the encoder, write the table, and have the file on the disk.

        Raises:
            MediaError: Frames are missing or the encoder fails.
            OSError: The disk does.
        """
        self._keep(self._encoder.flush())
        if self._next != self._stop or len(self._rows) != len(self._luma):
            raise MediaError(
                f"{len(self._luma)} frames up to frame {self._next} gave {len(self._rows)} packets",
                path=self._path,
                stage="encode",
            )
        extradata = self._encoder.extradata
        self._write_table(extradata)
        self._file.flush()
        os.fsync(self._file.fileno())
        self._close()
        pts = [row[1] for row in self._rows]
        return Segment(
            self._digest.hexdigest(),
            self._size,
            len(self._rows),
            (min(pts), max(pts)),
            hashlib.sha256(extradata).hexdigest(),
        )

    def abort(self) -> None:
        """Close everything and delete the file; never raises."""
        with suppress(OSError, ValueError):
            self._close()
        with suppress(OSError):
            self._path.unlink(missing_ok=True)

    def _keep(self, packets: list[Packet[VideoStream]]) -> None:
        for packet in packets:
            pts = packet.pts
            if pts is None:
                raise MediaError("a packet without a time stamp", path=self._path, stage="encode")
            self._rows.append((packet.size, pts, packet.duration or 0, int(packet.is_keyframe)))
            self._write(memoryview(packet))

    def _write_table(self, extradata: bytes) -> None:
        table = {
            "packets": self._rows,
            "luma": self._luma,
            "tags": self._encoder.tags,
            "extradata": extradata.hex(),
        }
        text = json.dumps(table, separators=(",", ":")).encode()
        self._write(text)
        self._write(len(text).to_bytes(_LENGTH, "big") + MAGIC)

    def _write(self, data: bytes | memoryview) -> None:
        self._file.write(data)
        self._digest.update(data)
        self._size += len(data)

    def _close(self) -> None:
        self._out.close()
        self._file.close()


def digest_of(path: Path) -> str:
    """SHA-256 of a file.

    Raises:
        OSError: It cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def read_table(path: Path) -> Table:
    """The table of a segment.

    Raises:
        StateError: The file is no segment, or it cannot be read.
    """
    try:
        with path.open("rb") as file:
            tail = file.seek(-_LENGTH - len(MAGIC), os.SEEK_END)
            length, magic = file.read(_LENGTH), file.read()
            start = tail - int.from_bytes(length, "big")
            if magic != MAGIC or start < 0:
                raise _damaged(path, "no table at its end")
            file.seek(start)
            return _table(json.loads(file.read(tail - start)))
    except OSError as error:
        raise _damaged(path, error.strerror or str(error)) from error
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(path, f"{type(error).__name__}: {error}") from error


def _table(read: Mapping[str, Any]) -> Table:
    rows = np.array(read["packets"], np.int64).reshape(-1, 4)
    tags = tuple(int(t) for t in read["tags"])
    if len(tags) != 4 or len(rows) != len(read["luma"]):
        raise ValueError("its parts do not fit each other")
    sizes, pts, durations, keyframes = np.ascontiguousarray(rows.T)
    headers = bytes.fromhex(read["extradata"])
    return Table(sizes, pts, durations, keyframes, tuple(read["luma"]), tags, headers)


def payloads(path: Path, table: Table, sha256: str) -> Iterator[bytes]:
    """The bytes of each packet; the digest is compared after the last one.

    Raises:
        StateError: The file is not the one that was written.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            for size in table.sizes.tolist():
                data = file.read(size)
                digest.update(data)
                yield data
            digest.update(file.read())
    except OSError as error:
        raise _damaged(path, error.strerror or str(error)) from error
    if digest.hexdigest() != sha256:
        raise _damaged(path, "its digest is not the one recorded")


def _damaged(path: Path, reason: str) -> StateError:
    return StateError(
        f"this part of the video is damaged ({reason})",
        path=path,
        stage="join",
        hint="run the same command again: it is rendered anew",
    )
