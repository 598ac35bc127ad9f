"""Where a run reads and writes, and that nothing half-written or foreign ever gets in the way."""

import errno
import os
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from vidswap.errors import MediaError, RecipeError, StateError, VidswapError
from vidswap.run.atomic import flush
from vidswap.run.lock import locked


def _nothing(*_: object) -> None:
    """Do nothing."""


def default_output(source: Path) -> Path:
    """``clip.mp4`` → ``clip_swapped.mp4`` beside it."""
    return source.with_name(f"{source.stem}_swapped{source.suffix}")


def default_work(output: Path) -> Path:
    """Folder that keeps the analysis of an output: ``clip_swapped.mp4.vidswap`` beside it."""
    return output.with_name(f"{output.name}.vidswap")


def check_input(path: Path, what: str = "clip") -> None:
    """Refuse a path that cannot be read.

    Raises:
        MediaError: Missing, a folder, empty or unreadable.
    """
    if not path.exists():
        raise MediaError(f"no such file ({what})", path=path, stage="open")
    if path.is_dir():
        raise MediaError(f"is a folder, expected a {what}", path=path, stage="open")
    if not os.access(path, os.R_OK):
        raise MediaError("permission denied", path=path, stage="open")


def same_file(a: Path, b: Path) -> bool:
    """Whether two paths mean one file: by inode, or by spelling where one does not exist yet.

    Hard links, symbolic links, letter case and Unicode forms are all seen through; a file system
    that tells letter case apart loses nothing but two names that differ in case alone.
    """
    with suppress(OSError):
        return a.samefile(b)
    return _folded(a) == _folded(b)


def _folded(path: Path) -> str:
    return unicodedata.normalize("NFC", os.path.realpath(path)).casefold()


def check_distinct(output: Path, others: Sequence[Path]) -> None:
    """Refuse an output that is one of the files that are read.

    Raises:
        RecipeError: Naming the input it equals.
    """
    for other in others:
        if same_file(output, other):
            raise RecipeError(
                f"is also read in this run ({other}): an input is never overwritten",
                path=output,
                stage="output",
                hint="give another name with --output",
            )


def check_output(output: Path, *, overwrite: bool) -> None:
    """Refuse an output that cannot appear.

    Raises:
        MediaError: No such folder, or it cannot be written to.
        StateError: Something is there already.
    """
    folder = output.parent
    if not folder.is_dir():
        raise MediaError(
            "the output's folder does not exist",
            path=output,
            stage="output",
            hint=f"create it first: mkdir -p {folder}",
        )
    if output.is_dir():
        raise StateError("is a folder, expected a file name", path=output, stage="output")
    if output.exists() and not overwrite:
        raise StateError(
            "exists already",
            path=output,
            stage="output",
            hint="--overwrite replaces it once the new file is verified",
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        raise MediaError("the output's folder is not writable", path=output, stage="output")


@contextmanager
def producing_output(
    output: Path,
    *,
    overwrite: bool,
    verified: Callable[[Path], None] = _nothing,
    published: Callable[[], None] = _nothing,
) -> Iterator[Path]:
    """A temporary name beside ``output``, under a lock, that becomes it when the block succeeds.

    The file is flushed to the disk before it is renamed, and the rename too. If the block raises,
    nothing is left. ``kill -9`` leaves the temporary file and the lock; the next run on the same
    output removes the one and takes over the other.

    Args:
        output: The file that is to appear.
        overwrite: Whether it may replace one that is there.
        verified: Called with the temporary file once it is on the disk, before the rename.
        published: Called after the rename, still under the lock.

    Yields:
        Path to write to.

    Raises:
        StateError: Another run holds the output, or it exists.
        MediaError: The disk is full or refuses to be written.
    """
    check_output(output, overwrite=overwrite)
    with locked(output):
        # Only now nobody else can write them: parts of dead runs, and an output that came since.
        for stale in output.parent.glob(f".{_escaped(output.name)}.*.part"):
            stale.unlink(missing_ok=True)
        part = output.with_name(f".{output.name}.{os.getpid()}.part")
        try:
            with writing(output):
                yield part
                check_output(output, overwrite=overwrite)
                if not part.exists():
                    raise MediaError("nothing was written", path=output, stage="write")
                flush(part)
                verified(part)
                part.replace(output)
                flush(output.parent)
                published()
        finally:
            part.unlink(missing_ok=True)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals to write into errors that name the output.

    Raises:
        MediaError: For a full disk, a quota, a missing permission, a read-only file system.
    """
    try:
        yield
    except VidswapError:
        raise
    except OSError as error:
        known = {
            errno.ENOSPC: "no space left on the disk",
            errno.EDQUOT: "the disk quota is used up",
            errno.EFBIG: "the file is larger than the file system or a limit allows",
            errno.EROFS: "the file system is read-only",
            errno.EACCES: "permission denied",
            errno.EPERM: "permission denied",
        }
        if error.errno not in known:
            raise
        raise MediaError(known[error.errno], path=path, stage="write") from error


def _escaped(name: str) -> str:
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)
