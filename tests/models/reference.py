"""StyleGAN2 the way it was published: weights modulated per sample, two-dimensional FIR filters.

Slow and obvious, on the parameters of our modules; the modules must compute the same function.
"""

import math

import torch
from torch.nn import functional


def upfirdn(x, gain, up=1, pad=(0, 0)):
    """Insert zeros, pad, filter with [1, 3, 3, 1] ⊗ [1, 3, 3, 1] / 64 · gain."""
    batch, channels, height, width = x.shape
    spread = x.new_zeros(batch, channels, height * up, width * up)
    spread[:, :, ::up, ::up] = x
    spread = functional.pad(spread, (*pad, *pad))
    row = x.new_tensor([1.0, 3.0, 3.0, 1.0])
    kernel = (torch.outer(row, row) / 64 * gain).flip(0, 1)[None, None]
    rows, columns = spread.shape[2:]
    y = functional.conv2d(spread.reshape(batch * channels, 1, rows, columns), kernel)
    return y.reshape(batch, channels, *y.shape[2:])


def affine(layer, w):
    return w @ (layer.weight / math.sqrt(layer.weight.shape[1])).T + layer.bias


def modulated_conv(weight, x, style, *, up=False, demodulate=True):
    """(O, I, k, k) weight, one style (I,) per sample, as a grouped convolution over the batch."""
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


def styled_conv(layer, x, w, noise=None, features=None):
    style = affine(layer.conv.affine, w)
    x = modulated_conv(layer.conv.weight, x, style, up=layer.conv.up)
    if features is not None:
        x = torch.cat([x, layer.strength * features], dim=1)
    elif noise is not None:
        x = x + layer.strength * noise
    x = functional.leaky_relu(x + layer.bias[None, :, None, None], 0.2) * math.sqrt(2)
    return x if layer.clamp is None else x.clamp(-layer.clamp, layer.clamp)


def to_rgb(layer, x, w):
    style = affine(layer.affine, w)
    y = modulated_conv(layer.weight[:, :, None, None], x, style, demodulate=False)
    if layer.bias is not None:
        y = y + layer.bias[None, :, None, None]
    return y if layer.clamp is None else y.clamp(-layer.clamp, layer.clamp)


def synthesis(network, ws, noise=True):
    """Picture of a ``Synthesis`` module, with its stored noise or none."""
    x, rgb = network.const[None].expand(len(ws), -1, -1, -1), None
    for j, layer in enumerate(network.layers):
        x = styled_conv(layer, x, ws[:, j], layer.noise if noise else None)
        if j % 2 == 0:
            picture = to_rgb(network.to_rgb[j // 2], x, ws[:, j + 1])
            rgb = picture if rgb is None else picture + upfirdn(rgb, 4, up=2, pad=(2, 1))
    return rgb
