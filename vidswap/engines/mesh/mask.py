"""Which texels of an unwrapped face are skin, and which are hair, hats, glasses' temples or background."""

import cv2
import numpy as np

from vidswap.engines.mesh.regions import CORE, depth_inside, features, polygon
from vidswap.faces.vertices import BROWS, EYES, LIPS_OUTER
from vidswap.types import F32, U8

SIZE = 256
FADE, SHORT = (0.012, 0.042), (0.006, 0.026)
"""From the border of the skin, in layout units, where it begins and is whole; and about brows, whose tails end
at hair: half of another's would be seen there."""


def skin_mask(texture: U8, weight: U8, room: float = 0.03) -> F32:
    """Soft validity of each texel by GrabCut on the layout (Rother 2004, OpenCV's).

    Surely face: cheeks, nose, chin and the features, as far as their colour is near the median
    skin. Surely not: what lies well outside the oval in the upper half, where hair is.

    Args:
        texture: (256, 256, 3) unwrapped face.
        weight: (256, 256) how well each texel was seen.
        room: How far around the brows hair beside them is no reason to end the face, in layout units.

    Returns:
        (256, 256) in [0, 1], soft at its border.
    """
    lab = cv2.cvtColor(texture, cv2.COLOR_RGB2LAB).astype(np.float32)
    core = (polygon(CORE, SIZE) > 0) & (weight > 60) & (features(SIZE) < 0.5)
    if core.sum() < 200:
        return (weight > 60).astype(np.float32) * (depth_inside(SIZE) > 0)
    middle = np.median(lab[core], 0)
    spread = 1.4826 * np.median(np.abs(lab[core] - middle), 0) + [6.0, 2.5, 2.5]
    distance = np.sqrt((((lab - middle) / spread) ** 2).mean(-1))
    inside = depth_inside(SIZE)
    labels = np.full((SIZE, SIZE), cv2.GC_PR_BGD, np.uint8)
    labels[inside > 0] = cv2.GC_PR_FGD
    rows = np.arange(SIZE)[:, None]
    marked = _marked() > 0.5
    labels[(inside > 0) & (inside < 0.08) & (distance > 3.0)] = cv2.GC_PR_BGD
    labels[(inside > 0) & (inside < 0.2) & (rows < SIZE * 0.45) & (distance > 1.8) & ~marked] = (
        cv2.GC_PR_BGD
    )
    # Skin goes on above the oval under a high hairline: only what looks different is surely not face.
    labels[(inside == 0) & (rows < SIZE * 0.55) & (distance > 2.2)] = cv2.GC_BGD
    labels[(inside == 0) & (distance > 3.5)] = cv2.GC_BGD
    labels[(inside > 0.03) & (distance < 1.0)] = cv2.GC_FGD
    labels[core & (distance < 2.2)] = cv2.GC_FGD
    parts = np.max([polygon(p, SIZE) for p in (*EYES, LIPS_OUTER)], 0)
    labels[parts > 0] = cv2.GC_FGD
    picture = np.ascontiguousarray(lab.astype(np.uint8))
    rng_state = 7  # cv2's k-means start draws from its global generator: fix it, so that runs agree
    cv2.setRNGSeed(rng_state)
    background, foreground = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(picture, labels, None, background, foreground, 2, cv2.GC_INIT_WITH_MASK)
    face = ((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)).astype(np.uint8)
    return _tidy(face, inside, room) * _no_strands(distance.astype(np.float32), inside)


def _marked() -> F32:
    """(256, 256) 1 where dark lines are lashes, eyeliner and brows, not strands of hair."""
    eyes = np.max([polygon(eye, SIZE, 0.05) for eye in EYES], 0).astype(np.float32) / 255
    return np.maximum(features(SIZE, 0.02), eyes)


def _tidy(face: U8, inside: F32, room: float) -> F32:
    """One piece, brows and lids filled in, specks gone, border soft."""
    brows = np.max([polygon(p, SIZE, 0.012) for p in BROWS], 0) > 0
    lips = polygon(LIPS_OUTER, SIZE, 0.04)
    lids = np.max([lips, *(polygon(p, SIZE, 0.06) for p in EYES)], 0) > 0
    face[brows | lids] = 1
    round5 = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (7, 7))
    face = cv2.morphologyEx(face, cv2.MORPH_OPEN, round5)
    face = cv2.morphologyEx(
        face, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (13, 13))
    )
    face[brows | lids] = 1
    count, parts = cv2.connectedComponents(face)
    if count > 2:
        centre = parts[polygon(CORE, SIZE) > 0]
        face = (parts == np.bincount(centre[centre > 0]).argmax()).astype(np.uint8)
    # Holes inside the outline are moles, freckles and highlights, never hair.
    contours, _ = cv2.findContours(face, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = np.zeros_like(face)
    cv2.drawContours(filled, contours, -1, 1, cv2.FILLED)
    filled[inside <= 0] = 0
    depth = cv2.distanceTransform(filled, cv2.DIST_L2, 5) / SIZE
    soft, short = (np.clip((depth - low) / (high - low), 0, 1) for low, high in (FADE, SHORT))
    # Where it is hair and not the oval that ends the face, keep a wider berth: fringes are translucent.
    hair = ((filled == 0) & (inside > 0.015)).astype(np.uint8)
    away = cv2.distanceTransform(1 - hair, cv2.DIST_L2, 5) / SIZE
    berth = np.clip((away - 0.045) / 0.07, 0, 1)
    # Softly: a fringe may begin right above the brows. But brows stand higher at times, and must not show.
    core = np.max([polygon(p, SIZE, room) for p in BROWS], 0) > 0
    wings = np.max([polygon(p, SIZE, 0.065) for p in EYES], 0) > 0
    eyes = cv2.GaussianBlur((core | lids | wings).astype(np.float32), (0, 0), 3)
    soft += cv2.GaussianBlur(core.astype(np.float32), (0, 0), 3) * (short - soft)
    return np.minimum(soft, np.maximum(berth, eyes)).astype(np.float32)


def _no_strands(distance: F32, inside: F32) -> F32:
    """Single hairs and wisps near the outline: thin, and unlike the skin around them."""
    slow = cv2.GaussianBlur(distance, (0, 0), 6)
    odd = np.clip((distance - slow - 0.8) / 1.2, 0, 1) + np.clip((distance - 3.2) / 1.5, 0, 1)
    near = np.clip((0.2 - inside) / 0.06, 0, 1) * (1 - _marked())
    bad = cv2.dilate((np.clip(odd, 0, 1) * near).astype(np.float32), np.ones((5, 5), np.uint8))
    return np.clip(1 - 1.2 * cv2.GaussianBlur(bad, (0, 0), 1.5), 0, 1).astype(np.float32)
