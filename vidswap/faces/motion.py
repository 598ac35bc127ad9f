"""What moves a face's latent codes: head angles and expression measures, from the mesh.

The measures are those of speech, gaze and mimicry in the head's own frame, so that turning the head
does not change them. Source: the landmark groups of MediaPipe's face mesh; eye aspect ratio after
Soukupová and Čech, Real-Time Eye Blink Detection using Facial Landmarks, 2016.
"""

import numpy as np

from vidswap.faces.pose import PoseFit, euler, eye_opening, mouth_opening
from vidswap.types import F32, F64

ANGLES = 2
"""Leading columns that are head angles: yaw and pitch. Crops are upright, so roll moves nothing."""
_CORNERS, _LIPS, _BASE, _BROWS, _LIDS = (61, 291), (13, 14), (2, 152), (105, 334), (159, 386)
_IRIS = ((468, 33, 133), (473, 362, 263))


def motion(meshes: F32, fit: PoseFit) -> F64:
    """Head angles and expression of meshes.

    Args:
        meshes: (T, 478, 3) pixels.
        fit: Gives the head's attitude.

    Returns:
        (T, 15): yaw and pitch in degrees; then lengths in units between the outer eye corners:
        mouth opening and width, both corners' height, upper and lower lip, lips forward, mouth
        sideways; both eyes' opening, both brows' height, gaze across.
    """
    rotation = fit.rotations(meshes)
    head = np.asarray(meshes, np.float64) @ rotation
    head -= head[:, [33, 263]].mean(1, keepdims=True)
    head /= np.maximum(np.linalg.norm(head[:, 33] - head[:, 263], axis=-1), 1e-6)[:, None, None]
    lips = head[:, _LIPS].mean(1)
    corners = head[:, _CORNERS]
    across = [
        (head[:, iris, 0] - head[:, [a, b], 0].mean(1)) / np.abs(head[:, a, 0] - head[:, b, 0])
        for iris, a, b in _IRIS
    ]
    columns = [
        *euler(rotation)[:, :ANGLES].T,
        mouth_opening(meshes),
        corners[:, 1, 0] - corners[:, 0, 0],
        *(corners[:, :, 1] - lips[:, None, 1]).T,
        head[:, _LIPS[0], 1] - head[:, _BASE[0], 1],
        head[:, _BASE[1], 1] - head[:, _LIPS[1], 1],
        lips[:, 2],
        corners[:, :, 0].mean(1),
        *eye_opening(meshes).T,
        *(head[:, _LIDS, 1] - head[:, _BROWS, 1]).T,
        np.mean(across, 0),
    ]
    return np.stack([np.asarray(c, np.float64) for c in columns], -1)
