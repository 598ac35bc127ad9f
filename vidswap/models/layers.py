"""Layers that the StyleGAN2 family shares.

Every layer computes the published function in the cheapest equivalent form. Modulation scales the
*activations* on the way in and the demodulation on the way out, so that one weight tensor serves a
whole batch; the gain √2 after a leaky ReLU is folded into what stands before it, which is exact
because a leaky ReLU is positively homogeneous. The plain form, with weights modulated per sample, is
the reference that the tests compare with.

Source: Karras et al., Analyzing and Improving the Image Quality of StyleGAN, 2020, appendix B.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from vidswap.models.winograd import Finish, Winograd, smoothed, usable

SQRT2 = math.sqrt(2.0)
SLOPE = 0.2


def drawn(*shape: int, lr: float = 1.0) -> Tensor:
    """Standard normal values divided by ``lr``; none on the meta device.

    There PyTorch would ask its tracer what shape such arithmetic has, which takes 1.4 seconds to load.
    """
    values = torch.empty(shape)
    return values if values.is_meta else values.normal_().div_(lr)


def fir_kernel(channels: int, gain: float) -> Tensor:
    """Depth-wise low-pass kernel [1, 3, 3, 1] ⊗ [1, 3, 3, 1] / 64, times a gain.

    Always made on the CPU, also inside ``torch.device("meta")``: it is a constant, not a weight.

    Returns:
        (channels, 1, 4, 4)
    """
    row = torch.tensor([1.0, 3.0, 3.0, 1.0], device="cpu")
    return (torch.outer(row, row) * (gain / 64)).expand(channels, 1, 4, 4).contiguous()


class EqualLinear(nn.Module):
    """Linear layer with equalised learning rate, optionally followed by leaky ReLU · √2.

    Weights are stored unscaled: the layer uses ``weight · lr / √inputs`` and ``bias · lr``.

    Args:
        inputs: Features in.
        outputs: Features out.
        bias: Initial value of the bias.
        lr: Learning-rate multiplier; weights are stored divided by it.
        activate: Apply leaky ReLU (slope 0.2) and √2.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        bias: float = 0.0,
        lr: float = 1.0,
        activate: bool = False,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(drawn(outputs, inputs, lr=lr))
        self.bias = nn.Parameter(torch.full((outputs,), bias / lr))
        self.activate = activate
        self.scale = lr / math.sqrt(inputs)
        self.lr = lr

    def forward(self, x: Tensor) -> Tensor:
        """(..., inputs) → (..., outputs)."""
        gain = SQRT2 if self.activate else 1.0
        # Scaling the few activations is cheaper than scaling the weight.
        y = functional.linear(x * (self.scale * gain), self.weight, self.bias * (self.lr * gain))
        return functional.leaky_relu(y, SLOPE) if self.activate else y


class ModulatedConv(nn.Module):
    """Modulated, demodulated k × k convolution, optionally up-sampling by two.

    One style per sample is the plain case. With ``regions`` each of K regions has its own style:
    every region is convolved on its own, demodulated on its own, and selected afterwards, because
    near a border the centre pixel's style must weigh its neighbours too.

    Args:
        inputs: Channels in.
        outputs: Channels out.
        style_dim: Features of a style.
        kernel: Odd side of the kernel.
        up: Double the resolution: transposed convolution, then the low-pass kernel.
    """

    def __init__(
        self, inputs: int, outputs: int, style_dim: int, *, kernel: int = 3, up: bool = False
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(drawn(outputs, inputs, kernel, kernel))
        self.affine = EqualLinear(style_dim, inputs, bias=1.0)
        self.scale = 1.0 / math.sqrt(inputs * kernel**2)
        self.padding = kernel // 2
        self.up = up
        self.register_buffer("blur", fir_kernel(outputs, 4.0) if up else None, persistent=False)
        self.register_buffer("energy", None, persistent=False)
        self.blur: Tensor
        self.energy: Tensor | None
        self.accelerated = False
        self.winograd: Winograd | None = None

    def forward(
        self,
        x: Tensor,
        w: Tensor,
        offset: Tensor,
        *,
        gain: float = 1.0,
        regions: Tensor | None = None,
    ) -> Tensor:
        """Modulate, convolve, demodulate, add.

        Args:
            x: (B, inputs, H, W)
            w: (B, style_dim), or (B, K, style_dim) together with ``regions``.
            offset: Added to the result; broadcasts to it, such as a bias (1, outputs, 1, 1).
            gain: Factor on the convolution, not on the offset.
            regions: (B, K, H', W') weights of the regions at the output's size, one-hot for labels.

        Returns:
            (B, outputs, H', W'), with H' = 2 H when up-sampling.
        """
        if regions is None:
            y, demodulation = self._convolve(x, w)
            return torch.addcmul(offset.to(y.dtype), y, demodulation * gain)
        total: Tensor = offset.to(x.dtype)
        for k in range(w.shape[1]):
            y, demodulation = self._convolve(x, w[:, k])
            total = total + y * (demodulation * gain) * regions[:, k : k + 1]
        return total

    def _convolve(self, x: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
        style, demodulation = self._factors(w)
        x = x * style[:, :, None, None].to(x.dtype)
        if self.up:
            y = functional.conv_transpose2d(x, self.weight.transpose(0, 1), stride=2)
            y = functional.conv2d(y, self.blur.to(y.dtype), padding=1, groups=self.blur.shape[0])
        else:
            y = functional.conv2d(x, self.weight, padding=self.padding)
        return y, demodulation[:, :, None, None].to(y.dtype)

    def _factors(self, w: Tensor) -> tuple[Tensor, Tensor]:
        """(B, inputs) factors of the activations and (B, outputs) of the results."""
        style = self.affine(w) * self.scale
        return style, torch.rsqrt(style.square() @ self._energy().t() + 1e-8)

    def finished(
        self, x: Tensor, w: Tensor, offset: Tensor, noise: Tensor | None, gain: float
    ) -> Tensor | None:
        """The quicker form of ``forward`` with noise and leaky ReLU; None where it does not serve.

        Args:
            x: (B, inputs, H, W)
            w: (B, style_dim)
            offset: (outputs,)
            noise: (B or 1, 1, H', W') or (H', W'), to be added as it is.
            gain: Factor on the convolution.

        Returns:
            (B, outputs, H', W'), channels last, or ``None``.
        """
        outputs, inputs = self.weight.shape[:2]
        if not self.accelerated or not usable(x, inputs, outputs):
            return None
        if self.weight.requires_grad:
            self._forget()
            return None
        style, demodulation = self._factors(w)
        maps = None if noise is None else noise.view(-1, 1, *noise.shape[-2:])
        finish = Finish(demodulation * gain, offset, torch.full_like(offset, SLOPE), maps)
        if self.winograd is not None:
            return self.winograd(x, style, torch.zeros_like(style[0]), finish)
        x = x * style[:, :, None, None]
        y = functional.conv_transpose2d(x, self.weight.transpose(0, 1), stride=2)
        return smoothed(y, finish)

    def _energy(self) -> Tensor:
        """(outputs, inputs) squared weights summed over the kernel."""
        if self.weight.requires_grad:
            self.energy = None  # A weight that may be trained makes what was prepared stale.
        return self.weight.square().sum((2, 3)) if self.energy is None else self.energy

    def prepare(self) -> None:
        """Compute once what only depends on the weight, and lay it out for speed; for frozen weights."""
        # A transposed convolution reads the weight transposed; laid out so, it is never copied.
        weight = self.weight.data.transpose(0, 1) if self.up else self.weight.data
        weight = weight.contiguous(memory_format=torch.channels_last)
        self.weight.data = weight.transpose(0, 1) if self.up else weight
        self.energy = self.weight.detach().square().sum((2, 3))

    def accelerate(self) -> None:
        """Prepare the quicker form for frozen weights on the CPU, see :mod:`vidswap.models.winograd`."""
        if self.weight.shape[-1] == 3 and not self.weight.requires_grad:
            self.accelerated = True
            self.winograd = None if self.up else Winograd.of(self.weight)

    def _forget(self) -> None:
        self.accelerated, self.winograd = False, None

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], *args: Any) -> None:
        self.energy = None
        self._forget()
        super()._load_from_state_dict(state_dict, *args)


class StyledConv(nn.Module):
    """Modulated convolution, then noise or injected features, bias, leaky ReLU · √2, clamp.

    With ``injected`` > 0 the layer has no noise: a feature map, times a learned strength, is
    concatenated to the convolution's output before bias and activation (GPEN, StyleSwap), and the
    layer has ``outputs + injected`` channels.

    Args:
        inputs: Channels in.
        outputs: Channels of the convolution.
        style_dim: Features of a style.
        size: Side of the output, for the stored noise map.
        up: Double the resolution.
        injected: Channels of the injected features.
        clamp: Largest magnitude of the result, or ``None``.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        style_dim: int,
        size: int,
        *,
        up: bool = False,
        injected: int = 0,
        clamp: float | None = None,
    ) -> None:
        super().__init__()
        self.conv = ModulatedConv(inputs, outputs, style_dim, up=up)
        self.bias = nn.Parameter(torch.zeros(outputs + injected))
        self.strength = nn.Parameter(torch.zeros(()))
        self.register_buffer("noise", None if injected else drawn(size, size))
        self.noise: Tensor
        self.size = size
        self.outputs = outputs
        self.clamp = clamp

    def forward(
        self,
        x: Tensor,
        w: Tensor,
        noise: Tensor | None = None,
        features: Tensor | None = None,
        regions: Tensor | None = None,
    ) -> Tensor:
        """Run the layer.

        Args:
            x: (B, inputs, H, W)
            w: (B, style_dim), or (B, K, style_dim) with ``regions``.
            noise: Broadcasts to (B, 1, H', W'), before the strength; ``None`` adds none.
            features: (B, injected, H', W') for an injecting layer.
            regions: (B, K, H', W') weights of the regions.

        Returns:
            (B, outputs + injected, H', W')
        """
        if features is None and regions is None:
            added = None if noise is None else noise * (self.strength * SQRT2)
            quick = self.conv.finished(x, w, self.bias * SQRT2, added, SQRT2)
            if quick is not None:
                return quick if self.clamp is None else quick.clamp_(-self.clamp, self.clamp)
        bias = (self.bias * SQRT2).to(x.dtype)[None, :, None, None]
        y = self.conv(x, w, bias[:, : self.outputs], gain=SQRT2, regions=regions)
        strength = (self.strength * SQRT2).to(x.dtype)
        if features is not None:
            y = torch.cat([y, torch.addcmul(bias[:, self.outputs :], features, strength)], dim=1)
        elif noise is not None:
            y += noise * strength
        y = functional.leaky_relu_(y, SLOPE)
        return y if self.clamp is None else y.clamp(-self.clamp, self.clamp)


class ToRGB(nn.Module):
    """Modulated 1 × 1 convolution to a few channels, without demodulation.

    Args:
        inputs: Channels in.
        style_dim: Features of a style.
        channels: Channels out: 3 for a picture, 1 for a mask.
        bias: Whether there is a bias.
        clamp: Largest magnitude of the result, or ``None``.
    """

    def __init__(
        self,
        inputs: int,
        style_dim: int,
        *,
        channels: int = 3,
        bias: bool = True,
        clamp: float | None = None,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(drawn(channels, inputs))
        self.bias = nn.Parameter(torch.zeros(channels)) if bias else None
        self.affine = EqualLinear(style_dim, inputs, bias=1.0)
        self.scale = 1.0 / math.sqrt(inputs)
        self.clamp = clamp

    def forward(self, x: Tensor, w: Tensor, regions: Tensor | None = None) -> Tensor:
        """(B, inputs, H, W), (B, style_dim) or (B, K, style_dim) with regions → (B, channels, H, W)."""
        style = self.affine(w) * self.scale
        if regions is None:
            y = self._mix(x, style)
        else:
            parts = (self._mix(x, style[:, k]) * regions[:, k : k + 1] for k in range(w.shape[1]))
            y = torch.stack(list(parts)).sum(0)
        if self.bias is not None:
            y = y + self.bias.to(y.dtype)[:, None, None]
        return y if self.clamp is None else y.clamp(-self.clamp, self.clamp)

    def _mix(self, x: Tensor, style: Tensor) -> Tensor:
        # A matrix per sample on the channels-last view: three outputs are too few for a convolution.
        batch, _, height, width = x.shape
        weight = (self.weight * style[:, None]).to(x.dtype)
        pixels = x.permute(0, 2, 3, 1).reshape(batch, height * width, -1)
        mixed = torch.bmm(pixels, weight.transpose(1, 2))
        return mixed.view(batch, height, width, -1).permute(0, 3, 1, 2)


def freeze(network: nn.Module) -> None:
    """Evaluation mode without gradients; what depends on weights alone is computed once."""
    network.eval().requires_grad_(False)
    for module in network.modules():
        if isinstance(module, ModulatedConv):
            module.prepare()


class Upsample(nn.Module):
    """Doubles a picture with the low-pass kernel; the outside is zero."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.register_buffer("kernel", fir_kernel(channels, 4.0), persistent=False)
        self.kernel: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) → (B, channels, 2 H, 2 W)."""
        kernel = self.kernel.to(x.dtype)
        return functional.conv_transpose2d(x, kernel, stride=2, padding=1, groups=kernel.shape[0])
