"""Pivotal tuning: the generator bent a little, so that given codes give given pictures.

One picture as published; several pictures with one generator; or a whole clip, where the generator
is tuned once on a few frames that are as unlike each other as the clip has them.

Source: Roich et al., Pivotal Tuning for Latent-based Editing of Real Images, 2021; several frames
with one generator: Tzaban et al., Stitch it in Time, 2022.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from vidswap.checks import check_shape
from vidswap.errors import ShapeError
from vidswap.latents.cost import Announce, Cost, Watch, step_seconds
from vidswap.latents.project import device_of, seeded
from vidswap.models.lpips import PictureDistance
from vidswap.models.stylegan2 import StyleGAN2
from vidswap.types import F32, F64, I64


@dataclass(frozen=True, slots=True)
class PivotalOptions:
    """Settings; the defaults are those published for one picture."""

    rounds: int = 350
    """Each takes one optimiser step for every picture, in order."""
    learning_rate: float = 3e-4
    squared: float = 1.0
    """Weight of the mean squared difference."""
    perceptual: float = 1.0
    """Weight of the perceptual distance."""
    enough: float | None = 0.06
    """Perceptual distance at which tuning on a single picture ends; None goes through all rounds."""
    locality: float = 0.0
    """Weight of the regulariser that keeps the generator as it was elsewhere; published as 0.1 where
    it is used."""
    reach: float = 30.0
    """How far from the pivot it looks, in the norm over all layers."""
    seed: int = 0

    def __post_init__(self) -> None:
        """Check ranges."""
        if self.rounds < 1 or self.learning_rate <= 0:
            raise ValueError("rounds must be at least 1 and learning_rate above 0")


@dataclass(frozen=True, slots=True, eq=False)
class Tuned:
    """A tuned generator and how far it came."""

    generator: StyleGAN2
    """A copy, frozen; the one that was given is unchanged."""
    perceptual: F32
    """(N,) distance of each picture before its last step."""
    rounds: int
    """Rounds that were really taken."""


def tune(
    generator: StyleGAN2,
    pictures: Tensor,
    pivots: Tensor,
    distance: PictureDistance,
    options: PivotalOptions | None = None,
    *,
    watch: Watch | None = None,
) -> Tuned:
    """Tune a copy of a generator until fixed codes give the pictures.

    All parameters of the synthesis are tuned; its noise maps are held. Seeded.

    Args:
        generator: Left as it is.
        pictures: (N, 3, S, S) in [-1, 1], S the generator's.
        pivots: (N, num_ws, style_dim)
        distance: Differentiable, at full size; the published one is LPIPS (AlexNet).
        options: Settings.
        watch: Told the steps done.

    Raises:
        ShapeError: Pictures or pivots that do not fit the generator, or none at all.
    """
    o = options or PivotalOptions()
    bound = check_shape(
        f"N 3 {generator.size} {generator.size}, N {generator.num_ws} {generator.style_dim}",
        pictures=pictures,
        pivots=pivots,
    )
    if not bound["N"]:
        raise ShapeError("pictures: at least one is needed")
    tuned = copy.deepcopy(generator).eval().requires_grad_(requires_grad=False)
    tuned.synthesis.requires_grad_(requires_grad=True)
    device = device_of(generator)
    pictures, pivots = pictures.to(device), pivots.detach().to(device)
    optimiser = torch.optim.Adam(tuned.synthesis.parameters(), lr=o.learning_rate)
    far = np.zeros(len(pictures), np.float32)
    draw = seeded(o.seed)
    for done in range(o.rounds):
        for i in range(len(pictures)):
            one = slice(i, i + 1)
            made = tuned.synthesis(pivots[one], noise="fixed")
            perceptual = distance(made, pictures[one]).mean()
            far[i] = float(perceptual.detach())
            if len(pictures) == 1 and o.enough is not None and far[i] <= o.enough:
                return Tuned(tuned.freeze(), far, done)
            loss = o.squared * functional.mse_loss(made, pictures[one]) + o.perceptual * perceptual
            if o.locality > 0:
                mapped = generator.mapping(draw("z", (1, generator.z_dim)).to(device), 0.5)
                codes = around(pivots[one], mapped, o.reach)
                loss = loss + o.locality * kept(generator, tuned, codes, distance)
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            optimiser.step()
            if watch:
                watch("tune", done * len(pictures) + i + 1, o.rounds * len(pictures))
    return Tuned(tuned.freeze(), far, o.rounds)


def around(pivot: Tensor, codes: Tensor, reach: float) -> Tensor:
    """The points at a distance from a pivot in the direction of other codes.

    Args:
        pivot: (1, L, D)
        codes: (1, L, D)
        reach: Norm of the difference over all layers and features.

    Returns:
        (1, L, D)
    """
    direction = codes - pivot
    return pivot + reach * direction / direction.norm(p=2)


def kept(before: StyleGAN2, after: StyleGAN2, codes: Tensor, distance: PictureDistance) -> Tensor:
    """How much the picture of codes has changed: squared plus perceptual, a scalar; without noise."""
    with torch.no_grad():
        old = before.synthesis(codes, noise="none")
    new = after.synthesis(codes, noise="none")
    return functional.mse_loss(new, old) + distance(new, old).mean()


def spread(codes: F32 | F64, count: int, weights: F32 | F64 | None = None) -> I64:
    """Frames that cover a clip: each next one is the farthest from those chosen (k-centre).

    Deterministic: starts with the frame nearest to the mean, and takes the first of equals.

    Args:
        codes: (T, ...) of each frame, such as its latent codes.
        count: How many are wanted.
        weights: (T,) confidence; frames of weight 0 are never chosen, unless there are no others.

    Returns:
        Ascending indices, ``min(count, frames that may be chosen)`` of them.
    """
    flat = np.asarray(codes, np.float32).reshape(len(codes), int(np.prod(codes.shape[1:])))
    trust = np.ones(len(flat)) if weights is None else np.asarray(weights, np.float64)
    trust = trust if trust.any() else np.ones(len(flat))
    allowed = np.flatnonzero(trust > 0)
    points, trust = flat[allowed], trust[allowed]
    mean = (trust / trust.sum()) @ points
    chosen = [int(((points - mean) ** 2).sum(1).argmin())] if len(points) and count > 0 else []
    nearest = np.full(len(points), np.inf)
    while len(chosen) < min(count, len(points)):
        nearest = np.minimum(nearest, ((points - points[chosen[-1]]) ** 2).sum(1))
        nearest[chosen] = -1.0
        # An uncertain frame must be that much farther away: it would teach the generator its blur.
        chosen.append(int((np.where(nearest >= 0, nearest * trust**2, -1.0)).argmax()))
    return np.sort(allowed[chosen]).astype(np.int64)


CLIP = PivotalOptions(rounds=80, learning_rate=3e-5, squared=10.0, enough=None, locality=0.1)
"""Settings for a clip: the slower rate and the weights of Stitch it in Time, locality switched on."""

Pictures = Callable[[I64], Tensor]
"""Frame numbers of a track → their crops (n, 3, S, S) in [-1, 1]."""


@dataclass(frozen=True, slots=True, eq=False)
class ClipInversion:
    """A track's codes and the one generator that turns them back into its pictures."""

    pivots: Tensor
    """(T, num_ws, style_dim) as given."""
    generator: StyleGAN2 | None
    """None where codes were made without one."""
    frames: I64
    """The frames it was tuned on; empty where it was not."""
    perceptual: F32
    """Distance of each of them at the end."""


def tune_clip(  # noqa: PLR0913 - what to tune, on what, and whom to tell
    generator: StyleGAN2,
    pictures: Pictures,
    pivots: Tensor,
    distance: PictureDistance,
    options: PivotalOptions = CLIP,
    *,
    frames: int = 16,
    weights: F32 | F64 | None = None,
    watch: Watch | None = None,
    announce: Announce | None = None,
) -> ClipInversion:
    """One generator for a whole track, tuned on a spread of its frames.

    The cost grows with the frames that are tuned on, not with the track. Locality keeps the frames
    in between, and codes that are mixed or edited later, close to what the generator knew.

    Args:
        generator: Left as it is.
        pictures: Reads crops; only those that are tuned on are asked for.
        pivots: (T, num_ws, style_dim) codes of all frames, smoothed as they will be used.
        distance: Differentiable.
        options: Settings; every round is one step for each of the chosen frames.
        frames: How many to tune on.
        weights: (T,) confidence of each frame.
        watch: Told the steps done.
        announce: Told the cost, measured on the first chosen frame, before the first step.

    Raises:
        ShapeError: Shapes that do not fit the generator, or a track without frames.
    """
    chosen = spread(pivots.detach().cpu().numpy(), frames, weights)
    crops, codes = pictures(chosen), pivots[torch.from_numpy(chosen)]
    if announce and len(chosen):
        announce(cost(generator, crops, codes, distance, options))
    done = tune(generator, crops, codes, distance, options, watch=watch)
    return ClipInversion(pivots, done.generator, chosen, done.perceptual)


def cost(
    generator: StyleGAN2,
    pictures: Tensor,
    pivots: Tensor,
    distance: PictureDistance,
    options: PivotalOptions,
) -> Cost:
    """What tuning on these pictures will take, from a few steps on a throw-away copy."""

    def some(rounds: int) -> Tuned:
        short = replace(options, rounds=rounds, enough=None)
        return tune(generator, pictures[:1], pivots[:1], distance, short)

    seconds = step_seconds(some, device_of(generator))
    return Cost("tuning", len(pictures), options.rounds, seconds, distance=distance.name)
