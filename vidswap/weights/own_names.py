"""From official names to ours, by the tables of ``vidswap.weights.rules``."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from vidswap.weights.convert import convert
from vidswap.weights.recognise import Recognised
from vidswap.weights.rules import LAYOUTS

ENCODER = "e4e-encoder"
_MORE: Mapping[str, tuple[str, ...]] = {
    "stylegan2-generator": ("style_dim", "mapping_layers"),
    "e4e": ("style_dim", "mapping_layers", "channel_max", "encoder_type"),
    ENCODER: ("size", "style_dim", "encoder_type"),
}
"""Fields of a network's configuration that its table does not read from shapes."""


def to_own_names(found: Recognised) -> tuple[dict[str, Tensor], str]:
    """Tensors in 32-bit floats under our names, and ``own``; or under official names, and ``official``.

    Networks that have no table keep their official names: nothing is lost, and a later release can
    convert the stored file without the original.

    Raises:
        WeightsError: The table does not cover the file.
    """
    official = found.state | found.extras
    if found.layout == ENCODER:
        # The part of e4e's table that a file without decoder and mean code has.
        rules = [rule for rule in LAYOUTS["e4e"].rules if rule.pattern.startswith("encoder")]
        return _floats(convert(rules, {f"encoder.{k}": v for k, v in official.items()})), "own"
    if found.layout not in LAYOUTS:
        return _floats(official), "official"
    return _floats(convert(LAYOUTS[found.layout].rules, official)), "own"


def network_config(found: Recognised) -> dict[str, Any]:
    """Configuration with which ``vidswap.zoo`` builds the network; empty without a table."""
    layout = LAYOUTS.get(found.layout)
    if layout is None and found.layout != ENCODER:
        return {}
    config = layout.config(found.state | found.extras) if layout else {}
    arch = layout.arch if layout else ENCODER
    for field in _MORE.get(arch, ()):
        if (value := getattr(found.config, field)) is not None:
            config[field] = value
    if arch == "stylegan2-generator":
        config["z_dim"] = config["style_dim"]
        clamp = found.settings.get("conv_clamp")
        if isinstance(clamp, (int, float)):
            config["clamp"] = float(clamp)
    return config


def _floats(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {k: v.float() if v.is_floating_point() else v for k, v in state.items()}
