"""Which outputs a batch has made, from what, with which settings.

One small file for each output, written by the same commit that lets the output appear. It makes a
second call cheap: two ``stat`` and one small read for each clip.
"""

import hashlib
import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from vidswap import schema
from vidswap.errors import MediaError, RecipeError

BLOCK = 1 << 16
BLOCKS = 5


@dataclass(frozen=True, slots=True)
class Identity:
    """What tells one version of a clip from another without reading all of it."""

    size: int
    modified: int
    """Nanoseconds; of the file server's clock."""
    digest: str
    """SHA-256 of the size and of five blocks spread over the file."""

    def same_stamp(self, size: int, modified: int) -> bool:
        """Whether size and time of change are these."""
        return (self.size, self.modified) == (size, modified)


@dataclass(frozen=True, slots=True)
class Entry:
    """One output."""

    key: str
    """Of the item that made it."""
    input: str
    identity: Identity
    settings: str
    """Digest of recipe, photos, weights and choices."""
    size: int
    """Bytes of the output."""

    def encode(self) -> bytes:
        """As JSON."""
        return json.dumps(asdict(self)).encode()


def slot(folder: Path, output: Path) -> Path:
    """Where the entry of an output lies."""
    name = hashlib.sha256(os.path.abspath(output).encode()).hexdigest()[:32]  # noqa: PTH100
    return folder / name[:2] / f"{name}.json"


def read(path: Path) -> Entry | None:
    """The entry of an output; None for none, or a damaged one."""
    with suppress(OSError, ValueError, RecipeError):
        return schema.decode(Entry, json.loads(path.read_text(encoding="utf-8")))
    return None


def stamp(path: Path) -> tuple[int, int]:
    """Size and time of change of a clip.

    Raises:
        MediaError: It cannot be looked at.
    """
    try:
        found = path.stat()
    except OSError as error:
        message = f"cannot be read: {error.strerror or error}"
        raise MediaError(message, path=path, stage="open") from error
    return found.st_size, found.st_mtime_ns


def identify(path: Path) -> Identity:
    """Identity of a clip as it is now.

    Raises:
        MediaError: It cannot be read.
    """
    size, modified = stamp(path)
    hashed = hashlib.sha256(str(size).encode())
    try:
        with path.open("rb") as file:
            for block in range(BLOCKS):
                file.seek(max(size - BLOCK, 0) * block // (BLOCKS - 1))
                hashed.update(file.read(BLOCK))
    except OSError as error:
        message = f"cannot be read: {error.strerror or error}"
        raise MediaError(message, path=path, stage="open") from error
    return Identity(size, modified, hashed.hexdigest()[:32])
