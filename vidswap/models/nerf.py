"""A neural radiance field in front of a camera: points, densities, and their integral along rays.

World axes: the object sits at the origin, the z axis points up, the camera looks at the origin from
the unit sphere. Cameras look along their own −z; picture coordinates are in [-1, 1], y up.

Source: Gu et al., StyleNeRF, 2022; hierarchical sampling: Mildenhall et al., NeRF, 2020; background
on an inverted sphere: Zhang et al., NeRF++, 2020.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from vidswap.models.layers import SLOPE, SQRT2, EqualLinear, drawn


class Camera(NamedTuple):
    """Where pictures are taken from, one for each sample."""

    intrinsics: Tensor
    """(B, 4, 4) picture coordinates → directions in the camera's axes."""
    pose: Tensor
    """(B, 4, 4) camera → world."""


class Rays(NamedTuple):
    """Lines of sight of a picture, rows from the top."""

    origin: Tensor
    """(B, 1, 3)"""
    direction: Tensor
    """(B, N, 3), one unit deep along the camera's axis, hence longer than 1 off the centre."""


def orbit(azimuth: Tensor, polar: Tensor, fov: float) -> Camera:
    """Cameras on the unit sphere that look at the origin.

    Args:
        azimuth: (B,) radians around the vertical axis, 0 is the front.
        polar: (B,) radians from the vertical axis, π/2 is level.
        fov: Full field of view, degrees.
    """
    up = torch.stack([torch.zeros_like(polar), torch.zeros_like(polar), torch.ones_like(polar)], -1)
    around = torch.stack([azimuth.cos(), azimuth.sin(), torch.zeros_like(azimuth)], -1)
    eye = around * polar.sin()[:, None] + up * polar.cos()[:, None]
    back = functional.normalize(eye, dim=-1)
    right = functional.normalize(torch.cross(up, back, dim=-1), dim=-1)
    above = functional.normalize(torch.cross(back, right, dim=-1), dim=-1)
    pose = torch.eye(4, dtype=eye.dtype, device=eye.device).repeat(len(eye), 1, 1)
    pose[:, :3] = torch.stack([right, above, back, eye], dim=-1)
    reach = math.tan(math.radians(fov) / 2)
    scale = torch.diag(eye.new_tensor([reach, reach, 1.0, 1.0]))
    return Camera(scale.expand(len(eye), 4, 4), pose)


def pixel_grid(side: int, like: Tensor) -> Tensor:
    """Centres of the pixels of a square picture, (side², 2), rows from the top."""
    reach = 1.0 - 1.0 / side
    steps = torch.linspace(-reach, reach, side, dtype=like.dtype, device=like.device)
    y, x = torch.meshgrid(-steps, steps, indexing="ij")
    return torch.stack([x, y], dim=-1).reshape(-1, 2)


def cast(camera: Camera, side: int) -> Rays:
    """Lines of sight through the centres of the pixels of a square picture."""
    pixels = pixel_grid(side, camera.pose)
    ahead = torch.cat([pixels, -torch.ones_like(pixels[:, :1])], dim=-1)
    turn = camera.pose[:, :3, :3] @ camera.intrinsics[:, :3, :3]
    return Rays(camera.pose[:, None, :3, 3], ahead @ turn.transpose(1, 2))


def encode_positions(points: Tensor, octaves: int = 10) -> Tensor:
    """(..., D) → (..., 2 D octaves): sine and cosine of points · π · 2^k, octave by octave."""
    waves = (points * (math.pi * 2**k) for k in range(octaves))
    return torch.cat([part for wave in waves for part in (wave.sin(), wave.cos())], dim=-1)


class ModulatedLinear(nn.Module):
    """Linear layer whose inputs a style scales; optionally demodulated and activated.

    Many points share one style, so the weight is modulated for each sample.
    """

    def __init__(self, inputs: int, outputs: int, style_dim: int, *, activate: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(drawn(outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.affine = EqualLinear(style_dim, inputs, bias=1.0)
        self.scale = 1.0 / math.sqrt(inputs)
        self.activate = activate

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """(B, P, inputs), (B, style_dim) → (B, P, outputs)."""
        weight = self.weight * (self.affine(w) * self.scale)[:, None]
        if not self.activate:
            return torch.baddbmm(self.bias, x, weight.transpose(1, 2))
        weight = weight * (torch.rsqrt(weight.square().sum(2, keepdim=True) + 1e-8) * SQRT2)
        y = torch.baddbmm(self.bias * SQRT2, x, weight.transpose(1, 2))
        return functional.leaky_relu_(y, SLOPE)


class Samples(NamedTuple):
    """What a field holds at points."""

    features: Tensor
    """(B, P, 3 + features): colour, then features."""
    density: Tensor
    """(B, P, 1) before the ReLU."""


class Foreground(nn.Module):
    """Points of the world and style codes → features and density."""

    def __init__(self, hidden: int, features: int, style_dim: int, layers: int = 8) -> None:
        super().__init__()
        widths = [60] + [hidden] * (layers - 1)
        self.layers = nn.ModuleList(
            ModulatedLinear(width, hidden, style_dim, activate=True) for width in widths
        )
        self.density = ModulatedLinear(hidden, 1, style_dim, activate=False)
        self.features = ModulatedLinear(hidden, features, style_dim, activate=False)
        self.to_rgb = EqualLinear(features, 3)
        self.num_ws = layers + 2

    def forward(self, points: Tensor, ws: Tensor) -> Samples:
        """(B, P, 3), (B, num_ws, style_dim) → samples."""
        x = encode_positions(points)
        for k, layer in enumerate(self.layers):
            x = layer(x, ws[:, k])
        density = self.density(x, ws[:, -2])
        features = self.features(x, ws[:, -1])
        return Samples(torch.cat([self.to_rgb(features), features], dim=-1), density)


class Background(nn.Module):
    """Points outside the unit sphere and a code → features and density."""

    def __init__(self, hidden: int, features: int, code: int, layers: int = 4) -> None:
        super().__init__()
        widths = [80 + code] + [hidden] * (layers - 1)
        self.layers = nn.ModuleList(nn.Linear(width, hidden) for width in widths)
        self.density = nn.Linear(hidden, 1)
        self.features = nn.Linear(hidden, features)
        self.to_rgb = EqualLinear(features, 3)

    def forward(self, points: Tensor, code: Tensor) -> Samples:
        """(B, P, 4) direction and inverse distance, (B, code) → samples."""
        code = code[:, None].expand(-1, points.shape[1], -1)
        x = torch.cat([encode_positions(points), code], dim=-1)
        for layer in self.layers:
            x = functional.relu(layer(x))
        features = self.features(x)
        return Samples(torch.cat([self.to_rgb(features), features], dim=-1), self.density(x))


def integration_weights(density: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Shares of the samples of a ray in its integral.

    Args:
        density: (B, N, S) before the ReLU, from near to far.
        lengths: (B, N, S) of the intervals after each sample.

    Returns:
        (B, N, S) shares, and (B, N) light that passes all samples but the last.
    """
    opacity = 1.0 - torch.exp(-functional.relu(density) * lengths)
    through = torch.cumprod(1.0 - opacity + 1e-10, dim=-1)
    before = torch.cat([torch.ones_like(through[..., :1]), through[..., :-1]], dim=-1)
    return opacity * before, before[..., -1]


def resample(places: Tensor, weights: Tensor) -> Tensor:
    """New places where a first pass found weight: quantiles of its distribution, not random.

    Args:
        places: (..., S) ascending in [0, 1].
        weights: (..., S)

    Returns:
        (..., S), without gradient.
    """
    count = places.shape[-1]
    edges = (places[..., 1:] + places[..., :-1]) / 2
    inner = weights[..., 1:-1] + 1e-5
    steps = torch.cumsum(inner / inner.sum(-1, keepdim=True), dim=-1)
    steps = torch.cat([torch.zeros_like(steps[..., :1]), steps], dim=-1)
    wanted = torch.linspace(0.0, 1.0, count, dtype=places.dtype, device=places.device)
    wanted = wanted.expand(places.shape).contiguous()
    found = torch.searchsorted(steps, wanted)
    low, high = (found - 1).clamp_min(0), found.clamp_max(count - 2)
    start, width = steps.gather(-1, low), steps.gather(-1, high) - steps.gather(-1, low)
    width = torch.where(width < 1e-5, torch.ones_like(width), width)
    left, right = edges.gather(-1, low), edges.gather(-1, high)
    return (left + (wanted - start) / width * (right - left)).detach()


def outside_points(rays: Rays, inverse: Tensor) -> Tensor:
    """Points of rays beyond the unit sphere, as direction and inverse distance.

    Args:
        rays: Lines of sight that meet the sphere.
        inverse: (S,) inverse distances from the origin, in [0, 1].

    Returns:
        (B, N, S, 4)
    """
    heading = functional.normalize(rays.direction, dim=-1)
    closest = -(heading * rays.origin).sum(-1, keepdim=True)
    foot = rays.origin + closest * heading
    miss = foot.norm(dim=-1, keepdim=True)
    exit_ = rays.origin + (closest + (1.0 - miss.square()).sqrt()) * heading
    axis = functional.normalize(torch.cross(rays.origin.expand_as(exit_), exit_, dim=-1), dim=-1)
    # Going outwards along the ray, the direction from the origin turns about one axis.
    angle = (torch.asin(miss) - torch.asin(miss * inverse))[..., None]
    exit_, axis = exit_[..., None, :], axis[..., None, :]
    along = (axis * exit_).sum(-1, keepdim=True)
    turned = (
        exit_ * angle.cos()
        + torch.cross(axis, exit_, dim=-1) * angle.sin()
        + axis * along * (1.0 - angle.cos())
    )
    distances = inverse[:, None].expand(*turned.shape[:-1], 1)
    return torch.cat([functional.normalize(turned, dim=-1), distances], dim=-1)
