"""Optimisers that methods share."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn


def adamw(
    networks: Iterable[nn.Module], rate: float, weight_decay: float = 0.01
) -> torch.optim.AdamW:
    """AdamW (0.9, 0.999) over all trainable parameters; norms, biases and slopes do not decay."""
    decayed: list[nn.Parameter] = []
    kept: list[nn.Parameter] = []
    for network in networks:
        for parameter in network.parameters():
            if parameter.requires_grad:
                (decayed if parameter.ndim > 1 else kept).append(parameter)
    groups: list[dict[str, Any]] = [{"params": decayed}, {"params": kept, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=rate, weight_decay=weight_decay)
