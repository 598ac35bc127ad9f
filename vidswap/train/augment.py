"""Random changes that must not change what a network says of a picture."""

import math

import torch
from torch import Tensor
from torch.nn import functional


def augment(pictures: Tensor, strength: float) -> Tensor:
    """Mirror, shift, scale, turn, and change brightness, contrast and colour of each picture.

    Args:
        pictures: (B, 3, S, S) in [-1, 1].
        strength: 0 changes nothing; 1 moves by up to 6 %, turns by up to 9°, and mirrors half.

    Returns:
        The same shape, channels-last.
    """
    if strength <= 0:
        return pictures
    count, device = len(pictures), pictures.device

    def draw(spread: float) -> Tensor:
        return (torch.rand(count, device=device) * 2 - 1) * spread * strength

    angle, scale = draw(math.radians(9.0)), torch.exp(draw(0.08))
    flip = torch.where(torch.rand(count, device=device) < 0.5 * strength, -1.0, 1.0)
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    theta = torch.stack(
        [
            torch.stack([cos * flip, -sin, draw(0.06)], 1),
            torch.stack([sin * flip, cos, draw(0.06)], 1),
        ],
        1,
    )
    grid = functional.affine_grid(theta, list(pictures.shape), align_corners=False)
    moved = functional.grid_sample(pictures, grid, padding_mode="border", align_corners=False)
    gain = torch.exp(draw(0.25))[:, None, None, None]
    tint = (torch.rand(count, 3, 1, 1, device=device) * 2 - 1) * 0.08 * strength
    changed = moved * gain + draw(0.15)[:, None, None, None] + tint
    return changed.clamp(-1, 1).contiguous(memory_format=torch.channels_last)
