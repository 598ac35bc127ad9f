"""478 points on a face, from a region of interest of our own.

The network (MediaPipe's attention mesh, Grishchenko 2020, arXiv 2006.10962) sees 192 × 192 pixels.
Its answer shakes by a tenth of a pixel with where exactly the region lies; averaging passes over
slightly moved regions takes most of that away.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import cos, sin
from typing import NamedTuple

import cv2
import numpy as np

from vidswap.faces.graph import Graph
from vidswap.types import F32, F64, U8

NETWORK = 192
MARGIN = 1.5
"""Side of the region of interest by the size of the face."""
FAINTEST = 1.0
"""Presence logit below which there is no face."""
IMAGE_LEFT_EYE, IMAGE_RIGHT_EYE = 33, 263
"""Outer eye corners, left and right in the picture."""
SURFACE = 468

# Jitter of the passes: shift along x and y and change of size as shares of the side, turn in
# radians. Within 3 %, 4 % and .05; balanced, so that their means are zero.
PATTERN = (
    (0.012, 0.026, 0.03, 0.04),
    (-0.026, 0.012, -0.03, -0.04),
    (0.026, -0.012, -0.03, 0.04),
    (-0.012, -0.026, 0.03, -0.04),
    (0.0, 0.018, -0.015, -0.02),
    (0.018, 0.0, 0.015, -0.02),
    (-0.018, 0.0, 0.015, 0.02),
    (0.0, -0.018, -0.015, 0.02),
)

STILL = (0.0, 0.0, 0.0, 0.0)
"""No jitter."""
CALM, CLEAR = 0.5, 0.9
"""Share of the spread allowed to two passes that is allowed to one and the frame before, and the presence
score from which one may do."""

CONFIG = """
num_threads: 1
input_stream: "image"
input_stream: "roi"
output_stream: "points"
output_stream: "presence"
node {
  calculator: "ImageToTensorCalculator"
  input_stream: "IMAGE:image"
  input_stream: "NORM_RECT:roi"
  output_stream: "TENSORS:input"
  options { [mediapipe.ImageToTensorCalculatorOptions.ext] {
    output_tensor_width: 192 output_tensor_height: 192
    output_tensor_float_range { min: 0.0 max: 1.0 } } }
}
node {
  calculator: "TfLiteCustomOpResolverCalculator"
  output_side_packet: "OP_RESOLVER:resolver"
}
node {
  calculator: "InferenceCalculator"
  input_stream: "TENSORS:input"
  input_side_packet: "OP_RESOLVER:resolver"
  output_stream: "TENSORS:output"
  options { [mediapipe.InferenceCalculatorOptions.ext] {
    model_path: "mediapipe/modules/face_landmark/face_landmark_with_attention.tflite"
    delegate { xnnpack { num_threads: 1 } } } }
}
node {
  calculator: "SplitTensorVectorCalculator"
  input_stream: "output"
  output_stream: "parts"
  output_stream: "flag"
  options { [mediapipe.SplitVectorCalculatorOptions.ext] {
    ranges { begin: 0 end: 6 } ranges { begin: 6 end: 7 } } }
}
node {
  calculator: "TensorsToFloatsCalculator"
  input_stream: "TENSORS:flag"
  output_stream: "FLOAT:presence"
}
node {
  calculator: "TensorsToFaceLandmarksWithAttention"
  input_stream: "TENSORS:parts"
  output_stream: "LANDMARKS:points"
}
"""


class Region(NamedTuple):
    """A square in a picture, turned clockwise about its centre."""

    x: float
    y: float
    """Centre in pixels."""
    size: float
    """Side in pixels."""
    angle: float
    """Radians, clockwise."""

    def moved(self, dx: float, dy: float) -> "Region":
        """The same region in a picture whose origin lies at (−dx, −dy) of this one."""
        return self._replace(x=self.x + dx, y=self.y + dy)

    def scaled(self, factor: float) -> "Region":
        """The same region in a picture resized by ``factor``."""
        return Region(
            (self.x + 0.5) * factor - 0.5,
            (self.y + 0.5) * factor - 0.5,
            self.size * factor,
            self.angle,
        )

    def jittered(self, step: tuple[float, float, float, float]) -> "Region":
        """Moved by shares of the side, resized and turned."""
        dx, dy, grow, turn = step
        return Region(
            self.x + dx * self.size,
            self.y + dy * self.size,
            self.size * (1 + grow),
            self.angle + turn,
        )

    @property
    def reach(self) -> float:
        """Half the side of the upright square around it and all its jittered copies."""
        return 0.5 * self.size * (abs(cos(self.angle)) + abs(sin(self.angle))) * 1.12 + 2


@dataclass(frozen=True, slots=True, eq=False)
class Landmarks:
    """What the landmarker says of one region."""

    mesh: F32
    """(478, 3) pixels of the picture; z in the same unit, negative towards the camera."""
    score: float
    """[0, 1] presence of a face, from the network's own flag: .5 where its logit is 5, clear faces
    have 15 to 30. It does not see occlusion."""
    spread: float
    """Disagreement between the passes as a share of the eye distance; about .01 on a clear face."""


def eye_distance(mesh: F32) -> float:
    """Distance between the outer eye corners in three dimensions, in the mesh's unit."""
    return float(np.linalg.norm(mesh[IMAGE_RIGHT_EYE] - mesh[IMAGE_LEFT_EYE]))


def region_of(mesh: F32) -> Region:
    """The region of interest for a mesh: 1.5 × the upright face's box, turned along the eye line."""
    xy = mesh[:SURFACE, :2].astype(np.float64)
    dx, dy = xy[IMAGE_RIGHT_EYE] - xy[IMAGE_LEFT_EYE]
    angle = float(np.arctan2(dy, dx))
    return _around(xy, angle, MARGIN)


def region_of_points(box: F32, points: F32) -> Region:
    """A first region from a detection's box and its five points (image-left eye first)."""
    dx, dy = (points[1] - points[0]).astype(np.float64)
    left, top, right, bottom = (float(v) for v in box)
    side = max(right - left, bottom - top) * MARGIN
    return Region((left + right) / 2, (top + bottom) / 2, side, float(np.arctan2(dy, dx)))


def _around(xy: F64, angle: float, margin: float) -> Region:
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    upright = xy @ turn
    low, high = upright.min(0), upright.max(0)
    x, y = turn @ ((low + high) / 2)
    return Region(float(x), float(y), float((high - low).max()) * margin, angle)


class Landmarker:
    """MediaPipe's face mesh with attention on lips, eyes and irises.

    Raises:
        WeightsError: MediaPipe is not installed; says how to get a detector.
    """

    def __init__(self) -> None:
        self._graph = Graph(
            CONFIG, {"points": "landmarks", "presence": "float"}, NETWORK, regions=True
        )

    def mesh(
        self,
        rgb: U8,
        region: Region,
        samples: int = 1,
        enough: float = 0.0,
        before: F32 | None = None,
    ) -> Landmarks | None:
        """Find the points of the face in a region.

        Args:
            rgb: (H, W, 3) picture; only the region's surroundings are read, and its borders are
                repeated where the region reaches outside.
            region: Where the face is, in pixels of ``rgb``.
            samples: 1 pass on the region itself, or up to 8 over jittered copies, averaged.
            enough: Spread up to which passes are not followed by further ones.
            before: (478, 3) the face in the frame before, if it is known: where a pass on the region
                itself agrees with it, but for the head's motion, there are no others.

        Returns:
            None where the region holds no face.
        """
        picture, left, top, factor = cut(rgb, region)
        local = region.moved(-left, -top).scaled(factor)
        steps = PATTERN[: min(samples, len(PATTERN))] if samples > 1 else (STILL,)
        stages = [steps]
        if enough > 0 and samples > 2:
            stages = [steps[:2], steps[2:]]
        known = before if enough > 0 and samples > 1 else None
        if known is not None:
            stages.insert(0, (STILL,))
        passes: list[tuple[F64 | None, float]] = []
        found = None
        for stage in stages:
            passes += self._passes(picture, local, stage)
            found = _average(passes, factor, known)
            if found is None or found.spread > enough:
                continue
            if len(passes) > 1 or (found.spread <= CALM * enough and found.score >= CLEAR):
                break
        if found is not None:
            found.mesh[:, :2] += (left, top)
        return found

    def _passes(
        self, picture: U8, local: Region, steps: Sequence[tuple[float, float, float, float]]
    ) -> list[tuple[F64 | None, float]]:
        """Points in pixels of the picture and presence logit, for each jittered region."""
        tried = [local.jittered(step) for step in steps]
        height, width = picture.shape[:2]
        relative = [
            (r.x / width, r.y / height, r.size / width, r.size / height, r.angle) for r in tried
        ]
        answers = self._graph.run([picture], [relative])
        return [
            (_place(a["points"], r) if "points" in a else None, a.get("presence", -np.inf))
            for a, r in zip(answers, tried, strict=True)
        ]

    def close(self) -> None:
        """Stop the network's threads."""
        self._graph.close()


def cut(rgb: U8, region: Region) -> tuple[U8, int, int, float]:
    """The part of a picture that a region and its jittered copies need.

    Large regions are reduced to about the network's size first: the graph samples without a low
    pass, and what it skips shows as jitter.

    Returns:
        The pixels, the picture's column and row of their origin, and the factor by which they were
        reduced (1 for small faces).
    """
    reach = region.reach
    left, top = int(np.floor(region.x - reach)), int(np.floor(region.y - reach))
    side = int(np.ceil(2 * reach)) + 1
    shrink = reduction(region)
    side += -side % shrink
    part = crop(rgb, left, top, left + side, top + side)
    # By a whole number, which OpenCV averages several times faster than any other.
    if shrink == 1:
        return part, left, top, 1.0
    return (
        cv2.resize(part, None, fx=1 / shrink, fy=1 / shrink, interpolation=cv2.INTER_AREA),
        left,
        top,
        1 / shrink,
    )


def reduction(region: Region) -> int:
    """By how much a picture is reduced before the network samples a region of it."""
    return max(round(region.size / (1.2 * NETWORK)), 1)


def crop(rgb: U8, left: int, top: int, right: int, bottom: int) -> U8:
    """(bottom − top, right − left, 3) pixels; outside the picture its borders are repeated."""
    height, width = rgb.shape[:2]
    # At least one row and column is taken, so that something can be repeated.
    y0, y1 = min(max(top, 0), height - 1), max(min(bottom, height), 1)
    x0, x1 = min(max(left, 0), width - 1), max(min(right, width), 1)
    inside = rgb[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)]
    pads = (max(y0 - top, 0), max(bottom - y1, 0), max(x0 - left, 0), max(right - x1, 0))
    if not any(pads):
        return inside
    padded: U8 = cv2.copyMakeBorder(inside, *pads, cv2.BORDER_REPLICATE)
    return padded[: bottom - top, : right - left]


def _average(
    passes: Sequence[tuple[F64 | None, float]], factor: float, before: F32 | None = None
) -> Landmarks | None:
    """What several passes say together, in pixels before the reduction by ``factor``.

    One alone is compared with the frame before, as if that were another one of the same face.
    """
    logit = float(np.mean([presence for _, presence in passes]))
    meshes = [points for points, _ in passes if points is not None]
    if not logit > FAINTEST or len(meshes) < len(passes):
        return None
    mean = np.mean(meshes, axis=0)
    spread = float(np.sqrt(((np.stack(meshes) - mean)[..., :2] ** 2).sum(-1).mean()))
    mean[:, :2] = (mean[:, :2] + 0.5) / factor - 0.5
    mean[:, 2] /= factor
    eyes = max(eye_distance(mean), 1e-6)
    score = float(1 / (1 + np.exp((5 - logit) / 2)))
    mesh, spread = mean.astype(np.float32), spread / factor / eyes
    if len(meshes) == 1 and before is not None:
        spread = reshaped(before, mesh) / 2
    return Landmarks(mesh, score, spread)


def reshaped(before: F32, after: F32) -> float:
    """How far a face has changed but for a similarity in the plane, in eye distances, root mean square."""
    # As complex numbers, a similarity is a product and a sum.
    a, b = (mesh[:SURFACE, 0] + 1j * mesh[:SURFACE, 1] for mesh in (before, after))
    a, b = a - a.mean(), b - b.mean()
    turn = (a.conj() * b).sum() / max((np.abs(a) ** 2).sum(), 1e-12)
    gap = np.abs(b - turn * a)
    return float(np.sqrt((gap**2).mean())) / max(eye_distance(after), 1e-6)


def _place(points: F64, region: Region) -> F64:
    """(478, 3) network output, relative to the region → pixels."""
    # The network counts from the corner of its first pixel, the sampler from its centre; without
    # the half pixel a mirrored picture gives points that are not mirrored (measured: 0.9 of 192).
    x, y = (points[:, :2].T - 0.5 - 0.5 / NETWORK) * region.size
    c, s = cos(region.angle), sin(region.angle)
    return np.stack(
        [region.x + x * c - y * s, region.y + x * s + y * c, points[:, 2] * region.size], -1
    )
