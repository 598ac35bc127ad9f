"""Which layers take how much of the swap."""

import re
from collections.abc import Sequence

import numpy as np

from vidswap.errors import RecipeError
from vidswap.types import F32

COARSE, MIDDLE = 4, 8
"""Codes below ``COARSE`` drive 4 and 8 px (pose, outline), those below ``MIDDLE`` 16 and 32 px
(features), the others colour and texture (Karras et al., 2019)."""


def shares(
    layers: int, similarity: float | Sequence[float], chosen: str | int | Sequence[int]
) -> F32:
    """How much of the swapped code each layer takes.

    Args:
        layers: Codes of one picture.
        similarity: [0, 1] for all layers, or for the coarse, the middle and the fine ones.
        chosen: Layers that are swapped: ``all``, a number, ranges such as ``0-3,8``, or numbers.

    Returns:
        (layers, 1) in [0, 1].

    Raises:
        RecipeError: A layer that the networks do not have, or a text that names none.
    """
    groups = [similarity] * 3 if isinstance(similarity, (int, float)) else list(similarity)
    ends = (0, min(COARSE, layers), min(MIDDLE, layers), layers)
    share = np.repeat(np.array(groups, np.float32), np.diff(ends))
    swapped = np.zeros(layers, bool)
    swapped[_numbers(chosen, layers)] = True
    out: F32 = np.where(swapped, share, 0).astype(np.float32)[:, None]
    return out


def _numbers(chosen: str | int | Sequence[int], layers: int) -> list[int]:
    if isinstance(chosen, str):
        found = list(range(layers)) if chosen.strip() == "all" else _ranges(chosen, layers)
    else:
        found = [chosen] if isinstance(chosen, int) else list(chosen)
    for number in found:
        if not 0 <= number < layers:
            raise RecipeError(f"engine.layers: {number} is no layer; there are 0-{layers - 1}")
    return found


def _ranges(text: str, layers: int) -> list[int]:
    found: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,4})\s*(?:-\s*(\d{1,4})\s*)?", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if first > last:
            raise RecipeError(
                f"engine.layers: {text!r} is neither all nor numbers and ranges such as 0-3,8 "
                f"(layers are 0-{layers - 1})"
            )
        found += range(first, last + 1)
    return found
