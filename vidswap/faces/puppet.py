"""Animate a portrait through the face mesh: clips whose pose, mouth and lids are known exactly.

Used by the demo, the benchmark and the tests, which need a talking head that nobody has to consent to.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from vidswap.faces.facemesh import MOUTH, FaceMesh, affine, fit_pose, rasterise
from vidswap.faces.vertices import CREASES, EYES, LIPS_INNER
from vidswap.types import F32, U8

OPEN = 0.17
"""How far the jaw goes down, in outer-eye distances."""
FINE = 2
"""Parts of a pixel, each way, by which edges of eyes and mouth are drawn."""
DARK, LASH = (50, 20, 20), (48, 30, 20)
"""Colours of an open mouth, and of the edge of a lid."""
BLINK = (0.02, 0.12, 0.16, 0.36), (0.0, 1.0, 1.0, 0.0)
"""Seconds of a blink, and how far the lids are shut then: they fall twice as fast as they rise."""


@dataclass(frozen=True, slots=True)
class Act:
    """What the head does in one frame."""

    yaw: float = 0.0
    """Degrees, added to the portrait's own."""
    pitch: float = 0.0
    roll: float = 0.0
    jaw: float = 0.0
    """[0, 1] how far the mouth opens beyond the portrait's."""
    blink: float = 0.0
    """[0, 1], 1 is shut."""
    shift: tuple[float, float] = (0.0, 0.0)
    """Camera move in px of the output."""
    zoom: float = 1.0


def talk(seconds: float) -> Act:
    """A little speech: head sway, syllables, a blink every two seconds, a slow camera."""
    t = 2 * math.pi * seconds
    syllables = max(0.0, math.sin(1.9 * t)) * (0.55 + 0.45 * math.sin(0.31 * t))
    blink = float(np.interp((seconds + 0.6) % 2.0, *BLINK))
    return Act(
        yaw=9 * math.sin(0.23 * t), pitch=3 * math.sin(0.31 * t + 1), roll=3 * math.sin(0.17 * t),
        jaw=0.75 * syllables, blink=blink, zoom=1 + 0.04 * math.sin(0.11 * t),
        shift=(7 * math.sin(0.13 * t), 4 * math.sin(0.19 * t)),
    )  # fmt: skip


class Puppet:
    """One portrait that can be moved.

    Args:
        rgb: (H, W, 3) portrait.
        points: (478, 3) its mesh in pixels.
        size: (width, height) of the frames; the portrait is scaled to cover them.
    """

    def __init__(self, rgb: U8, points: F32, size: tuple[int, int]) -> None:
        self._mesh = FaceMesh.load()
        self._size = size
        scale = max(size[0] / rgb.shape[1], size[1] / rgb.shape[0])
        way = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
        self._rgb = cv2.resize(
            rgb,
            (math.ceil(rgb.shape[1] * scale), math.ceil(rgb.shape[0] * scale)),
            interpolation=way,
        )
        self._points = (
            (points + 0.5 * np.array([1, 1, 0])) * scale - 0.5 * np.array([1, 1, 0])
        ).astype(np.float32)
        self._surface = self._points[: len(self._mesh.shape)]
        self._pose = fit_pose(self._mesh.shape, self._points, self._mesh.rigid)
        self._hung, self._teeth = self._jaw(), self._mouth()

    def frame(self, act: Act) -> tuple[U8, F32]:
        """Draw one frame.

        Returns:
            (height, width, 3) picture, and the (478, 3) mesh in its pixels: the truth.
        """
        surface = self._turn(self._express(self._surface, act), act)
        before, after = self._mesh.extend(self._surface), self._mesh.extend(surface)
        rings = len(self._mesh.oval)
        after[-rings:] = before[-rings:]
        after[-2 * rings : -rings] = (
            0.5 * before[-2 * rings : -rings] + 0.5 * after[-2 * rings : -rings]
        )
        picture = self._warp(before, after, act)
        iris = self._points[len(surface) :] + np.repeat(
            [(after - before)[468], (after - before)[469]], 5, 0
        )
        return self._camera(picture, np.concatenate([surface, iris]).astype(np.float32), act)

    def _express(self, surface: F32, act: Act) -> F32:
        moved = surface.copy()
        for eye in EYES:
            upper, lower = list(eye[1:8]), list(eye[:8:-1])
            moved[upper] += act.blink * (surface[lower] - surface[upper])
        moved[:, 1] += act.jaw * OPEN * self._pose.scale * self._hung
        return moved

    def _jaw(self) -> F32:
        """(V,) how far each vertex goes down with the jaw: lips as wholes, and nothing at their corners."""
        surface, unit = self._surface, self._pose.scale
        rim = surface[list(LIPS_INNER)]
        left, right = rim[0, 0], rim[10, 0]
        upper, lower = (line[np.argsort(line[:, 0])] for line in (rim[:11], rim[10:]))
        high, low = (np.interp(surface[:, 0], *line[:, :2].T) for line in (upper, lower))
        deep = (surface[:, 1] - (high + low) / 2) / unit
        below = np.clip(deep / 0.02, 0, 1)
        below[list(LIPS_INNER[1:10])] = 0
        below[list(LIPS_INNER[11:])] = 1
        aside = (surface[:, 0] - (left + right) / 2) / unit
        within = np.clip(1 - np.abs(2 * aside * unit / (right - left)) ** 2.6, 0, 1)
        # Away from the lips the skin follows more widely.
        far = np.clip(deep / 0.3, 0, 1)
        wide = np.exp(-((aside / 0.42) ** 2))
        hung: F32 = (below * ((1 - far) * within + far * wide)).astype(np.float32)
        return hung

    def _turn(self, surface: F32, act: Act) -> F32:
        yaw, pitch, roll = (math.radians(a) for a in (-act.yaw, act.pitch, act.roll))
        about_y = np.array(
            [[math.cos(yaw), 0, math.sin(yaw)], [0, 1, 0], [-math.sin(yaw), 0, math.cos(yaw)]]
        )
        about_x = np.array(
            [
                [1, 0, 0],
                [0, math.cos(pitch), -math.sin(pitch)],
                [0, math.sin(pitch), math.cos(pitch)],
            ]
        )
        about_z = np.array(
            [[math.cos(roll), -math.sin(roll), 0], [math.sin(roll), math.cos(roll), 0], [0, 0, 1]]
        )
        neck = surface.mean(0) + np.array([0, 0.3, 0.7]) * self._pose.scale
        result: F32 = ((surface - neck) @ (about_z @ about_x @ about_y).T + neck).astype(np.float32)
        return result

    def _warp(self, before: F32, after: F32, act: Act) -> U8:
        """The whole picture; eyes and mouth, whose edges would be jagged, drawn finer and averaged."""
        height, width = self._rgb.shape[:2]
        origin = before.copy()
        for eye, crease in zip(EYES, CREASES, strict=True):
            # A lid that comes down is skin from above its lashes, which are drawn on its edge anew.
            away = before[list(crease)] - before[list(eye[1:8])]
            origin[list(eye[1:8])] += 0.55 * min(3 * act.blink, 1.0) * away
        picture = self._drawn(origin, after, (0, 0, int(width), int(height)), 1)
        for part in self._mesh.openings:
            spots = np.concatenate([before[part.ravel(), :2], after[part.ravel(), :2]])
            x0, y0 = np.clip(np.floor(spots.min(0)).astype(int) - 3, 0, (width, height)).tolist()
            x1, y1 = np.clip(np.ceil(spots.max(0)).astype(int) + 4, 0, (width, height)).tolist()
            fine = self._drawn(origin, after, (x0, y0, x1, y1), FINE)
            picture[y0:y1, x0:x1] = cv2.resize(
                fine, (x1 - x0, y1 - y0), interpolation=cv2.INTER_AREA
            )
        for eye in EYES if act.blink else ():
            self._lashes(picture, after[list(eye[1:8]), :2], act.blink)
        return picture

    def _drawn(self, before: F32, after: F32, box: tuple[int, int, int, int], fine: int) -> U8:
        """(h·fine, w·fine, 3) a part (left, top, right, bottom) of the picture."""
        mesh, (left, top, right, bottom) = self._mesh, box
        size = ((bottom - top) * fine, (right - left) * fine)
        depth = -after[mesh.triangles, 2].mean(1)
        order = np.lexsort((depth, mesh.labels <= MOUTH))
        corner = before[:, :2][mesh.triangles]
        # Of a pixel that is divided the parts lie around its centre.
        spots = ((after[:, :2] - (left, top) + 0.5) * fine - 0.5).astype(np.float32)
        tri = rasterise(spots, mesh.triangles, size, order)
        table = affine(spots, mesh.triangles, corner)
        yy, xx = np.mgrid[0 : size[0], 0 : size[1]].astype(np.float32)
        inside = tri >= 0
        plane = table[tri[inside]]
        place = plane[..., 0] * xx[inside, None] + plane[..., 1] * yy[inside, None] + plane[..., 2]
        # Slivers cover pixels whose centre they miss: their planes must not run away there.
        place = np.clip(place, corner.min(1)[tri[inside]], corner.max(1)[tri[inside]])
        own = ((np.dstack([xx, yy]) + 0.5) / fine - 0.5 + (left, top)).astype(np.float32)
        where = own.copy()
        where[inside] = place
        # The mouth opens below teeth that stay with the upper jaw; what comes into view is dark.
        hole = inside & (mesh.labels[np.maximum(tri, 0)] == MOUTH)
        where[hole] = (own - (after - before)[13, :2])[hole]
        picture = cv2.remap(
            self._rgb, where, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
        )
        if hole.any():
            teeth = cv2.remap(self._teeth, where, None, cv2.INTER_LINEAR)[..., None]
            mixed = teeth * picture + (1 - teeth) * np.array(DARK, np.float32)
            picture[hole] = np.clip(mixed + 0.5, 0, 255).astype(np.uint8)[hole]
        return picture

    def _mouth(self) -> F32:
        """(H, W) [0, 1] where the portrait's own mouth is open, soft at the edge."""
        height, width = self._rgb.shape[:2]
        opening = np.zeros((height, width), np.uint8)
        for triangle in self._surface[self._mesh.openings[-1], :2]:
            cv2.fillConvexPoly(opening, np.round(triangle).astype(np.int32), 255)
        soft = max(0.012 * float(self._pose.scale), 0.6)
        result: F32 = cv2.GaussianBlur(opening, (0, 0), soft) / np.float32(255)
        return result

    def _lashes(self, picture: U8, lid: F32, blink: float) -> None:
        """A dark line along the edge of a lid that comes down."""
        wide = 0.03 * float(self._pose.scale)
        cover = np.zeros(picture.shape[:2], np.uint8)
        line = np.round(lid * 16).astype(np.int32)
        cv2.polylines(cover, [line], False, 255, max(round(wide), 1), cv2.LINE_AA, 4)
        low = np.maximum(np.floor(lid.min(0) - 4 * wide).astype(int), 0)
        high = np.ceil(lid.max(0) + 4 * wide).astype(int) + 1
        at = slice(low[1], high[1]), slice(low[0], high[0])
        share = cv2.GaussianBlur(cover[at], (0, 0), max(0.4 * wide, 0.5))[..., None]
        share = share * np.float32(0.75 * min(3 * blink, 1.0) / 255)
        picture[at] = ((1 - share) * picture[at] + share * np.array(LASH, np.float32) + 0.5).astype(
            np.uint8
        )

    def _camera(self, picture: U8, mesh: F32, act: Act) -> tuple[U8, F32]:
        width, height = self._size
        centre = np.array([(picture.shape[1] - 1) / 2, (picture.shape[0] - 1) / 2])
        offset = np.array([(width - 1) / 2, (height - 1) / 2]) + act.shift - act.zoom * centre
        matrix = np.array([[act.zoom, 0, offset[0]], [0, act.zoom, offset[1]]])
        frame = cv2.warpAffine(
            picture,
            matrix,
            (width, height),
            flags=cv2.INTER_CUBIC,
            borderMode=cv2.BORDER_REFLECT_101,
        )
        moved = mesh.copy()
        moved[:, :2] = mesh[:, :2] * act.zoom + offset
        moved[:, 2] *= act.zoom
        return frame, moved.astype(np.float32)
