"""``--commercial``: what the weights of a run permit, checked before anything is read."""

import re
from pathlib import Path

from vidswap.faces.scrfd import find_model
from vidswap.recipe import Recipe, engine_weights
from vidswap.weights.manifest import Manifest, catalogue, get, require_commercial

LANDMARKER = "face-landmarker"
"""MediaPipe's models: its wheel carries them, and every clip needs them."""
PACK = "insightface-pack"


def check_commercial(recipe: Recipe) -> None:
    """Refuse a run whose weights may not be used commercially.

    Raises:
        WeightsError: Naming the weights, their licence and why.
    """
    embedder = find_model("recognition")
    hint = "choose an engine or weights without them, or leave out --commercial"
    if embedder is not None:
        hint += f"; an embedder on disk is always used, so move {embedder} away"
    require_commercial(weights_in_use(recipe), hint)


def weights_in_use(recipe: Recipe) -> list[Manifest]:
    """Manifests of all weights that a run of this recipe reads.

    Landmarks, and by default detection, are MediaPipe's. An InsightFace model counts as detector
    where the recipe asks for it, and as embedder wherever one is on disk: pass one then embeds every
    face. An engine's own weights are those that its section of the recipe names.

    Raises:
        WeightsError: A manifest of the user's own is invalid, or the recipe names unknown weights.
    """
    detector = find_model("detection") if recipe.detect.name == "scrfd" else None
    models = (detector, find_model("recognition"))
    found = [get(LANDMARKER), *(_pack_of(path) for path in models if path is not None)]
    found += [get(name) for name in engine_weights(recipe).values()]
    return list({manifest.name: manifest for manifest in found}.values())


def _pack_of(model: Path) -> Manifest:
    """The manifest of the pack whose folder holds a model; a strict one where none is known."""
    known = catalogue().get(model.parent.name)
    if known is not None and known.arch == PACK:
        return known
    return Manifest(
        name=re.sub(r"[^a-z0-9._-]", "-", model.stem.lower()).strip("._-")[:64] or "unnamed",
        summary=f"InsightFace model {model}",
        arch=PACK,
        file="unknown",
        format="onnx",
        licence="unknown",
        commercial=False,
        commercial_reason=f"{model} belongs to no pack with a manifest, and InsightFace limits its "
        "own models to non-commercial research",
        source="unknown",
    )
