"""Albedo, gloss and label of everything that is no skin of the cage."""

import numpy as np

from vidswap.synth.jit import inline
from vidswap.synth.noise import Vector, bell, noise, step
from vidswap.synth.paint import RGB
from vidswap.synth.skin import (
    BACKGROUND,
    EARRING,
    EARS,
    EYES,
    GLASSES,
    HAIR,
    MOUTH,
    NECK,
    Albedo,
    blob,
    mix,
    shade,
)  # fmt: skip


@inline
def eye(rest: Vector, tint: RGB) -> Albedo:
    """Iris, pupil and white, by the direction from the eyeball's centre."""
    away = np.hypot(rest[0], rest[1])
    white = 0.66 - 0.10 * noise(rest[0] * 7, rest[1] * 7, 2.0)
    colour = (white, 0.93 * white, 0.90 * white)
    pink = step(0.62, 0.95, abs(rest[0]))
    colour = mix(colour, (0.55, 0.25, 0.22), 0.6 * pink)
    iris = step(0.52, 0.48, away)
    if iris > 0:
        angle = np.arctan2(rest[1], rest[0])
        rays = noise(angle * 9 + 30, away * 5, 4.0)
        inner = shade(
            tint,
            0.45
            + 0.75 * rays
            + 1.1 * step(0.38, 0.2, away) * (0.4 + 0.6 * step(-0.2, 0.35, rest[1])),
        )
        inner = shade(inner, 0.25 + 0.75 * step(0.51, 0.40, away))
        colour = mix(colour, inner, iris)
        colour = mix(colour, (0.004, 0.004, 0.005), step(0.22, 0.185, away))
    return colour[0], colour[1], colour[2], 1.6, EYES


@inline
def teeth(rest: Vector) -> Albedo:
    """Teeth: a row of ivory with dark gaps, gums at the root."""
    x = rest[0] * 5.2
    gap = abs(x - np.round(x))
    light = (0.62 - 0.22 * abs(rest[0]) ** 2) * (0.45 + 0.55 * step(0.0, 0.1, gap))
    colour = (light, 0.93 * light, 0.80 * light)
    root = step(0.35, 0.1, rest[1]) if rest[2] < 0.5 else step(0.55, 0.85, rest[1])
    colour = mix(colour, (0.42, 0.13, 0.12), root)
    return colour[0], colour[1], colour[2], 0.9, MOUTH


@inline
def ear(rest: Vector, tint: RGB) -> Albedo:
    """Skin, redder, darker in the concha."""
    inner = blob(rest[0] + 0.02, rest[1] - 0.02, 0.09, 0.13)
    f = 1 - 0.6 * inner - 0.2 * step(0.75, 0.7, rest[2]) * step(0.5, 0.6, rest[2])
    return tint[0] * 1.04 * f, tint[1] * 0.86 * f, tint[2] * 0.84 * f, 0.3, EARS


@inline
def neck(rest: Vector, tint: RGB, wrinkles: float) -> Albedo:
    """Skin with folds."""
    fold = bell(((rest[1] - 1.1 - 0.05 * np.cos(rest[0] * 4)) / 0.012) ** 2)
    f = 0.95 - 0.08 * fold * wrinkles * 2 - 0.05 * noise(rest[0] * 4, rest[1] * 4, rest[2] * 4)
    return tint[0] * f, tint[1] * f, tint[2] * f, 0.2, NECK


@inline
def cloth(rest: Vector, skin: RGB, tint: RGB, wear: tuple[float, float]) -> Albedo:
    """A garment with a neckline; bare skin inside it."""
    x, y = rest[0], rest[1]
    low = 1.28 + 0.6 * wear[0]
    inside = y - low + (0.9 - 0.5 * wear[0]) * abs(x) ** 1.6 * 0.75
    bare = inside < 0 and rest[2] < 1.25
    if bare:
        dark = 1 - 0.3 * step(-0.05, 0.0, inside)
        return skin[0] * dark, skin[1] * dark, skin[2] * dark, 0.2, NECK
    f = 0.8 + 0.35 * noise(x * 2.2, y * 3.0, rest[2] * 2.0)
    pattern = wear[1]
    if pattern > 0.75:
        f *= 0.45 + 0.55 * step(-0.1, 0.1, np.sin(y * 26))
    elif pattern > 0.5:
        f *= 0.6 + 0.4 * step(-0.1, 0.1, np.sin(x * 18) * np.sin(y * 18))
    if inside < 0.06 and rest[2] < 1.25:
        f *= 0.7
    return tint[0] * f, tint[1] * f, tint[2] * f, 0.05, BACKGROUND


@inline
def hair(rest: Vector, tint: RGB) -> Albedo:
    """Strands along the fall of the hair."""
    coarse = noise(rest[0] * 9 + 40, rest[1] * 1.2, rest[2])
    fine = noise(rest[0] * 38 + 9 + 3 * coarse, rest[1] * 2.6, rest[2] + 3)
    f = 0.42 + 0.5 * coarse + 0.6 * fine
    return tint[0] * f, tint[1] * f, tint[2] * f, 0.0, HAIR


@inline
def other(material: int, rest: Vector, frame: RGB) -> Albedo:
    """Mouth, teeth, tongue, glasses, earring, and what is carried before a face."""
    if material == 1:
        return 0.09, 0.018, 0.018, 0.3, MOUTH
    if material == 3:
        return teeth(rest)
    if material == 4:
        groove = 1 - 0.3 * blob(rest[0], 0.0, 0.1, 1.0)
        return 0.44 * groove, 0.13 * groove, 0.13 * groove, 0.9, MOUTH
    if material == 9:
        return frame[0], frame[1], frame[2], 1.2, GLASSES
    if material == 10:
        return 0.75, 0.58, 0.25, 2.0, EARRING
    return carried(material, rest)


@inline
def carried(material: int, rest: Vector) -> Albedo:
    """A hand or a microphone."""
    if material == 11:
        f = 0.85 + 0.3 * (noise(rest[0] * 7, rest[1] * 7, rest[2] * 7) - 0.5)
        return 0.46 * f, 0.26 * f, 0.19 * f, 0.25, BACKGROUND
    mesh = 0.5 + 0.5 * np.sin(rest[0] * 90) * np.sin(rest[1] * 90)
    return 0.03 + 0.05 * mesh, 0.03 + 0.05 * mesh, 0.035 + 0.05 * mesh, 0.7, BACKGROUND
