"""The nouns that flow between the layers.

Conventions, obeyed everywhere:

- Pixel coordinates are ``(x, y)`` floats; ``(0, 0)`` is the *centre* of the top-left pixel.
- Pictures are *upright* (display rotation applied), RGB, ``(H, W, 3)``: ``uint8`` for 8-bit video,
  ``uint16`` spanning the full 0–65535 range for anything deeper.
- A ``Box`` is integer pixels ``(left, top, right, bottom)``, half-open. All ranges are half-open.
- Matrices are ``2 × 3`` and map frame → crop.
- Time is integer ticks × ``Fraction`` time base. Seconds appear only in recipes and logs.
- T frames of a track, B batch, S crop side, V = 478 mesh vertices, L latent layers.
- Angles are degrees. Yaw > 0: the subject turns to the viewer's right (image right). Pitch > 0: looks up.
  Roll > 0: head tilts clockwise in the image.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

I8 = NDArray[np.int8]
U8 = NDArray[np.uint8]
U16 = NDArray[np.uint16]
I64 = NDArray[np.int64]
F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Bool = NDArray[np.bool_]

VERTICES = 478
"""Vertices of the face mesh: 468 of the surface, then 2 × 5 of the irises."""


class Box(NamedTuple):
    """Half-open integer pixel box, upright coordinates."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        """Columns covered, 0 for an empty box."""
        return max(self.right - self.left, 0)

    @property
    def height(self) -> int:
        """Rows covered, 0 for an empty box."""
        return max(self.bottom - self.top, 0)

    def clip(self, width: int, height: int) -> "Box":
        """The part inside a picture of this size."""
        left, top = min(max(self.left, 0), width), min(max(self.top, 0), height)
        right, bottom = max(min(self.right, width), left), max(min(self.bottom, height), top)
        return Box(left, top, right, bottom)


@dataclass(frozen=True, slots=True)
class Colour:
    """How sample values mean colours. Numbers are those of ITU-T H.273 (2 = unspecified)."""

    primaries: int
    transfer: int
    matrix: int
    full_range: bool
    bits: int
    """Bits per component as coded: 8, 10, 12 or 16."""
    assumed: bool
    """The matrix was untagged and is an assumption (BT.709 from 720 lines up, else BT.601)."""


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """One stream of the input besides the video that is swapped."""

    index: int
    kind: Literal["video", "audio", "subtitle", "data", "attachment"]
    codec: str
    language: str | None
    title: str | None


@dataclass(frozen=True, slots=True, eq=False)
class VideoInfo:
    """What a demux scan knows about a clip, without decoding it."""

    path: str
    container: str
    """Demuxer names, such as ``mov,mp4,m4a,3gp,3g2,mj2``."""
    codec: str
    pix_fmt: str
    width: int
    """Upright width in pixels."""
    height: int
    """Upright height in pixels."""
    rotation: int
    """Clockwise turn in degrees that a player applies for display: 0, 90, 180 or 270."""
    sample_aspect: Fraction
    colour: Colour
    time_base: Fraction
    pts: I64
    """(T,) presentation time of every frame that a player shows, ascending, in ticks."""
    keyframes: I64
    """(K,) pts of the keyframes, ascending."""
    frame_rate: Fraction
    """Average rate; a description, never used for timing."""
    duration: int
    """Ticks from the first pts to the end of the last frame."""
    stream_index: int
    streams: tuple[StreamInfo, ...] = ()
    warnings: tuple[str, ...] = ()
    """Remarks that a user should see, such as an assumed colour matrix."""
    field_order: str = ""
    """``top field first`` or the like where frames are interlaced; empty for progressive clips."""

    @property
    def frames(self) -> int:
        """Number of frames a player shows."""
        return len(self.pts)

    def seconds(self, index: int) -> float:
        """Time of a frame from the first one, in seconds."""
        return float((int(self.pts[index]) - int(self.pts[0])) * self.time_base)


class Shot(NamedTuple):
    """Frames ``[start, stop)`` between two cuts."""

    start: int
    stop: int


class Dissolve(NamedTuple):
    """Frames ``[start, stop)`` in which one shot fades into the next."""

    start: int
    middle: int
    """First frame of the next shot: from here on it outweighs the one before."""
    stop: int

    def share(self, frame: float) -> float:
        """How much of a frame belongs to the shot that it is not counted to, [0, 0.5]."""
        if frame < self.middle:
            return 0.5 * max(frame - self.start + 1, 0) / (self.middle - self.start + 1)
        return 0.5 * max(self.stop - frame, 0) / (self.stop - self.middle + 1)


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """One detected face in one picture."""

    box: F32
    """(4,) left, top, right, bottom in pixels."""
    points: F32
    """(5, 2) image-left eye, image-right eye, nose tip, image-left and image-right mouth corner."""
    score: float
    """[0, 1]"""
    embedding: F32 | None = None
    """(512,) unit identity vector, when an embedder is present."""


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """One face through consecutive frames of one shot, after smoothing."""

    id: int
    """Index printed by ``vidswap inspect``; tracks are numbered by first frame, then from left to right."""
    shot: int
    start: int
    stop: int
    """Frames ``[start, stop)``; per-frame arrays of the track have ``stop - start`` rows."""
    seen: Bool
    """(T,) False where the face was interpolated across a gap."""
    confidence: F32
    """(T,) [0, 1], smoothed in time; engines fade with it, so it never jumps."""
    boxes: F32
    """(T, 4) smoothed face boxes in pixels."""
    pose: F32
    """(T, 3) yaw, pitch, roll in degrees."""
    embedding: F32 | None = None
    person: str | None = None
    """Name of the person this track was matched with: the cast."""

    @property
    def frames(self) -> int:
        """Number of frames covered."""
        return self.stop - self.start


Need = Literal["mesh", "appearance", "latents", "labels"]
"""What an engine may ask of ``analyse``."""


@dataclass(frozen=True, slots=True, eq=False)
class TrackFrame:
    """Everything ``analyse`` knows of one track in one frame; ``render`` sees nothing else of time."""

    track: int
    index: int
    """Frame number in the clip."""
    confidence: float
    pose: F32
    """(3,) yaw, pitch, roll, degrees."""
    mesh: F32
    """(V, 3) smoothed vertices in pixels; z in the same unit, negative towards the camera."""
    data: Mapping[str, NDArray[np.generic]] = field(default_factory=dict)
    """Further per-frame rows by need, such as ``appearance`` or ``latents``."""


@dataclass(frozen=True, slots=True, eq=False)
class SourceFace:
    """One face cut from a source photograph."""

    rgb: U8
    """(H, W, 3) the photograph, cropped with a generous margin around the face."""
    mesh: F32
    """(V, 3) vertices in pixels of ``rgb``."""
    pose: F32
    """(3,) degrees."""
    path: str
    score: float
    warnings: tuple[str, ...] = ()
    """Advice on the photograph, such as a turned head or an open mouth."""


@dataclass(frozen=True, slots=True, eq=False)
class TargetFace:
    """One face of one frame, handed to an engine."""

    rgb: U8 | U16
    """(h, w, 3) the pixels of ``box``, untouched."""
    box: Box
    """Where ``rgb`` lies in the frame."""
    at: TrackFrame


REST = 254
"""Parts of a level in which a ``Patch`` tells what rounding took: a half fits into its 8 bits."""


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """New pixels for a part of one frame. Outside it the frame stays bit-equal."""

    rgb: U8 | U16
    """(h, w, 3) same depth as the target, already composed with it."""
    box: Box
    rest: I8 | None = None
    """(h, w, 3) what rounding to 8 bits took off ``rgb``, in ``REST`` parts of a level; None where nothing
    is known of it. Coded samples made with it follow slow changes more closely."""
