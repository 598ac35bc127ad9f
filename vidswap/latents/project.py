"""Projection into W: the code whose picture is nearest, found by optimisation.

Source: Karras et al., Analyzing and Improving the Image Quality of StyleGAN, 2020 (section 5 and
appendix D), with the settings of Roich et al., Pivotal Tuning for Latent-based Editing of Real
Images, 2021.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from vidswap.checks import check_shape
from vidswap.latents.cost import Announce, Cost, Watch, step_seconds
from vidswap.models.generator import Generator
from vidswap.models.layers import StyledConv
from vidswap.models.lpips import PictureDistance
from vidswap.models.stylegan2 import StyleGAN2

COMPARED = 256
"""Side at which pictures are compared, pixels; larger ones are averaged down."""

Normal = Callable[[str, Sequence[int]], Tensor]
"""Standard normals by name and shape."""


@dataclass(frozen=True, slots=True)
class ProjectOptions:
    """The published settings."""

    steps: int = 450
    samples: int = 600
    """Codes whose mean is the start, and whose spread scales the perturbation."""
    learning_rate: float = 0.01
    rise: float = 0.05
    """Share of the steps in which the learning rate rises linearly."""
    fall: float = 0.25
    """Share at the end in which it falls as a cosine."""
    perturbation: float = 0.05
    """Noise on the code, in standard deviations of codes, falling to zero."""
    perturbed: float = 0.75
    """Share of the steps with that noise."""
    noise_weight: float = 1e5
    """Of the regulariser that keeps noise maps free of structure."""
    mean_seed: int = 123
    seed: int = 0

    def __post_init__(self) -> None:
        """Check ranges."""
        if self.steps < 1 or self.samples < 2:
            raise ValueError("steps must be at least 1 and samples at least 2")

    def rate(self, step: int) -> float:
        """Learning rate of a step; of step 0 it is exactly 0."""
        t = step / self.steps
        fall = 0.5 - 0.5 * math.cos(math.pi * min(1.0, (1 - t) / self.fall))
        return self.learning_rate * fall * min(1.0, t / self.rise)

    def shake(self, step: int) -> float:
        """Perturbation of a step, in standard deviations of codes."""
        return self.perturbation * max(0.0, 1 - step / self.steps / self.perturbed) ** 2


class Moments(NamedTuple):
    """Where codes lie."""

    mean: Tensor
    """(style_dim,)"""
    spread: float
    """Root of the summed variances over all features: one number."""


class Step(NamedTuple):
    """What happened in one step."""

    number: int
    rate: float
    loss: Tensor
    """(B,) distance and regulariser, before the update."""
    codes: Tensor
    """(B, style_dim) after the update."""
    noise: Sequence[Tensor]
    """Noise maps (B, 1, h, w) after the update, normalised."""


@torch.no_grad()
def moments(generator: Generator, samples: int = 600, seed: int = 123) -> Moments:
    """Mean and spread of the codes of seeded samples."""
    weight = generator.mapping(torch.zeros(1, generator.z_dim, device=device_of(generator)))
    z = np.random.RandomState(seed).randn(samples, generator.z_dim)
    parts = torch.split(torch.from_numpy(z).to(weight), 100)
    w = torch.cat([generator.mapping(part)[:, 0] for part in parts])
    mean = w.mean(0)
    return Moments(mean, float(((w - mean).square().sum() / samples).sqrt()))


def project(
    generator: Generator,
    targets: Tensor,
    distance: PictureDistance,
    options: ProjectOptions | None = None,
    *,
    normal: Normal | None = None,
    told: Callable[[Step], None] | None = None,
) -> Tensor:
    """Codes in W of pictures, every picture on its own.

    A picture's result depends neither on the others nor on how many there are: all get the same
    draws, and no term of the loss joins them. As published, the optimised noise maps are dropped.

    Args:
        generator: Its parameters are not changed.
        targets: (B, 3, S, S) in [-1, 1], S the generator's.
        distance: Between pictures of 256 px at most; the published one is LPIPS (VGG).
        options: Settings.
        normal: Draws; seeded by ``options.seed`` otherwise.
        told: Called after each step.

    Returns:
        (B, num_ws, style_dim), the same code for all layers.

    Raises:
        ShapeError: Pictures of another size than the generator makes.
    """
    o = options or ProjectOptions()
    check_shape(f"B 3 {generator.size} {generator.size}", targets=targets)
    draw = normal or seeded(o.seed)
    start = moments(generator, o.samples, o.mean_seed)
    targets = compared(targets.to(start.mean))
    count = len(targets)
    w = start.mean.expand(count, 1, -1).clone().requires_grad_()
    noise = _maps(generator, draw, w)
    optimiser = torch.optim.Adam([w, *noise], lr=0.0, betas=(0.9, 0.999))
    for index in range(o.steps):
        for group in optimiser.param_groups:
            group["lr"] = o.rate(index)
        shake = draw(f"w.{index}", (1, 1, w.shape[-1])).to(w) * (start.spread * o.shake(index))
        codes = (w + shake).expand(-1, generator.num_ws, -1)
        picture = generator.synthesis(codes, noise=noise) if noise else generator.synthesis(codes)
        loss = distance(compared(picture), targets)
        if noise:
            loss = loss + o.noise_weight * structure(noise)
        gradients = torch.autograd.grad(loss.sum(), [w, *noise])
        for value, gradient in zip([w, *noise], gradients, strict=True):
            value.grad = gradient
        optimiser.step()
        _normalise(noise)
        if told:
            maps = [n.detach().clone() for n in noise]
            told(Step(index, o.rate(index), loss.detach(), w.detach()[:, 0].clone(), maps))
    return w.detach().repeat(1, generator.num_ws, 1)


def structure(noise: Sequence[Tensor]) -> Tensor:
    """(B,) squared correlation of noise maps with themselves moved by one pixel, at all scales.

    Args:
        noise: (B, 1, h, w) maps; each is halved down to 8 px.
    """
    total = noise[0].new_zeros(len(noise[0]))
    for level in noise:
        n = level
        while True:
            for axis in (3, 2):
                total = total + (n * n.roll(1, axis)).mean((1, 2, 3)).square()
            if n.shape[-1] <= 8:
                break
            n = functional.avg_pool2d(n, 2)
    return total


def compared(pictures: Tensor) -> Tensor:
    """(B, 3, S, S) averaged down to 256 px where it is larger."""
    if pictures.shape[-1] <= COMPARED:
        return pictures
    return functional.interpolate(pictures, size=(COMPARED, COMPARED), mode="area")


def seeded(seed: int) -> Normal:
    """Draws on the CPU, the same on every device; in the order they are asked for."""
    rng = torch.Generator().manual_seed(seed)

    def draw(name: str, shape: Sequence[int]) -> Tensor:
        del name
        return torch.randn(tuple(shape), generator=rng)

    return draw


def device_of(generator: Generator) -> torch.device:
    """Where a generator's parameters are; the CPU for one without."""
    parameters = getattr(generator, "parameters", None)
    first = next(parameters(), None) if parameters else None
    return torch.device("cpu") if first is None else first.device


def _maps(generator: Generator, draw: Normal, w: Tensor) -> list[Tensor]:
    """Noise maps for each picture; none for a generator that takes none."""
    if not isinstance(generator, StyleGAN2):
        return []
    maps = []
    for index, layer in enumerate(generator.synthesis.layers):
        side = cast("StyledConv", layer).size
        first = draw(f"noise.{index}", (side, side)).to(w)
        maps.append(first[None, None].repeat(len(w), 1, 1, 1).requires_grad_())
    return maps


@torch.no_grad()
def _normalise(noise: Sequence[Tensor]) -> None:
    for n in noise:
        n -= n.mean((1, 2, 3), keepdim=True)
        n *= n.square().mean((1, 2, 3), keepdim=True).rsqrt()


@dataclass(frozen=True, slots=True, eq=False)
class ProjectorInverter:
    """Projection in batches, with its cost told first.

    Attributes:
        generator: Whose codes are wanted.
        distance: Between pictures.
        options: Settings.
        batch: Pictures optimised at once.
        watch: Progress in steps.
        announce: Told the cost before the first step.
    """

    generator: Generator
    distance: PictureDistance
    options: ProjectOptions = ProjectOptions()
    batch: int = 4
    watch: Watch | None = None
    announce: Announce | None = None

    @property
    def name(self) -> str:
        """Method and what it compares with."""
        return f"W projection, {self.distance.name}"

    @property
    def num_ws(self) -> int:
        """Codes of one picture."""
        return self.generator.num_ws

    @property
    def style_dim(self) -> int:
        """Features of one code."""
        return self.generator.style_dim

    def cost(self, crops: Tensor) -> Cost:
        """Measure a few steps on the first picture and say what all of them will take."""
        seconds = step_seconds(lambda n: self._some(crops[:1], n), device_of(self.generator))
        steps, name = self.options.steps, self.distance.name
        return Cost("projection", len(crops), steps, seconds, distance=name)

    def _some(self, crops: Tensor, steps: int) -> Tensor:
        return project(
            self.generator, crops, self.distance, replace(self.options, steps=steps, samples=2)
        )

    def invert(self, crops: Tensor) -> Tensor:
        """(B, 3, S, S) in [-1, 1], S the generator's → (B, num_ws, style_dim)."""
        if len(crops) and self.announce:
            self.announce(self.cost(crops))
        total, found = len(crops) * self.options.steps, []
        for first in range(0, len(crops), self.batch):
            part = crops[first : first + self.batch]

            def told(step: Step, first: int = first, size: int = len(part)) -> None:
                if self.watch:
                    done = first * self.options.steps + (step.number + 1) * size
                    self.watch("project", done, total)

            found.append(
                project(self.generator, part, self.distance, self.options, told=told).to(crops)
            )
        return torch.cat(found) if found else crops.new_empty(0, self.num_ws, self.style_dim)
