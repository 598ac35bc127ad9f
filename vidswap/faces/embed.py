"""Identity vectors, when an ArcFace model is on disk. Never downloads."""

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from vidswap.errors import WeightsError
from vidswap.faces.scrfd import find_model, missing, open_model
from vidswap.ops.geometry import similarity
from vidswap.types import F32, U8

SIDE = 112
# Where ArcFace's published alignment puts eyes, nose and mouth corners (Deng 2019, arXiv 1801.07698).
TEMPLATE = np.array(
    [
        [38.2946, 51.6963],
        [73.5318, 51.5014],
        [56.0252, 71.7366],
        [41.5493, 92.3655],
        [70.7299, 92.2041],
    ]
)
EYES = ((33, 133), (362, 263))
NOSE, MOUTH = 1, (61, 291)
SAME_PERSON = 0.42
"""Cosine from which two vectors are the same person."""


def five_points(mesh: F32) -> F32:
    """(5, 2) eyes, nose tip and mouth corners of a (478, 3) mesh, image-left first."""
    xy = mesh[:, :2]
    eyes = [xy[list(pair)].mean(0) for pair in EYES]
    five: F32 = np.stack([*eyes, xy[NOSE], xy[MOUTH[0]], xy[MOUTH[1]]]).astype(np.float32)
    return five


class Embedder:
    """ArcFace of an InsightFace pack.

    Raises:
        WeightsError: No model is on disk; says how to get one.
    """

    def __init__(self, path: Path | None = None, model: Any = None) -> None:
        if model is None:
            path = path or find_model("recognition")
            if path is None:
                raise missing("recognition", "recognising a person")
            model = open_model("recognition", path)
        self._model = model

    def embed(self, rgb: U8, points: F32) -> F32:
        """Identity of one face.

        Args:
            rgb: (H, W, 3) picture.
            points: (5, 2) as ``five_points`` gives, pixels of ``rgb``.

        Returns:
            (512,) unit vector.
        """
        to_crop = similarity(points.astype(np.float64), TEMPLATE)
        crop = cv2.warpAffine(rgb, to_crop, (SIDE, SIDE), flags=cv2.INTER_LINEAR)
        # InsightFace expects OpenCV's order of channels.
        vector = np.asarray(self._model.get_feat(crop[..., ::-1]), np.float32).ravel()
        size = float(np.linalg.norm(vector))
        if not np.isfinite(size) or size == 0:
            raise WeightsError("the embedder gave no vector: the model is damaged", stage="embed")
        return vector / np.float32(size)


def recogniser() -> Callable[[U8, F32], F32]:
    """(picture, mesh) → (512,) identity.

    Raises:
        WeightsError: No model is on disk; says how to get one, or to use indices instead.
    """
    path = find_model("recognition")
    if path is None:
        error = missing("recognition", "recognising a reference photograph")
        hint = f"{error.hint}; or use the indices that vidswap inspect prints"
        raise WeightsError(error.message, stage="cast", hint=hint)
    embedder = Embedder(path)
    return lambda rgb, mesh: embedder.embed(rgb, five_points(mesh))


def open_embedder() -> Embedder | None:
    """The embedder if its model is on disk, else None."""
    path = find_model("recognition")
    return None if path is None else Embedder(path)


def embedder_digest() -> str:
    """Digest of the model on disk, empty where there is none."""
    path = find_model("recognition")
    if path is None:
        return ""
    total = sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            total.update(block)
    return f"arcface-{total.hexdigest()[:16]}"


def cluster(vectors: list[F32 | None], same: float = SAME_PERSON) -> list[int]:
    """Group tracks by person: average linkage on cosines.

    Args:
        vectors: (512,) unit vectors; None is a person of its own.
        same: Cosine from which groups are merged.

    Returns:
        Group number of each, numbered by first appearance.
    """
    known = [i for i, vector in enumerate(vectors) if vector is not None]
    labels = [-1 - i for i in range(len(vectors))]
    if len(known) > 1:
        # A third of a second to load, and most runs have no embedder.
        from scipy.cluster.hierarchy import fcluster, linkage
        from scipy.spatial.distance import pdist

        rows = np.stack([v for v in vectors if v is not None]).astype(np.float64)
        # Average linkage never merges at a smaller distance than before, so cutting the tree at a
        # height gives what merging one after another up to it would.
        tree = linkage(pdist(rows, "cosine"), "average")
        for i, label in zip(known, fcluster(tree, 1 - same, "distance"), strict=True):
            labels[i] = int(label)
    numbers = {label: k for k, label in enumerate(dict.fromkeys(labels))}
    return [numbers[label] for label in labels]
