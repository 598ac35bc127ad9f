"""``--jobs``: a list of clips, each with sources and settings of its own."""

import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vidswap import schema
from vidswap.errors import MediaError, RecipeError


@dataclass(frozen=True, slots=True)
class Job:
    """One clip; what is absent is as the command line says."""

    input: str
    output: str | None = None
    source: str | tuple[str, ...] | None = None
    """One photo, or several of one person."""
    pipeline: str | None = None
    set: tuple[str, ...] = ()
    """``KEY=VALUE`` changes to the pipeline."""
    faces: str | None = None
    map: tuple[str, ...] = ()
    """``REF=PHOTO`` pairs."""
    start: str | None = None
    end: str | None = None
    allow_no_face: bool | None = None

    @property
    def sources(self) -> tuple[str, ...]:
        """Its photos, none if the command line's are meant."""
        return (self.source,) if isinstance(self.source, str) else self.source or ()


def read_jobs(path: Path) -> list[Job]:
    """Read ``[[job]]`` tables of a TOML file, or one JSON object from each line of a JSONL file.

    Raises:
        MediaError: The file cannot be read.
        RecipeError: It is not valid; names the job or line, the key and what was expected.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        message = f"cannot be read: {error.strerror or error}"
        raise MediaError(message, path=path, stage="jobs") from error
    except UnicodeDecodeError as error:
        raise RecipeError(f"not UTF-8 text: {error}", path=path, stage="jobs") from error
    if path.suffix.lower() not in (".toml", ".jsonl", ".json"):
        raise RecipeError("expected a .toml or a .jsonl file", path=path, stage="jobs")
    rows = _toml(text, path) if path.suffix.lower() == ".toml" else _lines(text, path)
    jobs = []
    for where, row in rows:
        try:
            jobs.append(schema.decode(Job, row))
        except RecipeError as error:
            raise RecipeError(f"{where}: {error.message}", path=path, stage="jobs") from None
    if not jobs:
        raise RecipeError("holds no job", path=path, stage="jobs")
    return jobs


def _toml(text: str, path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"not valid TOML: {error}", path=path, stage="jobs") from None
    rows = table.pop("job", [])
    if table or not isinstance(rows, list):
        raise RecipeError("expected [[job]] tables and nothing else", path=path, stage="jobs")
    yield from ((f"job {number}", row) for number, row in enumerate(rows, 1))


def _lines(text: str, path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            message = f"line {number}: not valid JSON: {error}"
            raise RecipeError(message, path=path, stage="jobs") from None
        if not isinstance(row, dict):
            raise RecipeError(f"line {number}: expected an object", path=path, stage="jobs")
        yield f"line {number}", row
