"""Shadows in a photograph: the lit half of the face lends its skin."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vidswap.engines.mesh.regions import depth_inside, features, polygon, smoothstep
from vidswap.faces.vertices import BROWS, EYES
from vidswap.types import F32

SIZE = 256
"""Side of the layout on which shadows are looked for."""
LIFT = 0.03
"""Added before the logarithm, in [0, 1]."""
SLACK = 0.05
"""Log difference of a half from the mean of both that is modelling, not shadow."""
BROW_ENDS = 0.05
"""How far around brows, in layout units, fine detail is not taken from the mirror image."""
DETAIL = 0.02
"""Standard deviation of what counts as detail, in layout units."""
LIGHTER, CLEANER = 0.4, 0.65
"""How much of a shadow and of the detail in it the lit side replaces. All of it would leave the face
as flat as its lit side: by whatever light a person is known, its modelling is part of the likeness."""

ODD = slice(1, 4)
"""Terms of the quadratic in the normal that change their sign in a mirror."""
ODD_LIMIT = 0.9
"""Most that is taken off, in log brightness."""


def clean_shadows(texture: F32, trust: F32) -> F32:
    """Give skin in shadow a share of the mirrored lit side.

    Another light turns a hard shadow into a stain, and its pixels hold grain and compression more than
    skin. Faces are nearly symmetric, so what is darker than its mirror image takes a part of that.
    Brows and eyes keep their own detail, a little lighter, as they are what is least alike; so does the
    skin around brows, where the tail of one would be a second tail of the other.

    Args:
        texture: (S, S, 3) in [0, 1].
        trust: (S, S) in [0, 1], how well each texel was seen.

    Returns:
        (S, S, 3) in [0, 1].
    """
    size = len(texture)
    small = cv2.resize(texture, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    seen = cv2.resize(trust, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    dark = _shadow(small, seen)
    own = _soft((*EYES, *BROWS), size, 0.012)
    tails = _soft(BROWS, size, BROW_ENDS)[..., None]
    # The edge of a shadow goes with it: a little beyond where it is dark.
    reach = cv2.dilate(smoothstep(0.08, 0.25, dark), np.ones((7, 7), np.uint8))
    fill = cv2.resize(cv2.GaussianBlur(reach, (0, 0), 2.5), (size, size))
    fill = (fill * (1 - own))[..., None]
    gain = cv2.resize(cv2.GaussianBlur(dark, (0, 0), 6), (size, size))
    logs = np.log(texture + LIFT).astype(np.float32)
    slow = cv2.GaussianBlur(logs, (0, 0), DETAIL * size)
    fine = logs - slow
    change = LIGHTER * (slow[:, ::-1] - slow) + CLEANER * (1 - tails) * (fine[:, ::-1] - fine)
    logs += fill * change + LIGHTER * (own * gain)[..., None]
    result: F32 = np.clip(np.exp(logs) - LIFT, 0, 1)
    return result.astype(np.float32)


def _soft(parts: Sequence[tuple[int, ...]], size: int, grow: float) -> F32:
    """(S, S) 1 on some features and as far around them, soft at the edges."""
    inside = np.max([polygon(p, size, grow) for p in parts], 0).astype(np.float32) / 255
    return cv2.GaussianBlur(inside, (0, 0), 0.008 * size)


def even_light(texture: F32, weight: F32, normals: F32, share: float) -> F32:
    """Take off a share of what a light from one side does to a face, as far as the surface's slant explains it.

    The log brightness of the skin is fitted as a quadratic of the normal, as the irradiance of any distant
    light nearly is one (Ramamoorthi, Hanrahan 2001). Of it, the part that a mirrored face would see the
    other way round is taken off. A half that is then filled from its mirror image does not bring the
    shadows of the other side with it, where no fit to two halves could tell them from a dark skin.

    Args:
        texture: (S, S, 3) in [0, 1].
        weight: (S, S) in [0, 1], where skin was seen.
        normals: (S, S, 3) canonical unit normals.
        share: [0, 1] of its brightness, and twice that of its colour. A person is known by the light
            of a photo too: no more than is needed.

    Returns:
        (S, S, 3) in [0, 1].
    """
    size = len(texture)
    fit = (SIZE // 2, SIZE // 2)
    small = cv2.resize(texture, fit, interpolation=cv2.INTER_AREA).reshape(-1, 3)
    seen = cv2.resize(weight * (1 - features(size, 0.02)), fit, interpolation=cv2.INTER_AREA)
    facing = cv2.resize(normals, fit, interpolation=cv2.INTER_AREA).reshape(-1, 3)
    chosen = np.flatnonzero(seen.ravel() > 0.3)
    if share <= 0 or len(chosen) < 200:
        return texture
    design, skin = quadratic(facing[chosen]), seen.ravel()[chosen]
    wanted = np.log(small[chosen] + LIFT).astype(np.float64)
    rest = np.zeros(len(chosen))
    for _ in range(5):
        # Moustaches, hair and cast shadows are no matter of slant.
        robust = skin / (1 + (rest / 0.25) ** 4)
        shading = fit_quadratic(design, robust, wanted, float(skin.sum()))
        rest = (wanted - design @ shading).mean(1)
    odd = quadratic(normals.reshape(-1, 3))[:, ODD] @ shading[ODD]
    odd = np.clip(odd, -ODD_LIMIT, ODD_LIMIT).reshape(size, size, 3)
    luma = odd.mean(-1, keepdims=True)
    # Nobody is known by the colour of a shadow.
    change = share * luma + min(2 * share, 1.0) * (odd - luma)
    result: F32 = np.clip(np.exp(np.log(texture + LIFT) - change) - LIFT, 0, 1)
    return result.astype(np.float32)


def quadratic(n: F32) -> NDArray[np.float64]:
    """(N, 9) terms of normals (N, 3): see ``ODD``."""
    x, y, z = n.astype(np.float64).T
    return np.stack([np.ones_like(x), x, x * y, x * z, y, z, y * y, y * z, z * z], 1)


def fit_quadratic(
    design: NDArray[np.float64],
    weight: NDArray[np.floating[Any]],
    wanted: NDArray[np.float64],
    total: float,
) -> NDArray[np.float64]:
    """(9, C) coefficients of ``quadratic`` that explain some values, by weighted ridge regression.

    Args:
        design: (N, 9) terms.
        weight: (N,) of each sample.
        wanted: (N, C) values.
        total: Sum of the weights before any was doubted, by which the ridge grows.
    """
    ridge = np.diag([1e-4, 1e-3, *[0.01] * 7]) * total
    weighted = design.T * weight
    found: NDArray[np.float64] = np.linalg.solve(weighted @ design + ridge, weighted @ wanted)
    return found


def _shadow(texture: F32, trust: F32) -> F32:
    """(256, 256) log brightness that each cell lacks against its mirror image, 0 where it is the lit one."""
    luma = np.log(texture.mean(-1) + LIFT).astype(np.float32)
    pair = (np.minimum(trust, trust[:, ::-1]) * (depth_inside(SIZE) > 0.01)).astype(np.float32)
    marks = features(SIZE, 0.015)
    skin = pair * (1 - np.maximum(marks, marks[:, ::-1]))
    odd = (luma[:, ::-1] - luma) / 2 * (skin > 0.02)
    # Continued under the features from the skin around them.
    near = cv2.GaussianBlur(odd * skin, (0, 0), 6) / (cv2.GaussianBlur(skin, (0, 0), 6) + 1e-3)
    odd = np.where(skin > 0.5, odd, near).astype(np.float32)
    odd = cv2.bilateralFilter(odd, -1, 0.2, 0.012 * SIZE)
    known = smoothstep(0.02, 0.3, cv2.GaussianBlur(pair, (0, 0), 3))
    return cv2.GaussianBlur(2 * np.maximum(odd - SLACK, 0) * known, (0, 0), 1.2)
