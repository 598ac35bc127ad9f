"""StyleGAN2 generator: any power-of-two size from 16 to 1024 px.

Source: Karras et al., Analyzing and Improving the Image Quality of StyleGAN, 2020 (architecture
"skip", config F), with the truncation cutoff and the optional clamp of Karras et al., Training
Generative Adversarial Networks with Limited Data, 2020.
"""

from collections.abc import Mapping as Table
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, cast

import torch
from torch import Tensor, nn

from vidswap.checks import check_shape
from vidswap.errors import ShapeError
from vidswap.models.layers import EqualLinear, StyledConv, ToRGB, Upsample, drawn, freeze

NoiseMode = Literal["fixed", "random", "none"]


@dataclass(frozen=True, slots=True)
class StyleGAN2Config:
    """Shape of a StyleGAN2 generator."""

    size: int = 1024
    """Side of the picture in pixels: a power of two from 16 to 1024."""
    z_dim: int = 512
    style_dim: int = 512
    mapping_layers: int = 8
    channel_multiplier: float = 2.0
    """Width: a level of side r has ``16384 · multiplier / r`` channels, at most ``channel_max``."""
    channel_max: int = 512
    clamp: float | None = None
    """Largest activation magnitude, as NVIDIA's ``conv_clamp``; ``None`` for converted weights."""

    def __post_init__(self) -> None:
        """Check the size."""
        if self.size not in {16, 32, 64, 128, 256, 512, 1024}:
            raise ValueError(f"size: {self.size} is not a power of two from 16 to 1024")
        if self.channel_max < 1 or self.channels(self.size) < 1:
            raise ValueError("channel_multiplier and channel_max leave a level without channels")

    @property
    def levels(self) -> int:
        """Resolutions from 4 px up."""
        return self.size.bit_length() - 2

    @property
    def num_ws(self) -> int:
        """Codes of one picture."""
        return 2 * self.levels

    def channels(self, side: int) -> int:
        """Channels of the level of that side."""
        return min(self.channel_max, int(16384 * self.channel_multiplier) // side)


class Mapping(nn.Module):
    """z → w: normalisation and fully connected layers, then broadcast and truncation."""

    def __init__(self, z_dim: int, style_dim: int, layers: int, num_ws: int) -> None:
        super().__init__()
        widths = [z_dim] + [style_dim] * layers
        self.layers = nn.ModuleList(
            EqualLinear(a, b, lr=0.01, activate=True) for a, b in pairwise(widths)
        )
        self.register_buffer("w_avg", torch.zeros(style_dim))
        self.w_avg: Tensor
        self.num_ws = num_ws

    def forward(self, z: Tensor, truncation: float = 1.0, cutoff: int | None = None) -> Tensor:
        """Map and truncate.

        Args:
            z: (B, z_dim) standard normals.
            truncation: ψ: codes become ``w_avg + ψ (w − w_avg)``.
            cutoff: Truncate only the first so many codes; ``None`` truncates all.

        Returns:
            (B, num_ws, style_dim)
        """
        ws = self.single(z)[:, None].expand(-1, self.num_ws, -1)
        if truncation == 1.0:
            return ws
        short = self.w_avg.lerp(ws, truncation)
        return short if cutoff is None else torch.cat([short[:, :cutoff], ws[:, cutoff:]], dim=1)

    def single(self, z: Tensor) -> Tensor:
        """(B, z_dim) → one untruncated code per sample, (B, style_dim)."""
        x = z * torch.rsqrt(z.square().mean(1, keepdim=True) + 1e-8)
        for layer in self.layers:
            x = layer(x)
        return x

    @torch.no_grad()
    def mean(self, samples: int = 10_000, seed: int = 0) -> Tensor:
        """Mean code of seeded samples, (style_dim,): stands in for a missing ``w_avg``."""
        weight = self.w_avg
        first = self.layers[0]
        inputs = first.weight.shape[1] if isinstance(first, EqualLinear) else len(weight)
        rng = torch.Generator().manual_seed(seed)
        z = torch.randn(samples, inputs, generator=rng).to(weight)
        parts = torch.split(z, 1000)
        return torch.stack([self.single(part).sum(0) for part in parts]).sum(0) / samples


class Synthesis(nn.Module):
    """w codes → picture."""

    def __init__(self, config: StyleGAN2Config) -> None:
        super().__init__()
        self.num_ws = config.num_ws
        self.style_dim = config.style_dim
        self.const = nn.Parameter(drawn(config.channels(4), 4, 4))
        self.layers = nn.ModuleList()
        self.to_rgb = nn.ModuleList()
        before = config.channels(4)
        for level in range(config.levels):
            side = 4 << level
            width = config.channels(side)
            if level:
                self.layers.append(
                    StyledConv(before, width, config.style_dim, side, up=True, clamp=config.clamp)
                )
            self.layers.append(StyledConv(width, width, config.style_dim, side, clamp=config.clamp))
            self.to_rgb.append(ToRGB(width, config.style_dim, clamp=config.clamp))
            before = width
        self.upsample = Upsample()

    def forward(
        self,
        ws: Tensor,
        noise: NoiseMode | Sequence[Tensor] = "fixed",
        features: Table[int, Tensor] | None = None,
        rng: torch.Generator | None = None,
    ) -> Tensor:
        """Synthesise pictures.

        Args:
            ws: (B, style_dim), one code for all layers, or (B, num_ws, style_dim).
            noise: ``fixed`` uses the stored maps, ``random`` draws new ones for each sample,
                ``none`` adds none; or one map (B or 1, 1, h, w) per layer, ``num_ws − 1`` of them.
            features: Layer index → (B, C, h, w) that takes the place of that layer's output; layer 0
                is the 4 px one, layers 2 k − 1 and 2 k have side 4 · 2^k.
            rng: Where random noise is drawn from; the default generator otherwise.

        Returns:
            (B, 3, size, size), nominally in [-1, 1], not clamped.

        Raises:
            ShapeError: Codes or noise maps of the wrong shape.
        """
        if ws.ndim == 2:
            ws = ws[:, None].expand(-1, self.num_ws, -1)
        check_shape(f"B {self.num_ws} {self.style_dim}", ws=ws)
        if not isinstance(noise, str) and len(noise) != len(self.layers):
            raise ShapeError(f"noise: expected {len(self.layers)} maps, got {len(noise)}")
        x = self.const.to(ws.dtype).expand(len(ws), -1, -1, -1)
        x = x.contiguous(memory_format=torch.channels_last)
        rgb: Tensor | float = 0.0
        for j, layer in enumerate(cast("list[StyledConv]", self.layers)):
            given = None if features is None else features.get(j)
            x = given if given is not None else layer(x, ws[:, j], _noise(layer, j, ws, noise, rng))
            if j % 2 == 0:
                below = 0.0 if j == 0 else self.upsample(rgb)
                rgb = below + self.to_rgb[j // 2](x, ws[:, j + 1])
        return cast("Tensor", rgb)


def _noise(
    layer: StyledConv,
    index: int,
    ws: Tensor,
    noise: NoiseMode | Sequence[Tensor],
    rng: torch.Generator | None,
) -> Tensor | None:
    if noise == "none":
        return None
    if noise == "fixed":
        return layer.noise.to(ws.dtype)
    if noise == "random":
        shape = (len(ws), 1, layer.size, layer.size)
        return torch.randn(shape, generator=rng, device=ws.device, dtype=ws.dtype)
    if isinstance(noise, str):
        raise ShapeError(f"noise: {noise!r} is not fixed, random or none")
    return noise[index]


class StyleGAN2(nn.Module):
    """The generator: ``mapping`` and ``synthesis``; implements :class:`models.generator.Generator`."""

    def __init__(self, config: StyleGAN2Config | None = None) -> None:
        super().__init__()
        self.config = config or StyleGAN2Config()
        c = self.config
        self.mapping = Mapping(c.z_dim, c.style_dim, c.mapping_layers, c.num_ws)
        self.synthesis = Synthesis(self.config)
        self.size = self.config.size
        self.z_dim = self.config.z_dim
        self.style_dim = self.config.style_dim
        self.num_ws = self.config.num_ws

    def forward(
        self,
        z: Tensor,
        truncation: float = 1.0,
        cutoff: int | None = None,
        noise: NoiseMode = "fixed",
    ) -> Tensor:
        """(B, z_dim) → (B, 3, size, size)."""
        picture: Tensor = self.synthesis(self.mapping(z, truncation, cutoff), noise=noise)
        return picture

    def freeze(self) -> "StyleGAN2":
        """Evaluation mode without gradients, constants prepared; returns itself."""
        freeze(self)
        return self
