"""``--dry-run``: how large a training is and about how long it would take here."""

import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from vidswap.train.data import no_pictures, open_data
from vidswap.train.loop import probe_steps
from vidswap.train.options import TrainRecipe

WARM, TIMED = 1, 3


def estimate(recipe: TrainRecipe, out: Path) -> dict[str, Any]:
    """Run a few steps in a temporary folder and extrapolate.

    Args:
        recipe: The training.
        out: Where it would go; only looked at.

    Raises:
        VidswapError: What the training itself would raise before its first step.
    """
    with tempfile.TemporaryDirectory() as scratch:
        began = time.monotonic()
        small = replace(recipe.data, count=min(recipe.data.count, 2 * recipe.loop.batch))
        drawn = recipe.method.name == "latentswap" and not recipe.method.encoder
        data = no_pictures() if drawn else open_data(small, Path(scratch))
        opened = time.monotonic() - began
        timing = probe_steps(replace(recipe, data=small), Path(scratch), WARM, TIMED)
    pictures = recipe.loop.steps * recipe.loop.batch
    length = recipe.data.count if recipe.data.path == "synthetic" else len(data)
    return {
        "pictures": length,
        "parameters": timing.parameters,
        "seconds_for_reading_data": round(opened * length / len(data), 1),
        "seconds_per_step": round(timing.seconds, 4),
        "pictures_per_second": round(recipe.loop.batch / timing.seconds, 1),
        "hours": round(recipe.loop.steps * timing.seconds / 3600, 2),
        "epochs": round(pictures / length, 1),
        "out_exists": out.exists(),
    }
