"""StyleNeRF: the tensors below ``G_ema`` of a persistence pickle (facebookresearch/StyleNeRF).

The settings of its space (cameras, samples) are plain objects of the pickle; ours are constants of
the published configuration.
"""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from vidswap.weights.convert import Rule


def _plain(weight: Tensor) -> Tensor:
    """[O, I, 1, 1] → [O, I]."""
    return weight.reshape(weight.shape[:2])


def _layer(match: re.Match[str]) -> str:
    field, index, rest = match.groups()
    name = {"fg": "foreground", "bg": "background"}[field]
    return f"synthesis.{name}.layers.{int(index) + 1 if index else 0}.{rest}"


def _head(match: re.Match[str]) -> str:
    field, head, rest = match.groups()
    name = {"fg": "foreground", "bg": "background"}[field]
    ours = {"sigma_out": "density", "feat_out": "features", "to_rgb": "to_rgb"}[head]
    return f"synthesis.{name}.{ours}.{rest}"


def _level(template: str) -> Any:
    def name(match: re.Match[str]) -> str:
        side, *rest = match.groups()
        level = int(side).bit_length() - 7
        return f"synthesis.levels.{level}." + template.format(*rest)

    return name


def _conv(official: str, ours: str) -> tuple[Rule, ...]:
    block = rf"synthesis\.b(\d+)\.{official}\."
    return (
        Rule(block + r"weight", _level(f"{ours}.conv.weight")),
        Rule(block + r"affine\.(weight|bias)", _level(ours + ".conv.affine.{}")),
        Rule(block + r"bias", _level(f"{ours}.bias")),
        Rule(block + r"w_avg", _level(f"{ours}.magnitude")),
    )


_FIELD_LAYER = r"synthesis\.(fg|bg)_nerf\.(?:fc_in|blocks\.(\d+))\."
_FIELD_HEAD = r"synthesis\.(fg|bg)_nerf\.(sigma_out|feat_out|to_rgb)\."

RULES = (
    Rule(r"mapping\.fc(\d+)\.(weight|bias)", r"mapping.layers.\1.\2"),
    Rule(r"mapping\.w_avg", "mapping.w_avg"),
    Rule(r"synthesis\.alpha", "synthesis.alpha"),
    Rule(_FIELD_LAYER + r"(weight)", _layer, _plain),
    Rule(_FIELD_LAYER + r"(bias|affine\.weight|affine\.bias)", _layer),
    Rule(_FIELD_HEAD + r"(weight)", _head, _plain),
    Rule(_FIELD_HEAD + r"(bias|affine\.weight|affine\.bias)", _head),
    *_conv("conv0", "up"),
    *_conv("conv1", "conv"),
    Rule(
        r"synthesis\.b(\d+)\.conv0\.adapter\.(\d)\.weight", _level("up.adapter.{}.weight"), _plain
    ),
    Rule(r"synthesis\.b(\d+)\.conv0\.adapter\.(\d)\.bias", _level("up.adapter.{}.bias")),
    Rule(r"synthesis\.b(\d+)\.torgb\.weight", _level("to_rgb.weight"), _plain),
    Rule(r"synthesis\.b(\d+)\.torgb\.bias", _level("to_rgb.bias")),
    Rule(r"synthesis\.b(\d+)\.torgb\.affine\.(weight|bias)", _level("to_rgb.affine.{}")),
    Rule(r"synthesis\..*resample_filter", None),
)


def config(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Configuration, from the shapes."""
    matches = (re.fullmatch(r"synthesis\.b(\d+)\.torgb\.bias", key) for key in state)
    return {"size": max(int(match[1]) for match in matches if match)}
