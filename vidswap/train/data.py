"""Pictures to learn from: arrays on disk, a folder of photos and videos, procedural heads.

Whatever the source, it becomes arrays of one length. Which pictures a step sees is a function of the
seed and the step's number alone, so that a training resumes at any step without stored state.
"""

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from vidswap.errors import MediaError, RecipeError, StateError
from vidswap.media.decode import open_reader
from vidswap.media.photo import read_photo
from vidswap.media.probe import probe
from vidswap.recipe import DecodeOptions
from vidswap.train.options import DataOptions
from vidswap.types import U8

PHOTOS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})
VIDEOS = frozenset({".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v"})
STAGE = "train"
RENAMED = {"images": "pictures", "params": "parameters", "target": "pictures"}
"""What ``vidswap synth`` calls the arrays of its shards."""
PICTURES = frozenset({"pictures", "source", "truth"})
"""Arrays of pictures: of pairs there are three."""
Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True, eq=False)
class Pictures:
    """A data set in memory or mapped from disk."""

    arrays: Arrays
    """``pictures`` (N, S, S, 3) uint8, and what else is known of each, N rows each."""
    mirror: bool = False

    def __len__(self) -> int:
        return len(self.arrays["pictures"])

    def has(self, name: str) -> bool:
        """Whether something is known of every picture."""
        return name in self.arrays

    def unmirrored(self, option: str) -> None:
        """Refuse to mirror pictures of which something is known that a mirror would change.

        Args:
            option: Dotted name of what needs that, for the message.

        Raises:
            RecipeError: The pictures are mirrored.
        """
        if self.mirror:
            message = f"data.mirror: {option} knows the pictures' codes as they are, not mirrored"
            raise RecipeError(message, stage="train")

    def batch(self, rows: NDArray[np.int64]) -> dict[str, Tensor]:
        """Some rows as tensors.

        Args:
            rows: (B,) which.

        Returns:
            ``index`` (B,), ``pictures`` (B, 3, S, S) in [-1, 1], as ``source`` and ``truth`` of pairs,
            and the other arrays, floats in 32 bits and integers in 64.
        """
        # Mapped arrays are read fastest in order.
        order = np.argsort(rows, kind="stable")
        back = np.argsort(order, kind="stable")
        tensors = {"index": torch.from_numpy(rows)}
        for name, array in self.arrays.items():
            picked = torch.from_numpy(np.ascontiguousarray(array[rows[order]][back]))
            if name in PICTURES:
                tensors[name] = picked.permute(0, 3, 1, 2).float() / 127.5 - 1.0
            else:
                tensors[name] = picked.float() if picked.is_floating_point() else picked.long()
        return tensors


def no_pictures() -> Pictures:
    """For methods that draw everything at random."""
    return Pictures({"pictures": np.zeros((1, 1, 1, 3), np.uint8)})


def rows_of(
    step: int, *, length: int, batch: int, seed: int, rank: int = 0, count: int = 1
) -> NDArray[np.int64]:
    """Which pictures a process sees in a step: shuffled epochs, each picture once per epoch.

    Args:
        step: Number of the step.
        length: Pictures there are.
        batch: Of one process.
        seed: Of the training.
        rank: Of the process.
        count: Processes.

    Returns:
        (batch,)
    """
    first = (step * count + rank) * batch
    places = np.arange(first, first + batch)
    rows = np.empty(batch, np.int64)
    for epoch in np.unique(places // length):
        order = np.random.default_rng((seed, int(epoch))).permutation(length)
        inside = places // length == epoch
        rows[inside] = order[places[inside] % length]
    return rows


def open_data(options: DataOptions, cache: Path) -> Pictures:
    """The data a recipe names.

    Args:
        options: Of the recipe.
        cache: Folder for decoded pictures, made once.

    Raises:
        RecipeError: No data are named, or no such folder.
        MediaError: The folder holds no picture, or a damaged or tiny one.
    """
    if not options.path:
        raise RecipeError("no data: give --data FOLDER, or --data synthetic", stage=STAGE)
    if options.path == "synthetic":
        from vidswap.train.heads import synthetic

        return Pictures(synthetic(options, cache), options.mirror)
    root = Path(options.path)
    if not root.is_dir():
        raise RecipeError("no such folder of training data", path=root, stage=STAGE)
    arrays = _arrays(root)
    if arrays is None:
        arrays = {"pictures": _decoded(root, options, cache)}
    pictures = arrays["pictures"]
    if pictures.shape[1:] != (options.size, options.size, 3):
        have = "x".join(map(str, pictures.shape[1:]))
        raise RecipeError(
            f"its pictures are {have}, data.size is {options.size}", path=root, stage=STAGE
        )
    return Pictures(arrays, options.mirror)


def _arrays(root: Path) -> Arrays | None:
    """Arrays that lie ready, of equal lengths; None without.

    Either ``pictures.npy`` and others, or the shards that ``vidswap synth faces`` writes, such as
    ``00000_images.npy``.
    """
    parts: dict[str, list[NDArray[Any]]] = {}
    for path in sorted(root.glob("*.npy")):
        number, _, rest = path.stem.partition("_")
        name = RENAMED.get(rest, rest) if number.isdigit() else path.stem
        try:
            parts.setdefault(name, []).append(np.load(path, mmap_mode="r"))
        except (OSError, ValueError) as error:
            raise MediaError(f"not a readable array: {error}", path=path, stage=STAGE) from None
    if "pictures" not in parts:
        return None
    arrays = {name: p[0] if len(p) == 1 else np.concatenate(p) for name, p in parts.items()}
    length = len(arrays["pictures"])
    wrong = [name for name, array in arrays.items() if len(array) != length]
    if not length or wrong:
        raise MediaError(f"arrays of other lengths than the {length} pictures: {wrong}", path=root)
    return arrays


def _decoded(root: Path, options: DataOptions, cache: Path) -> NDArray[np.uint8]:
    """Every picture of a folder as one mapped array, decoded once."""
    files = sorted(p for p in root.rglob("*") if p.suffix.lower() in PHOTOS | VIDEOS)
    if not files:
        raise MediaError("holds neither pictures nor videos", path=root, stage=STAGE)
    stamp = str([(str(f), f.stat().st_size, f.stat().st_mtime_ns) for f in files])
    key = _digest(f"{stamp} {options.size} {options.interval}")
    target = cache / f"pictures-{options.size}-{key}.npy"
    if not target.is_file():
        write_array(target, _read_all(files, options), (options.size, options.size, 3))
    return np.load(target, mmap_mode="r")


def _digest(text: str) -> str:
    from hashlib import sha256

    return sha256(text.encode()).hexdigest()[:12]


def _read_all(files: list[Path], options: DataOptions) -> Iterator[U8]:
    for path in files:
        if path.suffix.lower() in VIDEOS:
            yield from (fit(frame, options.size) for frame in _frames(path, options.interval))
        else:
            yield fit(read_photo(path), options.size)


def _frames(path: Path, interval: float) -> Iterator[U8]:
    info = probe(path)
    with open_reader(info, DecodeOptions()) as reader:
        due = 0.0
        for frame in reader.frames():
            seconds = float((frame.pts - info.pts[0]) * info.time_base)
            if seconds + 1e-6 >= due:
                due = seconds + interval
                picture = frame.rgb()
                deep = picture.dtype == np.uint16
                yield (picture >> 8 if deep else picture).astype(np.uint8, copy=False)


def fit(picture: U8, size: int) -> U8:
    """The largest centred square, resized; (H, W, 3) → (size, size, 3)."""
    height, width = picture.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = Image.fromarray(picture[top : top + side, left : left + side])
    return np.asarray(square.resize((size, size), Image.Resampling.LANCZOS), np.uint8)


def write_array(path: Path, rows: Iterator[NDArray[Any]], shape: tuple[int, ...]) -> None:
    """Stream rows of bytes into one ``.npy`` that appears complete or not at all.

    Args:
        path: The file.
        rows: uint8 of ``shape`` each.
        shape: Of one row.

    Raises:
        StateError: The disk is full or the folder cannot be written.
        MediaError: There was not a single row.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        temporary = Path(name)
        with os.fdopen(handle, "wb") as file:
            count = 0
            _header(file, 0, shape)
            for row in rows:
                file.write(np.ascontiguousarray(row, np.uint8).tobytes())
                count += 1
            if not count:
                raise MediaError("the videos hold no frame", path=path, stage=STAGE)
            file.seek(0)
            _header(file, count, shape)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise StateError(f"cannot be written: {error.strerror}", path=path, stage=STAGE) from error
    finally:
        if temporary is not None:
            with suppress(FileNotFoundError):
                temporary.unlink()


def _header(file: Any, count: int, shape: tuple[int, ...]) -> None:
    """A ``.npy`` header of fixed length: 128 bytes whatever the count."""
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {(count, *shape)}, }}"
    file.write(
        b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little") + text.ljust(117).encode() + b"\n"
    )
