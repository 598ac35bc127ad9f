"""Who works on an item, and whether that process is known to be gone."""

import os
import socket
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vidswap import schema
from vidswap.errors import RecipeError


@dataclass(frozen=True, slots=True)
class Owner:
    """One process of one machine."""

    host: str
    system: str
    """The running system and its process table: boot id and pid namespace, "" where unknown. Two
    containers may share a host name and still not see each other's processes."""
    pid: int
    started: str
    """Start time as the kernel counts it: a pid is given to another process some day."""

    def describe(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}"


def this_process() -> Owner:
    """The process that asks."""
    return Owner(socket.gethostname(), _system(), os.getpid(), _started(os.getpid()))


def process(pid: int) -> Owner:
    """Another process of this machine; one that is gone already has no start time."""
    return Owner(socket.gethostname(), _system(), pid, _started(pid))


def decode(table: Any) -> Owner | None:
    """The inverse of ``describe``; None for anything else."""
    try:
        return schema.decode(Owner, table) if isinstance(table, dict) else None
    except RecipeError:
        return None


def is_gone(owner: Owner) -> bool:
    """Whether a process has certainly ended; of another machine's nothing is known.

    A stopped process is not gone: it may wake up.
    """
    here = this_process()
    if not owner.system or (owner.host, owner.system) != (here.host, here.system):
        return False
    return _started(owner.pid) != owner.started


def _system() -> str:
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    return ""


def _started(pid: int) -> str:
    """Kernel ticks from boot to the start of a process; "" for one that has ended."""
    with suppress(OSError, IndexError):
        # The command name, in brackets, may itself contain spaces and brackets.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return "" if fields[0] in "ZX" else fields[19]
    return ""
