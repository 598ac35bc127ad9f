"""The expression model that is part of the package, and shapes for it."""

from functools import lru_cache
from importlib.resources import files

import numpy as np

from vidswap.faces.facemesh import SURFACE, FaceMesh, fit_pose, frontalise
from vidswap.metrics.expression import ExpressionModel
from vidswap.types import F32


@lru_cache(maxsize=1)
def expression_model() -> ExpressionModel:
    """Read from ``expressions.npz`` (``scripts/build_expressions.py``)."""
    with (
        (files("vidswap") / "faces" / "expressions.npz").open("rb") as file,
        np.load(file) as data,
    ):
        return ExpressionModel(*(data[k].astype(np.float32) for k in ("mean", "people", "moves")))


def canonical_shapes(meshes: F32, mesh: FaceMesh) -> F32:
    """(T, V ≥ 468, 3) pixels → (T, 468, 3) canonical, each by a rigid fit of its own."""
    surface = np.asarray(meshes, np.float32)[:, :SURFACE]
    return np.stack([frontalise(m, fit_pose(mesh.shape, m, mesh.rigid)) for m in surface])
