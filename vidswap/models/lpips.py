"""Distances between pictures in feature space.

:class:`LPIPS` is the published metric and needs its linear heads and an ImageNet backbone.
:class:`FeatureDistance` takes its place where those are absent: same interface, features of a
network that is there, and a ``name`` that says so.

Source: Zhang et al., The Unreasonable Effectiveness of Deep Features as a Perceptual Metric, 2018
(version 0.1 of the heads).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from vidswap.checks import check_shape
from vidswap.models.irse import SCALES, Trunk


class PictureDistance(Protocol):
    """A differentiable distance between pictures."""

    @property
    def name(self) -> str:
        """What is measured, for reports."""
        ...

    @property
    def substitute(self) -> bool:
        """True where this stands in for the published metric; its numbers do not compare."""
        ...

    def __call__(self, a: Tensor, b: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1], twice → (B,), zero for equal pictures."""
        ...


@dataclass(frozen=True, slots=True)
class LPIPSConfig:
    """Which backbone: ``alex`` for reporting, ``vgg`` as a loss."""

    backbone: Literal["alex", "vgg"] = "alex"


class _Conv(NamedTuple):
    channels: int
    kernel: int = 3
    stride: int = 1
    pool: int = 0
    """Side of the max-pooling (stride 2) before the convolution; 0 for none."""
    tap: bool = True
    """Features after this convolution's ReLU are compared."""


def _vgg() -> Sequence[_Conv]:
    depths = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
    return [
        _Conv(width, pool=2 if stage and k == 0 else 0, tap=k == depth - 1)
        for stage, (width, depth) in enumerate(depths)
        for k in range(depth)
    ]


def _alex() -> Sequence[_Conv]:
    return [_Conv(64, 11, 4), _Conv(192, 5, pool=3), _Conv(384, pool=3), _Conv(256), _Conv(256)]


class LPIPS(nn.Module):
    """Learned perceptual image patch similarity, version 0.1."""

    name: str
    substitute = False

    def __init__(self, config: LPIPSConfig | None = None) -> None:
        super().__init__()
        self.config = config or LPIPSConfig()
        self.name = f"LPIPS ({self.config.backbone})"
        self.plan = _alex() if self.config.backbone == "alex" else _vgg()
        self.convs = nn.ModuleList()
        before = 3
        for conv in self.plan:
            # AlexNet's first kernel is padded by 2, every other one by half its side.
            padding = 2 if conv.stride > 1 else conv.kernel // 2
            self.convs.append(nn.Conv2d(before, conv.channels, conv.kernel, conv.stride, padding))
            before = conv.channels
        taps = [conv.channels for conv in self.plan if conv.tap]
        self.heads = nn.ParameterList(torch.ones(channels) for channels in taps)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1], twice, sides at least 64 → (B,)."""
        check_shape("B 3 H W, B 3 H W", a=a, b=b)
        total = a.new_zeros(len(a))
        for x, y, head in zip(self.features(a), self.features(b), self.heads, strict=True):
            difference = (_unit(x) - _unit(y)).square()
            total = total + torch.einsum("bchw,c->bhw", difference, head).mean((1, 2))
        return total

    def features(self, x: Tensor) -> list[Tensor]:
        """(B, 3, H, W) in [-1, 1] → five feature maps."""
        mean = x.new_tensor([-0.030, -0.088, -0.188])[:, None, None]
        std = x.new_tensor([0.458, 0.448, 0.450])[:, None, None]
        x, maps = (x - mean) / std, []
        for plan, conv in zip(self.plan, self.convs, strict=True):
            if plan.pool:
                x = functional.max_pool2d(x, plan.pool, 2)
            x = functional.relu(conv(x))
            if plan.tap:
                maps.append(x)
        return maps


class FeatureDistance(nn.Module):
    """Mean squared distance of unit features of a network of ours, in place of LPIPS.

    Args:
        extract: (B, 3, H, W) in [-1, 1] → feature maps (B, C, h, w).
        source: Which network that is, for the name.
    """

    substitute = True

    def __init__(self, extract: Callable[[Tensor], Sequence[Tensor]], source: str) -> None:
        super().__init__()
        self.extract = extract
        self.name = f"feature distance on {source}, in place of LPIPS whose weights are absent"

    @classmethod
    def of_trunk(cls, trunk: Trunk) -> "FeatureDistance":
        """On the four scales of an IR-SE trunk, at 256 px at most."""

        def extract(x: Tensor) -> Sequence[Tensor]:
            if x.shape[-1] > 256:
                x = functional.interpolate(x, size=(256, 256), mode="area")
            maps: tuple[Tensor, ...] = trunk(x)
            return maps

        published = trunk.scales == SCALES
        what = "IR-SE50" if published else f"an IR-SE trunk of {len(trunk.blocks)} blocks"
        return cls(extract, what)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1], twice → (B,)."""
        check_shape("B 3 H W, B 3 H W", a=a, b=b)
        total = a.new_zeros(len(a))
        for x, y in zip(self.extract(a), self.extract(b), strict=True):
            total = total + (_unit(x) - _unit(y)).square().sum(1).mean((1, 2))
        return total


def _unit(x: Tensor) -> Tensor:
    return x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10)
