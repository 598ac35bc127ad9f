"""Follows every face of a shot, forwards and, where one appears late, backwards.

Once a face is found, no detector is needed: the landmarker runs on the region the last frames
predict. A face that is lost is looked for near by for up to ``max_gap``; frames in between that can
be filled from the far side are, the others stay unseen and are interpolated later. Nothing is
carried across a cut.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple, Protocol

import cv2
import numpy as np

from vidswap.faces.detect import Detector
from vidswap.faces.follow import (
    KEEP,
    RECENTRE,
    SAME,
    SHAKY,
    START,
    Follow,
    Motion,
    covers,
    leap,
    off_centre,
    plausible,
    scaled,
    square,
)
from vidswap.faces.landmarks import (
    Landmarker,
    Landmarks,
    Region,
    reduction,
    region_of,
    region_of_points,
)
from vidswap.faces.tiling import Changed
from vidswap.ops.geometry import bounds, iou
from vidswap.recipe import DetectOptions, TrackOptions
from vidswap.types import F32, U8, U16, Box, Face

SEARCH_SIDE = 4096
"""Longer side in pixels that pictures are searched at, at most."""
GLANCE_SIDE = 640
FINE_EVERY = 3
"""Full searches among the periodic ones."""
QUICK = 1.7
"""Times as large as the smallest faces are those that the others look for."""
AGREED = 0.011
"""Spread between two passes, in eye distances, up to which further ones would hardly steady them."""
REACQUIRE = 1.2
"""Distance, in sides of its region, within which a lost face is taken up again."""


class Picture(Protocol):
    """What tracking needs of a frame; ``vidswap.media.frame.Frame`` has it."""

    index: int
    width: int
    height: int
    bits: int

    def rgb(self, box: Box | None = None) -> U8 | U16: ...

    def reduced(self, box: Box, factor: int) -> U8: ...

    def small(self, max_side: int) -> tuple[U8, float]: ...

    def luma(self, max_side: int) -> U8: ...


class Sink(Protocol):
    """Takes the tracks as they grow; rows of one track come in frame order without holes."""

    def row(self, track: int, shot: int, picture: Picture, found: Landmarks | None) -> None:
        """One frame of a track; None where the face was not seen."""
        ...

    def close(self, track: int) -> None:
        """The track has ended with its last row."""
        ...


class _Past(NamedTuple):
    picture: Picture
    seconds: float


@dataclass(slots=True)
class Counts:
    """What tracking did, for reports."""

    searches: int = 0
    glances: int = 0
    passes: int = 0
    """Landmark calls, of ``samples`` passes each or of one."""


class Tracker:
    """Follows all faces of a clip; feed frames in order.

    Args:
        detector: Finds new faces.
        landmarker: Finds the points of known ones.
        options: Gaps and samples.
        detect: Search interval and number of faces.
        sink: Receives the rows.
        memory: Bytes of frames kept for tracing a face backwards, at most.
    """

    def __init__(
        self,
        detector: Detector,
        landmarker: Landmarker,
        options: TrackOptions,
        detect: DetectOptions,
        sink: Sink,
        memory: int = 96 << 20,
    ) -> None:
        self._detector, self._landmarker, self._sink = detector, landmarker, sink
        self._options, self._detect, self._memory = options, detect, memory
        self._tracks: list[Follow] = []
        self._past: deque[_Past] = deque()
        self._next = 0
        self._shot = -1
        self._searched = -1
        self._fresh = True
        self._seen: dict[bool, U8] = {}
        """The grey picture of the last search, of the last one with small tiles under False."""
        self.counts = Counts()

    def add(
        self,
        picture: Picture,
        seconds: float,
        *,
        starts_shot: bool,
        faces: Sequence[Face] = (),
        mixed: bool = False,
    ) -> None:
        """Track into the next frame.

        Args:
            picture: The frame.
            seconds: Its time.
            starts_shot: A cut lies before it.
            faces: Faces known to be in it, besides those that are searched for.
            mixed: It shows two shots at once: nothing is searched in it; what is found in the first
                clear frame is traced back.
        """
        if starts_shot:
            self._end_shot()
            self._shot += 1
        self._step(picture, seconds)
        self._recover(picture, seconds)
        # On the clip's own beat, so that it does not matter where in the clip tracking began.
        beat = int(seconds / max(self._detect.interval, 1e-3) + 1e-6)
        self._fresh |= starts_shot
        if mixed:
            pass
        elif self._fresh or beat != self._searched:
            self._search(picture, seconds, beat, fresh=self._fresh)
            self._fresh = False
        elif not self._tracks:
            self._meet(picture, seconds, self._glance(picture))
        if faces:
            self._meet(picture, seconds, faces)
        self._remember(picture, seconds)

    def finish(self) -> None:
        """End of the clip."""
        self._end_shot()

    # --- following what is known

    def _step(self, picture: Picture, seconds: float) -> None:
        found: list[tuple[Follow, Landmarks]] = []
        for track in self._tracks:
            if track.lost:
                continue
            got = self._at(picture, track.motion.expect(seconds), KEEP, track.mesh)
            if got is None:
                track.lost = True
            else:
                found.append((track, got))
        for (a, got_a), (b, got_b) in combinations(found, 2):
            if iou(bounds(got_a.mesh[:468]), bounds(got_b.mesh[:468])) > SAME:
                # Two tracks on one face: the one that had to jump further has lost its own.
                (a if leap(a, got_a) > leap(b, got_b) else b).lost = True
        for track, got in found:
            if not track.lost:
                self._see(track, picture, seconds, got)

    def _see(self, track: Follow, picture: Picture, seconds: float, found: Landmarks) -> None:
        track.see(picture.index, seconds, found)
        self._sink.row(track.number, track.shot, picture, found)

    def _at(
        self, picture: Picture, expected: Region, least: float, before: F32 | None = None
    ) -> Landmarks | None:
        """The face at a region, the region corrected if it was off."""
        found = self._points(picture, expected, self._options.samples, before)
        if found is None or not plausible(found, expected, least):
            # A fast head may leave the region; one pass over a wider one sees where it went.
            wide = expected._replace(size=expected.size * 1.4)
            found = self._points(picture, wide, 1)
            if found is None or not plausible(found, expected, max(least, START)):
                return None
            return self._settled(picture, region_of(found.mesh), least)
        if off_centre(found, expected) > RECENTRE:
            again = self._points(picture, region_of(found.mesh), self._options.samples, before)
            return again if again is not None and plausible(again, expected, least) else found
        return found

    def _settled(self, picture: Picture, region: Region, least: float) -> Landmarks | None:
        found = self._points(picture, region, self._options.samples)
        good = found is not None and found.score >= least and found.spread < SHAKY
        return found if good else None

    def _points(
        self, picture: Picture, region: Region, samples: int, before: F32 | None = None
    ) -> Landmarks | None:
        """Landmarks on the part of the picture that a region needs."""
        if not 8 < region.size < 4 * max(picture.width, picture.height):
            return None
        self.counts.passes += 1
        reach = region.reach + 5  # room for rounding to whole reductions
        # From even pixels on, where chroma of half the size has samples.
        box = Box(
            2 * int((region.x - reach) / 2), 2 * int((region.y - reach) / 2),
            int(region.x + reach) + 2, int(region.y + reach) + 2,
        ).clip(picture.width, picture.height)  # fmt: skip
        if min(box.width, box.height) < 8:
            return None
        # Large faces are read small: most of what conversion would make is averaged anyway.
        factor = reduction(region)
        part = picture.reduced(box, factor) if factor > 1 else eight_bit(picture.rgb(box))
        local = region.moved(-box.left, -box.top).scaled(1 / factor)
        found = self._landmarker.mesh(part, local, samples, AGREED, before)
        if found is None:
            return None
        mesh = found.mesh * np.float32(factor)
        mesh[:, :2] += np.array([box.left, box.top], np.float32) + (factor - 1) / 2
        return Landmarks(mesh, found.score, found.spread)

    # --- finding what was lost

    def _recover(self, picture: Picture, seconds: float) -> None:
        for track in [t for t in self._tracks if t.lost]:
            if seconds - track.seen_seconds > self._options.max_gap:
                self._close(track)
                continue
            missed = picture.index - track.seen_at
            region = region_of(track.mesh)
            got = self._at(picture, region, START) if missed > 1 else None
            # The detector costs more: at once, then every other frame.
            if got is None and missed % 2 == 1:
                got = self._near(picture, region)
            if got is not None and self._free(got, picture.index, track):
                self._resume(track, picture, seconds, got)

    def _near(self, picture: Picture, region: Region) -> Landmarks | None:
        area = square(region, 2.0)
        inside = area.clip(picture.width, picture.height)
        if min(inside.width, inside.height) < 8:
            return None
        shift = np.array([inside.left, inside.top], np.float32)
        local = Box(*(v - int(shift[k % 2]) for k, v in enumerate(area)))
        for face in self._detector.near(eight_bit(picture.rgb(inside)), local):
            at = region_of_points(face.box, face.points).moved(*map(float, shift))
            away = np.hypot(at.x - region.x, at.y - region.y) / region.size
            if away < REACQUIRE and 0.5 < at.size / region.size < 2:
                return self._confirmed(picture, at)
        return None

    def _confirmed(self, picture: Picture, region: Region) -> Landmarks | None:
        """Points of a face that a detector reported, if it is one."""
        for _ in range(2):
            found = self._points(picture, region, 1)
            if found is None:
                return None
            region = region_of(found.mesh)
        return self._settled(picture, region, START)

    def _free(self, found: Landmarks, index: int, own: Follow | None = None) -> bool:
        """Whether no other track holds this face in a frame."""
        box = bounds(found.mesh[:468])
        held = (t.box_at(index) for t in self._tracks if t is not own)
        return all(other is None or iou(box, other) <= SAME for other in held)

    def _resume(self, track: Follow, picture: Picture, seconds: float, found: Landmarks) -> None:
        """Take a lost face up again and fill the gap from this side."""
        filled = dict(self._backwards(found, seconds, after=track.seen_at, own=track))
        for past in self._past:
            if past.picture.index > track.seen_at:
                known = filled.get(past.picture.index)
                self._sink.row(track.number, track.shot, past.picture, known)
        track.motion = Motion(region_of(found.mesh), seconds)
        self._see(track, picture, seconds, found)

    def _backwards(
        self, found: Landmarks, seconds: float, after: int, own: Follow | None = None
    ) -> Iterator[tuple[int, Landmarks]]:
        """Trace a face through the frames before this one, latest first, until it is not there."""
        motion = Motion(region_of(found.mesh), seconds)
        for past in reversed(self._past):
            if past.picture.index <= after:
                return
            got = self._at(past.picture, motion.expect(past.seconds), START)
            if got is None or not self._free(got, past.picture.index, own):
                return
            motion.correct(region_of(got.mesh), past.seconds)
            yield past.picture.index, got

    # --- finding what is new

    def _search(self, picture: Picture, seconds: float, beat: int, *, fresh: bool) -> None:
        """Full search of what changed since the last one and is not tracked anyway."""
        rgb, scale = picture.small(SEARCH_SIDE)
        luma = cv2.blur(picture.luma(160), (3, 3))
        known = [t.box * scale for t in self._tracks if not t.lost]
        # Small tiles are most of the work: while faces are tracked, every third search has them,
        # and looks next to the tracked faces too.
        quick = bool(known) and beat % FINE_EVERY > 0
        previous = None if fresh or not self._tracks else self._seen.get(quick)
        changed = Changed(luma, previous, known, rgb.shape[1], grow=0.35 if quick else 0.1)
        smallest = QUICK * self._detect.min_face if quick else None
        faces = [scaled(f, 1 / scale) for f in self._detector.detect(rgb, changed, smallest)]
        self._meet(picture, seconds, faces)
        self._searched = beat
        # A search without small tiles tells nothing of small faces: what enters and then stands
        # still must differ from the last picture in which it would have been seen.
        self._seen |= {True: luma} if quick else {True: luma, False: luma}
        self.counts.searches += 1

    def _glance(self, picture: Picture) -> list[Face]:
        self.counts.glances += 1
        rgb, scale = picture.small(GLANCE_SIDE)
        return [scaled(f, 1 / scale) for f in self._detector.glance(rgb)]

    def _meet(self, picture: Picture, seconds: float, faces: Sequence[Face]) -> None:
        """Start tracks for faces that nobody follows."""
        for face in faces:
            known = [t.box for t in self._tracks if not t.lost]
            if len(known) >= self._detect.max_faces or any(covers(b, face.box) for b in known):
                continue
            found = self._confirmed(picture, region_of_points(face.box, face.points))
            if found is None or not self._free(found, picture.index):
                continue
            self._open(picture, seconds, found)

    def _open(self, picture: Picture, seconds: float, found: Landmarks) -> None:
        track = Follow(
            self._next, self._shot, Motion(region_of(found.mesh), seconds), found.mesh,
            picture.index, seconds, seconds,
        )  # fmt: skip
        self._next += 1
        pictures = {p.picture.index: p.picture for p in self._past}
        for index, got in reversed(list(self._backwards(found, seconds, after=-1))):
            track.trail.append((index, bounds(got.mesh[:468])))
            self._sink.row(track.number, track.shot, pictures[index], got)
        self._tracks.append(track)
        self._see(track, picture, seconds, found)

    # --- memory

    def _remember(self, picture: Picture, seconds: float) -> None:
        self._past.append(_Past(picture, seconds))
        # 4:2:0 has one and a half samples for each pixel.
        size = picture.width * picture.height * 1.5 * picture.bits / 8
        while len(self._past) > 1 and (
            seconds - self._past[0].seconds > self._options.max_gap
            or len(self._past) * size > self._memory
        ):
            self._past.popleft()

    def _end_shot(self) -> None:
        for track in list(self._tracks):
            self._close(track)
        self._past.clear()
        self._seen.clear()

    def _close(self, track: Follow) -> None:
        self._tracks.remove(track)
        self._sink.close(track.number)


def eight_bit(rgb: U8 | U16) -> U8:
    """(H, W, 3) uint8 of a picture of either depth."""
    return (rgb >> 8).astype(np.uint8) if rgb.dtype == np.uint16 else rgb.view(np.uint8)
