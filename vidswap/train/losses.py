"""Losses that several methods share."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from vidswap.models.discriminator import Discriminator
from vidswap.models.irse import ArcFace

FEATURES = (1, 2, 3, 9)
"""Labels of lips, brows, eyes and the open mouth."""


def pyramid(x: Tensor, y: Tensor, levels: int = 4, weight: Tensor | None = None) -> Tensor:
    """Mean absolute difference of pixels and of their gradients, at several resolutions.

    Gradients keep edges from being averaged away, coarse levels see what is misplaced.

    Args:
        x: (B, 3, S, S)
        y: The same shape.
        levels: Resolutions, each half the one before.
        weight: (B, 1, S, S) of the pixels, mean about one.

    Returns:
        A scalar.
    """
    difference = x.float() - y.float()
    total = x.new_zeros((), dtype=torch.float32)
    for level in range(levels):
        if level:
            difference = functional.avg_pool2d(difference, 2)
            weight = None if weight is None else functional.avg_pool2d(weight, 2)
        w = 1.0 if weight is None else weight
        total = total + (difference.abs() * w).mean()
        down = (difference[:, :, 1:] - difference[:, :, :-1]).abs().mean()
        across = (difference[:, :, :, 1:] - difference[:, :, :, :-1]).abs().mean()
        total = total + 0.5 * (down + across)
    return total / levels


def on_features(batch: Mapping[str, Tensor], extra: float) -> Tensor | None:
    """(B, 1, S, S) what each pixel counts, one on average; None where all count the same.

    Args:
        batch: With ``labels`` (B, S, S) of the 12 classes, or without.
        extra: Weight of lips, brows, eyes and the open mouth beyond that of other pixels.
    """
    if not extra or "labels" not in batch:
        return None
    labels = batch["labels"]
    weight = 1.0 + extra * torch.isin(labels, labels.new_tensor(FEATURES)).float()[:, None]
    return weight / weight.mean()


def discriminator_features(network: Discriminator, x: Tensor) -> tuple[list[Tensor], Tensor]:
    """Maps after each block, finest first, and the logits (B, 1)."""
    maps = []
    x = network.from_rgb(x)
    for block in network.blocks:
        x = block(x)
        maps.append(x)
    x = network.conv(torch.cat([x, network._deviation(x)], dim=1))
    return maps, network.output(network.hidden(x.flatten(1)))


def feature_distance(fake: Sequence[Tensor], real: Sequence[Tensor]) -> Tensor:
    """Mean absolute difference of feature maps, each relative to its own size.

    Source: Wang et al., High-Resolution Image Synthesis with Conditional GANs, 2018 (section 3.2).
    """
    parts = [
        (f.float() - r.float()).abs().mean() / r.float().abs().mean().clamp_min(1e-6)
        for f, r in zip(fake, real, strict=True)
    ]
    return torch.stack(parts).mean()


def gradient_penalty(network: nn.Module, pictures: Tensor) -> Tensor:
    """R1: mean squared norm of the logits' gradient at real pictures (Mescheder et al. 2018)."""
    pictures = pictures.detach().requires_grad_()
    logits = network(pictures)
    (gradient,) = torch.autograd.grad(logits.sum(), pictures, create_graph=True)
    return gradient.square().sum((1, 2, 3)).mean()


def fitted(pictures: Tensor, embedder: ArcFace) -> Tensor:
    """Pictures as an embedder reads them: the inner face for the published size, else all of it."""
    side = embedder.config.size
    if side == 112:
        return embedder.crop(pictures)
    if pictures.shape[-1] == side:
        return pictures
    return functional.interpolate(pictures, (side, side), mode="bilinear", align_corners=False)


def identity_distance(embedder: ArcFace, found: Tensor, wanted: Tensor) -> Tensor:
    """One minus the mean cosine between the people in two batches of pictures in [-1, 1]."""
    with torch.no_grad():
        true = embedder(fitted(wanted, embedder))
    return (1.0 - (embedder(fitted(found, embedder)) * true).sum(1)).mean()
