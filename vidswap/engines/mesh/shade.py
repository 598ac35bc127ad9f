"""Shadows in a photograph: the lit half of the face lends its skin."""

import cv2
import numpy as np

from vidswap.engines.mesh.regions import depth_inside, features, polygon, smoothstep
from vidswap.faces.vertices import BROWS, EYES
from vidswap.types import F32

SIZE = 256
"""Side of the layout on which shadows are looked for."""
LIFT = 0.03
"""Added before the logarithm, in [0, 1]."""
SLACK = 0.05
"""Log difference of a half from the mean of both that is modelling, not shadow."""
DETAIL = 0.02
"""Standard deviation of what counts as detail, in layout units."""
LIGHTER, CLEANER = 0.4, 0.65
"""How much of a shadow and of the detail in it the lit side replaces. All of it would leave the face
as flat as its lit side: by whatever light a person is known, its modelling is part of the likeness."""


def clean_shadows(texture: F32, trust: F32) -> F32:
    """Give skin in shadow a share of the mirrored lit side.

    Another light turns a hard shadow into a stain, and its pixels hold grain and compression more than
    skin. Faces are nearly symmetric, so what is darker than its mirror image takes a part of that.
    Brows and eyes keep their own detail, a little lighter, as they are what is least alike.

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
    own = np.max([polygon(p, size, 0.012) for p in (*EYES, *BROWS)], 0).astype(np.float32) / 255
    own = cv2.GaussianBlur(own, (0, 0), 0.008 * size)
    # The edge of a shadow goes with it: a little beyond where it is dark.
    reach = cv2.dilate(smoothstep(0.08, 0.25, dark), np.ones((7, 7), np.uint8))
    fill = cv2.resize(cv2.GaussianBlur(reach, (0, 0), 2.5), (size, size))
    fill = (fill * (1 - own))[..., None]
    gain = cv2.resize(cv2.GaussianBlur(dark, (0, 0), 6), (size, size))
    logs = np.log(texture + LIFT).astype(np.float32)
    slow = cv2.GaussianBlur(logs, (0, 0), DETAIL * size)
    fine = logs - slow
    change = LIGHTER * (slow[:, ::-1] - slow) + CLEANER * (fine[:, ::-1] - fine)
    logs += fill * change + LIGHTER * (own * gain)[..., None]
    result: F32 = np.clip(np.exp(logs) - LIFT, 0, 1)
    return result.astype(np.float32)


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
