"""Noise in a photograph's shadows: the lit half of the face lends its detail."""

import cv2
import numpy as np

from vidswap.engines.mesh.regions import depth_inside, features, polygon, smoothstep
from vidswap.types import F32

NOSE = (168, 6, 193, 417, 122, 351, 129, 358, 98, 327, 2, 48, 278, 64, 294)
SIZE = 256
"""Side of the layout on which shadows are looked for."""
LIFT = 0.03
"""Added before the logarithm, in [0, 1]."""
SLACK = 0.05
"""Log difference of a half from the mean of both that is modelling, not shadow."""
DETAIL = 0.02
"""Standard deviation of what counts as detail, in layout units."""


def clean_shadows(texture: F32, trust: F32) -> F32:
    """Give skin in shadow the mirrored detail of the lit side.

    A shadow's pixels hold grain and compression more than skin; brought up to another light they turn
    into dirt. Faces are nearly symmetric, so what is darker than its mirror image takes the mirror
    image's detail. The shading itself stays (``relight`` decides on it), and so do eyes, brows and lips;
    the nose keeps half of its own, as its edges carry the likeness.

    Args:
        texture: (S, S, 3) in [0, 1].
        trust: (S, S) in [0, 1], how well each texel was seen.

    Returns:
        (S, S, 3) in [0, 1].
    """
    size = len(texture)
    small = cv2.resize(texture, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    seen = cv2.resize(trust, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    dark = cv2.resize(_shadow(small, seen), (size, size), interpolation=cv2.INTER_LINEAR)
    mark = cv2.GaussianBlur(features(size, 0.012), (0, 0), 0.008 * size)
    fill = (smoothstep(0.1, 0.35, dark) * (1 - mark))[..., None]
    logs = np.log(texture + LIFT).astype(np.float32)
    fine = logs - cv2.GaussianBlur(logs, (0, 0), DETAIL * size)
    result: F32 = np.clip(np.exp(logs + fill * (fine[:, ::-1] - fine)) - LIFT, 0, 1)
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
    nose = polygon(NOSE, SIZE, 0.015).astype(np.float32) / 255
    odd *= 1 - 0.5 * cv2.GaussianBlur(nose, (0, 0), 4)
    known = smoothstep(0.02, 0.3, cv2.GaussianBlur(pair, (0, 0), 3))
    return cv2.GaussianBlur(2 * np.maximum(odd - SLACK, 0) * known, (0, 0), 1.2)
