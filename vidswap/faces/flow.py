"""Optical flow under a face mesh: how the skin moved from one frame to the next.

Landmarks know where a face is, but tremble by a fraction of a pixel; flow knows how far the skin
moved, far more finely, but drifts. ``FlowMeter`` measures the flow while frames pass by, and
``carry`` joins both after smoothing: fast motion from the flow, slow position from the landmarks.
Texture that rides on the result does not swim. Where the picture itself hardly changed there was no
motion at all: see ``repeats``.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from vidswap.faces.facemesh import SURFACE, FaceMesh
from vidswap.faces.landmarks import crop
from vidswap.faces.repeats import change
from vidswap.faces.vertices import EYES, LIPS_INNER
from vidswap.ops.smooth import local_mean, whittaker
from vidswap.types import F32, F64, U8, U16, Box

SIDE = 250
"""Pixels to which a face is reduced before its flow is taken."""
ROOM = 16
"""Reduced pixels around the face that are looked at, too: near its edge flow is worse."""
STRIDE = 6
"""Reduced pixels between the patches that flow is joined from: as exact as with 4, and cheaper."""
SPREAD = 1.0
"""Standard deviation in reduced pixels over which it is averaged."""
DOUBT = (0.02, 0.05)
"""Disagreement between flow and landmarks within one frame, in eye distances, at which the flow
begins to count less and counts nothing: occlusion, blur, a cut inside a gap."""
LIDS, LIPS = 0.7, 0.4
"""How much of the flow the edges of eyes and mouth follow. There it sees skin appear and vanish, and a
mouth that opened less than the speaker's would be worse than one that trembles."""
BLINK = (0.003, 0.007)
"""Eye distances by which flow must miss how far lids open until it begins to count less, and counts
nothing: a lid slides over the eye, which stays, and flow sees half of a blink. Below that it is the
landmarks that tremble."""


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """From one frame to the next."""

    flow: F32
    """(468, 2) pixels by which every surface vertex moved; NaN where it is not known."""
    change: F32
    """(3,) mean change of the face's pixels in 8-bit levels, and its median motion and that of what moves
    most in eye distances; NaN where they are not known."""

    @classmethod
    def unknown(cls) -> "Step":
        """After a gap, or of a face too small."""
        return cls(np.full((SURFACE, 2), np.nan, np.float32), np.full(3, np.nan, np.float32))


class FlowMeter:
    """Measures one track, frame after frame (DIS flow: Kroeger et al. 2016, OpenCV's)."""

    def __init__(self) -> None:
        preset = cv2.DISOPTICAL_FLOW_PRESET_FAST
        self._dis = cv2.DISOpticalFlow_create(preset)  # type: ignore[attr-defined]
        # The preset stops at a quarter of the size: what it misses there, the texture trembles by.
        self._dis.setFinestScale(1)
        self._dis.setPatchStride(STRIDE)
        self._index = -2
        self._picture: U8 | None = None
        self._mesh: F32 | None = None
        self._origin = (0, 0)

    def step(self, index: int, rgb: U8 | U16, box: Box, mesh: F32) -> Step:
        """What moved and changed since the frame before.

        Args:
            index: Frame number; after a gap nothing is known.
            rgb: (h, w, 3) pixels of ``box``.
            box: The mesh and its surroundings.
            mesh: (V ≥ 468, 3) landmarks in pixels of the frame.
        """
        grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
        grey = grey if grey.dtype == np.uint8 else (grey >> 8).astype(np.uint8)
        before, place, last = self._picture, self._origin, self._mesh
        known = index == self._index + 1
        self._index, self._picture, self._origin = index, grey, (box.left, box.top)
        self._mesh = mesh[:SURFACE, :2].astype(np.float32)
        if not known or before is None or last is None:
            return Step.unknown()
        return self._between(before, place, last, grey)

    def _between(self, before: U8, place: tuple[int, int], last: F32, after: U8) -> Step:
        # Both pictures on the earlier one's window, moved along with the head to the pixel, so that
        # what is left to find is small: the flow's error grows with it.
        assert self._mesh is not None
        head = np.round(self._mesh.mean(0) - last.mean(0))
        dx, dy = np.round(np.array(place) + head - self._origin).astype(int).tolist()
        height, width = before.shape
        scale = min(1.0, SIDE / max(float(np.ptp(last, axis=0).max()), 1.0))
        # Only the face: what lies around it has no vertices.
        room = ROOM / scale
        low = np.clip(np.floor(last.min(0) - place - room), 0, (width, height)).astype(int)
        high = np.clip(np.ceil(last.max(0) - place + room), 0, (width, height)).astype(int)
        if (high - low).min() * scale < 24:
            return Step.unknown()
        (left, top), (right, bottom) = low.tolist(), high.tolist()
        x, y = np.subtract(place, self._origin).tolist()
        changed = _changed(before[top:bottom, left:right], after, (x + left, y + top))
        after = crop(after, dx + left, dy + top, dx + right, dy + bottom)
        pair = [reduced(p, scale) for p in (before[top:bottom, left:right], after)]
        flow = cv2.GaussianBlur(self._dis.calc(pair[0], pair[1], None), (0, 0), SPREAD)
        at = ((last - place - low + 0.5) * scale - 0.5).astype(np.float32)
        moved = cv2.remap(
            flow, at[None, :, 0], at[None, :, 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        motion = (moved[0] / scale + head).astype(np.float32)
        size = max(float(np.linalg.norm(last[263] - last[33])), 1e-3)
        # Lips or lids alone are a tenth of all vertices.
        typical, most = np.percentile(np.hypot(*motion.T), (50, 95)) / size
        return Step(motion, np.array([changed, typical, most], np.float32))


def _changed(before: U8, after: U8, place: tuple[int, int]) -> float:
    """Change of a part of a picture whose corner lies at ``place`` in the next, where that shows it.

    Boxes follow landmarks, which tremble: what lies beyond the next one is no change.
    """
    height, width = before.shape
    (x, y), (down, across) = place, after.shape
    rows = slice(max(0, -y), min(height, down - y))
    columns = slice(max(0, -x), min(width, across - x))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return float("nan")
    there = after[y + rows.start : y + rows.stop, x + columns.start : x + columns.stop]
    return change(before[rows, columns], there)


def reduced(grey: U8, scale: float) -> U8:
    """A grey picture at a smaller scale: averaged by a whole number, then interpolated."""
    height, width = grey.shape
    size = (round(width * scale), round(height * scale))
    # OpenCV averages by whole numbers many times faster than by others.
    whole = max(int(1 / scale + 0.2), 1)
    if whole > 1:
        near = (width // whole, height // whole)
        grey = grey[: near[1] * whole, : near[0] * whole]
        grey = np.asarray(cv2.resize(grey, near, interpolation=cv2.INTER_AREA), np.uint8)
    return np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_LINEAR), np.uint8)


def carry(meshes: F32, flow: F32, seconds: F64, drift: float, mesh: FaceMesh) -> F32:
    """Let the skin of smoothed meshes move as the flow does, above ``drift`` Hz.

    Lids and lips follow it less: see ``LIDS``.

    Args:
        meshes: (T, 478, 3) smoothed landmarks in pixels.
        flow: (T, 468, 2) from ``FlowMeter``.
        seconds: (T,) time stamps.
        drift: Hz below which the landmarks are right.
        mesh: The face's geometry.

    Returns:
        (T, 478, 3).
    """
    points = meshes[:, :SURFACE, :2].astype(np.float64)
    if len(points) < 3:
        return meshes
    # What the flow says beyond the landmarks, added up in time; long windows are many numbers.
    quick = np.nan_to_num(flow.astype(np.float64) - np.diff(points, axis=0, prepend=points[:1]))
    size = np.linalg.norm(points[:, 263] - points[:, 33], axis=-1)[:, None]
    low, high = DOUBT
    quick *= np.clip((high - np.linalg.norm(quick, axis=-1) / size) / (high - low), 0, 1)[..., None]
    np.cumsum(quick, axis=0, out=quick)
    quick -= whittaker(quick, seconds, drift)
    move = _skin(mesh.neighbours[:SURFACE, :SURFACE])[:, None] * quick
    _blink(move, quick, points / size[..., None], seconds, size)
    for upper, lower in zip(LIPS_INNER[1:10], LIPS_INNER[:10:-1], strict=True):
        # How far lips part is the landmarks' to tell.
        move[:, [upper, lower]] = move[:, [upper, lower]].mean(1, keepdims=True)
    out = meshes.copy()
    out[:, :SURFACE, :2] = points + move
    return out


def _blink(move: F64, quick: F64, points: F64, seconds: F64, size: F64) -> None:
    """Lids that open or shut follow the flow of their corners, and open as the landmarks say; in place.

    Args:
        move: (T, 468, 2) px by which vertices follow the flow.
        quick: (T, 468, 2) px by which it misses the landmarks.
        points: (T, 468, 2) landmarks in eye distances.
        seconds: (T,) time stamps.
        size: (T, 1) px of an eye distance.
    """
    missed = []
    for eye in EYES:
        upper, lower = list(eye[1:8]), list(eye[:8:-1])
        across = (points[:, lower] - points[:, upper]).mean(1, keepdims=True)
        across /= np.maximum(np.linalg.norm(across, axis=-1, keepdims=True), 1e-6)
        missed.append((((quick[:, lower] - quick[:, upper]) * across).sum(-1) / size).mean(1))
    # Both together: one eye hardly blinks alone, and two tell better than one.
    energy = local_mean((np.stack(missed) ** 2).mean(0), seconds)
    low, high = BLINK
    moving = np.clip((np.sqrt(np.maximum(energy, 0)) - low) / (high - low), 0, 1)[:, None, None]
    for eye in EYES:
        place = quick[:, [eye[0], eye[8]]].mean(1, keepdims=True)
        move[:, list(eye)] += moving * (place - move[:, list(eye)])


def _skin(neighbours: F32) -> F64:
    """(468,) how much each vertex follows the flow: least on the edges of eyes and mouth."""
    held = np.zeros(SURFACE)
    held[[*EYES[0], *EYES[1]]] = 1 - LIDS
    held[list(LIPS_INNER)] = 1 - LIPS
    beside = ((neighbours > 0) * held).max(1)
    return np.asarray(1 - np.maximum(held, 0.5 * beside), np.float64)
