"""What a worker may use: memory, video memory, disk, time, processor."""

import os
import re
import shutil
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from vidswap.errors import RecipeError
from vidswap.farm.memory import OverBudgetError

_SIZE = re.compile(r"(\d+(?:\.\d*)?)\s*([kmgt]?)(i?b)?", re.IGNORECASE)
_SPAN = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d*)?)s?)?", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


def parse_bytes(text: str, option: str) -> int:
    """Read ``8G``, ``512M`` or ``1.5T``; powers of 1024, as memory is counted.

    Raises:
        RecipeError: Anything else, or nothing.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None or float(match[1]) <= 0:
        raise RecipeError(f"{option} {text}: expected a size such as 8G or 512M", stage="usage")
    return int(float(match[1]) * 1024 ** _POWERS[match[2].lower()])


def parse_seconds(text: str, option: str) -> float:
    """Read ``8h``, ``1h30m``, ``90s`` or a number of seconds.

    Raises:
        RecipeError: Anything else, or nothing.
    """
    match = _SPAN.fullmatch(text.strip())
    if match is None or not any(match.groups()):
        raise RecipeError(f"{option} {text}: expected a time such as 8h, 1h30m or 90s")
    days, hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return 86400 * days + 3600 * hours + 60 * minutes + seconds


@dataclass(frozen=True, slots=True)
class Budget:
    """Limits of one process; None is none."""

    ram: int | None = None
    """Bytes of resident memory."""
    vram: int | None = None
    """Bytes of video memory."""
    disk: int | None = None
    """Bytes of unfinished work on the disk, that of all workers on one queue together."""

    def check_ram(self) -> None:
        """Compare with what this process uses.

        Raises:
            OverBudgetError: It uses more.
        """
        used = resident() if self.ram is not None else 0
        if self.ram is not None and used > self.ram:
            raise OverBudgetError(f"{used >> 20} MB in use, {self.ram >> 20} MB allowed")

    def limit_vram(self) -> None:
        """Have torch refuse to allocate more, where torch is in use with an accelerator."""
        torch = sys.modules.get("torch")
        if self.vram is None or torch is None or not torch.cuda.is_available():
            return
        for device in range(torch.cuda.device_count()):
            total = torch.cuda.get_device_properties(device).total_memory
            torch.cuda.set_per_process_memory_fraction(min(self.vram / total, 1.0), device)

    def has_disk(self, folders: Iterable[Path]) -> bool:
        """Whether more work may begin beside the unfinished one in these folders."""
        return self.disk is None or sum(map(size_of, folders)) < self.disk


def resident() -> int:
    """Bytes of memory that this process has in use, its peak where the system tells no more."""
    with suppress(OSError):
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    with suppress(ImportError):
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
    return 0


def size_of(folder: Path) -> int:
    """Bytes of the files below a folder; what vanishes meanwhile counts nothing."""
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += os.lstat(os.path.join(path, name)).st_size  # noqa: PTH118
    return total


def free_disk(folder: Path) -> int:
    """Bytes that can still be written below a folder."""
    return shutil.disk_usage(folder).free
