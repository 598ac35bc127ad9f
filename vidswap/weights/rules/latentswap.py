"""LatentSwap's mixer: below ``state_dict`` of a Lightning checkpoint, prefix ``identity_mixer.``.

The other networks of that checkpoint are copies of ones that are published on their own; their
running statistics were updated in training, so they are not taken from there.
"""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from vidswap.weights.convert import Rule


def _linear(match: re.Match[str]) -> str:
    # Every second module of the official sequence is an activation.
    return f"linears.{int(match[2]) // 2}.{match[3]}"


def _layer(match: re.Match[str]) -> int:
    return int(match[1])


def _single(match: re.Match[str]) -> str:
    return f"linears.{int(match[1]) // 2}.{match[2]}"


def _one(tensor: Tensor) -> Tensor:
    return tensor[None]


RULES = (Rule(r"mixer\.(\d+)\.(\d)\.(weight|bias)", _linear, merge=_layer),)
SINGLE_RULES = (Rule(r"mixer\.(\d)\.(weight|bias)", _single, _one),)
"""The variant that mixes one z or w code with a single MLP."""


def config(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Configuration, from the shapes; the residual coefficient is not in them."""
    layers = {int(m[1]) for k in state if (m := re.fullmatch(r"mixer\.(\d+)\.\d\.weight", k))}
    dim = state["mixer.0.8.weight"] if layers else state["mixer.8.weight"]
    return {"layers": len(layers) or 1, "style_dim": int(dim.shape[0])}
