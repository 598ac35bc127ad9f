"""StyleGAN2 the way it was published: weights modulated per sample, two-dimensional FIR filters.

Slow and obvious, on the parameters of our modules. The modules must compute the same function, which
the tests check against this, and the benchmark is a comparison with it.

Source: Karras et al., Analyzing and Improving the Image Quality of StyleGAN, 2020 (appendix B).
"""

import math
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional

from vidswap.models.layers import EqualLinear, StyledConv, ToRGB
from vidswap.models.stylegan2 import Synthesis


def upfirdn(x: Tensor, gain: float, up: int = 1, pad: tuple[int, int] = (0, 0)) -> Tensor:
    """Insert zeros, pad, filter with [1, 3, 3, 1] ⊗ [1, 3, 3, 1] / 64 · gain.

    Args:
        x: (B, C, H, W)
        gain: Factor on the filter.
        up: One sample becomes ``up`` of them, all but the first zero.
        pad: Zeros before and after, on both axes.
    """
    batch, channels, height, width = x.shape
    spread = x.new_zeros(batch, channels, height * up, width * up)
    spread[:, :, ::up, ::up] = x
    spread = functional.pad(spread, (*pad, *pad))
    row = x.new_tensor([1.0, 3.0, 3.0, 1.0])
    kernel = (torch.outer(row, row) / 64 * gain).flip(0, 1)[None, None]
    rows, columns = spread.shape[2:]
    y = functional.conv2d(spread.reshape(batch * channels, 1, rows, columns), kernel)
    return y.reshape(batch, channels, *y.shape[2:])


def affine(layer: EqualLinear, w: Tensor) -> Tensor:
    """(B, style_dim) codes → (B, I) styles."""
    return w @ (layer.weight / math.sqrt(layer.weight.shape[1])).T + layer.bias


def modulated_conv(
    weight: Tensor, x: Tensor, style: Tensor, *, up: bool = False, demodulate: bool = True
) -> Tensor:
    """One kernel per sample, as a grouped convolution over the batch.

    Args:
        weight: (O, I, k, k)
        x: (B, I, H, W)
        style: (B, I)
        up: Transposed, then filtered.
        demodulate: Give every kernel the norm 1.
    """
    batch, inputs, height, width = x.shape
    outputs, _, k, _ = weight.shape
    kernels = weight[None] * style[:, None, :, None, None] / math.sqrt(inputs * k * k)
    if demodulate:
        kernels = kernels * (kernels.square().sum((2, 3, 4), keepdim=True) + 1e-8).rsqrt()
    x = x.reshape(1, batch * inputs, height, width)
    if up:
        swapped = kernels.transpose(1, 2).reshape(batch * inputs, outputs, k, k)
        y = functional.conv_transpose2d(x, swapped, stride=2, groups=batch)
        return upfirdn(y.reshape(batch, outputs, *y.shape[2:]), 4, pad=(1, 1))
    y = functional.conv2d(
        x, kernels.reshape(batch * outputs, inputs, k, k), padding=k // 2, groups=batch
    )
    return y.reshape(batch, outputs, height, width)


def styled_conv(
    layer: StyledConv,
    x: Tensor,
    w: Tensor,
    noise: Tensor | None = None,
    features: Tensor | None = None,
) -> Tensor:
    """Convolution, then noise or injected features, bias, leaky ReLU · √2, clamp."""
    style = affine(layer.conv.affine, w)
    x = modulated_conv(layer.conv.weight, x, style, up=layer.conv.up)
    if features is not None:
        x = torch.cat([x, layer.strength * features], dim=1)
    elif noise is not None:
        x = x + layer.strength * noise
    x = functional.leaky_relu(x + layer.bias[None, :, None, None], 0.2) * math.sqrt(2)
    return x if layer.clamp is None else x.clamp(-layer.clamp, layer.clamp)


def to_rgb(layer: ToRGB, x: Tensor, w: Tensor) -> Tensor:
    """1 × 1 convolution to colours."""
    style = affine(layer.affine, w)
    y = modulated_conv(layer.weight[:, :, None, None], x, style, demodulate=False)
    if layer.bias is not None:
        y = y + layer.bias[None, :, None, None]
    return y if layer.clamp is None else y.clamp(-layer.clamp, layer.clamp)


def synthesis(network: Synthesis, ws: Tensor, noise: bool = True) -> Tensor:
    """Picture of a ``Synthesis`` module, with its stored noise or none.

    Args:
        network: Ours.
        ws: (B, num_ws, style_dim)
        noise: Add the stored maps.

    Returns:
        (B, 3, size, size)
    """
    x = network.const[None].expand(len(ws), -1, -1, -1)
    rgb: Tensor | None = None
    for j, module in enumerate(network.layers):
        layer = cast("StyledConv", module)
        x = styled_conv(layer, x, ws[:, j], layer.noise if noise else None)
        if j % 2 == 0:
            picture = to_rgb(cast("ToRGB", network.to_rgb[j // 2]), x, ws[:, j + 1])
            rgb = picture if rgb is None else picture + upfirdn(rgb, 4, up=2, pad=(2, 1))
    return cast("Tensor", rgb)
