"""BlazeFace, the detector of MediaPipe's wheel."""

from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np

from vidswap.faces.graph import Graph
from vidswap.faces.landmarks import crop
from vidswap.faces.tiling import SUPPRESS, Wanted, everywhere, tiles
from vidswap.ops.geometry import keep_best
from vidswap.recipe import DetectOptions
from vidswap.types import U8, Box, Face

FULL, SHORT = 192, 128
"""Input sides of the two networks."""


class MediaPipeDetector:
    """BlazeFace, full range on tiles and short range on the whole (Bazarevsky 2019, arXiv 1907.05047).

    Raises:
        WeightsError: MediaPipe is not installed; says how to get a detector.
    """

    name = "mediapipe"

    def __init__(self, options: DetectOptions) -> None:
        self._options = options
        self._full = Graph(_config("FaceDetectionFullRangeCpu"), {"faces": "proto_list"}, FULL)
        self._short = Graph(_config("FaceDetectionShortRangeCpu"), {"faces": "proto_list"}, SHORT)

    def detect(
        self, rgb: U8, wanted: Wanted = everywhere, smallest: float | None = None
    ) -> list[Face]:
        """Search tiles of every needed size, and the whole picture."""
        height, width = rgb.shape[:2]
        least = self._options.min_face if smallest is None else smallest
        boxes = [b for b in tiles(width, height, least) if wanted(b)]
        found = list(self.search(rgb, boxes))
        return self._best(found + self._whole(rgb))

    def glance(self, rgb: U8) -> list[Face]:
        """Search the picture as a whole, reduced to the networks' size."""
        return self._best(self._whole(rgb))

    def near(self, rgb: U8, box: Box) -> list[Face]:
        """Search one square with the full-range network."""
        return self._best(list(self._run(self._full, _square(crop(rgb, *box), FULL), box)))

    def search(self, rgb: U8, boxes: Sequence[Box]) -> Iterator[Face]:
        """Faces in some tiles; those that a tile's edge cuts are left to its neighbour."""
        height, width = rgb.shape[:2]
        # One reduced picture for all tiles of a size: they overlap, and cutting is free.
        levels: dict[int, U8] = {}
        for box in boxes:
            side = box.width
            if side not in levels:
                levels[side] = reduced(rgb, FULL / side)
            level = levels[side]
            # The last tile ends with the picture, however its place is rounded.
            left = min(round(box.left * FULL / side), max(level.shape[1] - FULL, 0))
            top = min(round(box.top * FULL / side), max(level.shape[0] - FULL, 0))
            part = crop(level, left, top, left + FULL, top + FULL)
            inner = (box.left > 0, box.top > 0, box.right < width, box.bottom < height)
            for face in self._run(self._full, part, box):
                slack = 0.02 * box.width
                left, top, right, bottom = face.box
                touches = (
                    left < box.left + slack, top < box.top + slack,
                    right > box.right - slack, bottom > box.bottom - slack,
                )  # fmt: skip
                if not any(a and b for a, b in zip(inner, touches, strict=True)):
                    yield face

    def close(self) -> None:
        """Stop the networks' threads."""
        self._full.close()
        self._short.close()

    def _whole(self, rgb: U8) -> list[Face]:
        height, width = rgb.shape[:2]
        side = max(height, width)
        # Centred on a square with repeated borders, so that faces keep their proportions.
        left, top = -((side - width) // 2), -((side - height) // 2)
        box = Box(left, top, left + side, top + side)
        small = reduced(rgb, FULL / side)
        dx, dy = (FULL - small.shape[1]) // 2, (FULL - small.shape[0]) // 2
        part = crop(small, -dx, -dy, FULL - dx, FULL - dy)
        return [
            *self._run(self._full, part, box),
            *self._run(self._short, _square(part, SHORT), box),
        ]

    def _run(self, graph: Graph, part: U8, box: Box) -> Iterator[Face]:
        for detection in graph.run([part])[0].get("faces", ()):
            yield _face(detection, box)

    def _best(self, found: list[Face]) -> list[Face]:
        options = self._options
        good = [
            f for f in found
            if f.score >= options.min_score and f.box[3] - f.box[1] >= 0.8 * options.min_face
        ]  # fmt: skip
        if not good:
            return []
        kept = keep_best(
            np.stack([f.box for f in good]), np.array([f.score for f in good]), SUPPRESS
        )
        return [good[i] for i in kept[: options.max_faces]]


def _config(subgraph: str) -> str:
    return (
        'num_threads: 1 input_stream: "image" output_stream: "faces" '
        f'node {{ calculator: "{subgraph}" input_stream: "IMAGE:image" output_stream: "DETECTIONS:faces" }}'
    )


def reduced(rgb: U8, factor: float) -> U8:
    """A picture resized by a factor; reductions average over areas.

    By a whole number first, which OpenCV averages ten times faster than any other, then
    interpolated over what is left, a quarter or less where the reduction is twofold or more.
    """
    height, width = rgb.shape[:2]
    size = (max(round(width * factor), 1), max(round(height * factor), 1))
    whole = max(min(round(1 / factor), width, height), 1)
    if whole > 1:
        rgb = rgb[: height // whole * whole, : width // whole * whole]
        half = (rgb.shape[1] // whole, rgb.shape[0] // whole)
        rgb = np.asarray(cv2.resize(rgb, half, interpolation=cv2.INTER_AREA), np.uint8)
    if rgb.shape[1::-1] != size:
        rgb = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_LINEAR), np.uint8)
    return rgb


def _square(rgb: U8, side: int) -> U8:
    if rgb.shape[:2] == (side, side):
        return rgb
    how = cv2.INTER_AREA if rgb.shape[0] > side else cv2.INTER_LINEAR
    resized: U8 = cv2.resize(rgb, (side, side), interpolation=how)
    return resized


def _face(detection: Any, box: Box) -> Face:
    """A detection, relative to its tile, in pixels of the picture."""
    location = detection.location_data
    relative = location.relative_bounding_box
    size, origin = np.array([box.width, box.height]), np.array([box.left, box.top]) - 0.5
    low = np.array([relative.xmin, relative.ymin]) * size + origin
    high = low + np.array([relative.width, relative.height]) * size
    points = np.array([(p.x, p.y) for p in location.relative_keypoints]) * size + origin
    left_eye, right_eye, nose, mouth = points[:4]
    # The network reports the middle of the mouth; its corners lie about .37 eye distances aside.
    aside = 0.37 * (right_eye - left_eye)
    five = np.stack([left_eye, right_eye, nose, mouth - aside, mouth + aside])
    return Face(
        np.r_[low, high].astype(np.float32), five.astype(np.float32), float(detection.score[0])
    )
