"""Files that appear whole, and stay after a power cut."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4


def flush(path: Path) -> None:
    """Have a file, or a folder's names, on the disk.

    Raises:
        OSError: The disk fails.
    """
    if path.is_dir() and os.name == "nt":  # folders have no file descriptor there
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(path: Path, table: Mapping[str, Any]) -> None:
    """Replace a JSON file: written beside it, flushed, renamed.

    Raises:
        OSError: The disk fails; the old file stays.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}-{uuid4().hex[:8]}.part")
    try:
        with part.open("w", encoding="utf-8") as file:
            json.dump(table, file, indent=1, ensure_ascii=False)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    flush(path.parent)
