"""LPIPS 0.1: the official linear heads together with a torchvision backbone's state dict."""

import re
from collections.abc import Callable

from torch import Tensor

from vidswap.weights.convert import Rule

_ALEX = (0, 3, 6, 8, 10)
_VGG = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
"""Indices of the convolutions in torchvision's ``features``."""


def _conv(indices: tuple[int, ...]) -> Callable[[re.Match[str]], str]:
    return lambda match: f"convs.{indices.index(int(match[1]))}.{match[2]}"


def _flat(weight: Tensor) -> Tensor:
    """[1, C, 1, 1] → [C]."""
    return weight.reshape(-1)


def _rules(indices: tuple[int, ...]) -> tuple[Rule, ...]:
    alternatives = "|".join(map(str, indices))
    return (
        Rule(rf"features\.({alternatives})\.(weight|bias)", _conv(indices)),
        Rule(r"classifier\..*", None, optional=True),
        Rule(r"lin(\d)\.model\.1\.weight", r"heads.\1", _flat),
    )


ALEX_RULES = _rules(_ALEX)
VGG_RULES = _rules(_VGG)
