"""The report as one HTML page that needs nothing else: pictures and plots are inside it."""

import base64
import html
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from PIL import Image

from vidswap.run.recorder import Recorder, Seen
from vidswap.types import U8, Track

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SHOTS = 60
"""Shots with faces that get plots; the rest are only in the JSON, and the page says so."""
SAMPLES = 1500
"""Points of one curve at most; longer ones are thinned."""

STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem;color:#222}
h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2.5rem;border-top:1px solid #ddd;padding-top:1rem}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
td,th{padding:.15rem .8rem .15rem 0;text-align:left;vertical-align:top}
th{font-weight:600}figure{margin:.5rem .5rem .5rem 0;display:inline-block}
figcaption{font-size:.8rem;color:#666}img{display:block}svg{max-width:100%;height:auto}
@media(prefers-color-scheme:dark){body{background:#161616;color:#ddd}svg{background:#fff}}
"""


class Clip(Protocol):
    """What the page needs of an analysis."""

    @property
    def tracks(self) -> Sequence[Track]: ...


def page(report: Mapping[str, Any], analysis: Clip, recorder: Recorder) -> str:
    """The whole page.

    Args:
        report: The content of ``report.json``.
        analysis: For the curves.
        recorder: For brightness and pictures.
    """
    title = f"vidswap: {html.escape(str(report['output']))}"
    body = [f"<h1>{title}</h1>", _table(_summary(report))]
    tracks = {track.id: track for track in analysis.tracks}
    facts = {row["index"]: row for row in report["tracks"]}
    filled = [shot for shot in report["shots"] if shot["tracks"]]
    for shot in filled[:SHOTS]:
        body.append(f"<h2>Shot {shot['index']}: frames {shot['start']}–{shot['stop'] - 1}</h2>")
        chosen = [tracks[i] for i in shot["tracks"]]
        body.append(_plots(chosen, recorder))
        body += [_track(facts[track.id], recorder.seen.get(track.id)) for track in chosen]
    if len(filled) > SHOTS:
        body.append(f"<p>{len(filled) - SHOTS} more shots are in report.json.</p>")
    if not filled:
        body.append("<p>No face was found.</p>")
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title>"
        f"<style>{STYLE}</style><body>{''.join(body)}</body></html>"
    )


def _summary(report: Mapping[str, Any]) -> dict[str, Any]:
    seconds = report.get("seconds", {})
    return {
        "input": report["input"],
        "frames": f"{report['frames']} ({report['faces']} faces, {report['swapped']} swapped)",
        "engine": report["engine"],
        "encoder": report["encoder"],
        "time per stage": ", ".join(f"{k} {v:.1f} s" for k, v in seconds.items()),
        "warnings": "; ".join(report.get("warnings", [])) or "none",
    }


def _table(rows: Mapping[str, Any]) -> str:
    cells = (
        f"<tr><th>{html.escape(str(k))}</th><td>{html.escape(str(v))}</td></tr>"
        for k, v in rows.items()
    )
    return f"<table>{''.join(cells)}</table>"


def _track(facts: Mapping[str, Any], seen: Seen | None) -> str:
    rows = {
        f"track {facts['index']}": facts["person"] or "",
        "frames": f"{facts['start']}–{facts['stop'] - 1}, {facts['swapped']} swapped",
        "face height": f"{facts['height']} px",
        "missed frames": _spans(facts["missed"]) or "none",
        "jitter before → after": f"{_small(facts['jitter_before'])} → {_small(facts['jitter_after'])}",
    }
    if seen is not None:
        pair = f"{_small(facts['flicker_before'])} → {_small(facts['flicker_after'])}"
        rows["flicker before → after"] = pair
        rows["left alone"] = _spans(facts["left_alone"]) or "none"
    if facts.get("identity") is not None:
        rows["similarity to the source"] = f"{facts['identity']:.3f}"
    strips = "".join(_pair(*picture) for picture in (seen.pictures if seen else []))
    return _table(rows) + strips


def _small(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.3f} %"


def _spans(spans: Iterable[Sequence[int]], most: int = 12) -> str:
    texts = [f"{a}" if b - a == 1 else f"{a}–{b - 1}" for a, b in spans]
    rest = f" and {len(texts) - most} more" if len(texts) > most else ""
    return ", ".join(texts[:most]) + rest


def _pair(frame: int, before: U8, after: U8) -> str:
    gap = np.full((before.shape[0], 4, 3), 255, np.uint8)
    picture = Image.fromarray(np.concatenate([before, gap, after], axis=1))
    data = io.BytesIO()
    picture.save(data, "JPEG", quality=88)
    coded = base64.b64encode(data.getvalue()).decode()
    return (
        f"<figure><img alt='before and after' src='data:image/jpeg;base64,{coded}'>"
        f"<figcaption>frame {frame}: before, after</figcaption></figure>"
    )


def _plots(tracks: Sequence[Track], recorder: Recorder) -> str:
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    # Without pyplot: it keeps figures in a global list and looks for a display.
    figure = Figure(figsize=(11, 6.5), layout="constrained")
    axes = figure.subplots(3, 1, sharex=True)
    for track in tracks:
        _curves(axes, track, recorder.seen.get(track.id))
    labels = ("confidence [0, 1]", "head pose [degrees]", "brightness of the face [0, 1]")
    for axis, label in zip(axes, labels, strict=True):
        axis.set_ylabel(label)
        axis.grid(alpha=0.3)
        if axis.lines:
            # Above the curves, not on them.
            place = {"loc": "lower right", "bbox_to_anchor": (1, 1), "borderaxespad": 0.1}
            axis.legend(fontsize=7, ncols=8, frameon=False, **place)
    axes[0].set_ylim(-0.05, 1.05)
    axes[-1].set_xlabel("frame")
    text = io.StringIO()
    FigureCanvasSVG(figure).print_svg(text)
    svg = text.getvalue()
    return svg[svg.index("<svg") :]


def _curves(axes: "Sequence[Axes]", track: Track, seen: Seen | None) -> None:
    step = -(-track.frames // SAMPLES)
    frames = np.arange(track.start, track.stop)[::step]
    (line,) = axes[0].plot(frames, track.confidence[::step], lw=1, label=f"track {track.id}")
    missed = np.flatnonzero(~track.seen)[:SAMPLES]
    if len(missed):
        label = f"{track.id}: missed"
        at = missed + track.start
        axes[0].plot(at, track.confidence[missed], "x", ms=4, color=line.get_color(), label=label)
    for i, (name, style) in enumerate((("yaw", "-"), ("pitch", "--"), ("roll", ":"))):
        label = f"{track.id}: {name}"
        axes[1].plot(
            frames, track.pose[::step, i], style, lw=1, color=line.get_color(), label=label
        )
    if seen is not None and seen.frames:
        thin = slice(None, None, -(-len(seen.frames) // SAMPLES))
        color = line.get_color()
        axes[2].plot(
            seen.frames[thin],
            seen.before[thin],
            ":",
            lw=1,
            color=color,
            label=f"{track.id}: before",
        )
        axes[2].plot(
            seen.frames[thin], seen.after[thin], "-", lw=1, color=color, label=f"{track.id}: after"
        )
