"""Draw heads: a seed makes a person, another a picture of that person."""

from dataclasses import replace

import numpy as np

from vidswap.synth.params import Expression, Gaze, HeadParams, Identity, Light, Pose, Scene

_IDENTITY, _VIEW, _EXPRESSIVE = 1, 2, 3


def _clip(value: float, low: float, high: float) -> float:
    return float(min(max(value, low), high))


def _rare(rng: np.random.Generator, chance: float, low: float = 0.0, high: float = 1.0) -> float:
    """0 but for a share of draws."""
    use, value = rng.random(), rng.uniform(low, high)
    return float(value) if use < chance else 0.0


def identity(seed: int) -> Identity:
    """A person."""
    rng = np.random.default_rng([_IDENTITY, seed])
    names = [n for n, r in Identity.ranges().items() if r.low == -1.0]
    shapes = {
        n: _clip(v, -1, 1)
        for n, v in zip(names, rng.normal(0, 0.5, len(names)).tolist(), strict=True)
    }
    shapes["asymmetry"] *= 0.5
    colours = {
        n: float(rng.random()) for n in ("skin_tone", "skin_redness", "lip_darkness", "iris_light")
    }
    tone = colours["skin_tone"]
    melanin = _clip(rng.normal(1.0 - 0.55 * tone, 0.25), 0.05, 1.0)
    old = rng.random() ** 2
    grown = rng.random() < 0.38
    beard = {
        "stubble": float(rng.uniform(0.0, 1.0)) if grown else 0.0,
        "moustache": _rare(rng, 0.5 * grown, 0.4),
        "goatee": _rare(rng, 0.45 * grown, 0.4),
        "cheek_beard": _rare(rng, 0.33 * grown, 0.4),
        "beard_length": float(rng.random()),
    }
    if beard["cheek_beard"] > 0:
        beard["goatee"] = beard["moustache"] = max(beard["cheek_beard"], beard["moustache"])
    colours["lip_redness"] = float(rng.random()) * (0.6 if grown else 1.0)
    made_up = (not grown) and rng.random() < 0.5
    return Identity(
        **shapes, **colours, **beard, melanin=melanin,
        rufous=float(rng.random() ** 2), grey=_clip((old - 0.55) * 2.2, 0, 1),
        iris_hue=_clip(rng.beta(0.8, 1.0) if tone > 0.45 else rng.uniform(0, 0.25), 0, 1),
        brow_density=_clip(rng.normal(0.7, 0.2), 0.15, 1), lashes=float(rng.uniform(0.5, 1) if made_up else rng.uniform(0, 0.5)),
        eye_shadow=_rare(rng, 0.6 * made_up, 0.2), blush=float(rng.random()),
        freckles=_rare(rng, 0.2 * (tone > 0.5), 0.3), wrinkles=_clip(old, 0.02, 1),
        mole=_rare(rng, 0.3, 0.25), mole_x=float(rng.uniform(-0.55, 0.55)), mole_y=float(rng.uniform(-0.05, 0.7)),
        second_mole=_rare(rng, 0.2, 0.25), second_mole_x=float(rng.uniform(-0.55, 0.55)),
        second_mole_y=float(rng.uniform(-0.1, 0.7)),
    )  # fmt: skip


def expression(rng: np.random.Generator) -> Expression:
    """A face at some moment of talk."""
    blink = _rare(rng, 0.12, 0.3)
    wink = rng.random() < 0.1
    return Expression(
        jaw=_clip(abs(rng.normal(0, 0.35)) if rng.random() < 0.6 else 0.0, 0, 1),
        smile=_clip(rng.normal(0.2, 0.45), -1, 1), pucker=_rare(rng, 0.2),
        mouth_side=_clip(rng.normal(0, 0.2), -1, 1), brow_raise=_clip(rng.normal(0, 0.35), -1, 1),
        brow_frown=_rare(rng, 0.25), blink_left=blink,
        blink_right=0.0 if wink else _clip(blink, 0, 1), widen=_rare(rng, 0.25),
    )  # fmt: skip


def pose(rng: np.random.Generator) -> Pose:
    """A head before a camera."""
    distance = float(rng.uniform(7, 14))
    return Pose(
        yaw=_clip(rng.normal(0, 17), -60, 60), pitch=_clip(rng.normal(0, 8), -30, 30),
        roll=_clip(rng.normal(0, 6), -30, 30), x=_clip(rng.normal(0, 0.25), -0.8, 0.8),
        y=_clip(rng.normal(0.05, 0.2), -0.6, 0.6), distance=distance, field_height=float(rng.uniform(4.0, 6.2)),
    )  # fmt: skip


def light(rng: np.random.Generator) -> Light:
    """Some light."""
    key = float(rng.uniform(0.35, 1.05))
    return Light(
        azimuth=_clip(rng.normal(0, 45), -100, 100), elevation=_clip(rng.normal(32, 16), -15, 75),
        key=key, warmth=_clip(rng.normal(0.1, 0.4), -1, 1),
        ambient=_clip(0.98 - 0.55 * key + rng.normal(0, 0.08), 0.28, 0.95),
        ambient_hue=float(rng.random()), ambient_colour=float(rng.uniform(0, 0.16)),
        rim=float(rng.random() ** 2), softness=float(rng.random()),
    )  # fmt: skip


def scene(rng: np.random.Generator, who: Identity) -> Scene:
    """Hair, clothes and surroundings; hair mostly of the colour of the person's brows."""
    names = [n for n in Scene.ranges() if not n.startswith("occluder")]
    values = dict(zip(names, rng.random(len(names)).tolist(), strict=True))
    long = rng.random() < (0.15 if who.moustache + who.cheek_beard + who.stubble > 0 else 0.55)
    dyed = rng.random() < 0.1
    values |= {
        "hair": _clip(1.3 - rng.random() ** 3 * 1.3, 0, 1) if not long else float(rng.uniform(0.6, 1)),
        "background_colour": float(0.65 * values["background_colour"] ** 1.5),
        "cloth_colour": float(0.8 * values["cloth_colour"]), "hair_length": float(rng.uniform(0.3, 0.95)) if long else float(rng.uniform(0, 0.15)),
        "hair_sides": values["hair_sides"] * (0.8 if long else 0.5), "hairline": _clip(rng.normal(0, 0.5), -1, 1),
        "widow": _clip(rng.normal(0, 0.5), -1, 1), "parting": _clip(rng.normal(0, 0.6), -1, 1),
        "fringe": _rare(rng, 0.3, 0.3), "curl": float(rng.random() ** 1.7),
        "hair_melanin": values["hair_melanin"] if dyed else _clip(who.melanin + rng.normal(0, 0.05), 0, 1),
        "hair_rufous": values["hair_rufous"] if dyed else who.rufous, "hair_grey": 0.0 if dyed else who.grey,
        "glasses": _rare(rng, 0.17, 0.5), "earring": _rare(rng, 0.25 if long else 0.05, 0.5),
        "glasses_light": values["glasses_light"] ** 2, "noise": values["noise"] * 0.4,
    }  # fmt: skip
    return Scene(**values)


def view(seed: int, who: Identity) -> HeadParams:
    """One picture of a person."""
    rng = np.random.default_rng([_VIEW, seed])
    return HeadParams(
        identity=who, expression=expression(rng), pose=pose(rng),
        gaze=Gaze(yaw=_clip(rng.normal(0, 10), -35, 35), pitch=_clip(rng.normal(0, 6), -25, 25)),
        light=light(rng), scene=scene(rng, who),
    )  # fmt: skip


def sample(seed: int) -> HeadParams:
    """One person in one picture.

    Args:
        seed: Any non-negative number; equal seeds make equal parameters on every machine.
    """
    return view(seed, identity(seed))


def portrait(head: HeadParams) -> HeadParams:
    """The same person as in a good photograph: frontal, at rest, evenly lit, nothing in the way."""
    scene = replace(head.scene, glasses=0.0, fringe=0.0, occluder=0.0, noise=0.0, hair_forward=0.0)
    return HeadParams(
        identity=head.identity,
        expression=Expression(smile=0.15),
        pose=Pose(field_height=4.4, y=0.15),
        light=Light(azimuth=-25.0, elevation=30.0, key=0.7, ambient=0.6, rim=0.1, softness=0.8),
        scene=scene,
    )


def expressive(head: HeadParams, seed: int) -> HeadParams:
    """The same picture with a mouth that is mostly open and eyes that are often half or quite shut.

    Among faces at some moment of talk, shut eyes are one in ten: too few to learn lids from.

    Args:
        head: Keeps all but jaw, lids and gaze.
        seed: Any non-negative number.
    """
    rng = np.random.default_rng([_EXPRESSIVE, seed])
    jaw = float(rng.random()) if rng.random() < 0.75 else 0.0
    shut = float(rng.random()) if rng.random() < 0.6 else 0.0
    other = 0.0 if rng.random() < 0.1 else shut
    gaze = Gaze(yaw=_clip(rng.normal(0, 14), -35, 35), pitch=_clip(rng.normal(0, 9), -25, 25))
    face = replace(head.expression, jaw=jaw, blink_left=shut, blink_right=other)
    return replace(head, expression=face, gaze=gaze)
