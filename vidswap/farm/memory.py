"""Out of memory: do the same in smaller portions."""

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from vidswap.errors import VidswapError
from vidswap.recipe import Recipe

T = TypeVar("T")


class OverBudgetError(MemoryError):
    """The process uses more memory than it was given."""


def is_memory(error: BaseException) -> bool:
    """Whether memory ran out: Python's, an accelerator's, or a budget."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and (
        "out of memory" in text or "can't allocate memory" in text or "bad_alloc" in text
    )


def smaller(recipe: Recipe) -> Recipe | None:
    """Half the batch, then a shorter queue; None where nothing is left to halve.

    Neither changes a byte of the result.
    """
    if recipe.run.batch > 1:
        return replace(recipe, run=replace(recipe.run, batch=recipe.run.batch // 2))
    if recipe.run.queue > 1:
        return replace(recipe, run=replace(recipe.run, queue=recipe.run.queue // 2))
    return None


def halving(recipe: Recipe, work: Callable[[Recipe], T], note: Callable[[str], None]) -> T:
    """Work with a recipe, and again with half the batch each time memory runs out.

    Args:
        recipe: To begin with.
        work: Called with a recipe; has to resume or begin anew by itself.
        note: Told of each step.

    Raises:
        VidswapError: Memory runs out with the smallest batch too.
    """
    while True:
        try:
            return work(recipe)
        except Exception as error:
            if not is_memory(error):
                raise
            less = smaller(recipe)
            if less is None:
                raise VidswapError(
                    f"out of memory even with run.batch=1 and run.queue=1: {type(error).__name__} {error}",
                    stage="memory",
                    hint="fewer workers, a larger --max-ram or --max-vram, or another machine",
                ) from error
            note(
                f"out of memory with run.batch={recipe.run.batch}, run.queue={recipe.run.queue}; "
                f"going on with run.batch={less.run.batch}, run.queue={less.run.queue}"
            )
            recipe = less
        release_memory()


def release_memory() -> None:
    """Give back what is not used, the accelerator's too where torch is in use."""
    import gc
    import sys

    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
