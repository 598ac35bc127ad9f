"""Hair that hangs into a photographed face and has nearly the colour of its skin."""

import cv2
import numpy as np

from vidswap.engines.mesh.regions import CORE, depth_inside, features, polygon, smoothstep
from vidswap.engines.mesh.shade import LIFT, fit_quadratic, quadratic
from vidswap.faces.vertices import BROWS, EYES, LIPS_OUTER
from vidswap.types import F32, U8, Bool

SIZE = 256
INNER = (168, 6, 197, 4, 50, 280, 101, 330, 205, 425, 187, 411)
"""Nose and the cheeks beside it, where no hair hangs: what looks like it there is a cast shadow."""
INNER_BROWS = (105, 66, 107, 55, 65, 52), (334, 296, 336, 285, 295, 282)
"""Brows without their tails, which hair may cover."""
DARK = 0.2
"""Log brightness by which hair beside a brow has to be darker than that, to be drawn as a part of it unseen."""
CHIN = (18, 200, 199, 175, 32, 262)
"""Below the lower lip, where a beard shows first."""
SHADED = 0.08
"""Share of the inner face that may look like hair: with more, the light is too hard to tell."""
BEARDED = 0.3
"""Share of the chin from which on it bears a beard, and what is dark beside the mouth is one, too."""
MOUTH = 0.6
"""Height in the layout below which a beard may grow."""
AROUND = 0.06
"""How far around the lips a moustache grows, in layout units; beyond it a cheek's hair may hang."""
JAW = 0.28, 0.7
"""Half width, and where it begins, of chin and jaw in the layout."""
EDGE, GAP = 2.5, 5
"""Times the usual scatter that may be the edge of hair, and texels: narrower ways through it are none."""
BERTH = 13
"""Texels: half as many around hair go with it, as its edge is translucent and throws a shadow."""
FADE = -0.035, 0.02
"""Distances from there, in layout units, over which a source ends: amid a cheek, at once would be a seam."""
FAINT, SURE = 3.0, 4.5
"""Times the usual scatter of the skin from which a texel is hair that joins other hair, and hair by itself."""
OUTER = 0.05
"""How far inside the oval hair comes in, in layout units."""
LEAST = np.array([0.06, 0.035, 0.035], np.float64)
"""Least scatter that is taken for usual, log brightness and both colours: skin has pores and grain."""
COLOURS = np.array([[1 / 3, 1 / 3, 1 / 3], [1, -0.5, -0.5], [0, 1, -1]])
"""Log red, green and blue to brightness, redness and yellowness."""
ROUNDS = 8
"""Of the robust fit."""


def hair(texture: U8, weight: U8, normals: F32) -> F32:
    """Where hair covers a face, by how far its colour lies from what the light makes of the skin.

    A global model of the skin's colour has to allow for all its shading, and warm light on fair hair
    lies within that. Here shading is explained first: log colours are fitted as quadratics of the
    normal (Ramamoorthi, Hanrahan 2001), robustly; what is far from the fit and joins the outline is hair.

    Args:
        texture: (256, 256, 3) unwrapped face.
        weight: (256, 256) how well each texel was seen.
        normals: (256, 256, 3) canonical unit normals.

    Returns:
        (256, 256) in [0, 1]; nothing where a hard shadow looks like hair.
    """
    nothing = np.zeros((SIZE, SIZE), np.float32)
    inside, marks = depth_inside(SIZE), features(SIZE, 0.03)
    skin = (inside > OUTER) & (weight > 90) & (marks < 0.5)
    core = skin & (polygon(CORE, SIZE) > 0)
    if core.sum() < 200:
        return nothing
    odd = cv2.GaussianBlur(_oddness(texture, normals, skin, core), (0, 0), 1.2)
    inner, chin = (skin & (polygon(part, SIZE) > 0) for part in (INNER, CHIN))
    if np.mean(odd[inner] > FAINT) > SHADED:
        return nothing
    kept = _kept()
    room = (weight > 0) & ~kept & ~_jaw()
    if np.mean(odd[chin] > FAINT) > BEARDED:
        room[round(MOUTH * SIZE) :] = False
    beyond = ~_reached(odd < EDGE, inner) & room
    found = _joined(beyond, (odd > SURE) & (inside < OUTER), 8)
    wide = cv2.dilate(found.astype(np.uint8), _ball(BERTH))
    wide[kept | _brows(texture, found)] = 0
    return smoothstep(0.15, 0.6, cv2.GaussianBlur(wide.astype(np.float32), (0, 0), 2.5))


def trusted(covered: F32, begins: float, whole: float) -> F32:
    """How far a photo's skin is trusted beside its hair: it ends softly, but for brows, eyes and lips.

    Args:
        covered: (256, 256) from ``hair``.
        begins: Trust from which on a texel is drawn, [0, 1].
        whole: And at which it is drawn in full.

    Returns:
        (256, 256) in [0, 1].
    """
    if covered.max() < 0.5:
        return 1 - covered
    out = (covered < 0.5).astype(np.uint8)
    away, deep = (
        cv2.distanceTransform(v, cv2.DIST_L2, 5) / np.float32(SIZE) for v in (out, 1 - out)
    )
    ramp = smoothstep(*FADE, away - deep)
    soft = np.where(ramp < 1, begins + (whole - begins) * ramp, np.float32(1)) * (ramp > 0)
    trust = np.where(features(SIZE, 0.005) > 0.5, 1 - covered, soft)
    return np.asarray(cv2.GaussianBlur(trust.astype(np.float32), (0, 0), 1.5))


def _kept() -> Bool:
    """(256, 256) what is dark without being hair of the head: brows, lashes, and all around the mouth."""
    brows = np.max([polygon(p, SIZE, 0.02) for p in INNER_BROWS], 0)
    eyes = np.max([polygon(p, SIZE, 0.02) for p in EYES], 0)
    return np.asarray(np.maximum(np.maximum(brows, eyes), polygon(LIPS_OUTER, SIZE, AROUND)) > 0)


def _brows(texture: U8, found: Bool) -> Bool:
    """(256, 256) brows whose tails stay whole: dark hair only carries them on, fair hair covers them."""
    luma = np.log(texture.mean(-1) + 255 * LIFT)
    kept = np.zeros((SIZE, SIZE), bool)
    for whole, inner in zip(BROWS, INNER_BROWS, strict=True):
        near = (polygon(whole, SIZE, 0.06) > 0) & found
        brow = luma[polygon(inner, SIZE) > 0]
        if near.any() and np.median(luma[near]) < np.percentile(brow, 25) - DARK:
            kept |= polygon(whole, SIZE, 0.01) > 0
    return kept


def _jaw() -> Bool:
    """(256, 256) chin and jaw, which no hair crosses: a neck's shadow ends there."""
    place = (np.arange(SIZE) + 0.5) / SIZE
    return np.asarray((place[:, None] > JAW[1]) & (np.abs(place - 0.5) < JAW[0])[None])


def _oddness(texture: U8, normals: F32, skin: Bool, core: Bool) -> F32:
    """(256, 256) distance from the skin's shading, in times its usual scatter."""
    logs = np.log(texture.reshape(-1, 3) / 255 + LIFT) @ COLOURS.T
    design = quadratic(normals.reshape(-1, 3))
    chosen = np.flatnonzero(skin)
    sure = core.ravel()[chosen]
    wanted, known = logs[chosen], design[chosen]
    trust = np.where(sure, 1.0, 0.35)
    rest, usual = np.zeros_like(wanted), LEAST
    bound = 3 * usual
    for _ in range(ROUNDS):
        robust = trust / (1 + ((rest / bound) ** 2).sum(1) ** 2)
        shading = fit_quadratic(known, robust, wanted, len(chosen))
        rest = wanted - known @ shading
        usual = np.maximum(1.4826 * np.median(np.abs(rest[sure]), 0), LEAST)
        bound = 2.5 * usual
    far = np.sqrt((((logs - design @ shading) / usual) ** 2).mean(1))
    return np.asarray(far.reshape(SIZE, SIZE), np.float32)


def _reached(free: Bool, seed: Bool) -> Bool:
    """What can be reached from the seed over free texels, through gaps of some width only.

    A strand is often odd at its edge alone: what lies behind that is hair as well.
    """
    marks = np.max([polygon(p, SIZE, 0.01) for p in (*INNER_BROWS, *EYES, LIPS_OUTER)], 0) > 0
    inner = cv2.erode((free | marks).astype(np.uint8), _ball(GAP)) > 0
    return np.asarray(cv2.dilate(_joined(inner, seed, 4).astype(np.uint8), _ball(GAP)) > 0)


def _ball(size: int) -> U8:
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)), np.uint8)


def _joined(whole: Bool, seed: Bool, ways: int) -> Bool:
    """Those pieces of the whole that hold some of the seed; texels join their 4 or 8 neighbours."""
    count, pieces = cv2.connectedComponents(whole.astype(np.uint8), connectivity=ways)
    held = np.bincount(pieces[seed], minlength=count) > 0
    held[0] = False
    return np.asarray(held[pieces])
