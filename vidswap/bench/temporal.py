"""How steady swapped clips are next to their own truth, with and without smoothing.

Two figures, each relative to the true clip, and of each only what lies beyond the truth: a soft face
flickers less than a sharp one, which is no merit of the smoothing.

- *Flicker* is that of ``vidswap.metrics.temporal`` on crops of 64 pixels, the size at which the small
  networks draw; what is finer is the target's own.
- *Jerk* is that of the face's place, the mean of points that neither speech nor blinks move. Single
  landmarks shake more on a sharp face than on a soft one, whatever the swap does.
"""

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np

from vidswap import recipe as recipes
from vidswap.bench.quality_methods import Method, pipeline
from vidswap.bench.quality_score import Judge, Looked, Reference, masks, mean
from vidswap.bench.quality_set import draw, talking
from vidswap.engines.crops import as_float
from vidswap.metrics.temporal import flicker, jerk, ratio
from vidswap.ops.windows import STABLE
from vidswap.synth.dataset import HELD_OUT
from vidswap.train.quality import Row
from vidswap.types import F32, F64

PIPELINE = "latentswap-demo"
SIDE = 64
"""Side of the crops in which flicker is looked for, pixels."""
FIRST = HELD_OUT + 600_000
"""Number of the first person; ``bench quality`` has others."""
SHARE = 0.5
"""Of the excess that may be left by smoothing."""

Progress = Callable[[str, int, int], None]


def rows(
    clips: int = 2, seconds: float = 1.6, size: int = 256, progress: Progress | None = None
) -> list[Row]:
    """Swap talking clips with and without smoothing and compare both with the truth.

    Args:
        clips: Pairs of people.
        seconds: Length of each, about a blink.
        size: Side of the frames, pixels.
        progress: Told (stage, done, total).

    Raises:
        WeightsError: The small networks are not here.
    """
    usual = recipes.load(PIPELINE)
    plain = replace(usual, smooth=replace(usual.smooth, method="none"))
    methods = {"smoothed": pipeline(usual), "not smoothed": pipeline(plain)}
    found: dict[str, list[dict[str, float]]] = {name: [] for name in methods}
    with closing(Judge()) as judge:
        for number in range(clips):
            if progress is not None:
                progress("clips", number, clips)
            case = talking(FIRST + 2 * number, seconds, size)
            with TemporaryDirectory(prefix="vidswap-temporal-") as name:
                drawn = draw(case, Path(name))
                reference = judge.reference(drawn)
                for label, method in methods.items():
                    scratch = Path(name) / label
                    scratch.mkdir()
                    found[label].append(figures(judge, method, reference, scratch))
    return table_rows(found["smoothed"], found["not smoothed"])


def table_rows(smoothed: list[dict[str, float]], rough: list[dict[str, float]]) -> list[Row]:
    """Lines of the table of ``vidswap train measure``.

    Args:
        smoothed: ``figures`` of each clip.
        rough: The same without smoothing.
    """
    closer = mean([f["closer"] for f in smoothed])
    what = "swapped clips"
    lines = [
        Row(what, "frames closer to source than to target", closer, "≥ .85", closer >= 0.85),
        Row(what, "correlation with the true jaw", mean([f["jaw"] for f in smoothed]), "", True),
        Row(what, "correlation with the true lids", mean([f["lids"] for f in smoothed]), "", True),
    ]
    for name in ("flicker", "jerk"):
        left, whole = (excess([f[name] for f in side]) for side in (smoothed, rough))
        halved = left <= SHARE * whole
        lines += [
            Row(what, f"{name} beyond the true clip's, smoothed", left, "≤ half", halved),
            Row(what, f"{name} beyond the true clip's, not smoothed", whole, "", True),
        ]
    return lines


def excess(ratios: list[float]) -> float:
    """Mean of what lies beyond the truth, whose ratio is 1."""
    return mean([max(r - 1.0, 0.0) for r in ratios])


def figures(judge: Judge, method: Method, reference: Reference, scratch: Path) -> dict[str, float]:
    """Figures of one clip: ``flicker`` and ``jerk`` relative to the truth, ``closer``, ``jaw``, ``lids``.

    Args:
        judge: Looks.
        method: Swaps.
        reference: The clip.
        scratch: An empty folder.
    """
    swapped = method(reference.drawn, scratch)
    looked = judge.look(swapped.frames, reference.drawn)
    scored = judge.seen(looked, reference)
    weights, seconds = masks(reference.drawn, SIDE), reference.drawn.seconds
    return {
        "flicker": ratio(
            flicker(_small(looked), weights), flicker(_small(reference.truth), weights)
        ),
        "jerk": ratio(jerk(_place(looked), seconds), jerk(_place(reference.truth), seconds)),
        "closer": scored.get("closer", np.nan),
        "jaw": scored.get("jaw_correlation", np.nan),
        "lids": scored.get("eyes_correlation", np.nan),
    }


def _small(looked: Looked) -> F32:
    """(T, S, S, 3) crops at the size of the small networks."""
    return np.stack(
        [cv2.resize(as_float(c), (SIDE, SIDE), interpolation=cv2.INTER_AREA) for c in looked.crops]
    ).astype(np.float32)


def _place(looked: Looked) -> F64:
    """(T, 2) pixels; frames without a face are filled in."""
    points = looked.filled()[:, list(STABLE), :2].astype(np.float64)
    return np.asarray(points.mean(1))
