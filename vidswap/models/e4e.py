"""e4e and pSp: a face crop → W+ codes, with the generator they were trained for beside.

Both have the same weights by name and shape; only the forward pass differs, so the kind is part of
the configuration.

Source: Richardson et al., Encoding in Style, 2021 (pSp); Tov et al., Designing an Encoder for
StyleGAN Image Manipulation, 2021 (e4e).
"""

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from vidswap.checks import check_shape
from vidswap.models.irse import DEPTHS, WIDTHS, Trunk
from vidswap.models.layers import drawn
from vidswap.models.stylegan2 import StyleGAN2, StyleGAN2Config

COARSE, MIDDLE = 3, 7
"""Codes below ``COARSE`` are read from the 16 px map, those below ``MIDDLE`` from the 32 px map."""


@dataclass(frozen=True, slots=True)
class EncoderConfig:
    """Shape of an encoder."""

    size: int = 1024
    """Side of the pictures of the generator, pixels; it sets the number of codes."""
    encoder_type: Literal["Encoder4Editing", "GradualStyleEncoder"] = "Encoder4Editing"
    """e4e adds code 0 to every other one; pSp (``GradualStyleEncoder``) does not."""
    channel_multiplier: float = 2.0
    channel_max: int = 512
    style_dim: int = 512
    mapping_layers: int = 8
    input_size: int = 256
    """Side of the picture that is read, pixels."""
    widths: tuple[int, int, int, int] = WIDTHS
    """Channels of the trunk's stages."""
    depths: tuple[int, int, int, int] = DEPTHS
    """Blocks of the trunk's stages."""

    def __post_init__(self) -> None:
        """Check the sizes."""
        if min(self.widths) < 16 or min(self.depths) < 1:
            raise ValueError("widths must be 16 at least, depths 1")
        if self.num_ws <= MIDDLE:
            raise ValueError(f"size: {self.size} is too small for the three groups of codes")

    @property
    def generator(self) -> StyleGAN2Config:
        """Shape of the generator whose codes are predicted."""
        return StyleGAN2Config(
            self.size,
            style_dim=self.style_dim,
            mapping_layers=self.mapping_layers,
            channel_multiplier=self.channel_multiplier,
            channel_max=self.channel_max,
        )

    @property
    def num_ws(self) -> int:
        """Codes of one picture."""
        return self.generator.num_ws


class StyleHeads(nn.Module):
    """Several map-to-style heads on the same feature map, run as grouped convolutions.

    Each head halves the map with 3 × 3 convolutions down to one pixel, then a linear layer. The
    first convolution of all heads reads the same map: it is a single ordinary convolution.

    Args:
        heads: How many.
        side: Side of the map, a power of two.
        features: Channels of the map and of a style.
    """

    def __init__(self, heads: int, side: int, features: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Conv2d(
                features * (heads if k else 1),
                features * heads,
                3,
                stride=2,
                padding=1,
                groups=heads if k else 1,
            )
            for k in range(int(math.log2(side)))
        )
        self.weight = nn.Parameter(drawn(heads, features, features))
        self.bias = nn.Parameter(torch.zeros(heads, features))
        self.scale = 1.0 / math.sqrt(features)

    def forward(self, x: Tensor) -> Tensor:
        """(B, features, side, side) → (B, heads, features)."""
        for conv in self.convs:
            x = functional.leaky_relu(self._halved(conv, x), 0.01)
        heads = x.reshape(len(x), *self.bias.shape).transpose(0, 1) * self.scale
        styles = torch.baddbmm(self.bias[:, None], heads, self.weight.transpose(1, 2))
        return styles.transpose(0, 1)

    def _halved(self, conv: nn.Module, x: Tensor) -> Tensor:
        """The same through one matrix product per group, where that is faster.

        With this many outputs of so small maps, CPU kernels of strided convolutions reach from a
        tenth to two thirds of what matrix products do. Weights must lie channels last, or turning
        them would cost more than it saves.
        """
        assert isinstance(conv, nn.Conv2d)
        quick = x.device.type == "cpu" and x.dtype == torch.float32 and not torch.is_grad_enabled()
        if quick and conv.weight.is_contiguous(memory_format=torch.channels_last):
            return strided_product(x, conv.weight, conv.bias, conv.groups)
        halved: Tensor = conv(x)
        return halved


def strided_product(x: Tensor, weight: Tensor, bias: Tensor | None, groups: int) -> Tensor:
    """A 3 × 3 convolution of stride two, padded by one, as a matrix product for each group.

    Args:
        x: (B, groups · C, H, W), even sides.
        weight: (O, C, 3, 3), best channels last.
        bias: (O,)
        groups: Divides O.

    Returns:
        (B, O, H / 2, W / 2) channels last.
    """
    count, channels, height, width = x.shape
    padded = functional.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
    windows = padded.unfold(1, 3, 2).unfold(2, 3, 2)
    windows = windows.view(*windows.shape[:3], groups, channels // groups, 3, 3)
    # (groups, B · H/2 · W/2, 9 · C), in the order of channels-last weights
    rows = windows.permute(3, 0, 1, 2, 5, 6, 4).reshape(groups, -1, 9 * (channels // groups))
    matrix = weight.permute(0, 2, 3, 1).reshape(groups, len(weight) // groups, -1)
    if groups == 1:
        y = functional.linear(rows[0], matrix[0], bias)
    else:
        y = torch.bmm(rows, matrix.transpose(1, 2)).transpose(0, 1).reshape(-1, len(weight))
        y = y if bias is None else y + bias
    return y.view(count, height // 2, width // 2, -1).permute(0, 3, 1, 2)


class Encoder(nn.Module):
    """Face crop → W+ codes."""

    def __init__(self, config: EncoderConfig | None = None) -> None:
        super().__init__()
        self.config = config or EncoderConfig()
        features, side = self.config.style_dim, self.config.input_size // 16
        widths, depths = self.config.widths, self.config.depths
        self.trunk = Trunk(widths, depths)
        self._stages = tuple(sum(depths[: k + 1]) - 1 for k in (1, 2, 3))
        self.last = nn.Identity() if widths[3] == features else nn.Conv2d(widths[3], features, 1)
        self.lateral32 = nn.Conv2d(widths[2], features, 1)
        self.lateral64 = nn.Conv2d(widths[1], features, 1)
        self.coarse = StyleHeads(COARSE, side, features)
        self.middle = StyleHeads(MIDDLE - COARSE, 2 * side, features)
        self.fine = StyleHeads(self.config.num_ws - MIDDLE, 4 * side, features)
        self.register_buffer("latent_avg", torch.zeros(self.config.num_ws, features))
        self.latent_avg: Tensor

    def forward(self, x: Tensor, stage: int | None = None) -> Tensor:
        """Codes of face crops, mean code included.

        Args:
            x: (B, 3, 256, 256) FFHQ crops in [-1, 1].
            stage: e4e's progressive training: only codes 1 to ``stage`` get their own offset, the
                others equal code 0; ``None`` is the trained network.

        Returns:
            (B, num_ws, style_dim)
        """
        return self.offsets(x, stage) + self.latent_avg

    def offsets(self, x: Tensor, stage: int | None = None) -> Tensor:
        """Codes relative to the mean code, (B, num_ws, style_dim); arguments as in ``forward``."""
        check_shape(f"B 3 {self.config.input_size} {self.config.input_size}", x=x)
        c64, c32, c16 = self.trunk(x, self._stages)
        c16 = self.last(c16)
        p32 = _double(c16) + self.lateral32(c32)
        p64 = _double(p32) + self.lateral64(c64)
        codes = torch.cat([self.coarse(c16), self.middle(p32), self.fine(p64)], dim=1)
        if self.config.encoder_type == "GradualStyleEncoder":
            return codes
        last = codes.shape[1] - 1 if stage is None else stage
        rest = torch.zeros_like(codes[:, last + 1 :])
        return codes[:, :1] + torch.cat(
            [torch.zeros_like(codes[:, :1]), codes[:, 1 : last + 1], rest], 1
        )


def _double(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=True)


class Inversion(NamedTuple):
    """What an autoencoder gives back."""

    picture: Tensor
    """(B, 3, S, S)"""
    codes: Tensor
    """(B, num_ws, style_dim)"""


class Autoencoder(nn.Module):
    """Encoder and generator of one published checkpoint."""

    def __init__(self, config: EncoderConfig | None = None) -> None:
        super().__init__()
        self.encoder = Encoder(config)
        self.decoder = StyleGAN2(self.encoder.config.generator)

    def forward(self, x: Tensor, *, small: bool = False) -> Inversion:
        """Encode and decode with the stored noise.

        Args:
            x: (B, 3, 256, 256) FFHQ crops in [-1, 1].
            small: Average the picture to 256 px.
        """
        codes = self.encoder(x)
        picture = self.decoder.synthesis(codes)
        if small:
            picture = functional.adaptive_avg_pool2d(picture, (256, 256))
        return Inversion(picture, codes)
