"""Landmarks of a face, with the part that belongs to the person kept apart from everything else.

A small trainable counterpart of the 3-D face model in LatentSwap's shape loss (Choi et al., 2024,
and HifiFace, Wang et al., 2021): there the identity coefficients of one face and all other
coefficients of another one give the landmarks that a perfect swap would have.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from vidswap.checks import check_shape
from vidswap.models.irse import Trunk


@dataclass(frozen=True, slots=True)
class ShapeConfig:
    """Shape of the network."""

    size: int = 64
    """Side of the picture that is read, pixels."""
    points: int = 68
    shape: int = 32
    """Features that belong to the person."""
    rest: int = 32
    """Features of everything else: pose, expression, place."""
    hidden: int = 256
    widths: tuple[int, int, int, int] = (32, 64, 128, 256)
    depths: tuple[int, int, int, int] = (2, 2, 2, 2)


class Coefficients(NamedTuple):
    """What a face is."""

    shape: Tensor
    """(B, shape)"""
    rest: Tensor
    """(B, rest)"""


class ShapeModel(nn.Module):
    """Picture → coefficients → landmarks; differentiable throughout."""

    def __init__(self, config: ShapeConfig | None = None) -> None:
        super().__init__()
        self.config = c = config or ShapeConfig()
        self.trunk = Trunk(c.widths, c.depths)
        self.norm = nn.BatchNorm2d(c.widths[-1])
        self.linear = nn.Linear(c.widths[-1] * (c.size // 16) ** 2, c.shape + c.rest)
        self.decoder = nn.Sequential(
            nn.Linear(c.shape + c.rest, c.hidden),
            nn.SiLU(),
            nn.Linear(c.hidden, c.hidden),
            nn.SiLU(),
            nn.Linear(c.hidden, 2 * c.points),
        )
        self.register_buffer("mean", torch.zeros(c.points, 2))
        self.mean: Tensor

    def coefficients(self, x: Tensor) -> Coefficients:
        """Coefficients of aligned faces.

        Args:
            x: (B, 3, S, S) in [-1, 1]; other sides than the configured one are resized.
        """
        check_shape("B 3 S S", x=x)
        side = self.config.size
        if x.shape[-1] != side:
            x = functional.interpolate(x, (side, side), mode="bilinear", align_corners=False)
        maps = self.trunk(x, self.trunk.scales[-1:])[0]
        both = self.linear(self.norm(maps).flatten(1))
        return Coefficients(both[:, : self.config.shape], both[:, self.config.shape :])

    def landmarks(self, coefficients: Coefficients) -> Tensor:
        """(B, points, 2) in shares of the picture's side, x before y, from its top left corner."""
        offsets: Tensor = self.decoder(torch.cat(tuple(coefficients), dim=1))
        return self.mean + offsets.view(len(offsets), -1, 2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, S, S) in [-1, 1] → (B, points, 2)."""
        return self.landmarks(self.coefficients(x))
