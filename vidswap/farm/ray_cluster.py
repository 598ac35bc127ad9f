"""A connection to Ray, or a small cluster of this machine's own."""

import math
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from vidswap.errors import RecipeError, StateError

LOCAL = "local"
CONNECT_SECONDS = 10.0
STORE_BYTES = 80 << 20
"""Object store of a local cluster, about the least that Ray takes: frames never pass through it."""


@dataclass(frozen=True, slots=True)
class RayOptions:
    """Where and on what the workers run."""

    address: str = LOCAL
    """``local``, ``auto``, ``host:6379`` or ``ray://host:10001``."""
    workers: int | None = None
    """None is as many as the cluster's resources allow."""
    gpus: float = 0.0
    """For each worker; a fraction lets several share one."""
    cpus: float = 1.0
    """For each worker."""

    def __post_init__(self) -> None:
        """Check ranges.

        Raises:
            RecipeError: Nothing for a worker, or parts of several GPUs.
        """
        if self.gpus < 0 or self.cpus < 0 or self.gpus + self.cpus == 0:
            raise RecipeError("--cpus-per-worker and --gpus-per-worker: a worker needs something")
        if self.gpus > 1 and self.gpus != int(self.gpus):
            message = f"--gpus-per-worker {self.gpus:g}: below 1 or a whole number, as Ray wants it"
            raise RecipeError(message)

    @property
    def needs(self) -> dict[str, float]:
        """What Ray reserves for a worker."""
        return {"num_cpus": self.cpus, "num_gpus": self.gpus}


@contextmanager
def connected(options: RayOptions) -> Iterator[Any]:
    """Ray, for the length of the block; a local cluster ends with it.

    Raises:
        RecipeError: Ray is not installed.
        StateError: No cluster answers.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere
    try:
        import ray
    except ImportError as error:
        hint = "pip install 'vidswap[ray]'"
        raise RecipeError("--ray: Ray is not installed", stage="ray", hint=hint) from error
    _check_reachable(options.address)
    # Ray puts handlers of its own in place of those that turn SIGTERM into a clean end.
    signals = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        ray.init(**_arguments(options), log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, RuntimeError, ValueError, OSError, TimeoutError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise _unreachable(options.address, reason) from error
    for number, handler in signals.items():
        signal.signal(number, handler)
    try:
        yield ray
    finally:
        ray.shutdown()


def crew_size(ray: Any, options: RayOptions) -> int:
    """How many workers to start.

    Raises:
        StateError: The cluster has no room for one.
    """
    has = ray.cluster_resources()
    wanted = (("CPU", options.cpus), ("GPU", options.gpus))
    room = min(math.floor(has.get(name, 0) / share + 1e-6) for name, share in wanted if share)
    if room < 1:
        named = ", ".join(f"{share:g} {name}" for name, share in wanted if share)
        raise StateError(
            f"the cluster has no room for one worker of {named}; it has "
            f"{has.get('CPU', 0):g} CPU and {has.get('GPU', 0):g} GPU",
            stage="ray",
            hint="other --cpus-per-worker and --gpus-per-worker",
        )
    return room if options.workers is None else options.workers


def _check_reachable(address: str) -> None:
    """Refuse at once what Ray would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdigit():
        return  # local, auto
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise _unreachable(address, str(error)) from error


def _unreachable(address: str, reason: str) -> StateError:
    return StateError(
        f"no Ray cluster at {address}: {reason}",
        stage="ray",
        hint="ray start --head on one machine, ray start --address HOST:6379 on the others; "
        "--ray local needs none",
    )


def _arguments(options: RayOptions) -> dict[str, Any]:
    if options.address != LOCAL:
        return {"address": options.address}
    found: dict[str, Any] = {"include_dashboard": False, "object_store_memory": STORE_BYTES}
    if options.workers is not None:
        # Cores are Ray's own bookkeeping; it would let workers wait that the user asked for.
        found["num_cpus"] = max(math.ceil(options.workers * options.cpus), os.cpu_count() or 1)
    return found
