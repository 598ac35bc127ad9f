"""What a user asks of a run, before any file is opened."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from vidswap.recipe import Recipe
from vidswap.run.trim import Moment


def _silent(*_: object) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True)
class Watch:
    """Who is told how a run gets on; nobody by default."""

    progress: Callable[[str, int, int], None] = _silent
    """Called with (stage, frames done, frames in all)."""
    note: Callable[[str], None] = _silent
    """Remarks: what was chosen, and why."""
    warn: Callable[[str], None] = _silent
    """Remarks that a user should not miss."""


@dataclass(frozen=True, slots=True)
class Request:
    """One clip to swap, analyse or look at."""

    input: Path
    recipe: Recipe
    sources: tuple[Path, ...] = ()
    """Photos of the person to put in."""
    faces: str = "all"
    """Who is swapped: a rule, track indices or a reference photo."""
    mapping: tuple[tuple[str, Path], ...] = ()
    """(reference, photo) pairs, instead of ``sources`` and ``faces``."""
    output: Path | None = None
    """None is ``<stem>_swapped<suffix>`` beside the input."""
    work: Path | None = None
    """Folder of the analysis; None is beside the output."""
    start: Moment | None = None
    end: Moment | None = None
    overwrite: bool = False
    allow_no_face: bool = False
    report: Path | None = None
    commercial: bool = False
    """Refuse weights whose licence forbids commercial use."""
    watch: Watch = field(default_factory=Watch)
