"""Where checkpoints lie, what is known about each one there, and whether it is still intact.

Below :func:`vidswap.paths.weights_dir`::

    NAME.safetensors      converted weights: what networks read
    insightface/NAME/     unpacked ONNX packs, where the detector looks for them
    files/NAME/           published files as downloaded, and those that are used as they are
    records/NAME.toml     digests of the published and the stored file, written at the first import
    NAME.toml             manifests of your own checkpoints
"""

import hashlib
import json
import os
import tempfile
import tomllib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path

from vidswap import paths, schema
from vidswap.errors import RecipeError, WeightsError
from vidswap.weights.manifest import Manifest, valid_name

Progress = Callable[[int, int], None]
"""Called with bytes done and bytes in all (0 where unknown)."""

BLOCK = 1 << 20


def no_progress(_done: int, _total: int) -> None:
    """Show nothing."""


@dataclass(frozen=True, slots=True)
class Record:
    """What the first import of a checkpoint found."""

    name: str
    sha256: str
    """Of the published file."""
    size: int
    """Bytes of the published file."""
    source_file: str
    """Name the published file had."""
    stored: str
    """What is used, relative to the weights folder: a file or, for a pack, a folder."""
    stored_sha256: str
    """Of what is used; for a folder, of the sorted list of its files' digests and names."""
    added: str
    """UTC date and time, ISO 8601."""
    trusted: bool = False
    """The user accepted another digest than the published one."""


@dataclass(frozen=True, slots=True)
class Store:
    """The weights folder."""

    root: Path

    @classmethod
    def default(cls) -> "Store":
        """The user's weights folder."""
        return cls(paths.weights_dir())

    def converted(self, name: str) -> Path:
        """Where converted weights lie."""
        return self.root / f"{valid_name(name)}.safetensors"

    def original(self, manifest: Manifest) -> Path:
        """Where the published file lies after ``fetch``."""
        return self.root / "files" / valid_name(manifest.name) / manifest.file

    def pack(self, name: str) -> Path:
        """Where an unpacked ONNX pack lies."""
        return self.root / "insightface" / valid_name(name)

    def record_path(self, name: str) -> Path:
        """Where the record of a checkpoint lies."""
        return self.root / "records" / f"{valid_name(name)}.toml"

    def record(self, name: str) -> Record | None:
        """What the first import found; None before it.

        Raises:
            WeightsError: The record is damaged.
        """
        path = self.record_path(name)
        try:
            table = tomllib.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise WeightsError(f"damaged record: {error}", path=path) from None
        try:
            return schema.decode(Record, table)
        except RecipeError as error:
            raise WeightsError(f"damaged record: {error.message}", path=path) from None

    def remember(self, record: Record) -> None:
        """Write a record atomically.

        Raises:
            WeightsError: The folder cannot be written to.
        """
        pairs = ((f.name, getattr(record, f.name)) for f in fields(record))
        text = "".join(f"{key} = {json.dumps(v, ensure_ascii=False)}\n" for key, v in pairs)
        write_atomically(self.record_path(record.name), text.encode())

    def digests(self, manifest: Manifest) -> frozenset[str]:
        """SHA-256 the published file may have: the manifest's, and what the user trusted.

        Where the manifest knows none, that of the first import counts.
        """
        record = self.record(manifest.name)
        if record is None or (manifest.digests and not record.trusted):
            return manifest.digests
        return manifest.digests | {record.sha256}

    def ready(self, name: str) -> Path | None:
        """What is used of a checkpoint, if it is there; contents are not read.

        Weights that come with the package count as there.
        """
        record = self.record(name)
        if record is None:
            shipped = paths.data("weights") / f"{valid_name(name)}.safetensors"
            return Path(str(shipped)) if shipped.is_file() else None
        path = self.root / record.stored
        return path if path.exists() else None

    def require(self, manifest: Manifest) -> Path:
        """What is used of a checkpoint: a ``.safetensors`` file, a kept file, or a pack's folder.

        Raises:
            WeightsError: It is not there; the hint says how to get it.
        """
        path = self.ready(manifest.name)
        if path is None:
            how = f"vidswap weights fetch {manifest.name}"
            if not manifest.urls:
                how += "  (says what to download by hand)"
            raise WeightsError(
                f"the weights {manifest.name} ({manifest.summary}) are not here",
                path=self.root,
                stage="weights",
                hint=how,
            )
        return path

    def verify(self, manifest: Manifest, progress: Progress = no_progress) -> Path:
        """Read everything again and compare with the record.

        Returns:
            What is used.

        Raises:
            WeightsError: Not there, changed, or from another file than the manifest names.
        """
        path = self.require(manifest)
        record = self.record(manifest.name)
        found = hash_tree(path) if path.is_dir() else hash_file(path, progress)[0]
        expected = record.stored_sha256 if record else manifest.sha256
        if found != expected:
            raise WeightsError(
                f"changed since it was added: sha256 is {found}, expected {expected}",
                path=path,
                stage="verify",
                hint=f"vidswap weights fetch {manifest.name} --force, or add the file again",
            )
        if record and record.sha256 not in self.digests(manifest):
            raise WeightsError(
                f"it was made from a file with sha256 {record.sha256}, which {manifest.name} is not",
                path=path,
                stage="verify",
            )
        return path


def hash_file(path: Path, progress: Progress = no_progress) -> tuple[str, int]:
    """SHA-256 and size in bytes of a file.

    Raises:
        WeightsError: It cannot be read.
    """
    digest = hashlib.sha256()
    done = 0
    try:
        total = path.stat().st_size
        with path.open("rb") as file:
            while block := file.read(BLOCK):
                digest.update(block)
                done += len(block)
                progress(done, total)
    except OSError as error:
        raise WeightsError(f"cannot be read: {error.strerror}", path=path, stage="hash") from None
    return digest.hexdigest(), done


def hash_tree(folder: Path) -> str:
    """SHA-256 of the sorted ``digest  name`` lines of a folder's files."""
    found = (p for p in folder.rglob("*") if p.is_file())
    lines = sorted(f"{hash_file(p)[0]}  {p.relative_to(folder).as_posix()}\n" for p in found)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def write_atomically(path: Path, data: bytes) -> None:
    """Write a small file so that it appears complete or not at all.

    Raises:
        WeightsError: The folder cannot be written to.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).chmod(0o644)
            Path(temporary).replace(path)
        finally:
            with suppress(FileNotFoundError):
                Path(temporary).unlink()
    except OSError as error:
        raise WeightsError(f"cannot be written: {error.strerror}", path=path) from error
