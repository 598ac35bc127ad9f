"""Reading checkpoint files without running anything that is in them.

The format is told from the bytes, never from the name. This is the only module that may call
``torch.load``, always with ``weights_only``; NVIDIA's pickles go through the restricted reader of
``vidswap.weights.pickles``; formats that need a foreign runtime (ONNX, TorchScript, dlib) are
recognised and kept as files, not opened.
"""

import json
import os
import pickle
import re
import tempfile
import zipfile
from argparse import Namespace
from collections import OrderedDict, defaultdict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from vidswap.errors import WeightsError
from vidswap.weights import pickles

STAGE = "read"
MAX_PICKLE = 64 << 20
"""Bytes of ``data.pkl`` in a torch archive; real ones have well below one megabyte."""

_LEGACY_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_FOREIGN: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"\x89PNG", "a PNG picture"),
    (b"GIF8", "a GIF picture"),
    (b"RIFF", "a WAV, AVI or WebP file"),
    (b"%PDF", "a PDF document"),
    (b"\x1f\x8b", "a gzip archive; unpack it first"),
    (b"BZh", "a bzip2 archive; unpack it first"),
    (b"\xfd7zXZ", "an xz archive; unpack it first"),
    (b"7z\xbc\xaf", "a 7-Zip archive; unpack it first"),
    (b"Rar!", "a RAR archive; unpack it first"),
    (b"\x89HDF", "an HDF5 file"),
    (b"version https://git-lfs", "a Git LFS pointer; fetch the real file with git lfs pull"),
)


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """What a file holds."""

    format: str
    """``torch``, ``persistence``, ``safetensors``, or a format that is kept as a file."""
    tree: Any = None
    """Nested dictionaries, lists, tensors and plain values; None where the file is not opened."""
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Constructor arguments of each network of a persistence pickle."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """Metadata of a safetensors file."""


def sniff(path: Path) -> str:
    """Format by content: one of ``vidswap.weights.manifest.Format`` or ``unknown``.

    Raises:
        WeightsError: Missing, empty, or plainly something else, such as a picture or a web page.
    """
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except OSError as error:
        raise WeightsError(f"cannot be read: {error.strerror}", path=path, stage=STAGE) from None
    if not head:
        raise WeightsError("the file is empty (0 bytes)", path=path, stage=STAGE)
    # First: its leading length may look like any other format's magic, such as a pickle's 0x80.
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 100 << 20:
        return "safetensors"
    _refuse_foreign(head, path)
    if head.startswith(b"PK\x03\x04"):
        return _sniff_zip(path)
    if head.startswith(_LEGACY_TORCH):
        return "torch"
    if head[:1] == b"\x80":
        return "pickle"
    if head.startswith(b"MATLAB 5.0"):
        return "matlab"
    return "unknown"


def _refuse_foreign(head: bytes, path: Path) -> None:
    for magic, what in _FOREIGN:
        if head.startswith(magic):
            raise WeightsError(f"not a checkpoint: this is {what}", path=path, stage=STAGE)
    if re.match(rb"\s*<(!doctype|html|\?xml)", head, re.IGNORECASE):
        raise WeightsError(
            "not a checkpoint: this is a web page, so the download needs a browser",
            path=path,
            stage=STAGE,
        )


def _sniff_zip(path: Path) -> str:
    names = [PurePosixPath(entry.filename) for entry in zip_entries(path)]
    if any(len(n.parts) == 2 and n.name == "data.pkl" for n in names):
        script = any(len(n.parts) > 1 and n.parts[1] == "code" for n in names)
        return "torchscript" if script else "torch"
    if any(n.suffix == ".tflite" for n in names):
        return "task"
    return "onnx-zip" if any(n.suffix == ".onnx" for n in names) else "zip"


def zip_entries(path: Path) -> list[zipfile.ZipInfo]:
    """Entries of a ZIP archive, after checking that unpacking it can do no harm.

    Raises:
        WeightsError: Damaged; names that leave the folder; one name twice; links; or contents that
            are far larger than the file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, EOFError) as error:
        raise WeightsError(
            f"truncated or damaged archive: {error}", path=path, stage=STAGE
        ) from error
    seen: set[str] = set()
    for entry in entries:
        name = entry.filename
        if _leaves_folder(name) or (entry.external_attr >> 28) == 0xA:
            raise WeightsError(
                f"the archive holds {name!r}, which would leave its folder", path=path, stage=STAGE
            )
        if name in seen:
            raise WeightsError(f"the archive holds {name!r} twice", path=path, stage=STAGE)
        seen.add(name)
    total, size = sum(entry.file_size for entry in entries), path.stat().st_size
    if total > 20 * size + (1 << 20):
        raise WeightsError(
            f"the archive of {size} bytes would unpack to {total} bytes: refused as a ZIP bomb",
            path=path,
            stage=STAGE,
        )
    return entries


def _leaves_folder(name: str) -> bool:
    parts = re.split(r"[/\\]", name)
    return ".." in parts or name.startswith(("/", "\\")) or ":" in parts[0] or "\0" in name


def read(path: Path) -> Checkpoint:
    """Open a checkpoint; nothing that is in it runs.

    Formats that need a foreign runtime come back without a tree.

    Raises:
        WeightsError: Naming the file and what is wrong with it.
    """
    kind = sniff(path)
    if kind == "safetensors":
        tensors, metadata = read_safetensors(path)
        return Checkpoint(kind, tensors, metadata=metadata)
    if kind == "torch":
        return Checkpoint(kind, _torch(path))
    if kind == "pickle":
        networks = pickles.read(path, _storage)
        tree = {name: network.state for name, network in networks.items()}
        settings = {name: network.settings for name, network in networks.items()}
        return Checkpoint("persistence", tree, settings)
    return Checkpoint(kind)


_INERT: tuple[tuple[type, str], ...] = (
    (Namespace, "argparse.Namespace"),
    (OrderedDict, "pytorch_lightning.utilities.parsing.AttributeDict"),
    (OrderedDict, "lightning.pytorch.utilities.parsing.AttributeDict"),
    (OrderedDict, "lightning_fabric.utilities.data.AttributeDict"),
    (defaultdict, "collections.defaultdict"),
    (dict, "builtins.dict"),
    (list, "builtins.list"),
    (int, "builtins.int"),
)
"""Globals beyond torch's own list that published checkpoints need; none of them runs code."""


class _Settings(pickles.Record):
    """Stands for a settings object of Lightning or omegaconf; never looked into."""

    __slots__ = ()

    def __hash__(self) -> int:
        return id(self)


_SETTINGS = (
    "omegaconf.dictconfig.DictConfig",
    "omegaconf.listconfig.ListConfig",
    "omegaconf.nodes.AnyNode",
    "omegaconf.base.Metadata",
    "omegaconf.base.ContainerMetadata",
    "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint",
    "lightning.pytorch.callbacks.model_checkpoint.ModelCheckpoint",
    "typing.Any",
)


def _torch(path: Path) -> Any:
    _require_safe_torch()
    is_zip = zipfile.is_zipfile(path)
    if is_zip:
        _check_archive(path)
    allowed: list[Any] = [*_INERT, *((_Settings, name) for name in _SETTINGS)]
    try:
        with torch.serialization.safe_globals(allowed):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)  # noqa: TID251
    except Exception as error:
        # Hostile bytes make torch's reader raise nearly anything; all of it means the same.
        raise WeightsError(_why(error), path=path, stage=STAGE) from error


def _check_archive(path: Path) -> None:
    for entry in zip_entries(path):
        if entry.compress_type != zipfile.ZIP_STORED:
            raise WeightsError(
                f"{entry.filename!r} is compressed, which torch never does: refused as a ZIP bomb",
                path=path,
                stage=STAGE,
            )
        if entry.filename.endswith("data.pkl") and entry.file_size > MAX_PICKLE:
            raise WeightsError("its table of contents is absurdly large", path=path, stage=STAGE)


def _require_safe_torch() -> None:
    major, minor = (int(v) for v in re.findall(r"\d+", torch.__version__)[:2])
    if (major, minor) < (2, 6):
        raise WeightsError(
            f"torch {torch.__version__} has a hole in its safe reader (CVE-2025-32434)",
            stage=STAGE,
            hint="pip install 'torch>=2.6', or convert the file on another machine",
        )


def _why(error: Exception) -> str:
    text = str(error)
    if found := re.search(r"GLOBAL (\S+)", text):
        return (
            f"refused, nothing was executed: it asks for {found.group(1)}, "
            "which is not needed for weights and could run code"
        )
    first = text.strip().splitlines()[0][:200] if text.strip() else type(error).__name__
    return f"truncated or damaged checkpoint: {first}"


def _storage(data: bytes) -> object:
    """One storage inside a persistence pickle: itself a torch file, so itself a way in."""
    _require_safe_torch()
    try:
        return torch.load(BytesIO(data), map_location="cpu", weights_only=True)  # noqa: TID251
    except Exception as error:
        raise pickle.UnpicklingError(_why(error)) from error


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file.

    Raises:
        WeightsError: Damaged or not safetensors.
    """
    try:
        return load_file(path), read_metadata(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(
            f"truncated or damaged safetensors file: {error}", path=path, stage=STAGE
        ) from error


def read_metadata(path: Path) -> dict[str, str]:
    """Metadata of a safetensors file, without reading its tensors.

    Raises:
        WeightsError: Damaged or not safetensors.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > 100 << 20:
                raise ValueError("header too large")
            header = json.loads(file.read(length))
        metadata = header.get("__metadata__", {})
        return {str(k): str(v) for k, v in metadata.items()}
    except (OSError, ValueError, AttributeError) as error:
        raise WeightsError(
            f"truncated or damaged safetensors file: {error}", path=path, stage=STAGE
        ) from error


def write_safetensors(path: Path, state: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write atomically: the file appears complete under its name, or not at all.

    Raises:
        WeightsError: The disk is full or the folder cannot be written.
    """
    tensors: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in state.items():
        dense = tensor.detach().contiguous()
        # Two tensors of one storage are not representable.
        shared = dense.untyped_storage().data_ptr() in seen
        tensors[name] = dense.clone() if shared else dense
        seen.add(dense.untyped_storage().data_ptr())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        os.close(handle)
        try:
            save_file(tensors, temporary, metadata=dict(metadata))
            with Path(temporary).open("rb+") as file:
                os.fsync(file.fileno())
            Path(temporary).chmod(0o644)
            Path(temporary).replace(path)
        finally:
            with suppress(FileNotFoundError):
                Path(temporary).unlink()
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"cannot be written: {error}", path=path, stage="convert") from error
