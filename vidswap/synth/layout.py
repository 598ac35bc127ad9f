"""What the meshes of all heads with the same parts share, and how their vertices are placed."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vidswap.synth import parts
from vidswap.synth.anatomy import cage
from vidswap.synth.hair import down
from vidswap.synth.jit import jit
from vidswap.synth.parts import Shape, grid
from vidswap.types import F32, F64

FIXED = -1.0
"""Instead of a share: moves with the camera."""


class Layout(NamedTuple):
    """Triangles of a list of parts; shared between meshes, so never written to."""

    triangles: NDArray[np.int32]
    """(M, 3)"""
    material: NDArray[np.int32]
    """(M,)"""
    casting: NDArray[np.int32]
    """(M', 3) triangles that cast shadows."""
    attributes: F32
    """(V, 4) of :class:`vidswap.synth.shading.Mesh`, but for the hairline's distance."""
    trunk: F64
    """(V,) how far each vertex moves with the trunk instead of the head, [0, 1], or ``FIXED``."""


@lru_cache(maxsize=32)
def layout(shapes: tuple[Shape, ...]) -> Layout:
    """Join parts."""
    data = cage()
    triangles, material, extra, trunk, base = [], [], [], [], 0
    for shape in shapes:
        skin = shape.rows == 0
        count = len(data.rest) if skin else shape.rows * shape.columns
        topology = data.triangles if skin else grid(shape.rows, shape.columns, shape.closed)
        triangles.append(topology + base)
        material.append(data.parts if skin else np.full(len(topology), shape.material, np.int32))
        extra.append(_extra(shape, count))
        trunk.append(_share(shape, extra[-1]))
        base += count
    joined, of = np.concatenate(triangles).astype(np.int32), np.concatenate(material)
    attributes = np.zeros((base, 4), np.float32)
    attributes[: len(data.rest), 0], attributes[: len(data.rest), 1] = data.liner, data.lips
    attributes[:, 3] = np.concatenate(extra)
    # Clothes receive shadows and cast none: at the collar they would only make ragged edges.
    return Layout(joined, of, joined[of != parts.CLOTH], attributes, np.concatenate(trunk))


def _extra(shape: Shape, count: int) -> F64:
    """(V,) 0 at the neck's and the hair's upper end, 1 at the lower."""
    if shape.material == parts.NECK:
        return np.repeat(np.linspace(0, 1, shape.rows), shape.columns)
    if shape.material == parts.HAIR:
        return np.repeat(down(), shape.columns)
    return np.zeros(count)


def _share(shape: Shape, extra: F64) -> F64:
    if shape.material == parts.NECK:
        share: F64 = np.clip(extra * 1.5 - 0.25, 0, 1)
        return share
    if shape.material in (parts.HAND, parts.MIC):
        return np.full(len(extra), FIXED)
    return np.full(len(extra), float(shape.material == parts.CLOTH))


@jit
def settle(
    points: F64, trunk: F64, motions: tuple[F64, F64], shifts: tuple[F64, F64], out: F32
) -> None:
    """Put a head before the camera.

    Args:
        points: (V, 3)
        trunk: (V,) from the layout.
        motions: (4, 3) rotation and pivot of the head, and of the trunk.
        shifts: (3,) from the pivot's own coordinates to the camera's, and of what is ``FIXED``.
        out: (V, 3) drawn into.
    """
    head, body = motions
    moved, fixed = shifts
    for v in range(points.shape[0]):
        share = trunk[v]
        x, y, z = points[v, 0] - head[3, 0], points[v, 1] - head[3, 1], points[v, 2] - head[3, 2]
        for k in range(3):
            if share < 0:
                out[v, k] = points[v, k] + fixed[k]
                continue
            place = 0.0
            if share < 1:
                above = x * head[k, 0] + y * head[k, 1] + z * head[k, 2] + moved[k]
                place += above * (1 - share)
            if share > 0:
                below = x * body[k, 0] + y * body[k, 1] + z * body[k, 2] + moved[k]
                place += below * share
            out[v, k] = place


@jit
def along(points: F32, axes: F64, out: F32) -> None:
    """(V, 3) coordinates of (V, 3) points along the rows of (3, 4) axes, offsets last."""
    for v in range(points.shape[0]):
        x, y, z = points[v, 0], points[v, 1], points[v, 2]
        for k in range(3):
            out[v, k] = x * axes[k, 0] + y * axes[k, 1] + z * axes[k, 2] + axes[k, 3]
