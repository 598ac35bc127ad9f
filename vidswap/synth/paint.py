"""Colours of one head, from its parameters; linear light (the square of what is stored)."""

import colorsys
from typing import NamedTuple

import numpy as np

from vidswap.synth.params import HeadParams

RGB = tuple[float, float, float]
SKIN_TONES = np.array(
    [[84, 53, 39], [112, 72, 52], [146, 98, 72], [178, 124, 95], [206, 156, 126], [226, 182, 154], [238, 202, 180]]
) / 255.0  # fmt: skip
IRISES = (
    np.array(
        [[58, 34, 20], [104, 64, 32], [120, 96, 50], [92, 114, 76], [84, 124, 150], [120, 140, 156]]
    )
    / 255.0
)


class Paint(NamedTuple):
    """Everything the painter reads; colours are linear RGB."""

    skin: RGB
    lip: RGB
    iris: RGB
    brow: RGB
    hair: RGB
    cloth: RGB
    frame: RGB
    brows: tuple[float, float, float, float]
    """Thickness, arch, height, density."""
    make_up: tuple[float, float, float]
    """Lashes, eye shadow, blush."""
    marks: tuple[float, float, float]
    """Freckles, wrinkles, redness."""
    moles: tuple[float, float, float, float, float, float]
    """Size, x, y of two."""
    beard: tuple[float, float, float, float]
    """Stubble, moustache, goatee, cheeks."""
    wear: tuple[float, float, float, float]
    """Neckline, pattern, hair amount, hair seed."""
    mood: tuple[float, float, float]
    """Smile, frown, raise."""


def _table(colours: np.ndarray, at: float) -> RGB:  # type: ignore[type-arg]
    where = at * (len(colours) - 1)
    i = min(int(where), len(colours) - 2)
    mixed = colours[i] + (colours[i + 1] - colours[i]) * (where - i)
    return _linear(tuple(mixed.tolist()))


def _linear(colour: tuple[float, ...]) -> RGB:
    r, g, b = colour
    return r * r, g * g, b * b


def hsv(hue: float, saturation: float, value: float) -> RGB:
    """Linear colour."""
    return _linear(colorsys.hsv_to_rgb(hue % 1.0, saturation, value))


def hair_colour(melanin: float, rufous: float, grey: float) -> RGB:
    """Linear colour of hair from its pigments."""
    light = 0.86 * (1 - melanin) ** 1.1 + 0.09
    warm = 0.16 + 0.30 * rufous
    colour = np.array(
        [light * (1 + 0.35 * warm), light * (1 - 0.5 * warm), light * (1 - 1.75 * warm)]
    )
    colour = colour * (1 - grey) + np.array([0.72, 0.72, 0.73]) * grey
    return _linear(tuple(np.clip(colour, 0.03, 0.97).tolist()))


def paint(head: HeadParams) -> Paint:
    """Collect what the painter reads."""
    who, scene, face = head.identity, head.scene, head.expression
    skin = np.array(_table(SKIN_TONES, who.skin_tone))
    skin = skin * [
        1 + 0.10 * (who.skin_redness - 0.5),
        1 - 0.10 * (who.skin_redness - 0.5),
        1 - 0.06 * (who.skin_redness - 0.5),
    ]
    lip = np.sqrt(skin) * [1.0, 0.84 - 0.26 * who.lip_redness, 0.86 - 0.24 * who.lip_redness]
    lip = lip * (0.97 - 0.22 * who.lip_darkness)
    iris = np.array(_table(IRISES, who.iris_hue)) * (0.6 + 0.9 * who.iris_light)
    return Paint(
        skin=(float(skin[0]), float(skin[1]), float(skin[2])),
        lip=_linear(tuple(lip.tolist())),
        iris=(float(iris[0]), float(iris[1]), float(iris[2])),
        brow=hair_colour(0.25 + 0.75 * who.melanin, who.rufous, 0.8 * who.grey),
        hair=hair_colour(scene.hair_melanin, scene.hair_rufous, scene.hair_grey),
        cloth=hsv(scene.cloth_hue, 0.85 * scene.cloth_colour, 0.12 + 0.78 * scene.cloth_light),
        frame=hsv(scene.glasses_hue, 0.7, 0.06 + 0.7 * scene.glasses_light),
        brows=(who.brow_thickness, who.brow_arch, who.brow_height, who.brow_density),
        make_up=(who.lashes, who.eye_shadow, who.blush),
        marks=(who.freckles, who.wrinkles, who.skin_redness),
        moles=(who.mole, who.mole_x, who.mole_y, who.second_mole, who.second_mole_x, who.second_mole_y),
        beard=(who.stubble, who.moustache, who.goatee, who.cheek_beard),
        wear=(scene.neckline, scene.cloth_pattern, scene.hair, 100 * scene.hair_seed),
        mood=(face.smile, face.brow_frown, face.brow_raise),
    )  # fmt: skip
