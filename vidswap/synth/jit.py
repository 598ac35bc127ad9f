"""Compile a function to machine code with Numba, keeping its type for the checker."""

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from vidswap.errors import VidswapError

try:
    import numba
except ImportError as error:
    raise VidswapError(
        "synthetic heads are drawn with Numba, which is not installed",
        stage="synth", hint='pip install "vidswap[synth]"',
    ) from error  # fmt: skip

P = ParamSpec("P")
R = TypeVar("R")


def jit(function: Callable[P, R]) -> Callable[P, R]:
    """Compiled on first call and cached on disk; no fast-math, so that results are bit-equal."""
    compiled: Any = numba.njit(cache=True, error_model="numpy")(function)  # type: ignore[no-untyped-call]
    return compiled


def inline(function: Callable[P, R]) -> Callable[P, R]:
    """Compiled into its callers: no entry and no cache file of its own.

    Left to itself the compiler makes calls of most, which hand dozens of numbers over on the stack.
    """
    compiled: Any = numba.njit(error_model="numpy", forceinline=True)(function)  # type: ignore[no-untyped-call]
    return compiled
