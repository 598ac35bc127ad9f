"""Poses, projection and crops.

Normalised camera coordinates are ±1 at the top and bottom edge of the picture and ±W/H at its sides.
"""

from dataclasses import dataclass

import numpy as np

from vidswap.ops.ffhq import Window
from vidswap.synth.jit import jit
from vidswap.synth.params import Pose
from vidswap.types import F32, F64

PIVOT = np.array([0.0, 0.25, 0.95])
"""About which a head turns: the top of the spine."""
MIDDLE = np.array([0.0, -0.1, 0.35])
"""The point of a level head that lies at the pose's x, y and distance."""


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """Which part of the camera's plane a picture shows."""

    matrix: F64
    """(2, 3) from normalised camera coordinates to pixels."""
    width: int
    height: int

    @property
    def scale(self) -> float:
        """Pixels per normalised unit."""
        return float(np.hypot(self.matrix[0, 0], self.matrix[1, 0]))


def field_view(width: int, height: int) -> View:
    """The camera's whole field."""
    half = height / 2
    return View(np.array([[half, 0, width / 2 - 0.5], [0, half, height / 2 - 0.5]]), width, height)


def crop_view(crop: Window, size: int) -> View:
    """A square crop.

    Args:
        crop: Its window, in normalised camera coordinates.
        size: Side, pixels.
    """
    matrix = np.stack([crop.x / (crop.x @ crop.x), crop.y / (crop.y @ crop.y)]) * (size / 2)
    offset = size / 2 - 0.5 - matrix @ crop.centre
    return View(np.concatenate([matrix, offset[:, None]], 1), size, size)


def rotation(yaw: float, pitch: float, roll: float) -> F64:
    """(3, 3) ``Rz(roll) Ry(−yaw) Rx(−pitch)``, degrees; x right, y down, z away from the camera."""
    a, b, c = np.radians([-yaw, -pitch, roll])
    ry = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    rx = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    rz = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    turn: F64 = rz @ ry @ rx
    return turn


def direction(azimuth: float, elevation: float) -> F64:
    """(3,) unit vector towards something, degrees; azimuth > 0 is the image's right, 0 the camera."""
    a, e = np.radians([azimuth, elevation])
    return np.array([np.sin(a) * np.cos(e), -np.sin(e), -np.cos(a) * np.cos(e)])


def place(points: F64, pose: Pose, turn: F64) -> F64:
    """(V, 3) points of a head, turned and put before the camera."""
    placed: F64 = transform(points - PIVOT, turn)
    return placed + (PIVOT - MIDDLE + np.array([pose.x, pose.y, pose.distance]))


def transform(points: F64, turn: F64) -> F64:
    """(V, 3) turned by (3, 3), in an order of additions that no thread count changes."""
    x, y, z = points[:, :1], points[:, 1:2], points[:, 2:]
    return np.asarray(x * turn[:, 0] + y * turn[:, 1] + z * turn[:, 2], np.float64)


def focal(pose: Pose) -> float:
    """Normalised camera units of one unit at depth 1."""
    return 2 * pose.distance / pose.field_height


def project(points: F64, pose: Pose) -> F64:
    """(V, 2) normalised camera coordinates of (V, 3) points before the camera."""
    depth = points[:, 2:]
    flat: F64 = points[:, :2] / depth * focal(pose)
    return flat


@jit
def onto(points: F32, focal: float, matrix: F64, samples: int, out: F32) -> None:
    """Points before the camera as the rasteriser takes them: :func:`project` and :func:`to_pixels`.

    Args:
        points: (V, 3)
        focal: Normalised units at depth 1.
        matrix: (2, 3) of a view.
        samples: Per pixel along each side.
        out: (V, 3) x and y in samples, 1 / depth; drawn into.
    """
    for v in range(points.shape[0]):
        deep = np.float64(points[v, 2])
        x, y = points[v, 0] / deep * focal, points[v, 1] / deep * focal
        for k in range(2):
            pixel = x * matrix[k, 0] + y * matrix[k, 1] + matrix[k, 2]
            out[v, k] = pixel * samples + (samples - 1) / 2
        out[v, 2] = np.float32(1) / points[v, 2]


def to_pixels(points: F64, view: View) -> F64:
    """(V, 2) normalised coordinates to pixels."""
    m = view.matrix
    x, y = points.T
    return np.stack([x * row[0] + y * row[1] + row[2] for row in m], 1)
