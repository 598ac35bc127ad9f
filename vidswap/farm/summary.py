"""How a batch went, as JSON for machines and one page for eyes."""

import html
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from vidswap.farm import register

ROWS = 2000
"""Clips of one kind that the page lists; the JSON has all that the batch remembers."""

STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:80rem;padding:0 1rem;color:#222}
h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2rem}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;width:100%}
td,th{padding:.2rem .8rem .2rem 0;text-align:left;vertical-align:top;border-top:1px solid #ddd}
.failed{color:#a40000}.hint{color:#777}code{overflow-wrap:anywhere}
@media(prefers-color-scheme:dark){body{background:#161616;color:#ddd}.failed{color:#ff8a80}}
"""

Fate = Literal["done", "failed", "unstable", "left"]


@dataclass(frozen=True, slots=True)
class Row:
    """One clip."""

    input: str
    output: str
    fate: Fate
    """``unstable``: it was still being written; ``left``: for another call."""
    attempts: int = 0
    facts: Mapping[str, Any] = field(default_factory=dict)
    error: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Summary:
    """One call of ``vidswap batch``."""

    out: str
    queue: str
    began: str
    """UTC, ISO 8601."""
    seconds: float
    counts: Mapping[str, int]
    """``clips`` in all; of them ``done`` now, ``before`` in earlier calls, ``failed``, ``unstable``,
    ``left``."""
    rows: tuple[Row, ...] = ()
    """All but those that were done before."""
    version: str = ""

    def describe(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


def write_summary(folder: Path, summary: Summary) -> Path:
    """Write ``summary.json`` and ``summary.html``; returns the page.

    Raises:
        OSError: The folder cannot be written to.
    """
    text = json.dumps(summary.describe(), indent=1, ensure_ascii=False, default=str)
    register.replace(folder / "summary.json", text.encode())
    register.replace(folder / "summary.html", page(summary).encode())
    return folder / "summary.html"


def page(summary: Summary) -> str:
    """The page; it needs no other file."""
    counts = " · ".join(f"{count} {name}" for name, count in summary.counts.items())
    body = [
        f"<h1>vidswap batch: {html.escape(summary.out)}</h1>",
        f"<p>{html.escape(counts)}<br>{html.escape(summary.began)}, {summary.seconds:.0f} s, "
        f"vidswap {html.escape(summary.version)}</p>",
    ]
    for fate, title in (
        ("failed", "In quarantine or refused"),
        ("left", "Left for another call"),
        ("unstable", "Still being written"),
        ("done", "Done"),
    ):
        rows = [row for row in summary.rows if row.fate == fate]
        if rows:
            body += [f"<h2 class={fate}>{title}: {len(rows)}</h2>", _table(rows[:ROWS])]
        if len(rows) > ROWS:
            body.append(f"<p>{len(rows) - ROWS} more are in summary.json.</p>")
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>vidswap batch</title><style>{STYLE}</style><body>{''.join(body)}</body></html>"
    )


def _table(rows: Iterable[Row]) -> str:
    return f"<table>{''.join(map(_row, rows))}</table>"


def _row(row: Row) -> str:
    cells = [f"<code>{html.escape(row.input)}</code>"]
    if row.error is not None:
        where = ": ".join(str(row.error[k]) for k in ("path", "stage") if row.error.get(k))
        text = f"{where}: {row.error['message']}" if where else str(row.error["message"])
        tries = f" ({row.attempts} attempts)" if row.attempts else ""
        hint = row.error.get("hint")
        more = f"<br><span class=hint>{html.escape(str(hint))}</span>" if hint else ""
        cells.append(f"{html.escape(text + tries)}{more}")
    else:
        facts = row.facts
        said = [f"{facts[name]} {name}" for name in ("frames", "swapped") if name in facts]
        total = facts.get("seconds", {}).get("total")
        said += [f"{total:.1f} s"] if total is not None else []
        cells += [f"<code>{html.escape(row.output)}</code>", html.escape(", ".join(said))]
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
