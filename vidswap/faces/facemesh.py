"""The face mesh as geometry: topology, canonical shape, UV layout, rigid fit, normals.

The 468 surface vertices of the landmarker are extended linearly to 542: a centre for each eye
opening, and two rings outside the face oval on which warps die out. ``scripts/build_facemesh.py``
builds the data file.
"""

from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from vidswap.checks import check_shape
from vidswap.types import F32, U8

SURFACE = 468
JAW = 1
"""Place of a jaw wide open among the moves of expressions."""
SKIN, EYE, MOUTH, RING, RIM = range(5)
"""Triangle labels: the face itself, the eye openings, the mouth opening, inner and outer ring."""

# Vertices that expression hardly moves, for rigid fits: forehead, temples, nose bridge and cheekbones.
RIGID = (
    10, 67, 297, 109, 338, 151, 9, 8, 168, 6, 197, 195, 5, 103, 332, 54, 284, 21, 251, 162, 389, 127, 356,
    234, 454, 116, 345, 111, 340, 117, 346, 33, 263, 133, 362, 122, 351, 196, 419, 3, 248, 143, 372,
)  # fmt: skip


@dataclass(frozen=True)
class FaceMesh:
    """Constant data of the mesh."""

    triangles: NDArray[np.int32]
    """(M, 3) vertex indices into the extended mesh, clockwise as seen by the camera."""
    labels: U8
    """(M,) SKIN, EYE, MOUTH, RING or RIM."""
    mirror: NDArray[np.int32]
    """(468,) index of each vertex's mirror image."""
    shape: F32
    """(468, 3) symmetric mean face, outer eye corners 1 apart, x right, y down, z away from the camera."""
    uv: F32
    """(542, 2) cylindrical layout in [0, 1], symmetric about u = 0.5."""
    weights: F32
    """(542, 468) extension of the surface."""
    oval: NDArray[np.int32]
    """(36,) the face oval."""

    @classmethod
    def load(cls) -> "FaceMesh":
        """Read the data file that is part of the package."""
        with (
            (files("vidswap") / "faces" / "facemesh.npz").open("rb") as file,
            np.load(file) as data,
        ):
            whole = {k: data[k].astype(np.int32) for k in ("triangles", "mirror", "oval")}
            return cls(
                labels=data["labels"], shape=data["shape"], uv=data["uv"],
                weights=data["weights"], **whole,
            )  # fmt: skip

    @cached_property
    def whole_shape(self) -> F32:
        """(542, 3) the mean face with what extends it."""
        return self.extend(self.shape)

    @cached_property
    def openings(self) -> tuple[NDArray[np.int32], ...]:
        """Triangles (n, 3) of both eyes, image-left first, and of the mouth."""
        eyes = np.split(np.flatnonzero(self.labels == EYE), 2)
        return tuple(self.triangles[part] for part in (*eyes, np.flatnonzero(self.labels == MOUTH)))

    def extend(self, mesh: F32) -> F32:
        """(V ≥ 468, D) landmarks → (542, D) vertices."""
        surface = mesh[:SURFACE].astype(np.float32)
        # What is added hangs on few vertices: a dense product costs more than the rest of a frame's geometry.
        return np.concatenate([surface, self._added @ surface])

    @cached_property
    def _added(self) -> sparse.csr_array:
        """(74, 468) weights of the vertices that are not the landmarker's."""
        return sparse.csr_array(self.weights[SURFACE:])

    @cached_property
    def rigid(self) -> F32:
        """(468,) weight of each vertex in a rigid fit."""
        weight = np.full(SURFACE, 0.02, np.float32)
        weight[list(RIGID)] = 1
        return weight / weight.sum()

    @cached_property
    def neighbours(self) -> NDArray[np.float32]:
        """(542, 542) row-normalised adjacency, for smoothing fields over the mesh."""
        link = np.zeros((len(self.uv), len(self.uv)), np.float32)
        for a, b in ((0, 1), (1, 2), (2, 0)):
            link[self.triangles[:, a], self.triangles[:, b]] = 1
            link[self.triangles[:, b], self.triangles[:, a]] = 1
        return link / np.maximum(link.sum(1, keepdims=True), 1)

    def spread(self, values: F32, steps: int) -> F32:
        """(542, D) vertex values averaged with their neighbours a few times."""
        for _ in range(steps):
            values = 0.5 * values + 0.5 * (self.neighbours @ values)
        return values.astype(np.float32)

    @cached_property
    def smile(self) -> F32:
        """(468, 3) canonical move of a broad smile, symmetric."""
        return _move("smile")

    @cached_property
    def jaw(self) -> F32:
        """(468, 3) canonical move of a jaw that hangs wide open, symmetric."""
        return _move("moves")[JAW]

    @cached_property
    def _corners(self) -> sparse.csr_array:
        """(542, M) ones where a vertex is a corner of a triangle that is no ring."""
        surface = np.flatnonzero(self.labels <= MOUTH)
        rows, columns = self.triangles[surface].ravel(), surface.repeat(3)
        ones = np.ones(len(rows), np.float32)
        return sparse.csr_array((ones, (rows, columns)), (len(self.uv), len(self.triangles)))

    def normals(self, vertices: F32) -> F32:
        """(542, 3) unit normals, z < 0 towards the camera."""
        # np.cross costs several times as much for so few triangles.
        first, second, third = vertices.T[:, self.triangles.T].transpose(1, 0, 2)
        (ax, ay, az), (bx, by, bz) = second - first, third - first
        face = np.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], 1)
        total = np.asarray(self._corners @ face, vertices.dtype)
        # The rings have no thickness of their own: they face where the oval does.
        ring = np.arange(len(self.uv) - 2 * len(self.oval), len(self.uv))
        total[ring] = np.tile(total[self.oval], (2, 1))
        # Corners run clockwise in the picture (y is down), so the cross product points away from the camera.
        return (-total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-9)).astype(
            np.float32
        )


def _move(name: str) -> F32:
    """Canonical moves of expressions (``scripts/build_expressions.py``)."""
    with (
        (files("vidswap") / "faces" / "expressions.npz").open("rb") as file,
        np.load(file) as data,
    ):
        return np.asarray(data[name], np.float32)


@dataclass(frozen=True)
class Pose:
    """``pixels = scale · rotation @ canonical + offset``."""

    scale: float
    """Pixels between the outer eye corners of the frontal face."""
    rotation: F32
    """(3, 3)"""
    offset: F32
    """(3,)"""


def fit_pose(shape: F32, mesh: F32, weight: F32) -> Pose:
    """Weighted similarity from a canonical shape to one frame's mesh (Umeyama 1991).

    Args:
        shape: (468, 3) canonical.
        mesh: (V ≥ 468, 3) pixels.
        weight: (468,) sums to 1.
    """
    target = mesh[:SURFACE].astype(np.float64)
    check_shape("V 3, V 3, V", shape=shape, mesh=target, weight=weight)
    w = weight[:, None].astype(np.float64)
    mean_s, mean_t = (w * shape).sum(0), (w * target).sum(0)
    a, b = shape - mean_s, target - mean_t
    # NumPy's solvers take a tenth of a millisecond each between other work, for nine numbers.
    singular, u, vt = cv2.SVDecomp((w * b).T @ a)
    sign = np.array([1, 1, np.sign(cv2.determinant(u @ vt))])
    rotation = (u * sign) @ vt
    scale = float((singular[:, 0] * sign).sum() / (w * a**2).sum())
    offset = mean_t - scale * rotation @ mean_s
    return Pose(scale, rotation.astype(np.float32), offset.astype(np.float32))


def frontalise(mesh: F32, pose: Pose) -> F32:
    """(V, 3) pixels → canonical units."""
    return ((mesh - pose.offset) @ pose.rotation / pose.scale).astype(np.float32)


@dataclass(frozen=True)
class Atlas:
    """The UV layout rasterised once at one size."""

    size: int
    triangle: NDArray[np.int32]
    """(S, S) index of the triangle at each texel, -1 outside."""
    corners: NDArray[np.int32]
    """(S, S, 3) vertices of that triangle (0 outside)."""
    barycentric: F32
    """(S, S, 3) weights of those vertices, 0 outside."""

    @classmethod
    def build(cls, mesh: FaceMesh, size: int) -> "Atlas":
        """Rasterise the layout at ``size`` × ``size`` texels."""
        points = mesh.uv * size - 0.5
        triangle = rasterise(points, mesh.triangles, (size, size), np.arange(len(mesh.triangles)))
        inside = triangle >= 0
        corners = mesh.triangles[np.maximum(triangle, 0)]
        yy, xx = np.mgrid[0:size, 0:size]
        table = affine(
            points, mesh.triangles, np.eye(3, dtype=np.float32)[None].repeat(len(mesh.triangles), 0)
        )
        coefficients = table[np.maximum(triangle, 0)]
        weights = (
            coefficients[..., 0] * xx[..., None]
            + coefficients[..., 1] * yy[..., None]
            + coefficients[..., 2]
        )
        weights = np.clip(weights, 0, 1)
        weights /= np.maximum(weights.sum(-1, keepdims=True), 1e-9)
        return cls(size, triangle, corners, (weights * inside[..., None]).astype(np.float32))

    def spread(self, values: F32) -> F32:
        """(542, D) vertex values → (S, S, D) texels, 0 outside."""
        texels = self._weights @ values[: self._weights.shape[1]]
        return texels.reshape(self.size, self.size, -1).astype(np.float32, copy=False)

    @cached_property
    def _weights(self) -> sparse.csr_array:
        """(S², 542) barycentric weights as a matrix, rows of nothing outside."""
        inside = (self.triangle >= 0).ravel()
        ends = np.r_[0, np.cumsum(3 * inside)]
        weights, corners = self.barycentric.reshape(-1, 3), self.corners.reshape(-1, 3)
        return sparse.csr_array(
            (weights[inside].ravel(), corners[inside].ravel(), ends),
            (self.size**2, int(self.corners.max()) + 1),
        )


def rasterise(
    points: F32, triangles: NDArray[np.int32], size: tuple[int, int], order: NDArray[np.int64]
) -> NDArray[np.int32]:
    """Painter's algorithm: the last triangle in ``order`` wins.

    Args:
        points: (N, 2) pixels.
        triangles: (M, 3) vertex indices.
        size: Height and width.
        order: Triangles to draw, farthest first.

    Returns:
        (H, W) triangle indices, -1 where nothing was drawn.
    """
    picture = np.full(size, -1, np.int32)
    x, y = points.T[:, triangles.T]
    across, down = x - x[[2, 0, 1]], y - y[[2, 0, 1]]
    twice = np.abs(across[0] * down[1] - across[1] * down[0])
    # OpenCV draws long spikes for triangles that are thinner than its fixed-point grid.
    thin = twice < 0.2 * np.sqrt((across * across + down * down).max(0))
    chosen = order[~thin[order]]
    fixed = np.round(points * 16).astype(np.int32)[triangles[chosen]]
    fill, line = cv2.fillConvexPoly, cv2.LINE_8
    for index, triangle in zip(chosen.tolist(), fixed, strict=True):
        fill(picture, triangle, index, line, 4)
    return picture


def affine(points: F32, triangles: NDArray[np.int32], values: F32) -> F32:
    """Planes through the corner values of each triangle.

    Args:
        points: (N, 2) pixels.
        triangles: (M, 3) vertex indices.
        values: (M, 3, D) value of each quantity at each corner.

    Returns:
        (M, D, 3) such that ``value = a x + b y + c``; constant for triangles without area.
    """
    return np.ascontiguousarray(
        planes(points, triangles, values.transpose(2, 1, 0)).transpose(2, 1, 0)
    )


def planes(points: F32, triangles: NDArray[np.int32], values: F32) -> F32:
    """``affine`` with triangles last, as a whole frame's arithmetic is quicker on long rows.

    Args:
        points: (N, 2) pixels.
        triangles: (M, 3) vertex indices.
        values: (D, 3, M) value of each quantity at each corner.

    Returns:
        (3, D, M).
    """
    x, y = points.astype(np.float64).T[:, triangles.T]
    first, second, third = values.transpose(1, 0, 2)
    (x1, y1), (x2, y2) = (x[1] - x[0], y[1] - y[0]), (x[2] - x[0], y[2] - y[0])
    det = x1 * y2 - y1 * x2
    flat = np.abs(det) < 1e-3
    inverse = np.where(flat, 0, 1 / np.where(flat, 1, det))
    v1, v2 = second - first, third - first
    table = np.empty((3, *first.shape), np.float32)
    table[0] = a = (v1 * y2 - v2 * y1) * inverse
    table[1] = b = (v2 * x1 - v1 * x2) * inverse
    table[2] = first - a * x[0] - b * y[0]
    return table
