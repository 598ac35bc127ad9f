"""What ``bench quality`` swaps: people never trained on, and what each swap should look like."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from vidswap.media.decode import open_reader
from vidswap.media.pictures import write_pictures
from vidswap.media.probe import probe
from vidswap.recipe import DecodeOptions
from vidswap.synth.clip import Clip, Occluder, clip
from vidswap.synth.dataset import HELD_OUT
from vidswap.synth.params import HeadParams
from vidswap.synth.render import Rendered, render
from vidswap.synth.sample import portrait, sample
from vidswap.types import F32, F64, U8, Bool

RATE = Fraction(25)
PHOTO = 512
"""Side of the source photographs, pixels."""
APART = 500_000
"""Between the numbers of the people in pairs and of those in clips."""
CLIPS: tuple[tuple[str, Occluder, int], ...] = (
    ("talking", "none", 0),
    ("hand", "hand", 0),
    ("cut", "none", 1),
)
"""Name, what passes before the face, cuts."""
SPARE = 4.0
"""Seconds that clips are made longer than they are used, so that something happens in what is."""
LATE = 0.6
"""Seconds into its clip from which the hand is close to the face."""
FACE = (1, 2, 3, 5, 6, 9)
"""Labels that belong to the face: lips, brows, eyes, nose, skin, mouth."""
RIM = 5
"""Side of the square that occluders are shrunk with: their outermost pixels mix with the face, and
colours are kept at half resolution."""
HIDDEN = 0.1
"""Share of the face."""
SHUT = 0.4
"""Blink from which an eye has no gaze."""


@dataclass(frozen=True, slots=True)
class Case:
    """One swap."""

    name: str
    clip: Clip
    """The target; a pair of pictures is a clip of one frame."""
    source: HeadParams
    """The photograph of whom is put in."""

    @property
    def still(self) -> bool:
        """One picture: nothing can be said about time."""
        return len(self.clip) == 1


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """A case as pictures. Target and truth have been through the same lossless 4:2:0 file."""

    source: Rendered
    photo: Path
    """The source as a file."""
    path: Path
    """The target as a file."""
    target: U8
    """(T, H, W, 3)"""
    truth: U8
    """(T, H, W, 3) the true swap."""
    target_mesh: F32
    """(T, 478, 3) pixels."""
    mesh: F32
    """(T, 478, 3) of the true swap."""
    face: Bool
    """(T, H, W) where the target or the true swap shows a face."""
    occluded: Bool
    """(T, H, W) where something stands before either."""
    looking: Bool
    """(T,) eyes open."""
    shots: tuple[tuple[int, int], ...]

    @property
    def hidden(self) -> Bool:
        """(T,) where so much of the face is occluded that landmarks are a guess."""
        covered, open_to_see = self.occluded.sum((1, 2)), self.face.sum((1, 2))
        much: Bool = covered > HIDDEN * np.maximum(covered + open_to_see, 1)
        return much

    @property
    def seconds(self) -> F64:
        """(T,) from the first frame."""
        return np.arange(len(self.target)) / float(RATE)


def cases(pairs: int, seconds: float, size: int, seed: int = HELD_OUT) -> tuple[Case, ...]:
    """The whole set.

    Args:
        pairs: Pairs of pictures.
        seconds: Length of each clip; enough for two shots of five frames.
        size: Side of the frames, pixels, even.
        seed: Number of the first person.

    Raises:
        RecipeError: A number out of range.
    """
    found = [
        Case(
            f"pair {i}",
            Clip(((sample(seed + 2 * i + 1),),), RATE, size, size),
            portrait(sample(seed + 2 * i)),
        )
        for i in range(pairs)
    ]
    for number, (name, occluder, cuts) in enumerate(CLIPS):
        who = seed + APART + 2 * number
        target = clip(
            who + 1, seconds + SPARE, RATE, size=(size, size), occluder=occluder, cuts=cuts
        )
        found.append(Case(name, _window(target, name, seconds), portrait(sample(who))))
    return tuple(found)


def talking(who: int, seconds: float, size: int) -> Case:
    """One talking clip about a blink.

    Args:
        who: Number of the person who is put in; the next one is the clip's.
        seconds: Length.
        size: Side of the frames, pixels, even.
    """
    target = clip(who + 1, seconds + SPARE, RATE, size=(size, size))
    return Case("talking", _window(target, "talking", seconds), portrait(sample(who)))


def draw(case: Case, folder: Path) -> Drawn:
    """Draw a case and write source and target to files.

    Args:
        case: What to draw.
        folder: Exists; files in it are replaced.

    Raises:
        MediaError: The folder cannot be written to.
    """
    swapped = case.clip.swapped({0: case.source.identity})
    target, truth = list(case.clip.frames()), list(swapped.frames())
    source = render(case.source, PHOTO)
    photo = folder / "source.png"
    Image.fromarray(source.rgb).save(photo)
    occluded = _occluded(case.clip, target) | _occluded(swapped, truth)
    face = (_faces(target) | _faces(truth)) & ~occluded
    path = folder / "target.mkv"
    blinks = [max(h.expression.blink_left, h.expression.blink_right) for (h,) in case.clip.params]
    borders = (0, *case.clip.cuts, len(case.clip))
    return Drawn(
        source=source,
        photo=photo,
        path=path,
        target=_through(path, target),
        truth=_through(folder / "truth.mkv", truth),
        target_mesh=np.stack([f.mesh for f in target]),
        mesh=np.stack([f.mesh for f in truth]),
        face=face,
        occluded=occluded,
        looking=np.array(blinks) < SHUT,
        shots=tuple(pairwise(borders)),
    )


def read(path: Path) -> U8:
    """(T, H, W, 3) all frames of a file.

    Raises:
        MediaError: It cannot be read.
    """
    with open_reader(probe(path), DecodeOptions()) as reader:
        return np.stack([np.asarray(frame.rgb(), np.uint8) for frame in reader.frames()])


def _window(made: Clip, name: str, seconds: float) -> Clip:
    """Part of a clip: about the first blink, from where the hand comes up, or about the cut."""
    count = max(round(seconds * RATE), 1)
    if name == "hand":
        start = round(LATE * RATE)
    else:
        blinks = np.array([heads[0].expression.blink_left for heads in made.params])
        middle = made.cuts[0] if made.cuts else int(np.argmax(blinks > 0.9 * blinks.max()))
        start = max(middle - count // 2, 0)
    start = min(start, len(made) - count)
    cuts = tuple(c - start for c in made.cuts if 0 < c - start < count)
    return replace(made, params=made.params[start : start + count], cuts=cuts)


def _through(path: Path, frames: list[Rendered]) -> U8:
    """What is left of frames in a lossless file: colours at half resolution."""
    pictures: Iterator[U8] = (f.rgb for f in frames)
    write_pictures(path, pictures, RATE, "ffv1")
    return read(path)


def _faces(frames: list[Rendered]) -> Bool:
    return np.stack([np.isin(f.labels, FACE) for f in frames])


def _occluded(made: Clip, frames: list[Rendered]) -> Bool:
    """Where a face would be seen if nothing stood before it; without the rim."""
    found = np.zeros((len(frames), made.height, made.width), np.bool_)
    for index, (heads, frame) in enumerate(zip(made.params, frames, strict=True)):
        if heads[0].scene.occluder == 0:
            continue
        bare = replace(heads[0], scene=replace(heads[0].scene, occluder=0.0))
        seen = replace(made, params=((bare,),), cuts=()).frame(0)
        hidden = np.isin(seen.labels, FACE) & (frame.labels == 0)
        found[index] = cv2.erode(hidden.astype(np.uint8), np.ones((RIM, RIM), np.uint8)) > 0
    return found
