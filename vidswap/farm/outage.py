"""A file server that is away for a while."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from vidswap.errors import MediaError

PATIENCE_SECONDS = 300.0


@dataclass(slots=True, eq=False)
class Outage:
    """Bears errors of a folder for some time.

    Args:
        folder: That is out of reach, for the message.
        warn: Told when it begins.
        patience: Seconds.
        clock: Monotonic seconds.
    """

    folder: Path
    warn: Callable[[str], None]
    patience: float = PATIENCE_SECONDS
    clock: Callable[[], float] = time.monotonic
    _since: float | None = None

    @contextmanager
    def bearing(self) -> Iterator[None]:
        """Look at the folder in a block; an error ends the block and no more.

        Raises:
            MediaError: It has been out of reach for too long.
        """
        try:
            yield
        except OSError as error:
            if self._since is None:
                self._since = self.clock()
                self.warn(f"{self.folder}: {error.strerror or error}; trying again")
            if self.clock() - self._since >= self.patience:
                message = f"out of reach for {self.patience:.0f} s: {error.strerror or error}"
                raise MediaError(message, path=self.folder, stage="queue") from error
        else:
            self._since = None
