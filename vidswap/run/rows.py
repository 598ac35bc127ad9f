"""Arrays that grow row by row on disk, and are read row by row."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from vidswap.errors import StateError

Array = NDArray[Any]


class Rows(Protocol):
    """A (T, ...) array that is read block by block."""

    @property
    def dtype(self) -> np.dtype[Any]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice, /) -> Array: ...


class Spool:
    """A (T, ...) array written one row or block after another as plain binary.

    Args:
        path: The file to create.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.shape: tuple[int, ...] | None = None
        self.dtype: np.dtype[Any] | None = None
        self.rows = 0
        self._file: BinaryIO = path.open("wb", buffering=1 << 18)

    def append(self, block: Array) -> None:
        """Add (n, ...) rows; the first block fixes their shape and type."""
        if self.shape is None:
            self.shape, self.dtype = block.shape[1:], block.dtype
        if block.shape[1:] != self.shape or block.dtype != self.dtype:
            raise ValueError(
                f"{self.path.name}: rows of {self.shape} {self.dtype}, got {block.shape[1:]} {block.dtype}"
            )
        self._file.write(np.ascontiguousarray(block).data)
        self.rows += len(block)

    def close(self) -> "RowFile":
        """Make the rows durable and readable."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return RowFile(
            self.path, self.shape or (0,), (self.dtype or np.dtype(np.uint8)).str, self.rows
        )

    def drop(self) -> None:
        """Close and remove the file."""
        self._file.close()
        self.path.unlink(missing_ok=True)


class RowFile:
    """A stored (T, ...) array. Rows are read by offset; no file stays open, no page stays mapped.

    Args:
        path: The file.
        shape: Of one row.
        dtype: As numpy spells it, with the byte order.
        rows: How many there are.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: str, rows: int) -> None:
        self.path, self.shape, self.rows = path, shape, rows
        self.dtype = np.dtype(dtype)
        self._size = int(np.prod(shape)) * self.dtype.itemsize

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, rows: slice) -> Array:
        """(n, ...) rows, the caller's own.

        Raises:
            StateError: The file is gone or too short.
        """
        start, stop, step = rows.indices(self.rows)
        if step != 1:
            raise ValueError("rows are read one after another")
        count = max(stop - start, 0)
        data = self._read(start * self._size, count * self._size)
        return np.frombuffer(data, self.dtype).reshape(count, *self.shape)

    def check(self) -> None:
        """Compare the file's size with what it should hold.

        Raises:
            StateError: It is missing or has another size.
        """
        want = self.rows * self._size
        have = self.path.stat().st_size if self.path.is_file() else -1
        if have != want:
            found = "missing" if have < 0 else f"{have} bytes"
            raise StateError(f"{found}, expected {want} bytes", path=self.path, stage="analysis")

    def _read(self, offset: int, size: int) -> bytearray:
        data = bytearray(size)
        try:
            with self.path.open("rb", buffering=0) as file:
                file.seek(offset)
                view, done = memoryview(data), 0
                while done < size and (got := file.readinto(view[done:])):
                    done += got
        except OSError as error:
            message = f"cannot be read: {error.strerror}"
            raise StateError(message, path=self.path, stage="analysis") from error
        if done < size:
            raise StateError("is shorter than it should be", path=self.path, stage="analysis")
        return data

    def describe(self) -> dict[str, Any]:
        """What ``restore`` needs, ready for JSON."""
        return {
            "file": self.path.name, "shape": list(self.shape), "dtype": self.dtype.str, "rows": self.rows,
        }  # fmt: skip

    @classmethod
    def restore(cls, folder: Path, table: dict[str, Any]) -> "RowFile":
        """The file that ``describe`` described."""
        return cls(folder / table["file"], tuple(table["shape"]), table["dtype"], table["rows"])


class JoinedRows:
    """Rows of several arrays, one after another.

    Args:
        parts: Each with the range of its rows that counts.
    """

    def __init__(self, parts: Sequence[tuple[Rows, int, int]]) -> None:
        self._parts = tuple(parts)
        self._starts = np.cumsum([0, *(stop - start for _, start, stop in parts)]).tolist()

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of all parts."""
        return self._parts[0][0].dtype

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, rows: slice) -> Array:
        """(n, ...) rows, the caller's own.

        Raises:
            StateError: A file is gone or too short.
        """
        start, stop, _ = rows.indices(len(self))
        blocks = []
        for (part, first, last), begin in zip(self._parts, self._starts, strict=False):
            low, high = max(start - begin, 0), min(stop - begin, last - first)
            if low < high:
                blocks.append(part[first + low : first + high])
        if len(blocks) == 1:
            return blocks[0]
        return np.concatenate(blocks) if blocks else self._parts[0][0][0:0]


class PickedRows:
    """Some rows of an array.

    Args:
        rows: The array.
        at: (n,) which of them, ascending.
    """

    def __init__(self, rows: Rows, at: NDArray[np.int64]) -> None:
        self._rows, self._at = rows, at

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the array."""
        return self._rows.dtype

    def __len__(self) -> int:
        return len(self._at)

    def __getitem__(self, rows: slice) -> Array:
        """(n, ...) rows, the caller's own.

        Raises:
            StateError: A file is gone or too short.
        """
        at = self._at[rows]
        if not len(at):
            return self._rows[0:0]
        first = int(at[0])
        return self._rows[first : int(at[-1]) + 1][at - first]
