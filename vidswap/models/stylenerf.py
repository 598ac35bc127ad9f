"""StyleNeRF generator: a radiance field rendered small, then up-sampled by style-modulated layers.

As far as LatentSwap needs it: inference and gradients of the published FFHQ configuration; training
of the generator itself (random sampling, progressive growth, path regularisation) is left out.

Source: Gu et al., StyleNeRF, 2022.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from vidswap.checks import check_shape
from vidswap.errors import ShapeError
from vidswap.models import nerf
from vidswap.models.layers import (
    SLOPE,
    SQRT2,
    EqualLinear,
    ModulatedConv,
    ToRGB,
    Upsample,
    fir_kernel,
    freeze,
)
from vidswap.models.stylegan2 import Mapping

FULLY_GROWN = -1.0
"""Value of ``alpha`` after training ended; it also sets the number of samples."""


@dataclass(frozen=True, slots=True)
class StyleNeRFConfig:
    """Shape of a StyleNeRF generator and of its space; the defaults are the FFHQ configuration."""

    size: int = 1024
    """Side of the picture in pixels: a power of two from 64 to 1024."""
    z_dim: int = 512
    style_dim: int = 512
    mapping_layers: int = 8
    volume: int = 32
    """Side of the picture that the field is rendered to."""
    hidden: int = 128
    features: int = 256
    background_hidden: int = 64
    background_code: int = 32
    samples: int = 14
    """Of each pass along a ray; two passes."""
    background_samples: int = 4
    fov: float = 12.0
    """Degrees."""
    yaw: tuple[float, float] = (-0.3, 0.3)
    pitch: tuple[float, float] = (1.4157963267948965, 1.7257963267948966)
    """Ranges of the cameras, radians; π/2 is level."""
    depth: tuple[float, float] = (0.88, 1.12)
    """Near and far end of the field."""
    background_start: float = 0.5
    """Largest inverse distance of the background."""
    channel_max: int = 1024
    clamp: float | None = 256.0

    def __post_init__(self) -> None:
        """Check the size."""
        if self.size not in {64, 128, 256, 512, 1024}:
            raise ValueError(f"size: {self.size} is not a power of two from 64 to 1024")

    @property
    def sides(self) -> tuple[int, ...]:
        """Sides of the up-sampling levels."""
        levels = (self.size // self.volume).bit_length() - 1
        return tuple(2 * self.volume << k for k in range(levels))

    @property
    def num_ws(self) -> int:
        """Codes of one picture: ten for the field, two for each level, one for the last colour."""
        return 10 + 2 * len(self.sides) + 1

    def channels(self, side: int) -> int:
        """Channels of the level of that side."""
        return min(self.channel_max, 32768 // side)


class PointwiseConv(nn.Module):
    """Modulated 1 × 1 convolution of normalised inputs, optionally doubling the resolution.

    Doubling adds to the nearest neighbour what a small network makes of it and of the mean of the
    two neighbours on the side of each new pixel, then applies the low-pass kernel.
    """

    def __init__(
        self, inputs: int, outputs: int, style_dim: int, *, up: bool, clamp: float | None
    ) -> None:
        super().__init__()
        self.conv = ModulatedConv(inputs, outputs, style_dim, kernel=1)
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.register_buffer("magnitude", torch.ones(()))
        self.magnitude: Tensor
        self.adapter: nn.Module | None = None
        if up:
            hidden = EqualLinear(2 * outputs, outputs // 4, activate=True)
            self.adapter = nn.Sequential(hidden, EqualLinear(outputs // 4, outputs))
        self.register_buffer("blur", fir_kernel(outputs, 1.0) if up else None, persistent=False)
        self.blur: Tensor
        self.clamp = clamp

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """(B, inputs, H, W), (B, style_dim) → (B, outputs, H', W'), H' = H or 2 H."""
        y = self.conv(x * self.magnitude.rsqrt(), w, x.new_zeros(1))
        if self.adapter is not None:
            y = self._double(y)
        y = functional.leaky_relu_((y + self.bias[:, None, None]) * SQRT2, SLOPE)
        return y if self.clamp is None else y.clamp(-self.clamp, self.clamp)

    def _double(self, x: Tensor) -> Tensor:
        assert self.adapter is not None
        p = functional.pad(x, (1, 1, 1, 1))
        left, right = p[..., 1:-1, :-2], p[..., 1:-1, 2:]
        upper, lower = p[..., :-2, 1:-1], p[..., 2:, 1:-1]
        corners = [left + upper, upper + right, left + lower, right + lower]
        near = functional.pixel_shuffle(torch.stack(corners, dim=2).flatten(1, 2) / 2, 2)
        own = functional.interpolate(x, scale_factor=2, mode="nearest")
        both = torch.cat([own, near], dim=1).permute(0, 2, 3, 1)
        y = own + self.adapter(both).permute(0, 3, 1, 2)
        # An even kernel has no centre: two pixels before, one after.
        return functional.conv2d(
            functional.pad(y, (2, 1, 2, 1)), self.blur.to(y.dtype), groups=y.shape[1]
        )


class Level(nn.Module):
    """One doubling of features and picture."""

    def __init__(self, inputs: int, outputs: int, style_dim: int, clamp: float | None) -> None:
        super().__init__()
        self.up = PointwiseConv(inputs, outputs, style_dim, up=True, clamp=clamp)
        self.conv = PointwiseConv(outputs, outputs, style_dim, up=False, clamp=clamp)
        self.to_rgb = ToRGB(outputs, style_dim, clamp=clamp)
        self.upsample = Upsample()

    def forward(self, x: Tensor, rgb: Tensor, ws: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, H, W), (B, 3, H, W), (B, 3, style_dim) → the same at 2 H × 2 W."""
        x = self.conv(self.up(x, ws[:, 0]), ws[:, 1])
        return x, self.upsample(rgb) + self.to_rgb(x, ws[:, 2])


class NeRFSynthesis(nn.Module):
    """w codes, a camera and a background code → picture."""

    def __init__(self, config: StyleNeRFConfig) -> None:
        super().__init__()
        self.config = config
        self.foreground = nerf.Foreground(config.hidden, config.features, config.style_dim)
        self.background = nerf.Background(
            config.background_hidden, config.features, config.background_code
        )
        widths = [config.features, *(config.channels(side) for side in config.sides)]
        self.levels = nn.ModuleList(
            Level(a, b, config.style_dim, config.clamp) for a, b in pairwise(widths)
        )
        self.register_buffer("alpha", torch.tensor(FULLY_GROWN))
        self.alpha: Tensor

    def camera(self, u: float = 0.5, v: float = 0.5, batch: int = 1) -> nerf.Camera:
        """Cameras within the trained range.

        Args:
            u: 0 to 1 from one side to the other; .5 is the front.
            v: 0 to 1 from above to below; .5 is level.
            batch: How many.
        """
        (left, right), (high, low) = self.config.yaw, self.config.pitch
        like = self.foreground.to_rgb.weight
        azimuth = like.new_full((batch,), left + u * (right - left))
        return nerf.orbit(
            azimuth, like.new_full((batch,), high + v * (low - high)), self.config.fov
        )

    def forward(
        self, ws: Tensor, camera: nerf.Camera | None = None, background: Tensor | None = None
    ) -> Tensor:
        """Render pictures.

        Args:
            ws: (B, style_dim), one code for all layers, or (B, num_ws, style_dim).
            camera: From where, one or one for each sample; the front otherwise. Share it between
                source, target and result.
            background: (B or 1, background_code) standard normals; zeros otherwise.

        Returns:
            (B, 3, size, size), nominally in [-1, 1], not clamped.

        Raises:
            ShapeError: Codes of the wrong shape, or weights from the middle of progressive growth.
        """
        if ws.ndim == 2:
            ws = ws[:, None].expand(-1, self.config.num_ws, -1)
        check_shape(f"B {self.config.num_ws} {self.config.style_dim}", ws=ws)
        camera = nerf.Camera(*(m.expand(len(ws), 4, 4) for m in camera or self.camera()))
        code = self.config.background_code
        background = ws.new_zeros(1, code) if background is None else background
        background = background.expand(len(ws), code)
        own = self.foreground.num_ws
        small = self.render(ws[:, :own], camera, background)
        rgb, x = small[:, :3], small[:, 3:]
        for k, level in enumerate(self.levels):
            start = own + 2 * k
            x, rgb = level(x, rgb, ws[:, start : start + 3])
        return rgb

    def render(self, ws: Tensor, camera: nerf.Camera, background: Tensor) -> Tensor:
        """Colour and features of the field, (B, 3 + features, volume, volume); ws for the field."""
        rays = nerf.cast(camera, self.config.volume)
        features, passing = self._near(rays, ws)
        features = features + passing[..., None] * self._far(rays, background)
        side = self.config.volume
        return features.transpose(1, 2).reshape(len(ws), -1, side, side)

    def _near(self, rays: nerf.Rays, ws: Tensor) -> tuple[Tensor, Tensor]:
        count = self._samples()
        places = torch.linspace(0.0, 1.0, count, dtype=ws.dtype, device=ws.device)
        places = places.expand(*rays.direction.shape[:2], count)
        features, density = self._query(rays, places, ws)
        weights, _ = self._integrate(rays, places, density)
        fine = nerf.resample(places, weights)
        features_fine, density_fine = self._query(rays, fine, ws)
        places, order = torch.cat([fine, places], dim=2).sort(dim=2)
        density = torch.cat([density_fine, density], dim=2).gather(2, order)
        features = torch.cat([features_fine, features], dim=2)
        weights, passing = self._integrate(rays, places, density)
        # Weights go to where the features are; moving the features would cost hundreds of times more.
        scattered = torch.zeros_like(weights).scatter(2, order, weights)
        return torch.einsum("bns,bnsc->bnc", scattered, features), passing

    def _samples(self) -> int:
        alpha = float(self.alpha)
        if alpha not in (FULLY_GROWN, 1.0):
            raise ShapeError(f"alpha is {alpha}: the generator is not fully grown")
        # The published renderer takes this many at the end of training, whatever is configured.
        return 20 if alpha == FULLY_GROWN else self.config.samples

    def _depth(self, places: Tensor) -> Tensor:
        near, far = self.config.depth
        return far * places + near * (1.0 - places)

    def _query(self, rays: nerf.Rays, places: Tensor, ws: Tensor) -> tuple[Tensor, Tensor]:
        steps = self._depth(places)[..., None] * rays.direction[:, :, None]
        points = rays.origin[:, :, None] + steps
        samples = self.foreground(points.flatten(1, 2), ws)
        return samples.features.reshape(*places.shape, -1), samples.density.reshape(places.shape)

    def _integrate(self, rays: nerf.Rays, places: Tensor, density: Tensor) -> tuple[Tensor, Tensor]:
        length = self._depth(places).diff(dim=2) * rays.direction.norm(dim=-1, keepdim=True)
        return nerf.integration_weights(density, functional.pad(length, (0, 1)))

    def _far(self, rays: nerf.Rays, code: Tensor) -> Tensor:
        start, count = self.config.background_start, self.config.background_samples
        inverse = torch.linspace(start, 0.0, count, dtype=code.dtype, device=code.device)
        points = nerf.outside_points(rays, inverse)
        samples = self.background(points.flatten(1, 2), code)
        density = samples.density.reshape(points.shape[:3])
        weights, _ = nerf.integration_weights(
            density[..., :-1], density.new_full((), start / (count - 1))
        )
        # Whatever passes everything else ends at the last sample, infinitely far away.
        rest = 1.0 - weights.sum(-1, keepdim=True)
        weights = torch.cat([weights, rest], dim=-1)
        features = samples.features.reshape(*points.shape[:3], -1)
        return torch.einsum("bns,bnsc->bnc", weights, features)


class StyleNeRF(nn.Module):
    """The generator: ``mapping`` and ``synthesis``; implements :class:`models.generator.Generator`."""

    def __init__(self, config: StyleNeRFConfig | None = None) -> None:
        super().__init__()
        self.config = config or StyleNeRFConfig()
        c = self.config
        self.mapping = Mapping(c.z_dim, c.style_dim, c.mapping_layers, c.num_ws)
        self.synthesis = NeRFSynthesis(c)
        self.size = c.size
        self.z_dim = c.z_dim
        self.style_dim = c.style_dim
        self.num_ws = c.num_ws

    def forward(self, z: Tensor, truncation: float = 1.0, cutoff: int | None = None) -> Tensor:
        """(B, z_dim) → (B, 3, size, size) from the front."""
        picture: Tensor = self.synthesis(self.mapping(z, truncation, cutoff))
        return picture

    def freeze(self) -> "StyleNeRF":
        """Evaluation mode without gradients, constants prepared; returns itself."""
        freeze(self)
        return self
