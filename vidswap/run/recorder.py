"""What a report needs from the render pass: brightness in and out, and a few pictures."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import cv2
import numpy as np

from vidswap.types import F32, F64, U8, U16, Patch, TargetFace, Track

PICTURES = 5
"""Before/after pairs kept of each track."""
SIDE = 160
"""Longer side of a kept picture, in pixels."""
STRIDE = 4
"""Every fourth pixel is enough for a mean."""
LUMA = np.array([0.2126, 0.7152, 0.0722])


@dataclass(slots=True, eq=False)
class Seen:
    """One track through the render pass."""

    frames: list[int] = field(default_factory=list)
    before: list[float] = field(default_factory=list)
    """Mean luma of the face's box, [0, 1]."""
    after: list[float] = field(default_factory=list)
    swapped: list[bool] = field(default_factory=list)
    pictures: list[tuple[int, U8, U8]] = field(default_factory=list)
    """(frame, before, after)"""
    likeness: list[float] = field(default_factory=list)
    """Cosine to the source of the pictured frames, where an embedder is installed."""


class Recorder:
    """An observer of the swap stage; costs a strided mean for each face.

    Args:
        tracks: Those that are swapped.
        likeness: (track id, 8-bit picture, mesh in its pixels) → cosine to the source.
    """

    def __init__(
        self,
        tracks: Iterable[Track],
        likeness: Callable[[int, U8, F32], float | None] | None = None,
    ) -> None:
        self._likeness = likeness
        self.seen: dict[int, Seen] = {}
        self._wanted: dict[int, set[int]] = {}
        for track in tracks:
            places = np.linspace(track.start, track.stop - 1, PICTURES + 2)[1:-1]
            self.seen[track.id] = Seen()
            self._wanted[track.id] = {int(p) for p in places}

    def __call__(self, face: TargetFace, patch: Patch | None) -> None:
        """Note one face."""
        seen = self.seen[face.at.track]
        after = composed(face, patch)
        seen.frames.append(face.at.index)
        seen.before.append(_luma(face.rgb))
        seen.after.append(_luma(after))
        seen.swapped.append(patch is not None)
        if face.at.index in self._wanted[face.at.track]:
            seen.pictures.append((face.at.index, thumbnail(face.rgb), thumbnail(after)))
            if self._likeness is not None:
                corner = np.array([face.box.left, face.box.top, 0], np.float32)
                value = self._likeness(face.at.track, eight_bit(after), face.at.mesh - corner)
                seen.likeness += [] if value is None else [value]


def composed(face: TargetFace, patch: Patch | None) -> U8 | U16:
    """The pixels of a face's box with its patch in place."""
    if patch is None:
        return face.rgb
    after = face.rgb.copy()
    left, top = patch.box.left - face.box.left, patch.box.top - face.box.top
    after[top : top + patch.box.height, left : left + patch.box.width] = patch.rgb
    return after


def thumbnail(rgb: U8 | U16, side: int = SIDE) -> U8:
    """A picture of at most ``side`` pixels, 8 bit."""
    scale = side / max(rgb.shape[:2])
    if scale < 1:
        size = max(round(rgb.shape[1] * scale), 1), max(round(rgb.shape[0] * scale), 1)
        rgb = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
    return eight_bit(rgb)


def eight_bit(rgb: U8 | U16) -> U8:
    """The upper eight bits of every sample."""
    return (rgb >> 8).astype(np.uint8) if rgb.dtype == np.uint16 else rgb.astype(np.uint8)


def flicker(values: Iterable[float]) -> float | None:
    """Root mean square of how far each value lies from the mean of its neighbours; None below 3.

    Slow changes of light cancel out; what alternates from frame to frame remains.
    """
    series: F64 = np.asarray(list(values), np.float64)
    if len(series) < 3:
        return None
    return float(np.sqrt(np.mean((series[1:-1] - (series[:-2] + series[2:]) / 2) ** 2)))


def _luma(rgb: U8 | U16) -> float:
    mean = rgb[::STRIDE, ::STRIDE].reshape(-1, 3).mean(0)
    return float(mean @ LUMA) / float(np.iinfo(rgb.dtype).max)
