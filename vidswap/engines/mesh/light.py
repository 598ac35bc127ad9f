"""Illumination: the target's light on the source's skin, band by band in the log domain."""

from dataclasses import dataclass

import cv2
import numpy as np

from vidswap.engines.mesh.regions import (
    both_lids,
    depth_inside,
    droop_folds,
    features,
    lips,
    smile_folds,
    smoothstep,
)
from vidswap.types import F32

SIZE = 256
"""Side of the layout on which light is worked out."""
LIFT = 0.045
"""Added before the logarithm: the noise of dark code values is not to be lifted with them."""
DIP = 0.3
"""Deepest dip in log brightness that is kept on cheeks and temples."""
FLANK = 0.17, 0.27
"""Where the cheeks' sides begin, from the middle line in layout units. A photo saw them at a slant:
what it holds there is smeared skin, and turned to the camera it would read as dirt."""
SIDES, SHADED_SIDES = (0.1, 0.2), 0.5
"""Where the cheeks begin to have the target's slow colours, and have them wholly, from the middle line in
layout units; and how much of the brightness that they lack."""
CALM = 0.75, 0.95
"""Share of fine detail that goes there: of texels that were seen well all the same, and of the others."""
COLD, VIOLET = 0.03, 0.05
"""How much bluer (blue against red) and more violet (both against green) than the skin a detail may be,
in log units: reddened skin is a little violet."""
BLUISH, DUSK = 0.06, 0.45
"""How much bluer against green than the skin a detail may be, in log units, and the log darkness from
which on it may not be so at all: the hollow of an eye would look bruised."""
WARM = 0.1
"""How much redder (against blue) than the skin a lid's shadows are, for each log unit that they are darker."""
FLESH, DIM = 0.5, 0.1
"""How much red a shaded place gains for each log unit that it is darker, and darkness up to which it does."""
SHADED = np.array([1.0, -0.25, -0.75], np.float32)
"""Direction in which shaded flesh differs from lit flesh, log red, green and blue."""
SKIN = np.array([1.0, 0.0, -1.0], np.float32)
"""Direction in which skin differs from a highlight on it."""
HIGHLIGHT = 0.03, 0.12
"""Log brightness against the skin at large at which a place of the target begins to be a highlight, and is one."""
COLOURLESS = 0.16, 0.26
"""Log difference of red and blue in a photo's skin up to which, and from which on no longer, it has no colours."""
GLOSS = 0.1
"""Log darkness against the skin around it at which a place no longer shines."""
SHADOW = 0.04, 0.2
"""Log brightness that a texture's border lacks, from which on it is taken for shadow, and wholly."""
BESIDE = 0.06
"""How far from the target's hair, in layout units, its shadow is looked for."""
ROUGH, ROUGHEST = 1.4, 3.0
"""How much more contrast than usual fine detail may have: on skin, and about nostrils, mouth and moustache,
which carry the likeness."""
SHINE = 0.4
"""Bound of bright details, log: highlights belong to another light."""
WIDE, CLOSE, FINE = 0.15, 0.025, 0.022
"""Standard deviations of the bands, in layout units."""


def depth_within(valid: F32) -> F32:
    """(S, S) distance to where a texture ends, in layout units; gaps narrower than a twelfth are none.

    Args:
        valid: (S, S) in [0, 1].
    """
    size = len(valid)
    known = (valid > 0.5).astype(np.uint8)
    reach = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size // 12 | 1, size // 12 | 1))
    known = cv2.morphologyEx(known, cv2.MORPH_CLOSE, reach)
    return cv2.distanceTransform(known, cv2.DIST_L2, 5) / np.float32(size)


def smooth(values: F32, weight: F32, sigma: float) -> F32:
    """Normalised convolution: a Gaussian mean over the cells with weight, continued beyond them.

    Args:
        values: (G, G, D).
        weight: (G, G) in [0, 1].
        sigma: In layout units.
    """
    side = len(values)
    # A wide Gaussian needs few samples: work at the size where sigma spans four cells.
    small = int(np.clip(4 / sigma, 16, side))
    both = np.concatenate([values * weight[..., None], weight[..., None]], 2).astype(np.float32)
    both = cv2.resize(both, (small, small), interpolation=cv2.INTER_AREA)
    near = cv2.GaussianBlur(both, (0, 0), sigma * small, borderType=cv2.BORDER_CONSTANT)
    far = cv2.GaussianBlur(both, (0, 0), 0.3 * small, borderType=cv2.BORDER_CONSTANT)
    mean = (near[..., :-1] + 1e-2 * far[..., :-1]) / (near[..., -1:] + 1e-2 * far[..., -1:] + 1e-6)
    return cv2.resize(mean, (side, side), interpolation=cv2.INTER_CUBIC).reshape(values.shape)


@dataclass(frozen=True, slots=True, eq=False)
class Bands:
    """A log texture, split: ``base + middle + fine`` gives it back."""

    base: F32
    middle: F32
    fine: F32

    @classmethod
    def split(cls, texture: F32, valid: F32) -> "Bands":
        """Split a (S, S, 3) texture in [0, 1]; brows, eyes and lips stay out of the base."""
        logs = np.log(texture + LIFT).astype(np.float32)
        skin = valid * (1 - features(len(texture)))
        base = smooth(logs, skin, WIDE)
        for _ in range(3):
            # Moustaches, glasses and cast shadows are no light on the skin around them: without this
            # they would leave bright halos.
            rest = np.abs((logs - base).mean(-1))
            base = smooth(logs, skin / (1 + (rest / 0.18) ** 4), WIDE)
        slow = smooth(logs, np.maximum(valid, 1e-3), FINE)
        return cls(base, slow - base, logs - slow)


def relight(
    source: F32,
    source_valid: F32,
    target: F32,
    target_valid: F32,
    strength: float,
    smile: float = 0.0,
    slant: F32 | float = 0.0,
) -> F32:
    """The source's texture as it would look in the target's light.

    The slow base is the target's. Of the middle band, what is unlike on the two halves of the face is
    light (faces are symmetric): it comes from the target; what is alike is the person, kept with the
    target's contrast. Colour varies as little as on the target, apart from the lips and brows.

    Args:
        source: (S, S, 3) in [0, 1].
        source_valid: (S, S).
        target: (256, 256, 3) median texture in [0, 1].
        target_valid: (256, 256).
        strength: [0, 1]; 0 matches exposure, colour and the outline only.
        smile: [-1, 1] how much of the lines that a smile draws beside the mouth is expression; below 0, of
            those that a mouth at rest draws under its corners.
        slant: (S, S) or one for all, in [0, 1]: where the source was seen at a slant.

    Returns:
        (S, S, 3) in [0, 1].
    """
    size = len(source)
    small = cv2.resize(source, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    valid = cv2.resize(source_valid, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    s, t = Bands.split(small, valid), Bands.split(target, target_valid)
    both = valid * target_valid * (1 - features(SIZE))
    middle = _middle(s.middle, t.middle, valid, target_valid, both)
    middle += _lip_red(s, t, middle, both)
    lines = _lines(smile, SIZE)[..., None]
    middle = np.where(middle < 0, (1 - lines) * middle, middle)
    middle += _flanks(t.middle, middle, target_valid, both)
    wanted = t.base + middle
    wanted += _outline(t.base + t.middle - wanted, both, valid * target_valid, target_valid)
    mean = ((t.base - s.base) * both[..., None]).sum((0, 1)) / max(float(both.sum()), 1e-3)
    plain = s.base + s.middle + mean
    # The outline is matched whatever the strength: what is kept of the photo's light stays inside.
    free = smoothstep(0.03, 0.14, depth_inside(SIZE))[..., None]
    slow = plain + (1 - (1 - strength) * free) * (wanted - plain)
    gain = cv2.resize(slow - (s.base + s.middle), (size, size), interpolation=cv2.INTER_LINEAR)
    logs = np.log(source + LIFT) + np.clip(gain, -2.2, 2.2)
    logs = _limit_fine(logs.astype(np.float32), source_valid, slant, smile)
    base = s.base + mean + strength * (t.base - s.base - mean)
    base = cv2.resize(base, (size, size), interpolation=cv2.INTER_LINEAR)
    change = _earthen(logs - base) + _unglossed(logs - base, base, source_valid)
    result: F32 = np.clip(np.exp(base + change) - LIFT, 0, 1)
    return result


def _middle(s: F32, t: F32, s_valid: F32, t_valid: F32, both: F32) -> F32:
    """Middle band of the result."""
    pair = np.minimum(s_valid, s_valid[:, ::-1]) * (1 - 0.7 * features(SIZE))
    # Edge-preserving: a hard shadow's edge is light too, and a mole is not.
    odd = np.ascontiguousarray((s - s[:, ::-1]) / 2 * np.clip(2 * pair, 0, 1)[..., None])
    s_odd = cv2.bilateralFilter(odd.astype(np.float32), -1, 0.25, 0.025 * SIZE)
    t_pair = np.minimum(t_valid, t_valid[:, ::-1]) * (1 - features(SIZE))
    t_odd = smooth((t - t[:, ::-1]) / 2, np.maximum(t_pair, 1e-3), 0.02) * _soft(t_pair, 0.03)
    even = s - s_odd
    luma, t_luma = even.mean(-1, keepdims=True), t.mean(-1, keepdims=True)
    chroma = even - luma
    inside = both > 0.5
    contrast = 1.0
    if inside.sum() > 200:
        ratio = np.percentile(np.abs(t_luma[inside]), 80) / max(
            np.percentile(np.abs(luma[inside]), 80), 1e-3
        )
        contrast = float(np.clip(ratio, 0.45, 1.1)) ** 0.4
    mark = features(SIZE, 0.004)[..., None]
    mark = cv2.GaussianBlur(mark, (0, 0), 3)[..., None]
    luma = luma * (contrast + mark * (max(contrast, 0.85) - contrast))
    red = cv2.GaussianBlur(lips(SIZE), (0, 0), 2)[..., None]
    near = smooth(t, np.maximum(t_valid, 1e-3), 0.03)
    lit = near.mean(-1, keepdims=True)
    given = 0.45 * (near - lit) * (1 - red)
    given -= _paleness(given + t_odd, luma + t_odd.mean(-1, keepdims=True), lit)
    chroma = (0.15 + 0.3 * mark) * chroma + given + 0.4 * red * chroma
    # Shaded flesh is redder than lit flesh; grey, it would read as dirt.
    dip = DIM * np.tanh(np.minimum(luma, 0) / DIM)
    chroma = chroma - FLESH * dip * (1 - red) * SHADED
    # Towards the outline a picture's modelling is its own light falling off: there it would read as dirt.
    inner = smoothstep(
        0.005, 0.1, np.minimum(depth_inside(SIZE), 3 * depth_within(s_valid * t_valid))
    )[..., None]
    aside = _aside(SIZE)[..., None]
    inner = np.maximum(inner * (1 - 0.85 * smoothstep(*FLANK, aside)), mark)
    # So are dark cheeks and temples: on the sides only a trace of a dip in brightness is kept.
    trace = np.where(luma < 0, -DIP * np.tanh(-luma / DIP), luma)
    side = smoothstep(0.1, 0.2, aside) * (1 - mark)
    luma = luma + side * (trace - luma)
    result: F32 = (inner * (luma + chroma) + t_odd).astype(np.float32)
    return result


def _paleness(chroma: F32, drawn: F32, lit: F32) -> F32:
    """(256, 256, 3) the pale colour of a highlight, as far as what is drawn there is not as bright.

    Pale skin that does not shine is grey.

    Args:
        chroma: (256, 256, 3) colour taken over from the target, log.
        drawn: (256, 256, 1) log brightness of what is drawn, against the skin at large.
        lit: (256, 256, 1) the same of the target.
    """
    pale = np.minimum(chroma @ SKIN, 0)[..., None] / np.float32(SKIN @ SKIN)
    lack = 1 - np.clip(drawn / np.maximum(lit, HIGHLIGHT[0]), 0, 1)
    result: F32 = smoothstep(*HIGHLIGHT, lit) * lack * pale * SKIN
    return result


def _lip_red(s: Bands, t: Bands, middle: F32, both: F32) -> F32:
    """(256, 256, 3) red that the lips of a photo without colours lack: the target's, as its skin is."""
    weight = lips(SIZE)[..., None]
    skin = both[..., None]
    mean = (s.base * skin).sum((0, 1)) / max(float(skin.sum()), 1e-3)
    grey = 1 - float(smoothstep(*COLOURLESS, np.abs(mean[0] - mean[2], dtype=np.float32)[None])[0])
    if grey <= 0:
        return np.zeros_like(middle)
    total = max(float(weight.sum()), 1e-3)
    wanted, have = (
        ((m - m.mean(-1, keepdims=True)) * weight).sum((0, 1)) / total for m in (t.middle, middle)
    )
    lack = float(np.clip(1 - (have @ wanted) / max(float(wanted @ wanted), 1e-6), 0, 1))
    soft = cv2.GaussianBlur(lips(SIZE), (0, 0), 2)[..., None]
    result: F32 = (grey * lack * soft * wanted).astype(np.float32)
    return result


def _earthen(change: F32) -> F32:
    """Let no brow, lid or shadow be bluer or more violet than the skin around it.

    Hair and shadow of a yellowed painting or of warm light are grey there; with the light that makes
    its skin pink they would turn violet. Lips may be what they are.

    Args:
        change: (S, S, 3) log difference from the slow colour of the skin.
    """
    size = len(change)
    luma = change.mean(-1)
    red, green, blue = cv2.split(change - luma[..., None])
    bound = 1 - cv2.GaussianBlur(lips(size), (0, 0), 0.004 * size)
    shade = WARM * np.minimum(luma, 0) * both_lids(size)
    cold = np.maximum(blue - red - COLD - shade, 0) * bound / 2
    red, blue = red + cold, blue - cold
    bluish = BLUISH * np.clip(1 + luma / DUSK, 0, 1)
    blue = blue - np.maximum(blue - green - bluish, 0) * bound
    violet = np.maximum((red + blue) / 2 - green - VIOLET, 0) * bound / 3
    return np.dstack([red - violet, green + 2 * violet, blue - violet]) + luma[..., None]


def _unglossed(change: F32, base: F32, valid: F32) -> F32:
    """(S, S, 3) log change that gives dark places the usual colour of the skin.

    Skin that shines, or lies in the light of a window, is pale and cool: a brow, a lid or a hollow there
    is not.
    """
    colour = base - base.mean(-1, keepdims=True)
    skin = valid * (1 - features(len(base))) * (depth_inside(len(base)) > 0.05)
    usual = (colour * skin[..., None]).sum((0, 1)) / max(float(skin.sum()), 1e-3)
    away = usual - colour
    warmer = away[..., :1] > away[..., 2:]
    dark = smoothstep(0.0, GLOSS, -change.mean(-1, keepdims=True))
    result: F32 = np.where(warmer, dark * away, np.float32(0))
    return result


def _lines(smile: float, size: int) -> F32:
    """(S, S) how much of the photo's lines goes, by ``smile`` of ``relight``."""
    return smile * smile_folds(size) if smile > 0 else -smile * droop_folds(size)


def _aside(size: int) -> F32:
    """(1, S) distance from the middle line in layout units."""
    return np.abs(np.arange(size, dtype=np.float32) / size - 0.5)[None]


def _soft(weight: F32, sigma: float) -> F32:
    return cv2.GaussianBlur(weight, (0, 0), sigma * len(weight))[..., None]


def _flanks(t: F32, middle: F32, t_valid: F32, both: F32) -> F32:
    """(256, 256, 3) what the cheeks' sides lack of the target's light and colours.

    A photo's cheeks turn away from its own light, and a side that was mirrored from a shaded one is as
    dark: with another light they would be blotched. Some of the shade is the person's shape.

    Args:
        t: (256, 256, 3) the target's middle band.
        middle: (256, 256, 3) that of what is drawn.
        t_valid: (256, 256) the target's skin.
        both: (256, 256) skin of both, without features.
    """
    rest = np.clip(smooth(t - middle, both, CLOSE), -0.6, 0.6)
    luma = rest.mean(-1, keepdims=True)
    shade = SHADED_SIDES * np.maximum(luma, 0)
    tint = rest - luma
    lit = smooth(t, np.maximum(t_valid, 1e-3), 0.03).mean(-1, keepdims=True)
    tint -= _paleness(tint, np.zeros_like(lit), lit)
    sides = smoothstep(*SIDES, _aside(SIZE)) * (1 - features(SIZE, 0.02))
    result: F32 = sides[..., None] * (tint + shade)
    return result


def _outline(rest: F32, both: F32, valid: F32, target: F32) -> F32:
    """What is still missing near the outline, where a difference would show as a seam.

    Args:
        rest: (256, 256, 3) log colour of the target less what is drawn.
        both: (256, 256) skin of both, without features.
        valid: (256, 256) skin of both.
        target: (256, 256) the target's skin.
    """
    rest = np.clip(smooth(rest, both, CLOSE), -0.6, 0.6)
    edge = (1 - smoothstep(0.03, 0.14, depth_inside(SIZE)))[..., None]
    # Where a texture ends at hair or at what was not seen, its last skin lies in their shadow.
    border = (1 - smoothstep(0.03, 0.14, depth_within(valid)))[..., None]
    border = border * (1 - features(SIZE, 0.02))[..., None]
    shadow = smoothstep(*SHADOW, rest.mean(-1, keepdims=True))
    # And beside the target's hair the skin lies in the shadow of that.
    beside = (1 - smoothstep(0.0, BESIDE, depth_within(target)))[..., None]
    lifted = np.maximum(edge * rest, border * shadow * np.maximum(rest, 0))
    result: F32 = lifted + beside * np.minimum(rest - lifted, 0)
    return result


def _limit_fine(logs: F32, valid: F32, slant: F32 | float, smile: float) -> F32:
    """Fine band: no colour noise, no highlights of another light, no noise lifted out of a dark side."""
    size = len(logs)
    # Of what is valid only: hair beside a cheek would be a tint on it.
    slow = smooth(logs, np.maximum(valid, 1e-3), FINE)
    fine = logs - slow
    luma = fine.mean(-1)
    skin = (1 - features(size, 0.02)) * (depth_inside(size) > 0.02)
    power = np.minimum(luma**2, 0.04) * skin
    local = cv2.GaussianBlur(power, (0, 0), 0.05 * size) / (
        cv2.GaussianBlur(skin, (0, 0), 0.05 * size) + 1e-3
    )
    rms = np.sqrt(local + 1e-8)
    usual = float(np.percentile(rms[skin > 0], 35))
    low = smoothstep(0.45, 0.49, np.arange(size, dtype=np.float32)[:, None] / size)
    centre = low * (1 - smoothstep(0.08, 0.18, _aside(size)))
    limit = (ROUGH + (ROUGHEST - ROUGH) * centre) * usual
    calm = np.minimum(1.0, limit / np.maximum(rms, 1e-4))
    mark = cv2.GaussianBlur(features(size, 0.01), (0, 0), 0.006 * size)
    sides = smoothstep(*FLANK, _aside(size)) * (CALM[0] + (CALM[1] - CALM[0]) * slant)
    calm = calm * (1 - sides) * (1 - _lines(smile, size))
    luma = luma * (calm + mark * (1 - calm))
    luma = np.where(luma > 0, SHINE * np.tanh(luma / SHINE), luma)
    chroma = fine - fine.mean(-1, keepdims=True)
    result: F32 = (slow + luma[..., None] + 0.4 * calm[..., None] * chroma).astype(np.float32)
    return result


def light_change(row: F32, mean: F32, valid: F32) -> F32:
    """Log change of this frame's slow light against the track's, without what lids and lips do.

    Args:
        row: (24, 24, 3) the frame's colour grid.
        mean: (24, 24, 3) the track's.
        valid: (24, 24) skin.
    """
    change = np.log(np.maximum(row, 0.015)) - np.log(np.maximum(mean, 0.015))
    weight = valid * (1 - features(len(row), 0.05))
    result: F32 = np.clip(smooth(change.astype(np.float32), weight, 0.06), -0.5, 0.5)
    return result
