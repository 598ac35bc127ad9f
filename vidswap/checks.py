"""Executable shape contracts."""

from collections.abc import Iterator
from typing import Protocol

from vidswap.errors import ShapeError


class Shaped(Protocol):
    """Anything with a shape: numpy arrays and torch tensors alike."""

    @property
    def shape(self) -> tuple[int, ...]: ...


def check_shape(spec: str, **arrays: Shaped) -> dict[str, int]:
    """Check several arrays against one comma-separated spec, in keyword order.

    Letters bind to a size at first use and must agree afterwards, integers are literal, ``_`` is
    any size.

    Args:
        spec: Such as ``"B 3 S S, B 2 3"``, one part for each array.
        **arrays: Arrays or tensors, in the order of the parts.

    Returns:
        The size bound to each letter.

    Raises:
        ShapeError: Naming the array, its shape and what was expected.

    >>> import numpy as np
    >>> check_shape("T 2 3, T", matrices=np.zeros((5, 2, 3)), seen=np.zeros(5))
    {'T': 5}
    """
    bound: dict[str, int] = {}
    for (name, array), part in zip(arrays.items(), spec.split(","), strict=True):
        dims = part.split()
        if len(dims) != len(array.shape) or any(_mismatches(dims, array.shape, bound)):
            known = ", ".join(f"{k}={v}" for k, v in bound.items())
            msg = f"{name}: expected ({' '.join(dims)}), got {tuple(array.shape)} with {known or 'nothing bound'}"
            raise ShapeError(msg)
    return bound


def _mismatches(dims: list[str], shape: tuple[int, ...], bound: dict[str, int]) -> Iterator[bool]:
    for dim, size in zip(dims, shape, strict=True):
        if dim == "_":
            continue
        wanted = int(dim) if dim.isdigit() else bound.setdefault(dim, size)
        yield wanted != size
