"""Options that ``batch``, ``worker`` and ``run`` share."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from vidswap.farm.ray_cluster import RayOptions

F = TypeVar("F", bound=Callable[..., Any])


def limit_options(command: F) -> F:
    """What one process, or all local ones together, may use."""
    options = (
        click.option(
            "--max-ram", metavar="SIZE", help="Memory, such as 8G; more halves the batch of faces."
        ),
        click.option("--max-vram", metavar="SIZE", help="Video memory, such as 10G."),
        click.option(
            "--max-disk",
            metavar="SIZE",
            help="Disk for unfinished work; no clip is begun while more is in use.",
        ),
        click.option(
            "--deadline", metavar="TIME", help="Stop after 8h, 90m or 30s; the rest stays queued."
        ),
        click.option("--nice", type=click.IntRange(0, 19), help="Lower the processes' priority."),
        click.option(
            "--grace",
            type=click.FloatRange(0),
            default=20.0,
            show_default=True,
            help="Seconds after SIGTERM or SIGINT in which a clip may still be finished.",
        ),
        click.option(
            "--lease",
            type=click.FloatRange(0.2),
            default=90.0,
            show_default=True,
            help="Seconds of silence after which another machine's item is taken over; the same for "
            "all workers of a queue.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def ray_options(command: F) -> F:
    """A Ray cluster instead of local processes."""
    options = (
        click.option(
            "--ray",
            metavar="ADDRESS",
            is_flag=False,
            flag_value="local",
            help="Work on a Ray cluster: auto, HOST:6379, ray://HOST:10001, or local for one of this "
            "machine's own. All its machines see the same folders. Needs vidswap[ray].",
        ),
        click.option(
            "--gpus-per-worker", type=click.FloatRange(0), default=0.0, show_default=True,
            help="With --ray: GPUs reserved for each worker; 0.5 lets two share one.",
        ),
        click.option(
            "--cpus-per-worker", type=click.FloatRange(0), default=1.0, show_default=True,
            help="With --ray: cores reserved for each worker.",
        ),
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def take_ray(options: dict[str, Any]) -> "RayOptions | None":
    """Take the options of ``ray_options`` out of a command's.

    Raises:
        RecipeError: They make no sense.
    """
    address = options.pop("ray")
    gpus, cpus = options.pop("gpus_per_worker"), options.pop("cpus_per_worker")
    if address is None:
        return None
    from vidswap.farm.ray_cluster import RayOptions

    return RayOptions(address, options["workers"], gpus, cpus)
