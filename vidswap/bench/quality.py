"""``vidswap bench quality``: any engine against the true swap, and against doing nothing well.

Everybody in the set is a procedural head that nobody trained on, so that the true swap is known.
Engines run through both passes of a run: from a video file and a photograph to a video file.
"""

import math
import tempfile
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from vidswap.bench.quality_methods import Method, methods
from vidswap.bench.quality_page import Gallery
from vidswap.bench.quality_score import EMBEDDER, Judge, mean
from vidswap.bench.quality_set import CLIPS, Case, cases, draw
from vidswap.run.atomic import write_json
from vidswap.run.job import writing
from vidswap.run.report import check_folder
from vidswap.synth.dataset import HELD_OUT

ALWAYS = ("mesh",)
"""Pipelines that are always measured."""

Watch = Callable[[str, int, int], None]


class Column(NamedTuple):
    """One figure of the table."""

    title: str
    form: str
    """How it is printed."""
    factor: float
    meaning: str


COLUMNS = {
    "missed": Column("missed %", ".0f", 100, "frames in which the engine swapped no face"),
    "lost": Column("lost %", ".0f", 100, "frames in whose result the landmarker finds no face"),
    "psnr": Column("PSNR", ".2f", 1, "dB against the true swap, where either shows the face"),
    "toned": Column("toned", ".2f", 1, "PSNR with mean and contrast of colours as in the truth"),
    "ssim": Column("SSIM", ".3f", 1, "structural similarity in the same place"),
    "distance": Column("dist", ".3f", 1, "features of the embedder, in place of LPIPS"),
    "to_source": Column("id src", ".3f", 1, "cosine to the source photograph"),
    "to_target": Column("id tgt", ".3f", 1, "cosine to the untouched frame"),
    "closer": Column("closer %", ".0f", 100, "frames closer to the source than to the target"),
    "pose": Column("pose °", ".2f", 1, "mean error of yaw, pitch and roll against the truth"),
    "expression": Column("expr %", ".1f", 100, "error of lip and lid gaps, by mouth and eye width"),
    "gaze": Column("gaze %", ".1f", 100, "error of the irises by eye width, eyes open"),
    "occluder": Column("occl %", ".1f", 100, "pixels of the occluder that are the target's"),
    "seam": Column(
        "seam %",
        ".2f",
        100,
        "colour step at the border of the change that neither truth nor target has",
    ),
    "flicker": Column("flicker", ".2f", 1, "relative to the true clip; 1 is right"),
    "jerk": Column("jerk", ".2f", 1, "of landmarks, relative to the true clip; 1 is right"),
    "jaw_correlation": Column("jaw r", ".2f", 1, "correlation with the true jaw"),
    "eyes_correlation": Column("lids r", ".2f", 1, "correlation with the true lids"),
    "seconds": Column("s/frame", ".3f", 1, "wall clock, analysis and rendering of clips"),
}


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured."""

    pairs: int = 16
    seconds: float = 2.0
    """Length of each of the three clips."""
    size: int = 256
    """Side of the frames, pixels."""
    pipelines: tuple[str, ...] = ()
    """Besides the copies and ``always``."""
    seed: int = HELD_OUT
    """Number of the first person."""
    clips: tuple[str, ...] = tuple(name for name, _, _ in CLIPS)
    always: tuple[str, ...] = ALWAYS
    report: Path | None = None
    """Folder for ``quality.html`` and ``quality.json``."""


def measure(plan: Plan, watch: Watch) -> dict[str, Any]:
    """Draw the set, run every method on it, and score the results.

    Args:
        plan: What to measure.
        watch: Told (stage, done, total).

    Returns:
        ``methods`` with their mean figures, ``cases`` with those of each, ready for JSON.

    Raises:
        RecipeError: No such pipeline, or a number out of range.
        WeightsError: Weights of an engine are not here.
        StateError: The report cannot be written.
    """
    if plan.report is not None:
        check_folder(plan.report)
    chosen = methods((*plan.always, *plan.pipelines))
    todo = cases(plan.pairs, plan.seconds, plan.size, plan.seed)
    todo = tuple(case for case in todo if case.still or case.name in plan.clips)
    gallery = Gallery()
    rows = []
    with tempfile.TemporaryDirectory(prefix="vidswap-quality-") as name, closing(Judge()) as judge:
        for done, case in enumerate(todo):
            watch("bench", done, len(todo))
            folder = Path(name) / f"{done}"
            folder.mkdir()
            rows.append(_measured(case, chosen, judge, gallery, folder))
        watch("bench", len(todo), len(todo))
        embedder = None if judge.embedder is None else EMBEDDER
    result: dict[str, Any] = {
        "pairs": plan.pairs,
        "clips": len(todo) - plan.pairs,
        "frames": sum(len(case.clip) for case in todo),
        "size": plan.size,
        "seed": plan.seed,
        "embedder": embedder,
        "figures": {
            name: {"title": column.title, "meaning": column.meaning}
            for name, column in COLUMNS.items()
        },
        "methods": {name: _total(rows, name) for name in chosen},
        "cases": rows,
    }
    if plan.report is not None:
        _write(plan.report, result, gallery)
    return result


def table(result: Mapping[str, Any]) -> str:
    """The result for eyes: one line for each method."""
    shown = {n: c for n, c in COLUMNS.items() if any(n in m for m in result["methods"].values())}
    wide = max(map(len, result["methods"]))
    lines = [
        f"{result['pairs']} pairs and {result['clips']} clips, {result['frames']} frames of "
        f"{result['size']} px; people from {result['seed']:,} on",
        " " * wide + "".join(f"{c.title:>{_width(c)}}" for c in shown.values()),
    ]
    for name, figures in result["methods"].items():
        cells = [f"{text(figures.get(n), c):>{_width(c)}}" for n, c in shown.items()]
        lines.append(f"{name:{wide}}" + "".join(cells))
    if result["embedder"] is None:
        lines.append(f"no embedder: {EMBEDDER} is not here, so nothing is said about identity")
    return "\n".join(lines)


def text(value: float | None, column: Column) -> str:
    """A figure as it is printed; a dash where there is none."""
    return "-" if value is None else f"{value * column.factor:{column.form}}"


def _width(column: Column) -> int:
    return max(len(column.title), 6) + 2


def _measured(
    case: Case, chosen: Mapping[str, Method], judge: Judge, gallery: Gallery, folder: Path
) -> dict[str, Any]:
    drawn = draw(case, folder)
    reference = judge.reference(drawn)
    figures, pictures = {}, {}
    for number, (name, method) in enumerate(chosen.items()):
        scratch = folder / f"method-{number}"
        scratch.mkdir()
        swapped = method(drawn, scratch)
        scored = judge.score(swapped, reference)
        figures[name] = {n: _plain(v) for n, v in scored.items()}
        pictures[name] = swapped.frames
    gallery.add(case.name, drawn, pictures, figures)
    return {"name": case.name, "frames": len(case.clip), "still": case.still, "methods": figures}


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return value
    return round(float(value), 5) if math.isfinite(value) else None


def _total(rows: list[dict[str, Any]], name: str) -> dict[str, float | None]:
    """Means over cases; times over clips alone, since a picture's is all start-up."""
    total = {}
    for figure in COLUMNS:
        own = [
            row["methods"][name].get(figure)
            for row in rows
            if not (figure == "seconds" and row["still"])
        ]
        total[figure] = _plain(mean([math.nan if v is None else v for v in own]))
    return {figure: value for figure, value in total.items() if value is not None}


def _write(folder: Path, result: Mapping[str, Any], gallery: Gallery) -> None:
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        page = gallery.page(table(result), {c.title: c.meaning for c in COLUMNS.values()})
        (folder / "quality.html").write_text(page, encoding="utf-8")
        write_json(folder / "quality.json", result)
