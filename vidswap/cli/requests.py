"""From parsed options to a request, and from its outcome to the console."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vidswap.cli.console import Console
from vidswap.cli.options import KEYS, parse_mapping, resolve_recipe
from vidswap.errors import RecipeError
from vidswap.run.request import Request, Watch
from vidswap.run.trim import parse


def build_request(
    console: Console,
    input_path: Path,
    *,
    pipeline: str,
    overrides: Sequence[str],
    sources: Sequence[Path] = (),
    mapping: Sequence[str] = (),
    start: str | None = None,
    end: str | None = None,
    **others: Any,
) -> Request:
    """A request from the options of a command.

    Args:
        console: Is told how the run gets on.
        input_path: The clip.
        pipeline: Name or file.
        overrides: ``--set``.
        sources: ``--source``.
        mapping: ``--map``.
        start: ``--start``.
        end: ``--end``.
        **others: Options in ``KEYS``, and fields of ``Request`` under their own names.

    Raises:
        RecipeError: An option, or a combination of options, that cannot be carried out.
    """
    pairs = parse_mapping(mapping)
    if pairs and sources:
        raise RecipeError(
            "--source and --map exclude each other: every REF=PHOTO names its own photo"
        )
    flags = {name: others.pop(name) for name in KEYS if name in others}
    return Request(
        input=input_path,
        recipe=resolve_recipe(pipeline, overrides, **flags),
        sources=tuple(sources),
        mapping=pairs,
        start=None if start is None else parse(start),
        end=None if end is None else parse(end),
        watch=watching(console),
        **others,
    )


def watching(console: Console) -> Watch:
    """A run's remarks and progress on a console."""
    return Watch(
        progress=console.bars,
        note=console.note,
        warn=lambda message: console.note(message, level="warning"),
    )


def show_result(console: Console, result: Mapping[str, Any]) -> None:
    """The path of what was written, or its facts."""
    console.result(result, str(result["output"]))


def show_plan(console: Console, plan: Mapping[str, Any]) -> None:
    """A dry run as aligned lines, or as JSON."""
    console.result(plan, "\n".join(_lines(plan)))


def _lines(table: Mapping[str, Any], indent: str = "") -> list[str]:
    lines = []
    for key, value in table.items():
        if isinstance(value, Mapping):
            lines += [f"{indent}{key}:", *_lines(value, indent + "  ")]
        elif isinstance(value, list | tuple):
            lines.append(f"{indent}{key}: {', '.join(map(str, value)) or '-'}")
        else:
            lines.append(f"{indent}{key}: {'-' if value is None else value}")
    return lines
