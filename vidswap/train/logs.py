"""What a training leaves to look at: figures as CSV and for TensorBoard, pictures as PNG."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vidswap.errors import StateError, WeightsError
from vidswap.types import U8
from vidswap.weights.cache import write_atomically

NAME = "log.csv"


class Log:
    """Figures of every ``log_every``-th step, in ``log.csv`` and, where it is installed, TensorBoard.

    Args:
        out: Folder of the training.
        columns: Names of the figures.
        start: Finished steps; later rows, of a run that was killed after its last checkpoint, go.

    Raises:
        StateError: The folder cannot be written.
    """

    def __init__(self, out: Path, columns: Sequence[str], start: int) -> None:
        self._path = out / NAME
        self._columns = ("step", "pictures", "seconds", *columns)
        kept = [row for row in read_log(out) if int(row["step"]) <= start] if start else []
        self.seconds = float(kept[-1]["seconds"]) if kept else 0.0
        self._begin([[row[c] for c in self._columns] for row in kept])
        self._board = _tensorboard(out, start)

    def add(self, step: int, pictures: int, seconds: float, figures: Mapping[str, Any]) -> None:
        """One row; figures that did not apply stay empty."""
        row: list[str | float] = [step, pictures, round(seconds, 2)]
        values = {name: float(value) for name, value in figures.items()}
        row += [f"{values[c]:.8g}" if c in values else "" for c in self._columns[3:]]
        try:
            with self._path.open("a", newline="", encoding="utf-8") as file:
                csv.writer(file).writerow(row)
        except OSError as error:
            raise StateError(
                f"cannot be written: {error.strerror}", path=self._path, stage="train"
            ) from error
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, step)

    def picture(self, step: int, grid: U8) -> None:
        """A grid for TensorBoard."""
        if self._board is not None:
            self._board.add_image("pictures", grid, step, dataformats="HWC")

    def close(self) -> None:
        """Flush TensorBoard."""
        if self._board is not None:
            self._board.close()

    def _begin(self, rows: Sequence[Sequence[Any]]) -> None:
        # A full disk must not cost the rows that are there.
        text = io.StringIO(newline="")
        csv.writer(text).writerows([self._columns, *rows])
        _whole(self._path, text.getvalue().encode())


def read_log(out: Path) -> list[dict[str, str]]:
    """Rows of ``log.csv``, oldest first; none where there is no file. A torn one is left out."""
    with suppress(FileNotFoundError), (out / NAME).open(newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if row.get("step") and None not in row.values()]
    return []


def _tensorboard(out: Path, start: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None  # an optional extra: the CSV holds the same figures
    return SummaryWriter(str(out / "tensorboard"), purge_step=start or None)  # type: ignore[no-untyped-call]


def grid(pictures: Tensor, columns: int | None = None) -> U8:
    """Pictures side by side.

    Args:
        pictures: (N, 3, H, W) in [-1, 1].
        columns: Pictures of one row; about a square by default.

    Returns:
        (rows · H, columns · W, 3)
    """
    count, _, height, width = pictures.shape
    columns = columns or math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    page = torch.full((rows * columns, 3, height, width), 255, dtype=torch.uint8)
    page[:count] = ((pictures.detach().float().cpu().clamp(-1, 1) + 1) * 127.5).round().byte()
    page = page.view(rows, columns, 3, height, width).permute(0, 3, 1, 4, 2)
    return page.reshape(rows * height, columns * width, 3).numpy()


def write_png(path: Path, picture: U8) -> None:
    """Write a PNG.

    Raises:
        StateError: The disk is full or the folder cannot be written.
    """
    packed = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(packed, "png")
    _whole(path, packed.getvalue())


def _whole(path: Path, data: bytes) -> None:
    try:
        write_atomically(path, data)
    except WeightsError as error:
        raise StateError(error.message, path=error.path, stage="train") from error
