"""Inputs that must not change while a run reads them."""

import os
from collections.abc import Iterable
from pathlib import Path

from vidswap.errors import MediaError, StateError

Stamp = tuple[int, int, int]
"""Size in bytes, time of the last change in nanoseconds, inode."""


class Guard:
    """Remembers files as they are now and tells when one is no longer so.

    A file that is written to, replaced or even only touched in the middle of a run cannot be
    trusted: some frames may be of the old one and some of the new.

    Args:
        paths: Files that are read.
    """

    def __init__(self, paths: Iterable[Path]) -> None:
        self._stamps = {path: _stamp(path) for path in paths}

    def joined(self, other: "Guard") -> "Guard":
        """One that watches the files of both, each as it was when it was first looked at."""
        both = Guard([])
        both._stamps = {**other._stamps, **self._stamps}
        return both

    def check(self) -> None:
        """Compare.

        Raises:
            StateError: A file has changed; names it.
            MediaError: A file is gone.
        """
        for path, stamp in self._stamps.items():
            if _stamp(path) != stamp:
                raise StateError(
                    "was changed while it was read; what is rendered of it is of no use",
                    path=path,
                    stage="input",
                    hint="run again once it stays as it is",
                )


def _stamp(path: Path) -> Stamp:
    try:
        found = os.stat(path)  # noqa: PTH116 - one call, also for what is no regular file
    except OSError as error:
        raise MediaError(f"cannot be read: {error.strerror}", path=path, stage="input") from error
    return found.st_size, found.st_mtime_ns, found.st_ino
