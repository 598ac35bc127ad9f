"""Files that are written once: whoever is first decides, for ever and for every machine.

The queue is built on these alone. A register appears with its whole content or not at all, and is
never changed afterwards, so a process that was paused for hours finds the decision that was made
meanwhile and can only agree with it.

Safe on NFS: exclusive creation, hard links and renames are atomic on its server; file locks and
clocks are not used.
"""

import errno
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

CONTENT = "content"
"""File inside a register that is a folder."""


def create(path: Path) -> bool:
    """Write-once without content: True for the one process that created the file.

    Raises:
        OSError: The folder cannot be written to.
    """
    return _in_folder(path, lambda: _create(path))


def settle(path: Path, content: bytes) -> bool:
    """Write-once with content: True for the one process whose content the register holds.

    The content is on the disk before the register appears.

    Raises:
        OSError: The folder cannot be written to.
    """
    return _in_folder(path, lambda: _settle(path, content))


def read(path: Path) -> bytes | None:
    """Content of a register; None before it is written."""
    for place in (path, path / CONTENT):
        try:
            return place.read_bytes()
        except FileNotFoundError:
            return None
        except (IsADirectoryError, PermissionError):  # Windows calls a folder a missing permission
            if place != path or not path.is_dir():
                raise
    return None


def replace(path: Path, content: bytes) -> None:
    """Write a file whole, over whatever is there.

    Raises:
        OSError: The folder cannot be written to.
    """

    def put() -> bool:
        draft = _draft(path)
        draft.write_bytes(content)
        draft.replace(path)
        return True

    _in_folder(path, put)


def move(source: Path, target: Path) -> None:
    """Rename a file or folder; nothing if somebody has done so before.

    Raises:
        OSError: The target's folder cannot be written to.
    """
    if not source.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        # Between looking and renaming another process may have been faster.
        with suppress(FileNotFoundError):
            source.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        draft = _draft(target)
        (shutil.copytree if source.is_dir() else shutil.copy2)(source, draft)
        draft.replace(target)
    flush(target.parent)


def flush(folder: Path) -> None:
    """Put renames inside a folder on the disk."""
    if os.name == "nt":  # folders have no file descriptor there
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _create(path: Path) -> bool:
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
    except FileExistsError:
        return False
    return True


def _settle(path: Path, content: bytes) -> bool:
    if path.exists():
        return False
    draft = _draft(path)
    try:
        with draft.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            # NFS: an answer that was lost makes the client ask again and be told of its own success.
            return draft.stat().st_nlink == 2
        except (OSError, NotImplementedError, AttributeError):
            return _settle_folder(path, content)
    finally:
        draft.unlink(missing_ok=True)
    flush(path.parent)
    return True


def _settle_folder(path: Path, content: bytes) -> bool:
    """The same where there are no hard links: no folder is renamed onto one that holds a file."""
    draft = _draft(path)
    draft.mkdir()
    with (draft / CONTENT).open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    try:
        draft.rename(path)
    except OSError:
        shutil.rmtree(draft)
        if not path.exists():
            raise
        return False
    flush(path.parent)
    return True


def _draft(path: Path) -> Path:
    return path.with_name(f".{uuid4().hex}")


def _in_folder(path: Path, work: Callable[[], bool]) -> bool:
    """Make the folder where it is missing; another process may remove an empty one meanwhile."""
    for _ in range(100):
        try:
            return work()
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
    return work()
