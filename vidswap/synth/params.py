"""What a head is made of: six groups of numbers, each with range and unit.

Shape scalars without a unit run from -1 to 1 between the extremes that the head supports, amounts
from 0 to 1. Everything is a plain float, so that a group is a vector.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np

from vidswap.errors import RecipeError, ShapeError
from vidswap.types import F32


class Range(NamedTuple):
    """Allowed values of one number."""

    low: float
    high: float
    unit: str = ""
    usual: float | None = None
    """Where :func:`vidswap.synth.sample.sample` centres its draw; None draws uniformly."""


def number(default: float, low: float, high: float, unit: str = "") -> Any:
    """A field with its allowed range, both ends included."""
    return field(default=default, metadata={"range": Range(low, high, unit)})


def shape(default: float = 0.0) -> Any:
    """A shape scalar in [-1, 1]."""
    return number(default, -1.0, 1.0)


def amount(default: float = 0.0) -> Any:
    """An amount in [0, 1]."""
    return number(default, 0.0, 1.0)


@cache
def _ranges(kind: Any) -> Mapping[str, Range]:
    return MappingProxyType({f.name: f.metadata["range"] for f in fields(kind)})


class Group:
    """A group of ranged numbers that is also a vector in [0, 1]."""

    __slots__ = ()
    title: ClassVar[str] = ""

    def __post_init__(self) -> None:
        for name, limits in self.ranges().items():
            value = getattr(self, name)
            if not limits.low <= value <= limits.high:
                msg = (
                    f"{self.title}.{name}: expected {limits.low:g} … {limits.high:g}"
                    f"{' ' + limits.unit if limits.unit else ''}, got {value!r}"
                )
                raise RecipeError(msg, stage="synth")

    @classmethod
    def ranges(cls) -> Mapping[str, Range]:
        """Allowed range of every number, in the order of the vector."""
        kind: Any = cls
        return _ranges(kind)

    @classmethod
    def size(cls) -> int:
        """Length of the vector."""
        return len(cls.ranges())

    def vector(self) -> F32:
        """(N,) every number scaled from its range to [0, 1]."""
        return np.array(
            [(getattr(self, n) - r.low) / (r.high - r.low) for n, r in self.ranges().items()],
            np.float32,
        )

    @classmethod
    def from_vector(cls, vector: F32) -> Self:
        """The inverse of :meth:`vector`; numbers outside [0, 1] are clipped.

        Raises:
            ShapeError: Another length.
        """
        ranges = cls.ranges()
        if vector.shape != (len(ranges),):
            raise ShapeError(f"{cls.title}: expected ({len(ranges)},), got {vector.shape}")
        clipped = np.clip(np.asarray(vector, np.float64), 0.0, 1.0)
        return cls(**{
            n: min(max(r.low + float(v) * (r.high - r.low), r.low), r.high)
            for (n, r), v in zip(ranges.items(), clipped, strict=True)
        })  # fmt: skip


@dataclass(frozen=True, slots=True)
class Identity(Group):
    """Who it is: bone, flesh, skin, brows, lips, irises, beard. A swap exchanges exactly this."""

    title = "identity"

    face_width: float = shape()
    face_length: float = shape()
    jaw_width: float = shape()
    chin_length: float = shape()
    chin_width: float = shape()
    chin_forward: float = shape()
    cheekbones: float = shape()
    cheek_fullness: float = shape()
    forehead: float = shape()
    brow_ridge: float = shape()
    eye_size: float = shape()
    eye_spacing: float = shape()
    eye_tilt: float = shape()
    eye_depth: float = shape()
    eye_height: float = shape()
    hooded: float = shape()
    nose_length: float = shape()
    nose_width: float = shape()
    nose_bridge: float = shape()
    nose_tip: float = shape()
    nose_hook: float = shape()
    mouth_width: float = shape()
    mouth_height: float = shape()
    upper_lip: float = shape()
    lower_lip: float = shape()
    mouth_curve: float = shape()
    skull_height: float = shape()
    ear_size: float = shape()
    ear_angle: float = shape()
    neck_width: float = shape()
    asymmetry: float = shape()
    skin_tone: float = amount(0.7)
    """0 is the darkest skin, 1 the palest."""
    skin_redness: float = amount(0.5)
    lip_redness: float = amount(0.5)
    lip_darkness: float = amount(0.3)
    iris_hue: float = amount(0.1)
    """From brown over hazel and green to blue and grey."""
    iris_light: float = amount(0.4)
    melanin: float = amount(0.7)
    """Darkness of brows, lashes and beard."""
    rufous: float = amount(0.2)
    """Redness of brows and beard."""
    grey: float = amount(0.0)
    brow_thickness: float = shape()
    brow_arch: float = shape()
    brow_height: float = shape()
    brow_density: float = amount(0.7)
    lashes: float = amount(0.4)
    eye_shadow: float = amount(0.0)
    blush: float = amount(0.3)
    freckles: float = amount(0.0)
    wrinkles: float = amount(0.2)
    mole: float = amount(0.0)
    """Size of the larger mole; none below .2."""
    mole_x: float = number(0.3, -0.6, 0.6, "outer eye corner distances")
    mole_y: float = number(0.3, -0.7, 0.75, "outer eye corner distances")
    second_mole: float = amount(0.0)
    second_mole_x: float = number(-0.3, -0.6, 0.6, "outer eye corner distances")
    second_mole_y: float = number(0.1, -0.7, 0.75, "outer eye corner distances")
    stubble: float = amount(0.0)
    moustache: float = amount(0.0)
    goatee: float = amount(0.0)
    cheek_beard: float = amount(0.0)
    beard_length: float = amount(0.3)


@dataclass(frozen=True, slots=True)
class Expression(Group):
    """What the face does."""

    title = "expression"

    jaw: float = amount()
    """0 shut, 1 wide open (22°)."""
    smile: float = shape()
    """-1 is a frown of the mouth."""
    pucker: float = amount()
    mouth_side: float = shape()
    brow_raise: float = shape()
    brow_frown: float = amount()
    blink_left: float = amount()
    """Of the eye on the image's left; 1 is shut."""
    blink_right: float = amount()
    widen: float = amount()
    """Eyes wider open than at rest."""


@dataclass(frozen=True, slots=True)
class Pose(Group):
    """Where the head is turned, signs as in :mod:`vidswap.types`, and where it is."""

    title = "pose"

    yaw: float = number(0.0, -90.0, 90.0, "degrees")
    pitch: float = number(0.0, -60.0, 60.0, "degrees")
    roll: float = number(0.0, -60.0, 60.0, "degrees")
    x: float = number(0.0, -8.0, 8.0, "outer eye corner distances, right of the middle")
    y: float = number(0.0, -8.0, 8.0, "outer eye corner distances, below the middle")
    distance: float = number(9.0, 5.0, 40.0, "outer eye corner distances from the camera")
    field_height: float = number(5.2, 2.0, 40.0, "outer eye corner distances seen at the head")


@dataclass(frozen=True, slots=True)
class Gaze(Group):
    """Where the eyes look, against the head."""

    title = "gaze"

    yaw: float = number(0.0, -35.0, 35.0, "degrees")
    """> 0 to the image's right."""
    pitch: float = number(0.0, -25.0, 25.0, "degrees")
    """> 0 up."""


@dataclass(frozen=True, slots=True)
class Light(Group):
    """One soft key light, a sky and a rim light."""

    title = "light"

    azimuth: float = number(-30.0, -100.0, 100.0, "degrees")
    """Of the key light; > 0 from the image's right."""
    elevation: float = number(35.0, -20.0, 80.0, "degrees")
    key: float = number(0.85, 0.2, 1.6)
    warmth: float = shape()
    ambient: float = number(0.45, 0.15, 1.0)
    ambient_hue: float = amount(0.6)
    ambient_colour: float = amount(0.1)
    rim: float = amount(0.2)
    softness: float = amount(0.5)


@dataclass(frozen=True, slots=True)
class Scene(Group):
    """Everything around the face: hair, glasses, clothes, background, occluder, camera noise."""

    title = "scene"

    hair: float = amount(1.0)
    """Below .1 the head is bald, up to .25 shaven."""
    hair_top: float = amount(0.4)
    hair_sides: float = amount(0.3)
    hair_length: float = amount(0.2)
    """0 above the ears, .5 to the jaw, 1 over the shoulders."""
    hair_forward: float = amount(0.3)
    """How far long hair comes over the cheeks."""
    hairline: float = shape()
    """> 0 is a high forehead."""
    widow: float = shape()
    """Bays beside the middle of the hairline, or a rounded line."""
    fringe: float = amount(0.0)
    parting: float = shape()
    quiff: float = amount(0.2)
    curl: float = amount(0.2)
    hair_melanin: float = amount(0.7)
    hair_rufous: float = amount(0.2)
    hair_grey: float = amount(0.0)
    hair_seed: float = amount(0.5)
    glasses: float = amount(0.0)
    """Worn from .5."""
    glasses_round: float = amount(0.5)
    glasses_size: float = amount(0.5)
    glasses_thick: float = amount(0.4)
    glasses_hue: float = amount(0.1)
    glasses_light: float = amount(0.1)
    earring: float = amount(0.0)
    """Worn from .5; larger towards 1."""
    cloth_hue: float = amount(0.6)
    cloth_colour: float = amount(0.4)
    cloth_light: float = amount(0.4)
    neckline: float = amount(0.4)
    cloth_pattern: float = amount(0.0)
    background_hue: float = amount(0.55)
    background_second_hue: float = amount(0.1)
    background_colour: float = amount(0.3)
    background_light: float = amount(0.5)
    background_pattern: float = amount(0.5)
    """Gradient, wall, shelves, foliage, lights out of focus."""
    background_seed: float = amount(0.5)
    occluder: float = amount(0.0)
    """None below 1/3, a hand up to 2/3, a microphone above."""
    occluder_x: float = number(0.3, -3.0, 3.0, "outer eye corner distances from the head's middle")
    occluder_y: float = number(0.6, -3.0, 3.0, "outer eye corner distances from the head's middle")
    occluder_turn: float = number(20.0, -90.0, 90.0, "degrees")
    noise: float = amount(0.1)
    """Sensor noise, 1 is a standard deviation of 8 grey levels."""
    noise_seed: float = amount(0.5)


@dataclass(frozen=True, slots=True)
class HeadParams:
    """One picture of one head."""

    identity: Identity = Identity()
    expression: Expression = Expression()
    pose: Pose = Pose()
    gaze: Gaze = Gaze()
    light: Light = Light()
    scene: Scene = Scene()

    def vector(self) -> F32:
        """(N,) all groups in order, every number scaled to [0, 1]."""
        return np.concatenate([getattr(self, name).vector() for name in GROUPS])

    @classmethod
    def from_vector(cls, vector: F32) -> "HeadParams":
        """The inverse of :meth:`vector`.

        Raises:
            ShapeError: Another length.
        """
        where = slices()
        if vector.shape != (where["scene"].stop,):
            raise ShapeError(f"params: expected ({where['scene'].stop},), got {vector.shape}")
        return cls(**{name: GROUPS[name].from_vector(vector[where[name]]) for name in GROUPS})

    def names(self) -> tuple[str, ...]:
        """``group.number`` for each entry of the vector."""
        return tuple(f"{g}.{n}" for g, kind in GROUPS.items() for n in kind.ranges())


GROUPS: dict[str, Any] = {
    "identity": Identity, "expression": Expression, "pose": Pose,
    "gaze": Gaze, "light": Light, "scene": Scene,
}  # fmt: skip
"""The groups in the order of the vector."""


def slices() -> dict[str, slice]:
    """Where each group lies in :meth:`HeadParams.vector`."""
    ends = np.cumsum([0, *(kind.size() for kind in GROUPS.values())]).tolist()
    return {n: slice(a, b) for n, a, b in zip(GROUPS, ends[:-1], ends[1:], strict=True)}


def swap_truth(a: HeadParams, b: HeadParams) -> HeadParams:
    """Identity of ``a`` in the scene of ``b``: what a perfect face swap shows."""
    return replace(b, identity=a.identity)
