"""What ``vidswap batch --ray`` runs inside a Ray actor."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


class Hand:
    """One worker of ``vidswap batch --ray``: reserves its share of a machine for ``vidswap worker``."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def work(self, arguments: Sequence[str], log: str) -> int:
        """Run a command of vidswap; returns its exit code."""
        place = Path(log)
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("wb") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "vidswap", *arguments],
                stdin=subprocess.PIPE,  # its end tells the worker that this actor is gone
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        return self._process.wait()

    def end(self, number: int) -> None:
        """Send the command a signal."""
        if self._process is not None:
            self._process.send_signal(number)

    def pid(self) -> int:
        """Of the command, 0 before it runs."""
        return 0 if self._process is None else self._process.pid
