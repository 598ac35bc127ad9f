"""Workers of ``vidswap batch --ray``: the same command on the same queue, on Ray's machines.

Ray only finds them a place and their share of a GPU. Who does what, and what becomes of the work of
one that dies, is the queue's affair as it is without Ray, so the two may even be mixed.
"""

import signal
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from subprocess import TimeoutExpired
from typing import Any

from vidswap.farm.pool import Start
from vidswap.farm.ray_cluster import RayOptions
from vidswap.farm.ray_worker import Hand

CALLS = "calls"
DIED = -int(signal.SIGKILL)
"""Return code of a worker whose actor is gone, with its machine perhaps."""


class RemoteProcess:
    """A command that runs inside an actor; looks like ``subprocess.Popen`` as far as a pool cares.

    Args:
        ray: The connected module.
        actor: A ``Hand``.
        arguments: Of ``vidswap``.
        log: File for what it says, on the shared folder.
    """

    def __init__(self, ray: Any, actor: Any, arguments: Sequence[str], log: Path) -> None:
        self._ray, self._actor = ray, actor
        self._end = actor.work.remote(list(arguments), str(log))
        self.pid = 0
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Its exit code; None while it runs, or waits for a place."""
        return self._look(0)

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code.

        Raises:
            TimeoutExpired: It runs on.
        """
        code = self._look(timeout)
        if code is None:
            raise TimeoutExpired("vidswap worker", timeout or 0)
        return code

    def terminate(self) -> None:
        """Ask it to end."""
        with suppress(self._ray.exceptions.RayError):
            call = self._actor.end.options(concurrency_group=CALLS)
            call.remote(int(signal.SIGTERM))

    def kill(self) -> None:
        """End it."""
        with suppress(self._ray.exceptions.RayError, ValueError):
            self._ray.kill(self._actor)

    def _look(self, timeout: float | None) -> int | None:
        if self.returncode is None:
            ready, _ = self._ray.wait([self._end], timeout=timeout)
            if ready:
                try:
                    self.returncode = int(self._ray.get(self._end))
                except self._ray.exceptions.RayError:
                    self.returncode = DIED
                self.kill()  # gives its share of the machine back
        return self.returncode


def starting_on(ray: Any, options: RayOptions) -> Start:
    """How a pool starts workers on a cluster."""
    # The pool replaces what dies; two that start anew would be one too many.
    hand = ray.remote(max_restarts=0, concurrency_groups={CALLS: 1}, **options.needs)(Hand)

    def start(arguments: Sequence[str], log: Path, workers: int) -> RemoteProcess:
        del workers  # Ray shares out the threads
        return RemoteProcess(ray, hand.remote(), arguments, log)

    return start
