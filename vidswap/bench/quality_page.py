"""The report of ``bench quality`` as one HTML page that needs nothing else: its pictures are inside."""

import base64
import html
import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from vidswap.bench.quality_set import Drawn
from vidswap.types import U8

TILE = 192
"""Side of a shown picture, pixels."""
MOMENTS = (0.15, 0.5, 0.85)
"""Frames of a clip that are shown, as shares of its length."""

STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem;color:#222}
h1{font-size:1.5rem}h2{font-size:1.1rem;margin:2rem 0 .3rem}
pre{overflow-x:auto;font-size:13px}
table{border-collapse:collapse}td,th{padding:0 4px 4px 0;font-size:.8rem;text-align:left}
th{font-weight:600}img{display:block}
@media(prefers-color-scheme:dark){body{background:#161616;color:#ddd}}
"""


class Gallery:
    """Picture strips, collected case by case."""

    def __init__(self) -> None:
        self._parts: list[str] = []

    def add(
        self,
        name: str,
        drawn: Drawn,
        results: Mapping[str, U8],
        figures: Mapping[str, Mapping[str, Any]],
    ) -> None:
        """One case: source, target, each result, and the truth among them.

        Args:
            name: Of the case.
            drawn: Its pictures.
            results: (T, H, W, 3) by method.
            figures: By method.
        """
        count = len(drawn.target)
        at = [0] if count == 1 else sorted({int(m * count) for m in MOMENTS})
        heads = ["source", "target", *results]
        notes = ["", "", *(_note(figures[method]) for method in results)]
        cells = ""
        for i in at:
            row = [drawn.source.rgb, drawn.target[i], *(frames[i] for frames in results.values())]
            label = "" if count == 1 else f"frame {i + 1} of {count}"
            shown = (f"<td>{_image(p, h)}</td>" for p, h in zip(row, heads, strict=True))
            cells += f"<tr><th>{label}</th>{''.join(shown)}</tr>"
        self._parts.append(
            f"<h2>{html.escape(name)}</h2><table><tr><th></th>"
            + "".join(f"<th>{html.escape(head)}</th>" for head in heads)
            + f"</tr>{cells}<tr><td></td>"
            + "".join(f"<td>{html.escape(note)}</td>" for note in notes)
            + "</tr></table>"
        )

    def page(self, table: str, legend: Mapping[str, str]) -> str:
        """The whole page.

        Args:
            table: The figures as text.
            legend: What each column means, by title.
        """
        meanings = "".join(
            f"<tr><th>{html.escape(title)}</th><td>{html.escape(meaning)}</td></tr>"
            for title, meaning in legend.items()
        )
        return (
            "<!doctype html><html lang=en><meta charset=utf-8><title>vidswap bench quality</title>"
            f"<style>{STYLE}</style><body><h1>Swaps against the truth</h1>"
            f"<pre>{html.escape(table)}</pre><table>{meanings}</table>"
            f"{''.join(self._parts)}</body></html>"
        )


def _note(figures: Mapping[str, Any]) -> str:
    parts = []
    if figures.get("psnr") is not None:
        parts.append(f"{figures['psnr']:.1f} dB")
    if figures.get("to_source") is not None:
        parts.append(f"id source {figures['to_source']:.2f}, target {figures['to_target']:.2f}")
    if figures.get("missed"):
        parts.append(f"{100 * figures['missed']:.0f} % missed")
    return ", ".join(parts)


def _image(picture: U8, name: str) -> str:
    image = Image.fromarray(np.asarray(picture, np.uint8))
    image.thumbnail((TILE, TILE), Image.Resampling.LANCZOS)
    data = io.BytesIO()
    image.save(data, "JPEG", quality=88)
    coded = base64.b64encode(data.getvalue()).decode()
    size = f"width={image.width} height={image.height}"
    return f"<img alt='{html.escape(name)}' {size} src='data:image/jpeg;base64,{coded}'>"
