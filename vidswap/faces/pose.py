"""Head pose from the mesh, and openings of eyes and mouth."""

import numpy as np

from vidswap.faces.facemesh import SURFACE, FaceMesh
from vidswap.types import F32, F64


class PoseFit:
    """Yaw, pitch and roll from a rigid fit of the symmetric mean face.

    Weighted orthogonal Procrustes (Umeyama 1991) on vertices that expression hardly moves, in the
    landmarker's own three dimensions. The mean face is symmetric, so a frontal face has no yaw
    whoever it belongs to; what "level" means is the mean face's own attitude.
    """

    def __init__(self, mesh: FaceMesh | None = None) -> None:
        data = mesh or FaceMesh.load()
        self._weight = data.rigid.astype(np.float64)
        shape = data.shape.astype(np.float64)
        self._shape = shape - self._weight @ shape

    def angles(self, meshes: F32) -> F32:
        """Yaw, pitch and roll.

        Args:
            meshes: (..., V ≥ 468, 3) pixels.

        Returns:
            (..., 3) degrees; signs as in ``vidswap.types``.
        """
        return euler(self.rotations(meshes))

    def rotations(self, meshes: F32) -> F64:
        """(..., 3, 3) rotations from the mean face to the picture's axes."""
        points = np.asarray(meshes, np.float64)[..., :SURFACE, :]
        centred = points - np.einsum("v,...vd->...d", self._weight, points)[..., None, :]
        cross = np.einsum("v,...vi,vj->...ij", self._weight, centred, self._shape)
        u, _, vt = np.linalg.svd(cross)
        flip = np.ones((*cross.shape[:-2], 3))
        flip[..., 2] = np.sign(np.linalg.det(u @ vt))
        rotation: F64 = (u * flip[..., None, :]) @ vt
        return rotation


def euler(rotation: F64) -> F32:
    """Angles of ``R = Rz(roll) Ry(−yaw) Rx(−pitch)`` with x right, y down, z away from the camera.

    Args:
        rotation: (..., 3, 3)

    Returns:
        (..., 3) yaw, pitch, roll in degrees.
    """
    yaw = np.arcsin(np.clip(rotation[..., 2, 0], -1, 1))
    pitch = -np.arctan2(rotation[..., 2, 1], rotation[..., 2, 2])
    roll = np.arctan2(rotation[..., 1, 0], rotation[..., 0, 0])
    angles: F32 = np.degrees(np.stack([yaw, pitch, roll], -1)).astype(np.float32)
    return angles


def mouth_opening(meshes: F32) -> F32:
    """(...,) gap between the inner lips by the width of the mouth; about 0 when closed."""
    return _ratio(meshes, ((13, 14), (82, 87), (312, 317)), (61, 291))


def eye_opening(meshes: F32) -> F32:
    """(..., 2) lid gap by eye width, image-left eye first; about .3 open, below .15 closed."""
    left = _ratio(meshes, ((160, 144), (158, 153)), (33, 133))
    right = _ratio(meshes, ((385, 380), (387, 373)), (362, 263))
    return np.stack([left, right], -1)


def _ratio(meshes: F32, gaps: tuple[tuple[int, int], ...], width: tuple[int, int]) -> F32:
    def length(pair: tuple[int, int]) -> F32:
        gap: F32 = np.linalg.norm(meshes[..., pair[0], :] - meshes[..., pair[1], :], axis=-1)
        return gap

    ratio: F32 = np.mean([length(g) for g in gaps], 0) / np.maximum(length(width), 1e-6)
    return ratio
