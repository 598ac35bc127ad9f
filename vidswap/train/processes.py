"""Several processes, started by ``torchrun``, that train one network: gradients are averaged.

The networks stay plain modules. Gradients are reduced in one flat buffer after ``backward``, as the
official StyleGAN2 code does, because regularisers that differentiate twice do not go through the
hooks of ``DistributedDataParallel``.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, distributed, nn

from vidswap.errors import RecipeError, StateError


@dataclass(frozen=True, slots=True)
class Processes:
    """This process among those that train together."""

    rank: int = 0
    count: int = 1
    local: int = 0
    """Number on this machine: the GPU it takes."""

    @property
    def first(self) -> bool:
        """Whether this process writes files."""
        return self.rank == 0

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace float tensors by their mean over processes, in place."""
        if self.count == 1 or not tensors:
            return
        flat = torch.cat([t.reshape(-1).float() for t in tensors])
        with _together():
            distributed.all_reduce(flat)
        flat /= self.count
        start = 0
        for tensor in tensors:
            tensor.copy_(flat[start : start + tensor.numel()].view_as(tensor))
            start += tensor.numel()

    def average_buffers(self, networks: Sequence[nn.Module]) -> None:
        """Running statistics become those of all processes."""
        self.average([b for n in networks for b in n.buffers() if b.is_floating_point()])

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process; all of them must ask."""
        if self.count == 1:
            return flag
        device = f"cuda:{self.local}" if distributed.get_backend() == "nccl" else "cpu"
        votes = torch.tensor(float(flag), device=device)
        with _together():
            distributed.all_reduce(votes)
        return bool(votes > 0)

    def wait(self) -> None:
        """Until every process is here."""
        if self.count > 1:
            with _together():
                distributed.barrier()


@contextmanager
def _together() -> Iterator[None]:
    """Of another process that has failed, no more is known here than that it is gone."""
    try:
        yield
    except RuntimeError as error:
        raise StateError(
            "another process of this training has ended", stage="train",
            hint="what it said before tells why",
        ) from error  # fmt: skip


@contextmanager
def joined(device: str) -> Iterator[tuple[Processes, torch.device]]:
    """Join the processes that ``torchrun`` started, if it did, and choose the device.

    Args:
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.

    Raises:
        RecipeError: There is no such device.
    """
    environment = os.environ
    count = int(environment.get("WORLD_SIZE", "1"))
    local = int(environment.get("LOCAL_RANK", "0"))
    place = choose(device, local if count > 1 else None)
    if count == 1:
        yield Processes(), place
        return
    if place.type == "cuda":
        torch.cuda.set_device(place)
    distributed.init_process_group("nccl" if place.type == "cuda" else "gloo")
    try:
        yield Processes(distributed.get_rank(), count, local), place
    finally:
        distributed.destroy_process_group()


def choose(device: str, local: int | None = None) -> torch.device:
    """The device that a recipe names.

    Raises:
        RecipeError: There is no such device.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        place = torch.device(device)
    except RuntimeError:
        raise RecipeError(f"device: {device!r} is not auto, cpu, cuda or cuda:1") from None
    if place.type == "cuda" and not torch.cuda.is_available():
        raise RecipeError(f"device: {device} is not there; torch sees no CUDA device")
    if place.type == "cuda" and local is not None:
        return torch.device("cuda", local)
    return place
