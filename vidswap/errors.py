"""Every error a user can meet, with the process exit code it maps to.

    VidswapError                 1
    ├── RecipeError              2   recipe, option or combination of options
    ├── MediaError               3   a file that cannot be read, written or trusted
    ├── WeightsError             4   checkpoints: missing, damaged, wrong, forbidden by licence
    ├── NoFaceError              5   the wanted face is nowhere in the clip or photo
    ├── StateError               6   work folder, lock, an output that is in the way
    └── PartialBatchError        7   some items of a batch failed, the others are done

Messages say what happened, where (file and stage) and what was expected. Anything that is not a
``VidswapError`` is a bug and keeps its traceback. Only ``vidswap.cli`` turns errors into exits.
"""

from pathlib import Path
from typing import ClassVar


class VidswapError(Exception):
    """Base of all errors with a user-readable message.

    Args:
        message: What happened and what was expected.
        path: The file it is about, prefixed to the message.
        stage: The part of the run that met it, such as ``"decode"`` or ``"analyse"``.
        hint: What the user can do next, printed on a line of its own.
    """

    exit_code: ClassVar[int] = 1
    code: ClassVar[str] = "operation_failed"

    def __init__(
        self,
        message: str,
        *,
        path: str | Path | None = None,
        stage: str | None = None,
        hint: str | None = None,
    ) -> None:
        self.message = message
        self.path = None if path is None else str(path)
        self.stage = stage
        self.hint = hint
        super().__init__(str(self))

    def __str__(self) -> str:
        where = ": ".join(part for part in (self.path, self.stage) if part)
        return f"{where}: {self.message}" if where else self.message

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.message, self.path, self.stage, self.hint)


def _rebuild(
    kind: type[VidswapError],
    message: str,
    path: str | None,
    stage: str | None,
    hint: str | None,
) -> VidswapError:
    return kind(message, path=path, stage=stage, hint=hint)


class RecipeError(VidswapError):
    """A recipe, option or combination of options that cannot be carried out."""

    exit_code = 2
    code = "invalid_recipe"


class MediaError(VidswapError):
    """A media file that cannot be read, written, or trusted."""

    exit_code = 3
    code = "media_error"


class WeightsError(VidswapError):
    """A checkpoint that is missing, damaged, of the wrong kind, or forbidden by its licence."""

    exit_code = 4
    code = "weights_error"


class NoFaceError(VidswapError):
    """The wanted face was found nowhere."""

    exit_code = 5
    code = "no_face"


class StateError(VidswapError):
    """A work folder, lock or output that is in the way or does not match."""

    exit_code = 6
    code = "state_error"


class PartialBatchError(VidswapError):
    """Some items of a batch failed; the finished ones are kept."""

    exit_code = 7
    code = "partial_batch"


class ShapeError(ValueError):
    """An array whose shape contradicts its contract: a bug in the caller, not in the input."""
