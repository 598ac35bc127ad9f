"""What the loop needs to know of a method: its networks, its optimisers and one step."""

import copy
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from vidswap.errors import StateError
from vidswap.train.processes import Processes

N = TypeVar("N", bound=nn.Module)

Batch = Mapping[str, Tensor]
"""``index`` (B,) of the pictures in the data; ``pictures`` (B, 3, S, S) in [-1, 1]; and what else the
data knows, such as ``parameters`` (B, P) or ``labels`` (B, S, S)."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step as a method sees it. Random numbers come from torch's seeded default generators."""

    index: int
    processes: Processes
    device: torch.device
    precision: Literal["fp32", "bf16"] = "fp32"
    clip: float = 0.0

    @contextmanager
    def autocast(self) -> Iterator[None]:
        """Run networks in the precision of the recipe."""
        on = self.precision == "bf16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=on):
            yield

    def update(self, optimizer: Optimizer, loss: Tensor) -> None:
        """Gradients of a loss, averaged over processes, clipped, applied.

        Raises:
            StateError: The loss is not a number; the last checkpoint stays as it is.
        """
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        gradients = [p.grad for p in parameters if p.grad is not None]
        self.processes.average(gradients)
        if self.clip:
            nn.utils.clip_grad_norm_(parameters, self.clip)
        if not bool(torch.isfinite(loss.detach())):
            raise StateError(
                f"the loss is {float(loss.detach())} at step {self.index}",
                stage="train",
                hint="lower method.learning_rate, or use --set loop.precision=fp32; the last "
                "checkpoint is good",
            )
        optimizer.step()


@dataclass(frozen=True, slots=True)
class Export:
    """A network as it will be shipped."""

    suffix: str
    """Of the file's name, such as ``generator``."""
    arch: str
    """A name of ``vidswap.zoo.architectures``."""
    network: nn.Module
    config: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the network's configuration."""
    summary: str = ""


class Method(Protocol):
    """One way of training."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the figures that every step gives."""
        ...

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        """What is trained."""
        ...

    @property
    def averages(self) -> Mapping[str, nn.Module]:
        """Moving averages, under the names of their networks."""
        ...

    @property
    def optimizers(self) -> Mapping[str, Optimizer]:
        """Over the parameters of the networks."""
        ...

    def step(self, batch: Batch, step: Step) -> Mapping[str, Tensor]:
        """Train on one batch; figures of ``columns``, absent ones did not apply."""
        ...

    def pictures(self, batch: Batch) -> Tensor | None:
        """Pictures that show how far it is, (N, 3, S, S) in [-1, 1]; None for none."""
        ...

    def exports(self) -> list[Export]:
        """What a user of the trained networks needs."""
        ...


def placed(network: N, device: torch.device) -> N:
    """The same network on a device, channels-last; meant to be trained."""
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


def average_of(network: N) -> N:
    """A copy that will hold the moving average."""
    return copy.deepcopy(network).requires_grad_(False).eval()


def pixels_on(batch: Batch, device: torch.device) -> dict[str, Tensor]:
    """A batch on a device, its pictures channels-last."""
    moved = {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}
    if "pictures" in moved:
        moved["pictures"] = moved["pictures"].contiguous(memory_format=torch.channels_last)
    return moved


def train_mode(modules: Iterable[nn.Module], on: bool = True) -> None:
    """Switch several networks between training and evaluation."""
    for module in modules:
        module.train(on)
