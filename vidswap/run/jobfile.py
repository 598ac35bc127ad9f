"""``job.json``: everything another process needs to carry on with a job, and how far it is.

Each output has a folder ``render-<id>`` in its work folder, so that several outputs can share one
analysis. It holds ``job.json`` and, until the output stands, the chunks.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from vidswap import schema
from vidswap.errors import StateError
from vidswap.recipe import Recipe
from vidswap.run.atomic import write_json
from vidswap.run.request import Request, Watch
from vidswap.run.trim import Moment

NAME = "job.json"
PREFIX = "render-"
FORMAT = 1
_PATHS = ("input", "output", "work", "report")

Phase = Literal["running", "verified", "finished"]
"""``verified``: the output was about to be renamed; ``finished``: it stands and nothing is left."""


@dataclass(frozen=True, slots=True, eq=False)
class JobFile:
    """One job, as it is stored."""

    folder: Path
    """Where it is stored, with its chunks."""
    request: Request
    """As it was given, with absolute paths; without its watch."""
    output: Path
    key: Mapping[str, str]
    """What decides the bytes of the video, by name."""
    frames: tuple[int, int]
    phase: Phase = "running"
    result: Mapping[str, Any] = field(default_factory=dict)
    """``sha256`` and ``size`` of the verified output."""

    @property
    def digest(self) -> str:
        """One digest of the key."""
        return digest_key(self.key)

    def save(self) -> None:
        """Store it, atomically.

        Raises:
            OSError: The disk fails.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        table = {
            "format": FORMAT,
            "request": encode_request(self.request),
            "output": str(self.output),
            "key": dict(self.key),
            "frames": list(self.frames),
            "phase": self.phase,
            "result": dict(self.result),
        }
        write_json(self.folder / NAME, table)

    def moved_to(self, phase: Phase, **result: Any) -> "JobFile":
        """Store another phase.

        Raises:
            OSError: The disk fails.
        """
        later = replace(self, phase=phase, result={**self.result, **result})
        later.save()
        return later


def digest_key(key: Mapping[str, str]) -> str:
    """SHA-256 (32 hex digits) of a key."""
    return hashlib.sha256(json.dumps(dict(key), sort_keys=True).encode()).hexdigest()[:32]


def folder_of(work: Path, output: Path, key: Mapping[str, str]) -> Path:
    """The folder of a job: another for another output, and for another key."""
    place = {**key, "output": os.path.realpath(output)}
    return work / f"{PREFIX}{digest_key(place)[:12]}"


def read_job(folder: Path) -> JobFile:
    """Read the job of one ``render-`` folder.

    Raises:
        StateError: There is none, it is damaged, or another version wrote it.
    """
    path = folder / NAME
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        if table["format"] != FORMAT:
            raise StateError("written by another version of vidswap", path=path, stage="job")
        return JobFile(
            folder,
            decode_request(table["request"]),
            Path(table["output"]),
            table["key"],
            (int(table["frames"][0]), int(table["frames"][1])),
            table["phase"],
            table["result"],
        )
    except FileNotFoundError as error:
        raise StateError("no job here", path=folder, stage="job") from error
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        message = f"the job file is damaged ({type(error).__name__}: {error})"
        raise StateError(
            message, path=path, stage="job", hint="delete it and run the command again"
        ) from error


def jobs_in(work: Path) -> tuple[JobFile, ...]:
    """Every job of a work folder.

    Raises:
        StateError: It is no folder, or a job is damaged.
    """
    if not work.is_dir():
        raise StateError("no such work folder", path=work, stage="job")
    return tuple(read_job(path.parent) for path in sorted(work.glob(f"{PREFIX}*/{NAME}")))


def encode_request(request: Request) -> dict[str, Any]:
    """A request as JSON; paths become absolute, the watch is left out."""
    table: dict[str, Any] = {}
    for item in fields(request):
        value = getattr(request, item.name)
        if item.name == "watch":
            continue
        if item.name == "recipe" or isinstance(value, Moment):
            value = schema.encode(value)
        elif isinstance(value, Path):
            value = os.path.abspath(value)  # noqa: PTH100 - symbolic links stay what they are
        elif item.name == "sources":
            value = [os.path.abspath(p) for p in value]  # noqa: PTH100
        elif item.name == "mapping":
            value = [[_who(who), os.path.abspath(p)] for who, p in value]  # noqa: PTH100
        elif item.name == "faces":
            value = _who(value)
        table[item.name] = value
    return table


def decode_request(table: Mapping[str, Any], watch: Watch | None = None) -> Request:
    """The inverse of ``encode_request``.

    Raises:
        RecipeError: The recipe is of another version.
        TypeError: A field is unknown or missing.
    """
    values = dict(table)
    for name in _PATHS:
        values[name] = None if values[name] is None else Path(values[name])
    values["recipe"] = schema.decode(Recipe, values["recipe"])
    values["sources"] = tuple(Path(p) for p in values["sources"])
    values["mapping"] = tuple((who, Path(p)) for who, p in values["mapping"])
    for name in ("start", "end"):
        values[name] = None if values[name] is None else Moment(**values[name])
    return Request(**values, watch=watch or Watch())


def _who(rule: str) -> str:
    """A rule as it is; a reference photo by its absolute path."""
    return os.path.abspath(rule) if Path(rule).is_file() else rule  # noqa: PTH100
