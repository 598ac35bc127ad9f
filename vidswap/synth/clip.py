"""Talking heads over time: every frame is drawn from parameters, so every frame has its truth."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal

import numpy as np

from vidswap.errors import RecipeError
from vidswap.synth.params import Expression, Gaze, HeadParams, Identity, Pose, Scene
from vidswap.synth.render import Rendered, render_frame
from vidswap.synth.sample import sample
from vidswap.types import F32, F64

Occluder = Literal["none", "hand", "mic"]
PEOPLE = 4
"""Heads that find room in one picture."""
SPACING = 2.7
"""Between the middles of two heads, outer eye corner distances."""
BLINK_SECONDS = 0.28
SACCADE_SECONDS = 0.08
SOUND = 48000
"""Samples per second of the voice."""


@dataclass(frozen=True, slots=True)
class Clip:
    """The truth of a clip; pictures are drawn when they are asked for."""

    params: tuple[tuple[HeadParams, ...], ...]
    """For each frame its heads, the same people in the same order."""
    rate: Fraction
    """Frames per second."""
    width: int
    height: int
    cuts: tuple[int, ...] = ()
    """First frames of all shots but the first."""

    def __len__(self) -> int:
        return len(self.params)

    def frame(self, index: int) -> Rendered:
        """Draw one frame."""
        return render_frame(self.params[index], self.width, self.height)

    def frames(self) -> Iterator[Rendered]:
        """Draw all frames in order."""
        return (self.frame(i) for i in range(len(self)))

    def swapped(self, people: Mapping[int, Identity]) -> "Clip":
        """The true swap: the same clip with other identities.

        Args:
            people: Which person, counted from the image's left, becomes whom.

        Raises:
            RecipeError: A person that the clip does not have.
        """
        count = len(self.params[0])
        for number in people:
            if not 0 <= number < count:
                raise RecipeError(f"swapped: person {number} of a clip with {count}", stage="synth")
        changed = tuple(
            tuple(
                replace(head, identity=people.get(i, head.identity)) for i, head in enumerate(heads)
            )
            for heads in self.params
        )
        return replace(self, params=changed)

    def voice(self) -> F32:
        """(N,) mono samples at 48 kHz in [-1, 1]: vowels as loud as the mouths are open."""
        count = round(len(self) * SOUND / self.rate)
        time = np.arange(count) / SOUND
        total = np.zeros(count)
        for person in range(len(self.params[0])):
            jaw = [heads[person].expression.jaw for heads in self.params]
            loud = np.interp(time * float(self.rate), np.arange(len(jaw)), jaw)
            pitch = 100 + 45 * person
            tone = [g * np.sin(2 * np.pi * pitch * k * time) / k for k, g in _PARTIALS]
            total += loud * np.sum(tone, 0)
        scaled: F32 = (0.2 * total / len(self.params[0])).clip(-1, 1).astype(np.float32)
        return scaled


_PARTIALS = tuple(enumerate((1.0, 0.6, 0.5, 0.9, 0.9, 0.5, 0.2), 1))


def clip(
    seed: int,
    seconds: float,
    fps: Fraction | float = Fraction(25),
    *,
    size: tuple[int, int] = (640, 360),
    people: int = 1,
    occluder: Occluder = "none",
    cuts: int = 0,
) -> Clip:
    """A talking clip: smooth head motion, jaw as in speech, blinks, gaze.

    Motion is a function of time, so another frame rate samples the same motion.

    Args:
        seed: Who is seen and how they move.
        seconds: Length; at least one frame is made.
        fps: Frames per second, 1 … 240.
        size: Width and height, pixels.
        people: Heads beside each other, 1 … 4.
        occluder: What passes before the first face: a hand now and then, or a microphone always.
        cuts: Cuts to another camera and room, spread evenly.

    Raises:
        RecipeError: A number out of range.
    """
    rate = Fraction(fps).limit_denominator(1001)
    _check(seconds, rate, people, cuts, occluder)
    count = max(round(seconds * rate), 1)
    borders = tuple(round(count * (i + 1) / (cuts + 1)) for i in range(cuts))
    if len({0, *borders}) <= cuts or count in borders:
        raise RecipeError(f"cuts: {cuts} do not fit into {count} frames", stage="synth")
    cast = [_Actor(seed * PEOPLE + i, i, people) for i in range(people)]
    frames = []
    for index in range(count):
        shot = sum(index >= b for b in borders)
        heads = [a.act(float(index / rate), shot) for a in cast]
        if occluder != "none":
            heads[0] = replace(heads[0], scene=_occluded(heads[0].scene, occluder, index / rate))
        frames.append(tuple(heads))
    return Clip(tuple(frames), rate, size[0], size[1], borders)


def _check(seconds: float, rate: Fraction, people: int, cuts: int, occluder: str) -> None:
    limits: Sequence[tuple[str, float, float, float]] = (
        ("seconds", seconds, 0.001, 3600), ("fps", float(rate), 1, 240),
        ("people", people, 1, PEOPLE), ("cuts", cuts, 0, 1000),
    )  # fmt: skip
    for name, value, low, high in limits:
        if not low <= value <= high:
            raise RecipeError(f"{name}: expected {low:g} … {high:g}, got {value:g}", stage="synth")
    if occluder not in ("none", "hand", "mic"):
        raise RecipeError(f"occluder: expected none, hand or mic, got {occluder}", stage="synth")


def _occluded(scene: Scene, kind: Occluder, seconds: Fraction | float) -> Scene:
    t = float(seconds)
    if kind == "mic":
        return replace(
            scene, occluder=0.9, occluder_x=0.12 + 0.06 * np.sin(1.3 * t),
            occluder_y=0.95 + 0.07 * np.sin(2.1 * t), occluder_turn=18.0,
        )  # fmt: skip
    # In from below on the right, over the mouth and cheek, out again, every four seconds.
    over = 0.5 - 0.5 * np.cos(2 * np.pi * (t + 0.6) / 4)
    return replace(
        scene, occluder=0.5, occluder_x=0.35 + 1.6 * (1 - over), occluder_y=0.55 + 2.2 * (1 - over),
        occluder_turn=-25.0 + 15 * over,
    )  # fmt: skip


class _Actor:
    """One person's motion, drawn once from a seed."""

    def __init__(self, seed: int, place: int, people: int) -> None:
        self._rng = np.random.default_rng([5, seed])
        self._base = sample(seed)
        self._seed = seed
        self._others = {0: self._base}
        self._x = (place - (people - 1) / 2) * SPACING
        self._field = max(4.4, 0.62 * SPACING * people + 1.0)
        self._waves = {
            name: self._wave(slow, fast)
            for name, slow, fast in (
                ("yaw", 0.08, 0.3), ("pitch", 0.1, 0.4), ("roll", 0.07, 0.25), ("x", 0.05, 0.2),
                ("y", 0.05, 0.2), ("smile", 0.06, 0.3), ("brow", 0.1, 0.5), ("side", 0.2, 1.0),
                ("talk", 0.1, 0.35), ("jaw", 2.2, 5.2), ("pucker", 1.1, 2.5),
            )
        }  # fmt: skip
        self._blinks = np.cumsum(self._rng.uniform(1.5, 4.5, 2000)) - 1.0
        self._looks = np.cumsum(self._rng.uniform(0.5, 2.5, 4000))
        self._gaze = self._rng.normal(0, 1, (4001, 2)) * [9, 4]

    def _wave(self, low: float, high: float) -> tuple[F64, F64]:
        return self._rng.uniform(low, high, 3), self._rng.uniform(0, 2 * np.pi, 3)

    def _at(self, name: str, seconds: float) -> float:
        """A smooth value around 0, rarely beyond ±1."""
        rate, phase = self._waves[name]
        return float(np.sin(2 * np.pi * rate * seconds + phase).sum() / 1.8)

    def act(self, seconds: float, shot: int) -> HeadParams:
        """The head at one time in one shot."""
        at, base = self._at, self._base
        if shot not in self._others:
            self._others[shot] = sample(self._seed + 7919 * shot)
        other = self._others[shot]
        scene = base.scene
        if shot:
            room = {n: getattr(other.scene, n) for n in Scene.ranges() if "background" in n}
            scene = replace(scene, **room)
        scene = replace(scene, noise_seed=(seconds * 0.618 + 0.1 * shot) % 1.0)
        field = self._field * (1.0, 0.8, 1.25)[shot % 3]
        pose = Pose(
            yaw=_within(13 * at("yaw", seconds) + 22 * np.sin(2.4 * shot), 55),
            pitch=_within(5 * at("pitch", seconds), 25), roll=_within(4 * at("roll", seconds), 20),
            x=self._x + 0.12 * at("x", seconds) + 0.25 * np.sin(shot),
            y=0.35 + 0.05 * at("y", seconds), distance=9.0, field_height=field,
        )  # fmt: skip
        return HeadParams(
            identity=base.identity, expression=self._face(seconds), pose=pose,
            gaze=self._look(seconds), light=other.light if shot else base.light, scene=scene,
        )  # fmt: skip

    def _face(self, seconds: float) -> Expression:
        at = self._at
        talking = min(max(0.75 + at("talk", seconds), 0.0), 1.0)
        jaw = min(max(0.28 + 0.38 * at("jaw", seconds), 0.0), 0.9) * talking
        blink = self._blink(seconds)
        return Expression(
            jaw=jaw, smile=_within(0.15 + 0.35 * at("smile", seconds), 0.9),
            pucker=min(max(0.25 * at("pucker", seconds), 0.0), 0.6) * talking,
            mouth_side=_within(0.1 * at("side", seconds), 0.5),
            brow_raise=_within(0.3 * at("brow", seconds), 0.9), blink_left=blink, blink_right=blink,
        )  # fmt: skip

    def _blink(self, seconds: float) -> float:
        away = float(np.abs(self._blinks - seconds).min()) / (BLINK_SECONDS / 2)
        return float(np.cos(away * np.pi / 2) ** 2) if away < 1 else 0.0

    def _look(self, seconds: float) -> Gaze:
        number = int(np.searchsorted(self._looks, seconds))
        since = seconds - (self._looks[number - 1] if number else -1.0)
        share = min(since / SACCADE_SECONDS, 1.0)
        before = self._gaze[max(number - 1, 0)]
        yaw, pitch = before + (self._gaze[number] - before) * share
        return Gaze(yaw=_within(float(yaw), 25), pitch=_within(float(pitch), 15))


def _within(value: float, limit: float) -> float:
    return float(min(max(value, -limit), limit))
