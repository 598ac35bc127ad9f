"""StyleGAN2 generators and discriminators in the layouts of rosinality and NVIDIA.

rosinality: ``{"g_ema": …, "latent_avg": …}``, or a training checkpoint with ``g``, ``d`` and
optimiser states beside. NVIDIA (stylegan2-ada-pytorch, stylegan3): the tensors below ``G_ema`` of a
persistence pickle; the clamp is only in its settings. Neither layout needs its kernels flipped.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from vidswap.weights.convert import Rule


def _squeeze(weight: Tensor) -> Tensor:
    """[1, O, I, k, k] → [O, I, k, k]."""
    return weight.squeeze(0)


def _matrix(weight: Tensor) -> Tensor:
    """[1, 3, C, 1, 1] or [3, C, 1, 1] → [3, C]."""
    return weight.reshape(weight.shape[-4], weight.shape[-3])


def _scalar(value: Tensor) -> Tensor:
    """[1] or [] → []."""
    return value.reshape(())


def _flat(bias: Tensor) -> Tensor:
    return bias.reshape(-1)


def _map(noise: Tensor) -> Tensor:
    """[1, 1, r, r] → [r, r]."""
    return noise.reshape(noise.shape[-2:])


def _after(offset: int, template: str) -> Any:
    """A name whose ``{}`` is the first group plus ``offset``; later groups follow."""

    def name(match: re.Match[str]) -> str:
        first, *rest = match.groups()
        return template.format(int(first) + offset, *rest)

    return name


def rosinality(prefix: str = "", ours: str = "") -> tuple[Rule, ...]:
    """Rules for rosinality's generator, below an official and one of our prefixes."""
    p, q = re.escape(prefix), ours
    layers = f"{q}synthesis.layers"
    rgb = f"{q}synthesis.to_rgb"
    return (
        Rule(rf"{p}style\.(\d+)\.(weight|bias)", _after(-1, q + "mapping.layers.{}.{}")),
        Rule(rf"{p}input\.input", f"{q}synthesis.const", _squeeze),
        Rule(rf"{p}conv1\.conv\.weight", f"{layers}.0.conv.weight", _squeeze),
        Rule(rf"{p}conv1\.conv\.modulation\.(weight|bias)", rf"{layers}.0.conv.affine.\1"),
        Rule(rf"{p}conv1\.noise\.weight", f"{layers}.0.strength", _scalar),
        Rule(rf"{p}conv1\.activate\.bias", f"{layers}.0.bias"),
        Rule(rf"{p}convs\.(\d+)\.conv\.weight", _after(1, layers + ".{}.conv.weight"), _squeeze),
        Rule(
            rf"{p}convs\.(\d+)\.conv\.modulation\.(weight|bias)",
            _after(1, layers + ".{}.conv.affine.{}"),
        ),
        Rule(rf"{p}convs\.(\d+)\.noise\.weight", _after(1, layers + ".{}.strength"), _scalar),
        Rule(rf"{p}convs\.(\d+)\.activate\.bias", _after(1, layers + ".{}.bias")),
        Rule(rf"{p}noises\.noise_(\d+)", _after(0, layers + ".{}.noise"), _map),
        Rule(rf"{p}to_rgb1\.conv\.weight", f"{rgb}.0.weight", _matrix),
        Rule(rf"{p}to_rgb1\.conv\.modulation\.(weight|bias)", rf"{rgb}.0.affine.\1"),
        Rule(rf"{p}to_rgb1\.bias", f"{rgb}.0.bias", _flat),
        Rule(rf"{p}to_rgbs\.(\d+)\.conv\.weight", _after(1, rgb + ".{}.weight"), _matrix),
        Rule(
            rf"{p}to_rgbs\.(\d+)\.conv\.modulation\.(weight|bias)", _after(1, rgb + ".{}.affine.{}")
        ),
        Rule(rf"{p}to_rgbs\.(\d+)\.bias", _after(1, rgb + ".{}.bias"), _flat),
        # The low-pass kernels are constants of the architecture.
        Rule(rf"{p}(?:convs\.\d+\.conv\.blur|to_rgbs\.\d+\.upsample)\.kernel", None),
    )


RULES = (*rosinality(), Rule(r"latent_avg", "mapping.w_avg", _flat, optional=True))
"""rosinality's generator with ``latent_avg`` beside; training checkpoints have none."""


def _nvidia(template: str, offset: int = 0) -> Any:
    """``b{res}`` → index of the level; ``{}`` becomes ``2 · level + offset`` or the level itself."""

    def name(match: re.Match[str]) -> str:
        side, *rest = match.groups()
        level = int(math.log2(int(side))) - 2
        return template.format(level if "to_rgb" in template else 2 * level + offset, *rest)

    return name


def _nvidia_conv(conv: int) -> tuple[Rule, ...]:
    block = rf"synthesis\.b(\d+)\.conv{conv}\."
    ours = "synthesis.layers.{}."
    offset = conv - 1
    return (
        Rule(block + r"weight", _nvidia(ours + "conv.weight", offset)),
        Rule(block + r"affine\.(weight|bias)", _nvidia(ours + "conv.affine.{}", offset)),
        Rule(block + r"noise_strength", _nvidia(ours + "strength", offset), _scalar),
        Rule(block + r"noise_const", _nvidia(ours + "noise", offset), _map),
        Rule(block + r"bias", _nvidia(ours + "bias", offset)),
    )


NVIDIA_RULES = (
    Rule(r"mapping\.fc(\d+)\.(weight|bias)", r"mapping.layers.\1.\2"),
    Rule(r"mapping\.w_avg", "mapping.w_avg"),
    Rule(r"synthesis\.b4\.const", "synthesis.const"),
    *_nvidia_conv(0),
    *_nvidia_conv(1),
    Rule(r"synthesis\.b(\d+)\.torgb\.weight", _nvidia("synthesis.to_rgb.{}.weight"), _matrix),
    Rule(r"synthesis\.b(\d+)\.torgb\.bias", _nvidia("synthesis.to_rgb.{}.bias")),
    Rule(
        r"synthesis\.b(\d+)\.torgb\.affine\.(weight|bias)", _nvidia("synthesis.to_rgb.{}.affine.{}")
    ),
    Rule(r"synthesis\..*resample_filter", None),
)
"""NVIDIA's generator, below ``G_ema`` of the pickle."""

DISCRIMINATOR_RULES = (
    Rule(r"convs\.0\.0\.weight", "from_rgb.weight"),
    Rule(r"convs\.0\.1\.bias", "from_rgb.bias"),
    Rule(r"convs\.(\d+)\.conv1\.0\.weight", _after(-1, "blocks.{}.conv1.weight")),
    Rule(r"convs\.(\d+)\.conv1\.1\.bias", _after(-1, "blocks.{}.conv1.bias")),
    Rule(r"convs\.(\d+)\.conv2\.1\.weight", _after(-1, "blocks.{}.conv2.weight")),
    Rule(r"convs\.(\d+)\.conv2\.2\.bias", _after(-1, "blocks.{}.conv2.bias")),
    Rule(r"convs\.(\d+)\.skip\.1\.weight", _after(-1, "blocks.{}.shortcut.weight")),
    Rule(r"convs\.\d+\.(?:conv2|skip)\.0\.kernel", None),
    Rule(r"final_conv\.0\.weight", "conv.weight"),
    Rule(r"final_conv\.1\.bias", "conv.bias"),
    Rule(r"final_linear\.0\.(weight|bias)", r"hidden.\1"),
    Rule(r"final_linear\.1\.(weight|bias)", r"output.\1"),
)
"""rosinality's discriminator, below ``d`` of a training checkpoint."""


def config(state: Mapping[str, Tensor], prefix: str = "") -> dict[str, Any]:
    """Configuration of a rosinality generator, from its shapes."""
    official = {k.removeprefix(prefix): t for k, t in state.items() if k.startswith(prefix)}
    sides = [t.shape[-1] for k, t in official.items() if re.fullmatch(r"noises\.noise_\d+", k)]
    top = official[f"convs.{len(sides) - 2}.activate.bias"]
    mapping = [t for k, t in official.items() if re.fullmatch(r"style\.\d+\.weight", k)]
    return {**_widths(max(sides), official["input.input"].shape[1], len(top)), **_mapping(mapping)}


def nvidia_config(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Configuration of an NVIDIA generator, from its shapes; the clamp is not in them."""
    matches = (re.fullmatch(r"synthesis\.b(\d+)\.torgb\.bias", key) for key in state)
    size = max(int(match[1]) for match in matches if match)
    top = state[f"synthesis.b{size}.conv1.bias"]
    mapping = [t for k, t in state.items() if re.fullmatch(r"mapping\.fc\d+\.weight", k)]
    return {**_widths(size, len(state["synthesis.b4.const"]), len(top)), **_mapping(mapping)}


def discriminator_config(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Configuration of a rosinality discriminator, from its shapes."""
    blocks = [k for k in state if re.fullmatch(r"convs\.\d+\.conv1\.0\.weight", k)]
    widest, top = len(state["final_conv.0.weight"]), len(state["convs.0.1.bias"])
    return _widths(4 << len(blocks), widest, top)


def _widths(size: int, widest: int, top: int) -> dict[str, Any]:
    # Where the finest level has the full width, any multiplier that reaches it is right.
    return {"size": size, "channel_multiplier": top * size / 16384, "channel_max": widest}


def _mapping(weights: list[Tensor]) -> dict[str, Any]:
    style_dim, z_dim = weights[0].shape
    return {"z_dim": z_dim, "style_dim": style_dim, "mapping_layers": len(weights)}
