"""TOML table → frozen dataclass, strictly: unknown keys and wrong types are errors."""

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from vidswap.errors import RecipeError

T = TypeVar("T")


def decode(kind: type[T], table: Mapping[str, Any], where: str = "") -> T:
    """Build a dataclass from a table; fields that are absent keep their defaults.

    Nested dataclasses decode from sub-tables. A union of dataclasses is told apart by the
    ``Literal`` field ``name`` of its members; the first member is the default.

    Args:
        kind: A dataclass type.
        table: The decoded TOML.
        where: Dotted key of ``table`` itself, for messages.

    Raises:
        RecipeError: Naming the dotted key, what was expected and what was found.
    """
    hints = get_type_hints(kind)
    fields = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for key in table:
        if key not in fields:
            known = ", ".join(sorted(fields))
            raise RecipeError(f"{_dotted(where, key)}: unknown key; known here: {known}")
    values = {k: _value(hints[k], v, _dotted(where, k)) for k, v in table.items()}
    try:
        return kind(**values)
    except (TypeError, ValueError) as error:
        raise RecipeError(f"{where or 'recipe'}: {error}") from None


def encode(value: Any) -> Any:
    """Plain dicts, lists and scalars of a dataclass, ready for TOML or JSON; the inverse of decode."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: encode(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, (tuple, list)):
        return [encode(v) for v in value]
    return value


def _dotted(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def _value(hint: Any, raw: Any, where: str) -> Any:
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return _union(args, raw, where)
    if origin is Literal:
        if raw not in args:
            options = ", ".join(map(str, args))
            raise RecipeError(f"{where}: {raw!r} is not one of {options}")
        return raw
    if origin is tuple:
        return _tuple(args, raw, where)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if not isinstance(raw, Mapping):
            raise RecipeError(f"{where}: expected a table, got {raw!r}")
        return decode(hint, raw, where)
    return _scalar(hint, raw, where)


def _tuple(args: tuple[Any, ...], raw: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(raw, (list, tuple)):
        raise RecipeError(f"{where}: expected a list, got {raw!r}")
    if len(args) == 2 and args[1] is ...:
        return tuple(_value(args[0], v, f"{where}[{i}]") for i, v in enumerate(raw))
    if len(raw) != len(args):
        raise RecipeError(f"{where}: expected {len(args)} values, got {len(raw)}")
    return tuple(
        _value(a, v, f"{where}[{i}]") for i, (a, v) in enumerate(zip(args, raw, strict=True))
    )


def _scalar(hint: Any, raw: Any, where: str) -> Any:
    if hint is float and isinstance(raw, int) and not isinstance(raw, bool):
        return float(raw)
    if not isinstance(raw, hint) or (hint is int and isinstance(raw, bool)):
        raise RecipeError(f"{where}: expected {hint.__name__}, got {raw!r}")
    return raw


def _union(args: tuple[Any, ...], raw: Any, where: str) -> Any:
    if raw is None and type(None) in args:
        return None
    members = [a for a in args if a is not type(None)]
    if all(dataclasses.is_dataclass(m) for m in members) and isinstance(raw, Mapping):
        by_name = {n: m for m in members for n in get_args(typing.get_type_hints(m)["name"])}
        name = raw.get("name", next(iter(by_name)))
        if name not in by_name:
            raise RecipeError(f"{where}.name: {name!r} is not one of {', '.join(by_name)}")
        return decode(by_name[name], raw, where)
    # What is wrong with a list is what the member that takes lists says about it.
    members.sort(key=lambda m: (str(get_origin(m)) == str(tuple)) != isinstance(raw, (list, tuple)))
    errors = []
    for member in members:
        try:
            return _value(member, raw, where)
        except RecipeError as error:
            errors.append(str(error))
    raise RecipeError(errors[0])
