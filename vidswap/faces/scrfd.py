"""SCRFD, the detector of InsightFace's packs, when a pack is on disk. Never downloads.

Guo 2021, arXiv 2105.04714. The packs carry a licence of their own (non-commercial research).
"""

import os
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from vidswap.errors import WeightsError
from vidswap.faces.landmarks import crop
from vidswap.faces.tiling import SUPPRESS, Wanted, everywhere, tiles
from vidswap.ops.geometry import keep_best
from vidswap.paths import weights_dir
from vidswap.recipe import DetectOptions
from vidswap.types import U8, Box, Face

INPUT = 640
TILE_MIN_FACE = 0.02
"""Faces below this share of a 640-pixel input are looked for on tiles."""


def find_model(kind: str) -> Path | None:
    """An InsightFace model on disk: ``detection`` or ``recognition``; the largest pack first.

    Looked for in ``$VIDSWAP_WEIGHTS/insightface``, ``$INSIGHTFACE_HOME/models`` and
    ``~/.insightface/models``, in folders of packs or by itself.
    """
    patterns = {
        "detection": ("det_10g*", "scrfd*", "det_*"),
        "recognition": ("w600k*", "glint*", "*arcface*"),
    }
    home = Path(os.environ.get("INSIGHTFACE_HOME", "~/.insightface")).expanduser()
    for folder in (weights_dir() / "insightface", home / "models"):
        for pattern in patterns[kind]:
            if found := sorted(folder.glob(f"**/{pattern}.onnx")):
                return found[0]
    return None


def missing(kind: str, wanted_for: str) -> WeightsError:
    """The error for a pack that is not there, with the way to get it."""
    folder = weights_dir() / "insightface"
    hint = (
        "vidswap weights fetch buffalo_l (non-commercial licence), or unpack a pack of your own "
        f"into {folder}"
    )
    message = f"{wanted_for} needs an InsightFace {kind} model, and none is on disk"
    return WeightsError(message, stage="detect", hint=hint)


def open_model(kind: str, path: Path) -> Any:
    """Load one model on the CPU.

    Raises:
        WeightsError: InsightFace cannot read the file.
    """
    try:
        from insightface.model_zoo import get_model

        model = get_model(str(path), providers=["CPUExecutionProvider"])
    # onnxruntime's errors share no base class short of Exception.
    except Exception as error:
        raise WeightsError(f"InsightFace cannot load it: {error}", path=path) from error
    if model is None:
        raise WeightsError(f"not an InsightFace {kind} model", path=path)
    return model


def scrfd_digest() -> str:
    """Digest of the detector on disk.

    Raises:
        WeightsError: No pack is on disk; says how to get one.
    """
    path = find_model("detection")
    if path is None:
        raise missing("detection", "--detector scrfd")
    return f"scrfd-{sha256(path.read_bytes()).hexdigest()[:16]}"


class ScrfdDetector:
    """SCRFD on the whole picture at 640 pixels, and on tiles where small faces are wanted.

    Raises:
        WeightsError: No pack is on disk; says how to get one.
    """

    name = "scrfd"

    def __init__(self, options: DetectOptions) -> None:
        path = find_model("detection")
        if path is None:
            raise missing("detection", "--detector scrfd")
        self._options = options
        self._model = open_model("detection", path)
        self._model.prepare(-1, input_size=(INPUT, INPUT), det_thresh=options.min_score)

    def detect(
        self, rgb: U8, wanted: Wanted = everywhere, smallest: float | None = None
    ) -> list[Face]:
        """Search the whole picture, then tiles if the smallest face is too small for that."""
        height, width = rgb.shape[:2]
        found = self._run(rgb, 0, 0)
        least = self._options.min_face if smallest is None else smallest
        if least < TILE_MIN_FACE * max(width, height):
            for box in filter(wanted, tiles(width, height, least * 0.08 / TILE_MIN_FACE)):
                found += self._run(crop(rgb, *box), box.left, box.top)
        return self._best(found)

    def glance(self, rgb: U8) -> list[Face]:
        """Search the whole picture at 640 pixels."""
        return self._best(self._run(rgb, 0, 0))

    def near(self, rgb: U8, box: Box) -> list[Face]:
        """Search one square."""
        return self._best(self._run(crop(rgb, *box), box.left, box.top))

    def close(self) -> None:
        """Nothing to release."""

    def _run(self, rgb: U8, left: int, top: int) -> list[Face]:
        # InsightFace expects OpenCV's order of channels.
        boxes, points = self._model.detect(np.ascontiguousarray(rgb[..., ::-1]))
        origin = np.array([left, top], np.float32)
        return [
            Face(
                (box[:4].reshape(2, 2) + origin).ravel().astype(np.float32),
                (five + origin).astype(np.float32),
                float(box[4]),
            )
            for box, five in zip(boxes, points, strict=True)
        ]

    def _best(self, found: list[Face]) -> list[Face]:
        if not found:
            return []
        boxes, scores = np.stack([f.box for f in found]), np.array([f.score for f in found])
        kept = keep_best(boxes, scores, SUPPRESS)
        return [found[i] for i in kept[: self._options.max_faces]]
