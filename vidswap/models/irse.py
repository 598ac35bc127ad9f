"""IR-SE50: the trunk that ArcFace, e4e and pSp share, and the ArcFace embedder on top of it.

Source: Deng et al., ArcFace, 2019; Hu et al., Squeeze-and-Excitation Networks, 2018; the
improved-residual variant of TreB1eN/InsightFace_Pytorch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from vidswap.checks import check_shape
from vidswap.models.winograd import Finish, Winograd, usable

DEPTHS = (3, 4, 14, 3)
WIDTHS = (64, 128, 256, 512)
SCALES = (2, 6, 20, 23)
"""Last block of each stage, at strides 2, 4, 8 and 16."""


class Crop(NamedTuple):
    """Face window of a 256 px FFHQ crop, half-open rows and columns."""

    top: int = 35
    bottom: int = 223
    left: int = 32
    right: int = 220


@dataclass(frozen=True, slots=True)
class ArcFaceConfig:
    """Shape of the embedder."""

    size: int = 112
    """Side of the picture that is read, pixels."""
    features: int = 512
    """Features of an embedding."""
    widths: tuple[int, int, int, int] = WIDTHS
    """Channels of the four stages; smaller ones make a small network of the same class."""
    depths: tuple[int, int, int, int] = DEPTHS
    """Blocks of the four stages."""

    def __post_init__(self) -> None:
        """Check the stages."""
        if min(self.widths) < 16 or min(self.depths) < 1:
            raise ValueError("widths must be 16 at least, depths 1")


class SqueezeExcite(nn.Module):
    """Channel attention from global averages."""

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        hidden = max(channels // reduction, 4)
        self.reduce = nn.Conv2d(channels, hidden, 1, bias=False)
        self.expand = nn.Conv2d(hidden, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → (B, C, H, W)."""
        weight = self.expand(functional.relu(self.reduce(x.mean((2, 3), keepdim=True))))
        return x * torch.sigmoid(weight)


class Bottleneck(nn.Module):
    """Improved residual block: norm, conv, PReLU, strided conv, norm, squeeze-and-excite."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False)
        self.act = nn.PReLU(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, stride, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.attention = SqueezeExcite(outputs)
        self.stride = stride
        self.winograd: tuple[Winograd | None, Winograd | None] | None = None
        self.shortcut: nn.Module | None = None
        if inputs != outputs:
            conv = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.shortcut = nn.Sequential(conv, nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) → (B, outputs, H / stride, W / stride)."""
        short = (
            x[:, :, :: self.stride, :: self.stride] if self.shortcut is None else self.shortcut(x)
        )
        total: Tensor = self.attention(self._second(self._first(x))) + short
        return total

    def _first(self, x: Tensor) -> Tensor:
        conv = self.winograd[0] if self._quick(x, self.conv1) and self.winograd else None
        if conv is None:
            return self.act(self.conv1(self.norm1(x)))
        scale, shift = _affine(self.norm1)
        one = torch.ones_like(self.act.weight)
        finish = Finish(one[None], torch.zeros_like(one), self.act.weight)
        return conv(x, scale[None], shift, finish)

    def _second(self, y: Tensor) -> Tensor:
        conv = self.winograd[1] if self._quick(y, self.conv2) and self.winograd else None
        if conv is None:
            return self.norm2(self.conv2(y))
        scale, shift = _affine(self.norm2)
        one = torch.ones_like(scale)
        return conv(y, one[None], torch.zeros_like(one), Finish(scale[None], shift, one))

    def _quick(self, x: Tensor, conv: nn.Conv2d) -> bool:
        if self.winograd is None or self.training or not usable(x, *conv.weight.shape[1::-1]):
            return False
        if conv.weight.requires_grad:
            self.winograd = None
            return False
        return True

    def accelerate(self) -> None:
        """Prepare the quicker form for frozen weights on the CPU, see :mod:`vidswap.models.winograd`."""
        if not self.training and not self.conv1.weight.requires_grad:
            second = None if self.stride > 1 else Winograd.of(self.conv2.weight)
            self.winograd = Winograd.of(self.conv1.weight), second

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], *args: Any) -> None:
        self.winograd = None
        super()._load_from_state_dict(state_dict, *args)


def _affine(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """(C,) scale and shift that a batch norm amounts to in evaluation."""
    assert norm.running_var is not None
    assert norm.running_mean is not None
    scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    return scale, norm.bias - norm.running_mean * scale


class Trunk(nn.Module):
    """Blocks in four stages, 24 in the published network; each stage starts with stride two.

    Args:
        widths: Channels of the stages, 16 at least.
        depths: Blocks of the stages.
    """

    def __init__(self, widths: Sequence[int] = WIDTHS, depths: Sequence[int] = DEPTHS) -> None:
        super().__init__()
        before = widths[0]
        conv = nn.Conv2d(3, before, 3, 1, 1, bias=False)
        self.stem = nn.Sequential(conv, nn.BatchNorm2d(before), nn.PReLU(before))
        self.scales = tuple(sum(depths[: k + 1]) - 1 for k in range(len(depths)))
        """Index of the last block of each stage."""
        self.blocks = nn.ModuleList()
        for depth, width in zip(depths, widths, strict=True):
            for index in range(depth):
                self.blocks.append(Bottleneck(before, width, 2 if index == 0 else 1))
                before = width

    def forward(self, x: Tensor, at: Sequence[int] | None = None) -> tuple[Tensor, ...]:
        """Feature maps after chosen blocks.

        Args:
            x: (B, 3, H, W) in [-1, 1].
            at: Indices of blocks, ascending; the last ones of the four stages by default.

        Returns:
            One (B, C, h, w) map for each of them.
        """
        at = self.scales if at is None else at
        x = self.stem(x)
        maps = []
        for index, block in enumerate(self.blocks[: at[-1] + 1]):
            x = block(x)
            if index in at:
                maps.append(x)
        return tuple(maps)


class ArcFace(nn.Module):
    """Aligned face → unit identity vector."""

    def __init__(self, config: ArcFaceConfig | None = None) -> None:
        super().__init__()
        self.config = config or ArcFaceConfig()
        side, features = self.config.size // 16, self.config.features
        self.trunk = Trunk(self.config.widths, self.config.depths)
        last = self.config.widths[-1]
        self.norm = nn.BatchNorm2d(last)
        self.linear = nn.Linear(last * side**2, features)
        self.embedding_norm = nn.BatchNorm1d(features)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, 112, 112) in [-1, 1] → (B, 512), unit length."""
        return functional.normalize(self.raw(x))

    def raw(self, x: Tensor) -> Tensor:
        """(B, 3, 112, 112) in [-1, 1] → (B, 512) before normalisation."""
        return self._head(self.trunk(x, self.trunk.scales[-1:])[0])

    def scales(self, x: Tensor) -> tuple[Tensor, ...]:
        """Four flattened feature maps, then the unit embedding: the multi-scale identity loss."""
        check_shape(f"B 3 {self.config.size} {self.config.size}", x=x)
        maps = self.trunk(x)
        return (*(m.flatten(1) for m in maps), functional.normalize(self._head(maps[-1])))

    def _head(self, x: Tensor) -> Tensor:
        # The published model flattens channel-first whatever the memory layout.
        embedding: Tensor = self.embedding_norm(self.linear(self.norm(x).flatten(1)))
        return embedding

    def crop(self, x: Tensor, window: Crop | None = None) -> Tensor:
        """Inner face of FFHQ crops, pooled to the size that is read.

        Args:
            x: (B, 3, S, S) FFHQ crops in [-1, 1]; other sides than 256 are area-resized first.
            window: Rows and columns at 256 px.

        Returns:
            (B, 3, 112, 112)
        """
        check_shape("B 3 S S", x=x)
        w = window or Crop()
        if x.shape[-1] != 256:
            x = functional.interpolate(x, size=(256, 256), mode="area")
        face = x[:, :, w.top : w.bottom, w.left : w.right]
        return functional.adaptive_avg_pool2d(face, (self.config.size, self.config.size))
