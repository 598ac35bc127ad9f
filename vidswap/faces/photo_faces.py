"""The face in a source photograph."""

import cv2
import numpy as np

from vidswap.errors import MediaError, NoFaceError
from vidswap.faces.blazeface import MediaPipeDetector
from vidswap.faces.detect import Detector
from vidswap.faces.landmarks import (
    Landmarker,
    Landmarks,
    Region,
    crop,
    eye_distance,
    region_of,
    region_of_points,
)
from vidswap.faces.pose import PoseFit, mouth_opening
from vidswap.ops.geometry import bounds, keep_best
from vidswap.recipe import DetectOptions
from vidswap.types import F32, U8, Face, SourceFace

SEARCH_SIDE = 1600
"""Long side in pixels that photographs are searched at."""
SAMPLES = 8
ROUNDS = 3
"""Times the region is centred again on what was found in it."""
MARGIN = 0.75
"""Kept around the face on every side, by the face's size."""
SURE = 0.98
"""Score from which the other directions are not tried."""
UPRIGHT = 50.0
"""Degrees of roll up to which a head counts as upright."""
MIN_SCORE, MAX_SPREAD = 0.5, 0.05
"""What is less sure, or shakes more from pass to pass, is no face."""
MIN_EYES = 60.0
"""Pixels between the outer eye corners below which a source goes soft."""


def source_face(
    rgb: U8,
    path: str,
    detector: Detector | None = None,
    landmarker: Landmarker | None = None,
) -> SourceFace:
    """Find the largest face of a photograph or painting.

    Turned photographs are searched in all four directions; ``rgb`` of the result is upright.

    Args:
        rgb: (H, W, 3) photograph.
        path: The file, for messages.
        detector: One that is open already; otherwise one is opened and closed here.
        landmarker: The same.

    Returns:
        The face with a generous margin, points averaged over eight passes, and advice in
        ``warnings``.

    Raises:
        NoFaceError: No face was found, naming the file.
        MediaError: The array is no RGB picture.
        WeightsError: No detector is installed.
    """
    if rgb.ndim != 3 or rgb.shape[2] != 3 or min(rgb.shape[:2]) < 8:
        raise MediaError(f"expected an RGB photograph, got an array {rgb.shape}", path=path)
    finder = detector or MediaPipeDetector(DetectOptions(min_face=16, min_score=0.4))
    points = landmarker or Landmarker()
    best: SourceFace | None = None
    try:
        for turns in (0, 3, 1, 2):
            upright = np.ascontiguousarray(np.rot90(rgb, turns))
            faces = _faces(upright, finder, points)
            if not faces:
                continue
            found = _best(upright, faces, path, turned=turns > 0)
            if best is None or _standing(found) > _standing(best):
                best = found
            if _standing(best) > SURE:
                break
    finally:
        if detector is None:
            finder.close()
        if landmarker is None:
            points.close()
    if best is not None:
        return best
    hint = "use a photograph in which the face is larger, sharper and seen from the front"
    raise NoFaceError("no face found in the photograph", path=path, stage="source", hint=hint)


def _standing(face: SourceFace) -> float:
    """Score of a face that stands upright; the network also answers, unsurely, to lying ones."""
    return face.score - (abs(float(face.pose[2])) > UPRIGHT)


def _faces(rgb: U8, detector: Detector, landmarker: Landmarker) -> list[Landmarks]:
    """Meshes of all faces, each once."""
    height, width = rgb.shape[:2]
    scale = min(SEARCH_SIDE / max(height, width), 1.0)
    small = rgb
    if scale < 1:
        size = max(round(width * scale), 1), max(round(height * scale), 1)
        small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
    found = detector.detect(small)
    if not found:
        # A face that fills the picture: step back by repeating the borders.
        room = max(small.shape[:2]) // 2
        wide = crop(small, -room, -room, small.shape[1] + room, small.shape[0] + room)
        found = [_shifted(f, -room) for f in detector.glance(np.ascontiguousarray(wide))]
    meshes = [m for f in found if (m := _settle(rgb, f, scale, landmarker)) is not None]
    if not meshes:
        return []
    boxes = np.stack([bounds(m.mesh[:468]) for m in meshes])
    kept = keep_best(boxes, np.array([m.score for m in meshes], np.float32), 0.5)
    return [meshes[i] for i in kept]


def _settle(rgb: U8, face: Face, scale: float, landmarker: Landmarker) -> Landmarks | None:
    """Points of a detected face after its region has come to rest on it."""
    at: Region = region_of_points(face.box, face.points).scaled(1 / scale)
    found = None
    for _ in range(ROUNDS):
        found = landmarker.mesh(rgb, at)
        if found is None:
            return None
        at = region_of(found.mesh)
    final = landmarker.mesh(rgb, at, SAMPLES)
    if final is None or final.score < MIN_SCORE or final.spread > MAX_SPREAD:
        return None
    return final


def _best(rgb: U8, faces: list[Landmarks], path: str, *, turned: bool) -> SourceFace:
    largest = max(faces, key=lambda f: eye_distance(f.mesh))
    left, top, right, bottom = bounds(largest.mesh[:468])
    margin = MARGIN * max(right - left, bottom - top)
    height, width = rgb.shape[:2]
    x0, y0 = max(int(left - margin), 0), max(int(top - margin), 0)
    x1, y1 = min(int(right + margin) + 1, width), min(int(bottom + margin) + 1, height)
    mesh = largest.mesh - np.array([x0, y0, 0], np.float32)
    pose: F32 = PoseFit().angles(mesh)
    near = [f for f in faces if eye_distance(f.mesh) > 0.3 * eye_distance(largest.mesh)]
    remarks = _advice(mesh, pose, len(near))
    if turned:
        remarks.append("the photograph lies on its side and was turned upright")
    part = np.ascontiguousarray(rgb[y0:y1, x0:x1])
    return SourceFace(part, mesh, pose, path, largest.score, tuple(remarks))


def _advice(mesh: F32, pose: F32, count: int) -> list[str]:
    remarks = []
    if count > 1:
        remarks.append(f"{count} faces in the photograph: the largest is taken")
    if abs(pose[0]) > 20:
        remarks.append(
            f"the head is turned by {abs(pose[0]):.0f}°: add a photograph of the other side, or a frontal one"
        )
    if mouth_opening(mesh) > 0.12:
        remarks.append("the mouth is open: a closed one gives a cleaner swap")
    if (eyes := eye_distance(mesh)) < MIN_EYES:
        remarks.append(
            f"the face is small ({eyes:.0f} pixels between the eyes, {MIN_EYES:.0f} or more are better)"
        )
    return remarks


def _shifted(face: Face, by: float) -> Face:
    box = (face.box + by).astype(np.float32)
    return Face(box, (face.points + by).astype(np.float32), face.score)
