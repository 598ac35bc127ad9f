"""Animate a portrait through the face mesh: clips whose pose, mouth and lids are known exactly.

Used by the demo, the benchmark and the tests, which need a talking head that nobody has to consent to.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from vidswap.faces.facemesh import MOUTH, FaceMesh, affine, fit_pose, rasterise
from vidswap.types import F32, U8, Bool

UPPER_LIDS = (
    (246, 161, 160, 159, 158, 157, 173),
    (466, 388, 387, 386, 385, 384, 398),
)
LOWER_LIDS = (
    (7, 163, 144, 145, 153, 154, 155),
    (249, 390, 373, 374, 380, 381, 382),
)


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
    phase = (seconds + 0.6) % 2.0
    blink = max(0.0, 1 - abs(phase - 0.12) / 0.1)
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
        picture = self._warp(before, after)
        iris = self._points[len(surface) :] + np.repeat(
            [(after - before)[468], (after - before)[469]], 5, 0
        )
        return self._camera(picture, np.concatenate([surface, iris]).astype(np.float32), act)

    def _express(self, surface: F32, act: Act) -> F32:
        moved = surface.copy()
        unit = self._pose.scale
        for upper, lower in zip(UPPER_LIDS, LOWER_LIDS, strict=True):
            moved[list(upper)] += 0.92 * act.blink * (surface[list(lower)] - surface[list(upper)])
        mouth = (surface[13] + surface[14]) / 2
        lip = surface[14, 1]
        below = np.clip((surface[:, 1] - lip + 0.02 * unit) / (0.05 * unit), 0, 1)
        aside = np.exp(-(((surface[:, 0] - mouth[0]) / (0.42 * unit)) ** 2))
        moved[:, 1] += act.jaw * 0.26 * unit * below * aside
        return moved

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

    def _warp(self, before: F32, after: F32) -> U8:
        height, width = self._rgb.shape[:2]
        mesh = self._mesh
        depth = -after[mesh.triangles, 2].mean(1)
        order = np.lexsort((depth, mesh.labels <= MOUTH))
        tri = rasterise(after[:, :2], mesh.triangles, (int(height), int(width)), order)
        table = affine(after[:, :2], mesh.triangles, before[:, :2][mesh.triangles])
        yy, xx = np.mgrid[0:height, 0:width].astype(np.float32)
        inside = tri >= 0
        plane = table[tri[inside]]
        place = plane[..., 0] * xx[inside, None] + plane[..., 1] * yy[inside, None] + plane[..., 2]
        # Slivers cover pixels whose centre they miss: their planes must not run away there.
        corner = before[:, :2][mesh.triangles]
        place = np.clip(place, corner.min(1)[tri[inside]], corner.max(1)[tri[inside]])
        where = np.dstack([xx, yy])
        where[inside] = place
        # The mouth opens below teeth that stay with the upper jaw; what comes into view is dark.
        hole = inside & (mesh.labels[np.maximum(tri, 0)] == MOUTH)
        shift = (after - before)[13, :2]
        where[hole] = np.dstack([xx, yy])[hole] - shift
        picture = cv2.remap(
            self._rgb, where, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
        )
        picture[hole & self._below_teeth(where, before)] = (58, 22, 24)
        softened = cv2.GaussianBlur(picture, (0, 0), 1.0)
        picture[hole] = softened[hole]
        return picture

    def _below_teeth(self, where: F32, before: F32) -> Bool:
        chosen = np.flatnonzero(self._mesh.labels == MOUTH)
        teeth = (
            rasterise(before[:, :2], self._mesh.triangles, (where.shape[0], where.shape[1]), chosen)
            >= 0
        )
        inside = cv2.remap(
            teeth.astype(np.uint8), where, None, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE
        )
        return inside == 0

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
