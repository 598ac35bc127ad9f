"""Tables that turn official layouts into ours, one module per network, as plain data."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from torch import Tensor

from vidswap.weights.convert import Rule
from vidswap.weights.rules import bisenet, e4e, irse, latentswap, lpips, stylegan2, stylenerf


def _no_config(_: Mapping[str, Tensor]) -> dict[str, Any]:
    return {}


@dataclass(frozen=True, slots=True)
class Layout:
    """How one network lies in official files."""

    arch: str
    """The network it becomes, a name of ``vidswap.zoo``."""
    rules: tuple[Rule, ...]
    mark: tuple[str, ...]
    """Keys that this layout has and no other one."""
    roots: tuple[str, ...] = ("",)
    """Dotted prefixes under which the network may lie, the most specific first."""
    beside: tuple[str, ...] = ()
    """Keys outside the root that belong to the network too."""
    config: Callable[[Mapping[str, Tensor]], dict[str, Any]] = field(default=_no_config)
    """Configuration as far as shapes tell it, from selected tensors."""
    computed: tuple[str, ...] = ()
    """Tensors of ours that can be computed when the file has none."""

    def select(self, flat: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
        """The network's own tensors of a flattened file, without the prefix; ``None`` if not there.

        Under an empty root every tensor counts, so that what is too much is reported.
        """
        for root in self.roots:
            if all(root + key in flat for key in self.mark):
                found = {k.removeprefix(root): t for k, t in flat.items() if k.startswith(root)}
                return found | {k: flat[k] for k in self.beside if k in flat}
        return None


LAYOUTS: Mapping[str, Layout] = MappingProxyType(
    {
        "stylegan2-rosinality": Layout(
            "stylegan2-generator",
            stylegan2.RULES,
            ("style.1.weight", "input.input", "to_rgb1.bias"),
            ("g_ema.", ""),
            ("latent_avg",),
            stylegan2.config,
            ("mapping.w_avg",),
        ),
        "stylegan2-nvidia": Layout(
            "stylegan2-generator",
            stylegan2.NVIDIA_RULES,
            ("mapping.fc0.weight", "synthesis.b4.const", "synthesis.b4.torgb.bias"),
            ("G_ema.", ""),
            config=stylegan2.nvidia_config,
        ),
        "stylenerf": Layout(
            "stylenerf",
            stylenerf.RULES,
            ("synthesis.fg_nerf.fc_in.weight", "mapping.fc0.weight", "synthesis.alpha"),
            ("G_ema.", ""),
            config=stylenerf.config,
        ),
        "stylegan2-discriminator": Layout(
            "stylegan2-discriminator",
            stylegan2.DISCRIMINATOR_RULES,
            ("convs.0.0.weight", "final_linear.1.weight", "final_conv.0.weight"),
            ("d.", ""),
            config=stylegan2.discriminator_config,
        ),
        "irse50": Layout("irse50", irse.RULES, ("input_layer.0.weight", "output_layer.3.weight")),
        "e4e": Layout(
            "e4e",
            e4e.RULES,
            ("encoder.input_layer.0.weight", "encoder.latlayer1.weight", "decoder.input.input"),
            ("state_dict.", ""),
            ("latent_avg",),
            e4e.config,
        ),
        "bisenet": Layout(
            "bisenet", bisenet.RULES, ("cp.resnet.conv1.weight",), config=bisenet.config
        ),
        "latentswap": Layout(
            "latentswap-mixer",
            latentswap.RULES,
            ("mixer.0.0.weight", "mixer.0.8.bias"),
            ("state_dict.identity_mixer.", "identity_mixer.", ""),
            config=latentswap.config,
        ),
        "latentswap-single": Layout(
            "latentswap-mixer",
            latentswap.SINGLE_RULES,
            ("mixer.0.weight", "mixer.8.bias"),
            ("state_dict.identity_mixer.", "identity_mixer.", ""),
            config=latentswap.config,
        ),
        "lpips-alex": Layout(
            "lpips",
            lpips.ALEX_RULES,
            ("lin0.model.1.weight", "features.3.weight"),
            config=lambda _: {"backbone": "alex"},
        ),
        "lpips-vgg": Layout(
            "lpips",
            lpips.VGG_RULES,
            ("lin0.model.1.weight", "features.28.weight"),
            config=lambda _: {"backbone": "vgg"},
        ),
    }
)
"""Every layout that can be read, by the name that manifests give as their converter."""


def recognise(flat: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Names of the layouts that a flattened file holds; a training checkpoint holds several."""
    return tuple(name for name, layout in LAYOUTS.items() if layout.select(flat) is not None)
