"""A recipe as TOML. The standard library reads the format and does not write it."""

import json
from collections.abc import Mapping
from typing import Any


def dump(table: Mapping[str, Any]) -> str:
    """Scalars first, then one section for each sub-table; None, which TOML lacks, is a comment."""
    scalars = {k: v for k, v in table.items() if not isinstance(v, Mapping)}
    lines = [_line(k, v) for k, v in scalars.items()]
    for name, section in table.items():
        if isinstance(section, Mapping):
            lines += ["", f"[{name}]", *(_line(k, v) for k, v in section.items())]
    return "\n".join(lines)


def _line(key: str, value: Any) -> str:
    return f"# {key} is not set" if value is None else f"{key} = {json.dumps(value)}"
