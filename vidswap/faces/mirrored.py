"""Landmarks that do not depend on which side of a face is left.

The network answers otherwise to a mirrored face: points of one and the same photograph lie about a hundredth
of the eye distance apart. The mean of both answers has no side.
"""

import numpy as np

from vidswap.faces.facemesh import FaceMesh
from vidswap.faces.landmarks import Landmarker, Landmarks, Region
from vidswap.types import F32, U8

IRISES = (473, 476, 475, 474, 477, 468, 471, 470, 469, 472)
"""Where the landmarks of both irises go in a mirror: their centre, then the rim."""


def mirrored_mesh(mesh: F32, width: int, model: FaceMesh) -> F32:
    """(478, 3) landmarks of a picture → those of its mirror image, each under the name that it has there.

    Args:
        mesh: (478, 3) pixels.
        width: Of the picture, pixels.
        model: The mesh's constants.
    """
    out = mesh[np.r_[model.mirror, IRISES]].copy()
    out[:, 0] = width - 1 - out[:, 0]
    return out


def both_ways(
    landmarker: Landmarker, rgb: U8, region: Region, samples: int, model: FaceMesh
) -> Landmarks | None:
    """Landmarks from a picture and from its mirror image, averaged.

    Args:
        landmarker: The network.
        rgb: (H, W, 3) picture.
        region: Where the face is, pixels of ``rgb``.
        samples: Passes over each, up to 8.
        model: The mesh's constants.

    Returns:
        None where either shows no face. Score and spread are the less sure ones.
    """
    width = rgb.shape[1]
    there = region._replace(x=width - 1 - region.x, angle=-region.angle)
    first = landmarker.mesh(rgb, region, samples)
    second = landmarker.mesh(np.ascontiguousarray(rgb[:, ::-1]), there, samples)
    if first is None or second is None:
        return None
    mesh = (first.mesh + mirrored_mesh(second.mesh, width, model)) / 2
    return Landmarks(mesh, min(first.score, second.score), max(first.spread, second.spread))
