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
    """Compiled on first call and cached on disk where there is a place; no fast-math, so that results are bit-equal.

    What is called from Python allocates nothing: arrays made in compiled code compile for long.
    """
    try:
        compiled: Any = _njit(cache=True)(function)
    except RuntimeError:  # no place for a cache, neither beside this file nor in the user's folder
        compiled = _njit()(function)
    return compiled


def inline(function: Callable[P, R]) -> Callable[P, R]:
    """Compiled into its callers: no entry from Python and no cache file of its own.

    Left to itself the compiler makes calls of most, which hand dozens of numbers over on the stack.
    """
    compiled: Any = _njit(forceinline=True, no_cpython_wrapper=True)(function)
    return compiled


def _njit(**options: bool) -> Any:
    # Nothing is called through pointers, and their wrappers take long to compile.
    compile_: Any = numba.njit
    return compile_(error_model="numpy", no_cfunc_wrapper=True, **options)
