"""One face followed from frame to frame: where it is expected, and whether what was found is it."""

from collections import deque
from dataclasses import dataclass, field
from math import exp, floor, log

import numpy as np

from vidswap.faces.landmarks import Landmarks, Region, region_of
from vidswap.ops.geometry import bounds, iou
from vidswap.types import F32, F64, Box, Face

GAIN, RATE = 0.7, 0.4
"""How far a measurement moves the expected region, and its speed (alpha-beta filter)."""
KEEP, START = 0.2, 0.5
"""Presence scores to stay on a face and to believe in a new one."""
SHAKY = 0.06
"""Spread between passes, in eye distances, from which an answer is not believed at a start."""
SAME = 0.4
"""Overlap from which two boxes are one face."""
ANCHOR = 0.5
"""Seconds after which the expected region forgets what came before."""
CELLS, SPEEDS = 128, 32
"""Cells of that grid to a side, to a factor of e in size and to a radian; the same per second."""
RECENTRE = 0.03
"""Offset between the region used and the face found, in sides, from which the region is corrected."""


class Motion:
    """Expected region of a face: position, log size and angle with constant speed.

    The landmarker's answer depends a little on where its region lies, so the region must move as
    smoothly as the head: it is predicted, not taken from the last answer.
    """

    def __init__(self, region: Region, seconds: float) -> None:
        self._state: F64 = _vector(region)
        self._speed: F64 = np.zeros(4)
        self._seconds = seconds

    def expect(self, seconds: float) -> Region:
        """Where the face should be at a time, earlier or later."""
        ahead = float(np.clip(seconds - self._seconds, -0.2, 0.2))
        return _region(self._state + self._speed * ahead)

    def correct(self, region: Region, seconds: float) -> None:
        """Take a measurement into account."""
        step = seconds - self._seconds
        expected = _vector(self.expect(seconds))
        error = _vector(region) - expected
        error[3] = (error[3] + np.pi) % (2 * np.pi) - np.pi
        # A jump is a new position, not noise to be filtered.
        leap = max(abs(error[0]), abs(error[1])) > 0.1 * region.size or abs(error[2]) > 0.2
        gain = 1.0 if leap else GAIN
        self._state = expected + gain * error
        if step:
            self._speed = self._speed + RATE * error / step
        if floor(seconds / ANCHOR) != floor(self._seconds / ANCHOR):
            self._anchor(floor(max(seconds, self._seconds) / ANCHOR))
        self._seconds = seconds

    def _anchor(self, beat: int) -> None:
        """Round to a coarse grid, so that two histories of one face become one.

        What is left of where following began dies away down to the landmarks' own noise, and no
        further: however small a difference in the region, it gives one in the answer. Rounded alike
        it gives none, ever after. The grid moves from beat to beat, lest a face rest on its edges.
        """
        size = exp(round(self._state[2] * CELLS) / CELLS)
        side = np.array([size, size, 1.0, 1.0])
        offset = 0.618 * beat % 1
        self._state = (np.round(self._state / side * CELLS + offset) - offset) / CELLS * side
        self._speed = (np.round(self._speed / side * SPEEDS + offset) - offset) / SPEEDS * side


def _vector(region: Region) -> F64:
    return np.array([region.x, region.y, log(max(region.size, 1e-3)), region.angle])


def _region(vector: F64) -> Region:
    x, y, size, angle = (float(v) for v in vector)
    return Region(x, y, exp(min(size, 12.0)), angle)


def plausible(found: Landmarks, expected: Region, least: float) -> bool:
    """Whether an answer can be the face that was expected here."""
    got = region_of(found.mesh)
    away = np.hypot(got.x - expected.x, got.y - expected.y) / max(expected.size, 1e-3)
    ratio = got.size / max(expected.size, 1e-3)
    turn = abs((got.angle - expected.angle + np.pi) % (2 * np.pi) - np.pi)
    return bool(found.score >= least and away < 0.5 and 0.55 < ratio < 1.8 and turn < 0.9)


def off_centre(found: Landmarks, used: Region) -> float:
    """How far the region used was off the face found, in sides."""
    got = region_of(found.mesh)
    shift = max(abs(got.x - used.x), abs(got.y - used.y)) / got.size
    turn = abs((got.angle - used.angle + np.pi) % (2 * np.pi) - np.pi)
    return float(max(shift, abs(log(got.size / used.size)) / 2, turn / 3))


def square(region: Region, share: float) -> Box:
    """Upright square of ``share`` × the region's side around its centre."""
    half = max(share * region.size / 2, 8.0)
    return Box(
        round(region.x - half),
        round(region.y - half),
        round(region.x + half),
        round(region.y + half),
    )


@dataclass(slots=True, eq=False)
class Follow:
    """A face being followed."""

    number: int
    shot: int
    motion: Motion
    mesh: F32
    """Last mesh that was seen."""
    seen_at: int
    """Frame of that mesh."""
    seen_seconds: float
    since: float
    """Seconds at which it was first seen."""
    lost: bool = False
    trail: deque[tuple[int, F32]] = field(default_factory=lambda: deque(maxlen=64))
    """Frames and boxes of late, so that another face traced backwards stops here."""

    @property
    def box(self) -> F32:
        """(4,) box of the last mesh."""
        return bounds(self.mesh[:468])

    def see(self, index: int, seconds: float, found: Landmarks) -> None:
        """Take a new mesh."""
        self.motion.correct(region_of(found.mesh), seconds)
        self.mesh, self.seen_at, self.seen_seconds, self.lost = found.mesh, index, seconds, False
        self.trail.append((index, self.box))

    def box_at(self, index: int) -> F32 | None:
        """(4,) box in a frame not long ago, None if it was not seen there."""
        return next((box for at, box in self.trail if at == index), None)


def leap(track: Follow, found: Landmarks) -> float:
    """How far a found face is from where its track was last, in sides."""
    before, after = region_of(track.mesh), region_of(found.mesh)
    shift = np.hypot(after.x - before.x, after.y - before.y) / before.size
    return float(shift + abs(np.log(after.size / before.size)))


def covers(box: F32, other: F32) -> bool:
    """Whether two boxes are the same face: they overlap, or one holds the other's middle."""
    middle = (other[:2] + other[2:]) / 2
    holds = bool((middle > box[:2]).all() and (middle < box[2:]).all())
    return holds or bool(iou(box, other) > SAME)


def scaled(face: Face, factor: float) -> Face:
    """A detection in a picture resized by ``factor``."""
    box = ((face.box + 0.5) * factor - 0.5).astype(np.float32)
    return Face(box, ((face.points + 0.5) * factor - 0.5).astype(np.float32), face.score)
