"""One run for each output: a lock file that says who holds it and survives no crash."""

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from glob import escape
from pathlib import Path

from vidswap.errors import MediaError, StateError

GRACE_SECONDS = 5.0
"""A lock without a readable owner is one being written just now, unless it is older than this."""


@dataclass(frozen=True, slots=True)
class Owner:
    """Who holds a lock."""

    pid: int
    host: str
    started: str
    """Start time of the process as the kernel counts it, or "" where it does not tell: a pid
    that was given to another process since is not the owner."""


def lock_path(output: Path) -> Path:
    """The lock beside an output."""
    return output.with_name(f".{output.name}.lock")


@contextmanager
def locked(output: Path) -> Iterator[None]:
    """Hold the lock of an output for the length of the block.

    A lock whose owner ran on this host and is gone is taken over.

    Raises:
        StateError: Another run holds it.
        MediaError: The folder cannot be written to.
    """
    path = lock_path(output)
    me = Owner(os.getpid(), socket.gethostname(), _started(os.getpid()))
    try:
        if not _create(path, me):
            _take_over(path, me, output)
        _sweep(path, me)
    except OSError as error:
        message = f"cannot write the lock {path.name}: {error.strerror}"
        raise MediaError(message, path=output, stage="lock") from error
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def holder(output: Path) -> Owner | None:
    """Who holds the lock of an output; None where nobody does, or the owner is known to be gone."""
    owner = _read(lock_path(output))
    return owner if owner is not None and _alive(owner) else None


def tidy(output: Path) -> None:
    """Remove the lock of a run that was killed between the end of its work and that of its lock."""
    if lock_path(output).exists() and holder(output) is None:
        with suppress(StateError), locked(output):
            pass  # another run that has it now does the same


def _create(path: Path, me: Owner) -> bool:
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    except FileExistsError:
        return False
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(asdict(me), file)
    return True


def _take_over(path: Path, me: Owner, output: Path) -> None:
    """Replace a dead owner's lock. Only one of several contenders can move the file aside."""
    owner = _read(path)
    if owner is not None and _alive(owner):
        raise StateError(
            f"another run is writing it (process {owner.pid} on {owner.host})",
            path=output,
            stage="lock",
            hint=f"wait for it; if no such run exists, delete {path}",
        )
    aside = path.with_name(f"{path.name}.{me.pid}@{me.host}")
    with suppress(FileNotFoundError):
        path.rename(aside)
        taken = _read(aside)
        if taken != owner and taken is not None and _alive(taken):
            # Another contender was faster and this was its fresh lock: give it back.
            with suppress(FileExistsError):
                os.link(aside, path)
            aside.unlink(missing_ok=True)
            raise StateError("another run is writing it", path=output, stage="lock")
        aside.unlink(missing_ok=True)
    if not _create(path, me):
        raise StateError("another run is writing it", path=output, stage="lock")


def _sweep(path: Path, me: Owner) -> None:
    """Remove the locks that contenders of this host had moved aside when they were killed."""
    for aside in path.parent.glob(f"{escape(path.name)}.*@*"):
        pid, _, host = aside.name[len(path.name) + 1 :].partition("@")
        if host == me.host and pid.isdecimal() and not runs(int(pid)):
            aside.unlink(missing_ok=True)


def _read(path: Path) -> Owner | None:
    """Owner of a lock; None for a dead one: unreadable for longer than writing one takes."""
    deadline = time.monotonic() + 0.5
    while True:
        try:
            age = time.time() - path.stat().st_mtime
            fields = json.loads(path.read_text(encoding="utf-8"))
            return Owner(int(fields["pid"]), str(fields["host"]), str(fields["started"]))
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):
            if age > GRACE_SECONDS:
                return None
            if time.monotonic() > deadline:
                return Owner(0, "unknown", "")
            time.sleep(0.05)


def _alive(owner: Owner) -> bool:
    """Whether the owner may still run; of another host nothing is known, so it may."""
    if owner.host != socket.gethostname():
        return True
    return runs(owner.pid) and _started(owner.pid) == owner.started


def runs(pid: int) -> bool:
    """Whether a process of this machine has this id."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _started(pid: int) -> str:
    """Start time of a process in kernel ticks since boot, "" where there is no ``/proc``."""
    with suppress(OSError, IndexError):
        # The command name, in brackets, may itself contain spaces and brackets.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    return ""
