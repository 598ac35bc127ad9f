"""e4e and pSp: ``{"state_dict": {encoder.*, decoder.*}, "latent_avg": …, "opts": …}``.

Keys and shapes of the two are the same; only ``opts["encoder_type"]`` tells them apart.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from vidswap.weights.convert import Rule
from vidswap.weights.rules import irse, stylegan2

Match = re.Match[str]
_GROUPS = (("coarse", 0), ("middle", 3), ("fine", 7))
"""Our name of the heads on one feature map, and the first of them."""


def _group(index: int) -> tuple[str, int]:
    return next(g for g in reversed(_GROUPS) if index >= g[1])


def _position(match: Match) -> int:
    index = int(match[1])
    return index - _group(index)[1]


def _head(template: str) -> Callable[[Match], str]:
    """Name of a head's tensor; the second group of a convolution is twice its index."""

    def name(match: Match) -> str:
        group, _ = _group(int(match[1]))
        return f"encoder.{group}." + template.format(*(int(v) // 2 for v in match.groups()[1:]))

    return name


def _grouped(stacked: Tensor) -> Tensor:
    """(heads, O, …) → (heads · O, …): one grouped convolution."""
    return stacked.flatten(0, 1)


def _all_codes(latent_avg: Tensor) -> Tensor:
    """[18, 512], or [1, 18, 512] as some files have it."""
    return latent_avg.reshape(latent_avg.shape[-2:])


def _one_code(latent_avg: Tensor) -> Tensor:
    return _all_codes(latent_avg).mean(0)


RULES = (
    *irse.trunk("encoder.", "encoder.trunk."),
    Rule(
        r"encoder\.styles\.(\d+)\.convs\.(\d+)\.weight",
        _head("convs.{}.weight"),
        _grouped,
        merge=_position,
    ),
    Rule(
        r"encoder\.styles\.(\d+)\.convs\.(\d+)\.bias",
        _head("convs.{}.bias"),
        _grouped,
        merge=_position,
    ),
    Rule(r"encoder\.styles\.(\d+)\.linear\.weight", _head("weight"), merge=_position),
    Rule(r"encoder\.styles\.(\d+)\.linear\.bias", _head("bias"), merge=_position),
    Rule(r"encoder\.latlayer1\.(\w+)", r"encoder.lateral32.\1"),
    Rule(r"encoder\.latlayer2\.(\w+)", r"encoder.lateral64.\1"),
    Rule(r"latent_avg", "encoder.latent_avg", _all_codes),
    # The generator's own mean code is not in the file; every row of this one is that code.
    Rule(r"latent_avg", "decoder.mapping.w_avg", _one_code),
    *stylegan2.rosinality("decoder.", "decoder."),
)


def config(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Configuration, from the shapes; ``encoder_type`` is not in them."""
    found = stylegan2.config(state, "decoder.")
    del found["z_dim"]
    return found
