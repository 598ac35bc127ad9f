"""Networks that a training uses and leaves as they are."""

from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from vidswap import zoo
from vidswap.errors import RecipeError
from vidswap.models.layers import freeze
from vidswap.train.method import placed

N = TypeVar("N", bound=nn.Module)


def frozen(name: str, kind: type[N], device: torch.device, option: str) -> N:
    """A trained network by its name or file, in evaluation mode, without gradients.

    Its constants are prepared and its statistics stay, unlike in the published LatentSwap code, where
    the framework switched everything back to training mode.

    Args:
        name: Of the weights, or a path to a safetensors file.
        kind: What it must be.
        device: Where it runs.
        option: Dotted name of the option, for messages.

    Raises:
        RecipeError: No name, or weights of another kind.
        WeightsError: Not there, or damaged.
    """
    if not name:
        raise RecipeError(f"{option} is empty: name weights (`vidswap weights list`) or a file")
    path = Path(name)
    network = zoo.load_file(path) if path.suffix == ".safetensors" else zoo.load_named(name)
    if not isinstance(network, kind):
        have = type(network).__name__
        raise RecipeError(f"{option}: {name} is a {have}, expected a {kind.__name__}")
    freeze(placed(network, device))
    return network
