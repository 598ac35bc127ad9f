"""What ``bench quality`` compares: engines as users run them, and two copies that swap nothing well."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from vidswap import recipe as recipes
from vidswap.bench.quality_set import Drawn, read
from vidswap.engines.crops import outline
from vidswap.errors import NoFaceError
from vidswap.faces.embed import five_points
from vidswap.ops.geometry import similarity
from vidswap.recipe import EncodeOptions, Recipe
from vidswap.run.prepare import engine_of
from vidswap.run.request import Request
from vidswap.run.swap import swap
from vidswap.types import F32, F64, U8

TRUTH, TARGET, SOURCE = "truth", "copy target", "paste source"
EDGE = 1.5
"""Standard deviation of a pasted source's edge, pixels."""


@dataclass(frozen=True, slots=True, eq=False)
class Swapped:
    """What a method made of a case."""

    frames: U8
    """(T, H, W, 3)"""
    missed: float = 0.0
    """Share of frames in which it swapped no face, [0, 1]."""
    seconds: float | None = None
    """Wall-clock time of analysis and rendering for each frame, without the loading of networks."""


Method = Callable[[Drawn, Path], Swapped]
"""(case, scratch folder) → result."""


def methods(pipelines: tuple[str, ...]) -> dict[str, Method]:
    """Everything that is compared, by name: the truth, the copies, then engines.

    Args:
        pipelines: Names or files of recipes.

    Raises:
        RecipeError: No such pipeline.
        WeightsError: An engine's weights are not here.
    """
    found: dict[str, Method] = {TRUTH: _truth, TARGET: _copy, SOURCE: _paste}
    for name in dict.fromkeys(pipelines):
        recipe = recipes.load(name)
        engine_of(Request(Path(name), recipe))
        label = Path(name).stem if name.endswith(".toml") else name
        while label in found:
            label += "'"
        found[label] = pipeline(recipe)
    return found


def pipeline(recipe: Recipe) -> Method:
    """A recipe as a method; its result is not spoilt by an encoder."""
    return _Engine(replace(recipe, encode=EncodeOptions(codec="ffv1")))


def _truth(drawn: Drawn, _: Path) -> Swapped:
    return Swapped(drawn.truth)


def _copy(drawn: Drawn, _: Path) -> Swapped:
    return Swapped(drawn.target)


def _paste(drawn: Drawn, _: Path) -> Swapped:
    """The source photo's inner face, laid on the target's five points; those are known exactly."""
    shape = outline(drawn.source.mesh)
    mask = np.zeros(drawn.source.labels.shape, np.float32)
    cv2.fillConvexPoly(mask, np.round(shape * 16).astype(np.int32), 1.0, cv2.LINE_AA, 4)
    frames = [
        _pasted(frame, drawn.source.rgb, mask, similarity(_five(drawn.source.mesh), _five(mesh)))
        for frame, mesh in zip(drawn.target, drawn.target_mesh, strict=True)
    ]
    return Swapped(np.stack(frames))


def _five(mesh: F32) -> F64:
    return five_points(mesh).astype(np.float64)


def _pasted(frame: U8, photo: U8, mask: F32, matrix: F64) -> U8:
    size = frame.shape[1], frame.shape[0]
    scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    # Photographs are larger than faces in frames: blurred first, so that they do not alias.
    sigma = 0.5 * np.sqrt(max(1 / scale**2 - 1, 0.0))
    soft = photo if sigma < 0.3 else cv2.GaussianBlur(photo, (0, 0), float(sigma))
    laid = cv2.warpAffine(soft, matrix, size, flags=cv2.INTER_LINEAR).astype(np.float32)
    weight = cv2.warpAffine(mask, matrix, size, flags=cv2.INTER_LINEAR)
    weight = cv2.GaussianBlur(weight, (0, 0), EDGE)[..., None]
    return np.asarray(np.rint(frame + weight * (laid - frame)), np.uint8)


@dataclass(frozen=True, slots=True)
class _Engine:
    """A pipeline through both passes, from a video file and a photograph to a video file."""

    recipe: Recipe

    def __call__(self, drawn: Drawn, folder: Path) -> Swapped:
        request = Request(
            drawn.path,
            self.recipe,
            (drawn.photo,),
            output=folder / "swapped.mkv",
            work=folder / "work",
            overwrite=True,
            allow_no_face=True,
        )
        try:
            facts = swap(request)
        except NoFaceError:  # in the photograph; in the clip it is allowed
            return Swapped(drawn.target, missed=1.0)
        count = len(drawn.target)
        missed = max(count - int(facts["swapped"]), 0) / count
        return Swapped(read(folder / "swapped.mkv"), missed, facts["seconds"]["total"] / count)
