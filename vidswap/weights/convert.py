"""Official checkpoint layouts → our own names, by tables with total coverage.

A layout is a tuple of :class:`Rule`. Every tensor of the official file must be named by at least one
rule, every rule must apply, and no tensor may be written twice: what a table does not know is an
error, never a warning. Only names, shapes and cheap tensor operations are involved, so tables run on
meta tensors too.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor

from vidswap.errors import WeightsError

STAGE = "convert"
Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Rule:
    """What happens to the official tensors whose whole name matches a pattern."""

    pattern: str
    """Regular expression; must match the whole official name."""
    name: str | Callable[[re.Match[str]], str | None] | None
    """Our name, as a template with ``\\1`` groups or a function; ``None`` knowingly drops it."""
    tensor: Callable[[Tensor], Tensor] | None = None
    """Applied to the tensor, after merging where ``merge`` is given."""
    merge: Callable[[re.Match[str]], int] | None = None
    """Position among all tensors that get the same name; they are stacked along a new axis 0."""
    optional: bool = False
    """The layout also exists without these tensors."""


def convert(
    rules: Iterable[Rule],
    state: Mapping[str, Tensor],
    expected: Shapes | None = None,
    computed: Collection[str] = (),
) -> dict[str, Tensor]:
    """Rename and reshape an official state dict.

    Args:
        rules: The table of the layout. Every rule that matches a key is applied to it.
        state: Official name → tensor, on any device including meta.
        expected: Our name → shape of the network that will be filled; the result is checked
            against it in both directions.
        computed: Names in ``expected`` that the caller can compute when the file has none.

    Returns:
        Our name → tensor. Tensors that no operation touched share memory with ``state``.

    Raises:
        WeightsError: Keys that are unexpected, missing, written twice, not of the expected shape,
            or impossible to reshape; all of them are listed.
    """
    plain: dict[str, Tensor] = {}
    merged: dict[str, tuple[Rule, dict[int, Tensor]]] = {}
    problems: list[str] = []
    covered: set[str] = set()
    for rule in rules:
        matched = False
        for match in _matches(rule, state):
            matched = True
            key = match.string
            covered.add(key)
            name = (
                match.expand(rule.name)
                if isinstance(rule.name, str)
                else rule.name and rule.name(match)
            )
            if name is None:
                continue
            if name in plain or (
                name in merged and (rule.merge is None or merged[name][0] is not rule)
            ):
                problems.append(f"two tensors claim {name!r}, the second is {key!r}")
            elif rule.merge is None:
                plain[name] = _apply(rule, state[key], key)
            else:
                merged.setdefault(name, (rule, {}))[1][rule.merge(match)] = state[key]
        if not matched and not rule.optional:
            problems.append(f"missing key: nothing matches {rule.pattern!r}")
    problems += [f"unexpected key {key!r}" for key in state if key not in covered]
    for name, (rule, parts) in merged.items():
        plain[name] = _apply(rule, _stack(name, parts), name)
    if expected is not None:
        problems += _compare({k: tuple(t.shape) for k, t in plain.items()}, expected, computed)
    if problems:
        shown = "; ".join(problems[:12])
        more = f"; and {len(problems) - 12} more" if len(problems) > 12 else ""
        raise WeightsError(f"not the expected layout: {shown}{more}", stage=STAGE)
    return plain


def _matches(rule: Rule, state: Mapping[str, Tensor]) -> Iterator[re.Match[str]]:
    pattern = re.compile(rule.pattern)
    for key in state:
        if match := pattern.fullmatch(key):
            yield match


def _apply(rule: Rule, tensor: Tensor, key: str) -> Tensor:
    if rule.tensor is None:
        return tensor
    try:
        return rule.tensor(tensor)
    except (RuntimeError, ValueError, IndexError) as error:
        shape = tuple(tensor.shape)
        raise WeightsError(
            f"{key!r} has an unusable shape {shape}: {error}", stage=STAGE
        ) from error


def _stack(name: str, parts: Mapping[int, Tensor]) -> Tensor:
    import torch

    if sorted(parts) != list(range(len(parts))):
        raise WeightsError(
            f"{name!r} needs parts 0 to {max(parts)}, found {sorted(parts)}", stage=STAGE
        )
    shapes = {tuple(part.shape) for part in parts.values()}
    if len(shapes) > 1:
        raise WeightsError(f"the parts of {name!r} differ in shape: {sorted(shapes)}", stage=STAGE)
    return torch.stack([parts[index] for index in range(len(parts))])


def _compare(found: Shapes, expected: Shapes, computed: Collection[str]) -> Iterator[str]:
    for name, shape in expected.items():
        if name not in found:
            if name not in computed:
                yield f"missing: nothing in the file gives {name!r}"
        elif found[name] != shape:
            yield f"{name!r} has shape {found[name]}, expected {shape}"
    for name in found:
        if name not in expected:
            yield f"left over: the network has no {name!r}"


def flatten(tree: object, prefix: str = "") -> dict[str, Tensor]:
    """Dotted name → tensor of nested mappings and sequences; plain values are left out."""
    if isinstance(tree, Tensor):
        return {prefix: tree}
    if isinstance(tree, Mapping):
        items: Iterable[tuple[object, object]] = tree.items()
    elif isinstance(tree, (list, tuple)):
        items = enumerate(tree)
    else:
        return {}
    flat: dict[str, Tensor] = {}
    for key, value in items:
        flat |= flatten(value, f"{prefix}.{key}" if prefix else str(key))
    return flat
