"""What skin looks like at a point of the mean head: brows, lips, lashes, beard, marks."""

import numpy as np

from vidswap.synth.jit import inline
from vidswap.synth.noise import Vector, bell, noise, step
from vidswap.synth.paint import RGB, Paint

Albedo = tuple[float, float, float, float, int]
"""Red, green, blue, gloss, label."""
BACKGROUND, LIPS, BROWS, EYES, HAIR, NOSE, SKIN, EARS, NECK, MOUTH, GLASSES, EARRING = range(12)
"""The labels of E4S, as in ``vidswap.models.bisenet.REGIONS``."""


@inline
def mix(a: RGB, b: RGB, t: float) -> RGB:
    """``a`` at 0, ``b`` at 1."""
    return a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t, a[2] + (b[2] - a[2]) * t


@inline
def shade(a: RGB, f: float) -> RGB:
    """Scaled."""
    return a[0] * f, a[1] * f, a[2] * f


@inline
def blob(x: float, y: float, rx: float, ry: float) -> float:
    """A Gaussian spot at the origin."""
    return bell((x / rx) ** 2 + (y / ry) ** 2)


@inline
def brow(x: float, y: float, brows: tuple[float, float, float, float]) -> float:
    """How much of a brow covers a point; x counts from the middle of the face."""
    thick, arch, height, density = brows
    t = (x - 0.105) / 0.46
    if t < -0.2 or t > 1.2:
        return 0.0
    middle = (
        -0.492
        - 0.03 * height
        - (0.085 + 0.04 * arch) * np.sin(min(max(t, 0.0), 1.0) ** 1.15 * 2.2)
        + 0.02 * t
    )
    half = (0.042 + 0.016 * thick) * (1 - 0.55 * max(t, 0.0) ** 1.5)
    inside = step(1.25, 0.55, abs(y - middle) / half) * step(-0.09, 0.06, t) * step(1.06, 0.85, t)
    strands = noise(x * 34 + (y - middle) * 46, (y - middle) * 18 - x * 6, 3.0)
    return inside * min((0.45 + 0.75 * density) * (0.62 + 0.65 * strands), 1.0)


@inline
def beard(rest: Vector, beards: tuple[float, float, float, float]) -> float:
    """How much beard covers a point."""
    x, y, z = abs(rest[0]), rest[1], rest[2]
    stubble, moustache, goatee, cheeks = beards
    if max(stubble, moustache, goatee, cheeks) == 0:
        return 0.0
    lip = blob(x, y - 0.245, 0.30, 0.055) * step(0.175, 0.215, y) * step(0.36, 0.28, x)
    corner = blob(x - 0.36, y - 0.38, 0.06, 0.15)
    chin = blob(x, y - 0.72, 0.26, 0.2) * step(0.5, 0.56, y)
    line = 0.12 + 0.5 * step(0.62, 0.28, x)
    jaw = (
        step(line, line + 0.13, y)
        * step(0.22, 0.36, x + 0.5 * max(y - 0.5, 0.0))
        * step(1.0, 0.86, z)
    )
    side = step(0.62, 0.7, x) * step(-0.15, 0.1, y) * step(0.85, 0.72, z)
    jaw = max(jaw, side * cheeks)
    under = step(0.8, 0.9, y)
    grown = max(
        max(min(1.3 * lip, 1.0), min(corner, 1.0) * min(goatee + cheeks, 1.0)) * moustache,
        max(chin * max(goatee, cheeks), max(jaw, under) * cheeks),
    )
    shadow = max(max(min(1.3 * lip, 1.0), chin), jaw) * 0.42 * stubble
    return max(min(1.5 * grown, 1.0), shadow)


@inline
def feature(x: float, y: float, wrinkles: float, mood: tuple[float, float, float]) -> float:
    """Painted shading: creases, nostrils, lids; 1 leaves the skin as it is."""
    smile = max(mood[0], 0.0)
    fold = bell(((x - (0.22 + 0.32 * (y - 0.06))) / 0.022) ** 2)
    if fold > 0:
        fold *= step(0.04, 0.1, y) * step(0.4, 0.3, y)
    nostril = blob(x - 0.085, y - 0.128, 0.042, 0.022)
    wing = 0.0
    if 0.12 < x < 0.3 and -0.12 < y < 0.16:
        wing = blob(np.hypot((x - 0.12) / 0.8, y - 0.08) - 0.085, 0.0, 0.016, 1.0)
        wing *= step(0.12, 0.17, x) * step(0.16, 0.12, y)
    bag, crease = 0.0, 0.0
    if 0.17 < x < 0.5:
        bag = bell(((y - (-0.215 - 0.25 * (x - 0.34) ** 2)) / 0.02) ** 2)
        bag *= step(0.17, 0.25, x) * step(0.5, 0.42, x)
        crease = bell(((y - (-0.445 + 0.9 * (x - 0.36) ** 2)) / 0.011) ** 2)
        crease *= step(0.2, 0.25, x) * step(0.5, 0.44, x)
    under = blob(x, y - 0.575, 0.16, 0.035)
    philtrum = blob(x, y - 0.19, 0.022, 0.05)
    forehead = 0.0
    if -0.9 < y < -0.6 and x < 0.62:
        wave = np.sin((y + 0.03 * np.cos(5 * x)) * 62)
        forehead = (
            step(0.75, 1.0, wave)
            * step(0.62, 0.3, x)
            * (0.3 * wrinkles + 0.12 * max(mood[2], 0.0))
            * step(-0.9, -0.8, y)
            * step(-0.6, -0.66, y)
        )
    frown = blob(x - 0.06, y + 0.47, 0.012, 0.07) * mood[1]
    crow = 0.0
    if 0.54 < x < 0.72 and y < 0.3:
        turn = np.arctan2(y + 0.3, x - 0.44)
        crow = (
            step(0.6, 1.0, np.cos(turn * 9))
            * step(0.54, 0.58, x)
            * step(0.72, 0.62, x)
            * step(1.0, 0.6, abs(turn))
        )
    dark = (
        0.55 * nostril
        + 0.22 * wing
        + 0.16 * under
        + 0.07 * philtrum
        + 0.5 * forehead
        + 0.35 * frown
    )
    dark += (
        fold * (0.08 + 0.2 * wrinkles + 0.25 * smile) + bag * (0.06 + 0.2 * wrinkles) + 0.3 * crease
    )
    return max(1 - dark - crow * (0.25 * wrinkles + 0.12 * smile * wrinkles), 0.12)


@inline
def spots(
    rest: Vector, freckles: float, m: tuple[float, float, float, float, float, float]
) -> float:
    """Freckles and moles; 1 leaves the skin as it is."""
    x, y = rest[0], rest[1]
    out = 1.0
    if freckles > 0.1:
        where = blob(abs(x) - 0.3, y + 0.02, 0.3, 0.2) + blob(x, y + 0.05, 0.15, 0.2)
        grain = noise(x * 26 + 7, y * 26, rest[2] * 26)
        out *= 1 - 0.5 * freckles * min(where, 1.0) * step(0.62, 0.74, grain)
    if m[0] > 0.2:
        out *= 1 - 0.75 * step(1.2, 0.7, np.hypot(x - m[1], y - m[2]) / (0.012 + 0.028 * m[0]))
    if m[3] > 0.2:
        out *= 1 - 0.75 * step(1.2, 0.7, np.hypot(x - m[4], y - m[5]) / (0.012 + 0.028 * m[3]))
    return out


@inline
def scalp(rest: Vector, cover: float, amount: float) -> float:
    """How much hair roots cover a point, from its signed distance to the hairline."""
    full = 0.62 if amount < 0.25 else 0.95
    # The edge frays by less than .05.
    if amount < 0.1 or cover < -0.09:
        return 0.0
    if cover > 0.13:
        return full
    edge = cover + 0.10 * (noise(rest[0] * 22, rest[1] * 22, rest[2] * 22) - 0.5)
    return step(-0.03, 0.07, edge) * full


@inline
def base(rest: Vector, p: Paint) -> Albedo:
    """Bare skin."""
    x, y = abs(rest[0]), rest[1]
    red = 0.06 * (noise(rest[0] * 5 + 3, y * 5, rest[2] * 5) - 0.5)
    colour, gloss, label = p.skin, 0.30, SKIN
    if rest[2] < 0.6:
        red += p.make_up[2] * 0.22 * blob(x - 0.44, y - 0.02, 0.2, 0.16)
        red += (0.05 + 0.1 * p.marks[2]) * blob(x, y - 0.05, 0.16, 0.1)
        shadow = p.make_up[1] * blob(x - 0.36, y + 0.41, 0.17, 0.07)
        colour = mix(colour, (0.10, 0.06, 0.10), 0.6 * shadow)
        colour = shade(colour, feature(x, y, p.marks[1], p.mood) * spots(rest, p.marks[0], p.moles))
        gloss += 0.25 * blob(x, y - 0.02, 0.12, 0.2) + 0.15 * blob(x, y + 0.7, 0.3, 0.15)
        if y > -0.34 and y < 0.19 and x < 0.085 + 0.14 * step(-0.25, 0.1, y):
            label = NOSE
    r, g, b = colour
    return r * (1 + 0.35 * red), g * (1 - 0.9 * red), b * (1 - 0.8 * red), gloss, label


@inline
def grown(a: Albedo, rest: Vector, p: Paint) -> Albedo:
    """Beard and brows over bare skin."""
    colour, gloss, label = (a[0], a[1], a[2]), a[3], a[4]
    x, y = abs(rest[0]), rest[1]
    hairs = beard(rest, p.beard) if y > -0.16 else 0.0
    if hairs > 0.01:
        strands = noise(rest[0] * 40, y * 16, rest[2] * 40)
        much = min(hairs * (0.7 + 0.5 * strands), 0.97)
        colour = mix(colour, shade(p.brow, 0.6 + 0.8 * strands), much)
        gloss *= 1 - 0.7 * hairs
    if -0.74 < y < -0.4 and rest[2] < 0.6:
        cover = brow(x, y, p.brows)
        colour = mix(colour, p.brow, cover)
        gloss *= 1 - 0.8 * cover
        if cover > 0.33:
            label = BROWS
    return colour[0], colour[1], colour[2], gloss, label


@inline
def skin(rest: Vector, attributes: Vector, p: Paint) -> Albedo:
    """Albedo, gloss and label of skin.

    Args:
        rest: Point on the mean head.
        attributes: Lid rim, lips, signed distance inside the hairline.
        p: Colours.
    """
    y = rest[1]
    r, g, b, gloss, label = grown(base(rest, p), rest, p)
    colour = (r, g, b)
    lips = step(0.36, 0.62, attributes[1])
    if lips > 0:
        line = 1 - 0.22 * noise(rest[0] * 60, y * 6, 1.0)
        colour = mix(colour, shade(p.lip, line), lips)
        gloss += 0.5 * lips
        if lips > 0.5:
            label = LIPS
    rim = step(0.25, 0.8, attributes[0])
    if rim > 0:
        dark = 0.3 + 0.65 * (0.35 + 0.65 * p.make_up[0]) * step(-0.30, -0.37, y)
        colour = mix(colour, shade(p.brow, 0.25), rim * dark)
    roots = scalp(rest, attributes[2], p.wear[2])
    if roots > 0:
        colour = mix(colour, shade(p.hair, 0.75), roots)
        gloss *= 1 - 0.8 * roots
        if roots > 0.5:
            label = HAIR
    return colour[0], colour[1], colour[2], gloss, label
