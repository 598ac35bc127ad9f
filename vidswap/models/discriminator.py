"""StyleGAN2 discriminator, residual architecture.

Source: Karras et al., Analyzing and Improving the Image Quality of StyleGAN, 2020 (config F).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from vidswap.checks import check_shape
from vidswap.errors import ShapeError
from vidswap.models.layers import SLOPE, SQRT2, EqualLinear, drawn, fir_kernel
from vidswap.models.stylegan2 import StyleGAN2Config


@dataclass(frozen=True, slots=True)
class DiscriminatorConfig:
    """Shape of a StyleGAN2 discriminator."""

    size: int = 1024
    """Side of the picture in pixels: a power of two from 16 to 1024."""
    channel_multiplier: float = 2.0
    channel_max: int = 512
    group: int = 4
    """Largest group over which the minibatch deviation is taken."""

    def __post_init__(self) -> None:
        """Check what the generator's configuration checks too."""
        StyleGAN2Config(
            self.size, channel_multiplier=self.channel_multiplier, channel_max=self.channel_max
        )

    def channels(self, side: int) -> int:
        """Channels of the level of that side, as in the generator."""
        return min(self.channel_max, int(16384 * self.channel_multiplier) // side)


class EqualConv(nn.Module):
    """Convolution with equalised learning rate, optionally blurred and strided, biased, activated.

    Args:
        inputs: Channels in.
        outputs: Channels out.
        kernel: Side of the kernel.
        down: Halve the resolution: low-pass kernel, then stride two.
        activate: Bias, leaky ReLU and √2; else neither bias nor activation.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int, *, down: bool = False, activate: bool = True
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(drawn(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs)) if activate else None
        self.scale = 1.0 / math.sqrt(inputs * kernel**2)
        self.kernel = kernel
        self.register_buffer("blur", fir_kernel(inputs, 1.0) if down else None, persistent=False)
        self.blur: Tensor | None

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) → (B, outputs, H', W')."""
        stride, padding = 1, self.kernel // 2
        if self.blur is not None:
            # A 1 × 1 kernel sees one blurred pixel in four: only those are computed.
            before, stride, padding = (1, 2, 0) if self.kernel > 1 else (2, 1, 0)
            pad = 2 if self.kernel > 1 else 1
            x = functional.conv2d(
                x, self.blur.to(x.dtype), stride=before, padding=pad, groups=x.shape[1]
            )
        if self.bias is None:
            return functional.conv2d(x, self.weight * self.scale, stride=stride, padding=padding)
        weight, bias = self.weight * (self.scale * SQRT2), self.bias * SQRT2
        return functional.leaky_relu_(
            functional.conv2d(x, weight, bias, stride=stride, padding=padding), SLOPE
        )


class ResidualBlock(nn.Module):
    """Two convolutions and a linear shortcut, halving the resolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = EqualConv(inputs, inputs, 3)
        self.conv2 = EqualConv(inputs, outputs, 3, down=True)
        self.shortcut = EqualConv(inputs, outputs, 1, down=True, activate=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) → (B, outputs, H / 2, W / 2)."""
        y: Tensor = (self.conv2(self.conv1(x)) + self.shortcut(x)) / SQRT2
        return y


class Discriminator(nn.Module):
    """Picture → logit that it is real."""

    def __init__(self, config: DiscriminatorConfig | None = None) -> None:
        super().__init__()
        self.config = config or DiscriminatorConfig()
        size, widths = self.config.size, self.config.channels
        self.from_rgb = EqualConv(3, widths(size), 1)
        sides = [size >> i for i in range(size.bit_length() - 3)]
        self.blocks = nn.ModuleList(ResidualBlock(widths(s), widths(s // 2)) for s in sides)
        self.conv = EqualConv(widths(4) + 1, widths(4), 3)
        self.hidden = EqualLinear(widths(4) * 16, widths(4), activate=True)
        self.output = EqualLinear(widths(4), 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, size, size) in [-1, 1] → (B, 1) logits.

        Raises:
            ShapeError: A picture of another size, or a batch that the group does not divide.
        """
        check_shape(f"B 3 {self.config.size} {self.config.size}", x=x)
        x = self.from_rgb(x)
        for block in self.blocks:
            x = block(x)
        x = self.conv(torch.cat([x, self._deviation(x)], dim=1))
        logits: Tensor = self.output(self.hidden(x.flatten(1)))
        return logits

    def _deviation(self, x: Tensor) -> Tensor:
        """Mean over features and pixels of the standard deviation within a group, (B, 1, H, W)."""
        batch, _, height, width = x.shape
        group = min(batch, self.config.group)
        if batch % group:
            raise ShapeError(f"batch of {batch} is not a multiple of the group of {group}")
        spread = (x.reshape(group, -1, *x.shape[1:]).var(0, unbiased=False) + 1e-8).sqrt()
        mean = spread.mean((1, 2, 3)).view(-1, 1, 1, 1)
        return mean.repeat(group, 1, height, width)
