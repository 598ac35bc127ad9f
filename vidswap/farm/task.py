"""What the kinds of items have in common."""

import errno
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from vidswap.errors import NoFaceError, RecipeError, StateError, WeightsError
from vidswap.farm.claim import Claim
from vidswap.recipe import Recipe

DISK_IS_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def _silent(*_: object) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a task has made; nothing of it counts before it is committed.

    With ``after`` it has made nothing yet: the item is to be handed out again when those are done.
    """

    moves: tuple[tuple[Path, Path], ...] = ()
    """(from, to), on one file system."""
    removes: tuple[Path, ...] = ()
    result: Mapping[str, Any] = field(default_factory=dict)
    after: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Bench:
    """What a worker lends to the task at hand."""

    pulse: Callable[[], None] = _silent
    """Called often; raises where the work has to end: lost, stopped, over budget."""
    progress: Callable[[str, int, int], None] = _silent
    """(stage, frames done, frames in all)"""
    note: Callable[[str], None] = _silent
    warn: Callable[[str], None] = _silent


class Task(Protocol):
    """How one kind of item is done."""

    def __call__(self, claim: Claim, bench: Bench) -> Outcome:
        """Do it, as far as it is not done already.

        Raises:
            VidswapError: It cannot be done.
            FencedError: Another worker has it.
        """
        ...


class OutdatedError(StateError):
    """The item speaks of a file that is not there as it was; another item takes its place."""

    code = "outdated"


class MachineError(RecipeError):
    """This machine cannot do what the recipe asks for; another may."""

    code = "machine"


def check_machine(recipe: Recipe) -> None:
    """Refuse to begin what this machine has no device for.

    Raises:
        MachineError: The recipe names one that is not here.
    """
    from vidswap.run.prepare import device_of

    try:
        device_of(recipe)
    except RecipeError as error:
        raise MachineError(error.message, stage="device", hint=error.hint) from error


def is_final(error: BaseException) -> bool:
    """Whether trying again would certainly fail again."""
    permanent = isinstance(error, RecipeError | NoFaceError | OutdatedError)
    return permanent and not isinstance(error, MachineError)


def is_environment(error: BaseException | None) -> bool:
    """Whether the machine is at fault, so that every other item would fail on it as well."""
    if isinstance(error, WeightsError | MachineError):
        return True
    while error is not None:
        if isinstance(error, OSError) and error.errno in DISK_IS_FULL:
            return True
        error = error.__cause__
    return False
