"""LatentSwap's mixer: source and target codes → swapped codes.

Source: Choi et al., LatentSwap, 2024 (arXiv v2).
"""

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from vidswap.checks import check_shape


@dataclass(frozen=True, slots=True)
class MixerConfig:
    """Shape of a mixer."""

    layers: int = 18
    """Codes of one picture, each with an MLP of its own: 18 for StyleGAN2 at 1024 px, 21 for
    StyleNeRF. 1 is the variant that mixes a single z or w code."""
    style_dim: int = 512
    residual: float = 1.0
    """Share of the target code that is added to the result of the MLPs."""

    def __post_init__(self) -> None:
        """Check the number of codes."""
        if self.layers < 1:
            raise ValueError(f"layers: {self.layers} is not positive")


class ParallelLinear(nn.Module):
    """One linear layer for each of L codes, in a single batched product."""

    def __init__(self, layers: int, inputs: int, outputs: int) -> None:
        super().__init__()
        bound = 1.0 / math.sqrt(inputs)
        self.weight = nn.Parameter(torch.empty(layers, outputs, inputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(layers, outputs).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        """(L, B, inputs) → (L, B, outputs)."""
        return torch.baddbmm(self.bias[:, None], x, self.weight.transpose(1, 2))


class LatentMixer(nn.Module):
    """L MLPs of five layers with SiLU between them, plus the target code."""

    def __init__(self, config: MixerConfig | None = None) -> None:
        super().__init__()
        self.config = config or MixerConfig()
        d = self.config.style_dim
        widths = (2 * d, 2 * d, 2 * d, d, d, d)
        self.linears = nn.ModuleList(
            ParallelLinear(self.config.layers, a, b) for a, b in pairwise(widths)
        )

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """Mix codes; the identity comes from ``source``, everything else from ``target``.

        Args:
            source: (B, layers, style_dim), or (B, style_dim) for a mixer of one layer.
            target: The same shape.

        Returns:
            The same shape.
        """
        dims = f"B {self.config.layers} {self.config.style_dim}"
        if source.ndim == 2 and self.config.layers == 1:
            dims = f"B {self.config.style_dim}"
        check_shape(f"{dims}, {dims}", source=source, target=target)
        x = torch.cat([source, target], dim=-1)
        x = x[None] if x.ndim == 2 else x.transpose(0, 1)
        for k, linear in enumerate(self.linears):
            x = linear(functional.silu(x) if k else x)
        mixed = x.squeeze(0) if source.ndim == 2 else x.transpose(0, 1)
        return mixed + self.config.residual * target
