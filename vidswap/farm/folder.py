"""Which files of a folder are clips, and what their outputs are called."""

import os
import re
import string
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath

from vidswap.errors import MediaError, RecipeError

CLIPS = frozenset(
    [
        ".mp4",
        ".m4v",
        ".mov",
        ".mkv",
        ".webm",
        ".avi",
        ".mxf",
        ".ts",
        ".mts",
        ".m2ts",
        ".mpg",
        ".mpeg",
        ".wmv",
        ".flv",
        ".3gp",
        ".ogv",
    ]
)
"""Suffixes that are taken without a ``--glob``."""
TEMPLATE = "{relpath}/{stem}_swapped{suffix}"
FIELDS = ("stem", "suffix", "source", "pipeline", "relpath")
WORK_SUFFIX = ".vidswap"


def find(
    folder: Path, patterns: Sequence[str] = (), without: Sequence[Path] = ()
) -> Iterator[Path]:
    """Clips of a folder and its subfolders, in order of their names.

    Hidden files and folders, unfinished files (``.part``) and work folders are passed over; links
    to folders are not followed, as they may lead in circles.

    Args:
        folder: Where to look.
        patterns: Such as ``*.mov`` or ``day1/**/*.mp4``; none takes every suffix of a video.
        without: Folders to leave out.

    Raises:
        MediaError: The folder cannot be read.
        RecipeError: A pattern is empty.
    """
    if not folder.is_dir():
        what = "is a file, expected a folder" if folder.exists() else "no such folder"
        raise MediaError(what, path=folder, stage="scan")
    wanted = [_pattern(text) for text in patterns]
    left_out = {os.path.realpath(path) for path in without}
    for path in _walk(folder, left_out):
        relative = path.relative_to(folder).as_posix()
        if wanted:
            if any(pattern.fullmatch(relative) for pattern in wanted):
                yield path
        elif path.suffix.lower() in CLIPS:
            yield path


def _walk(folder: Path, left_out: set[str]) -> Iterator[Path]:
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        message = f"cannot be read: {error.strerror or error}"
        raise MediaError(message, path=folder, stage="scan") from error
    for entry in entries:
        if entry.name.startswith(".") or entry.name.endswith((".part", WORK_SUFFIX)):
            continue
        with suppress(FileNotFoundError):  # gone since the folder was listed
            if entry.is_dir(follow_symlinks=False):
                if os.path.realpath(entry.path) not in left_out:
                    yield from _walk(Path(entry.path), left_out)
            elif entry.is_file():
                yield Path(entry.path)


def _pattern(text: str) -> re.Pattern[str]:
    """A glob as in a shell: ``*`` within a name, ``**/`` any folders; without ``/`` at any depth."""
    if not text.strip():
        raise RecipeError("--glob is empty; expected a pattern such as '*.mov'", stage="usage")
    text = text if "/" in text else f"**/{text}"
    out, at = "", 0
    while at < len(text):
        if text.startswith("**/", at):
            out, at = f"{out}(?:.*/)?", at + 3
        elif text.startswith("**", at):
            out, at = f"{out}.*", at + 2
        else:
            out, at = out + {"*": "[^/]*", "?": "[^/]"}.get(text[at], re.escape(text[at])), at + 1
    return re.compile(out, re.IGNORECASE)


def check_template(template: str) -> None:
    """Refuse a template that cannot be filled in.

    Raises:
        RecipeError: Naming the field that does not exist.
    """
    try:
        names = [name for _, name, _, _ in string.Formatter().parse(template) if name is not None]
    except ValueError as error:
        raise RecipeError(f"--template {template}: {error}", stage="usage") from None
    for name in names:
        if name not in FIELDS:
            known = ", ".join(f"{{{field}}}" for field in FIELDS)
            raise RecipeError(f"--template {template}: no field {{{name}}}; there are {known}")


def fill(template: str, values: Mapping[str, str], out: Path) -> Path:
    """The output that a template means.

    Args:
        template: Checked before.
        values: By field.
        out: Folder it is relative to.

    Raises:
        RecipeError: It leads out of the folder, or names none of its files.
    """
    relative = PurePosixPath(template.format(**values).lstrip("/"))
    if ".." in relative.parts or not relative.name or relative.name.startswith("."):
        raise RecipeError(
            f"--template {template} gives {relative}, which is no file below {out}", stage="usage"
        )
    return out / relative
