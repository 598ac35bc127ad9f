"""Differentiable FFHQ crops in torch: the twin of :mod:`vidswap.ops.ffhq`.

Equal to the published crop up to its truncation to whole grey levels, where the window is no more
than twice as large as the crop: the published code reduces larger faces first, which the caller does
where it matters.
"""

import torch
from torch import Tensor
from torch.nn import functional

from vidswap.checks import check_shape


def crop(frames: Tensor, quads: Tensor, size: int) -> Tensor:
    """Sample windows; the outside is zero. Differentiable in both arguments.

    Args:
        frames: (B, C, H, W) of any range.
        quads: (B, 4, 2) corners in pixel-centre coordinates: top left, bottom left, bottom right,
            top right; the fourth follows from the others for a square window.
        size: Side of the crops, pixels.

    Returns:
        (B, C, size, size)
    """
    check_shape("B _ H W, B 4 2", frames=frames, quads=quads)
    origin, down, _, across = quads.unbind(1)
    steps = (torch.arange(size, dtype=quads.dtype, device=quads.device) + 0.5) / size
    u = (across - origin)[:, None, None] * steps[None, None, :, None]
    v = (down - origin)[:, None, None] * steps[None, :, None, None]
    points = origin[:, None, None] + u + v
    return _sample(frames, points)


def uncrop(crops: Tensor, quads: Tensor, height: int, width: int) -> Tensor:
    """Warp crops back into frames; the inverse of :func:`crop`, zero outside the windows.

    Args:
        crops: (B, C, S, S)
        quads: (B, 4, 2) windows the crops were cut with.
        height: Of the frames.
        width: Of the frames.

    Returns:
        (B, C, height, width)
    """
    check_shape("B _ S S, B 4 2", crops=crops, quads=quads)
    size = crops.shape[-1]
    origin, down, _, across = quads.unbind(1)
    axes = torch.stack([across - origin, down - origin], dim=-1) / size
    # Row and column vectors of pixel centres; the inverse of the window's axes takes them to crops.
    rows = torch.arange(height, dtype=quads.dtype, device=quads.device)
    columns = torch.arange(width, dtype=quads.dtype, device=quads.device)
    grid = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1)
    offset = grid[None] - origin[:, None, None]
    points = torch.einsum("bij,bhwj->bhwi", torch.linalg.inv(axes), offset) - 0.5
    inside = ((points > -0.5) & (points < size - 0.5)).all(-1)[:, None]
    # Clamping keeps the rim at full strength; what lies outside is cut hard, as published.
    return _sample(crops, points.clamp(0, size - 1)) * inside.to(crops.dtype)


def _sample(pictures: Tensor, points: Tensor) -> Tensor:
    """(B, C, H, W) at (B, h, w, 2) pixel-centre coordinates, bilinear, zero outside."""
    height, width = pictures.shape[-2:]
    scale = points.new_tensor([2.0 / width, 2.0 / height])
    grid = (points + 0.5) * scale - 1.0
    return functional.grid_sample(
        pictures, grid.to(pictures.dtype), "bilinear", "zeros", align_corners=False
    )
