"""What pass one keeps of a face's looks: slow light, a clean texture, its own shape, its sharpness.

Everything is measured on the unwrapped face, so head motion is out of it. Per frame there is only a
coarse colour grid; the texture is a median over a bounded, evenly thinned set of frames, so memory
does not grow with the clip.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from vidswap.faces.facemesh import SKIN, SURFACE, Atlas, FaceMesh, fit_pose, frontalise, rasterise
from vidswap.types import F32, U8, U16, Box

LIGHT = 24
"""Side of the per-frame colour grid."""
TEXTURE = 256
"""Side of the median texture."""
KEEP = 24
"""Most frames held for medians."""
_KEPT = ("texture", "weight", "shape", "detail", "iris")
HOLD = 24 << 20
"""Bytes of pictures a track may hold; larger faces are sampled at once."""


@dataclass(frozen=True, slots=True, eq=False)
class _Held:
    """A frame that may be sampled at the end, with what that needs."""

    frame: int
    picture: U8
    vertices: F32
    facing: F32
    mesh: F32


@dataclass
class _Sample:
    frame: int
    texture: U8
    weight: U8
    shape: F32
    detail: F32
    iris: F32


@dataclass
class AppearanceCollector:
    """Collects one track's appearance, fed in frame order with the unsmoothed mesh.

    Rows per frame: ``light`` float16 (24, 24, 3), mean colour in [0, 1] of each cell of the
    unwrapped face; cells that are turned away keep their last value.

    Static arrays: ``texture`` u8 (256, 256, 3) and ``texture_weight`` u8 (256, 256) the median
    unwrapped face and how well it was seen; ``texture_spread`` float16 (128, 128) median absolute
    deviation of log brightness between frames; ``light_mean`` float32 (24, 24, 3); ``shape`` float32
    (468, 3) the median face in canonical units; ``iris`` float32 (3,) log iris colour against the
    cheeks, NaN when never seen; ``detail`` float32 (4,) spread of the luma's
    high-pass at 1.2 and 3 px, the face scale in px it was measured at, and its root mean square.
    """

    cutoffs: Mapping[str, float] = field(default_factory=lambda: {"light": 3.0})

    def __post_init__(self) -> None:
        """Rasterise the layouts once."""
        self._mesh, self._coarse, self._fine = _layouts()
        self._last: F32 | None = None
        self._samples: list[_Held | _Sample] = []
        self._stride = 1
        self._count = 0

    def footprint(self, mesh: F32) -> Box:
        """Pixels wanted by ``add``: the mesh with its rings."""
        points = self._mesh.extend(mesh)[:, :2]
        low, high = np.floor(points.min(0)).astype(int), np.ceil(points.max(0)).astype(int) + 1
        return Box(int(low[0]), int(low[1]), int(high[0]), int(high[1]))

    def add(
        self,
        seconds: float,
        rgb: U8 | U16,
        box: Box,
        mesh: F32,
        weight: float,
        frame: int | None = None,
    ) -> Mapping[str, NDArray[np.generic]]:
        """Measure one frame.

        Args:
            seconds: Time in the clip; frames come in order.
            rgb: (h, w, 3) pixels of ``box``.
            box: Clipped footprint.
            mesh: (V, 3) pixels of the frame.
            weight: Confidence [0, 1]; doubtful frames stay out of the medians.
            frame: Its number in the clip, None for counting from 0. Which frames are kept depends
                on their numbers alone, so that parts of a track keep what the whole would.
        """
        del seconds
        picture = rgb.view(np.uint8) if rgb.dtype == np.uint8 else (rgb >> 8).astype(np.uint8)
        vertices = self._mesh.extend(mesh)
        vertices[:, :2] -= (box.left, box.top)
        facing = np.clip(-self._mesh.normals(vertices)[:, 2:] / 0.35, 0, 1)
        light = self._light(picture, vertices, facing)
        number = self._count if frame is None else frame
        if number % self._stride == 0 and weight > 0.5:
            # Half of the samples are thinned out again, so their work waits while memory allows.
            held = _Held(number, picture, vertices, facing, mesh)
            wait = picture.nbytes * KEEP <= HOLD
            self._samples.append(held if wait else self._sample(held))
            self._stride = stride([s.frame for s in self._samples], self._stride)
            self._samples = [s for s in self._samples if s.frame % self._stride == 0]
        self._count += 1
        return {"light": light.astype(np.float16)}

    def _light(self, picture: U8, vertices: F32, facing: F32) -> F32:
        shrink = max(1.0, np.ptp(vertices[:, 0]) / (3 * LIGHT))
        small = cv2.resize(
            picture, None, fx=1 / shrink, fy=1 / shrink, interpolation=cv2.INTER_AREA
        )
        grid = self._coarse.spread(
            np.concatenate([(vertices[:, :2] + 0.5) / shrink - 0.5, facing], 1)
        )
        colour = cv2.remap(
            small, grid[..., :2], None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        seen = (grid[..., 2] * (self._coarse.triangle >= 0)).astype(np.float32)
        area = cv2.resize(seen, (LIGHT, LIGHT), interpolation=cv2.INTER_AREA)[..., None]
        mean = cv2.resize(
            colour * (seen / 255)[..., None], (LIGHT, LIGHT), interpolation=cv2.INTER_AREA
        )
        mean /= np.maximum(area, 1e-3)
        if self._last is None:
            whole = (mean * area).sum((0, 1)) / np.maximum(area.sum(), 1e-3)
            self._last = np.where(area > 0.2, mean, whole).astype(np.float32)
        trust = np.clip(area * 1.5, 0, 1)
        self._last = (self._last + trust * (mean - self._last)).astype(np.float32)
        return self._last

    def _sample(self, held: _Held) -> _Sample:
        picture, vertices, facing, mesh = held.picture, held.vertices, held.facing, held.mesh
        grid = self._fine.spread(np.concatenate([vertices[:, :2], facing], 1))
        texture = cv2.remap(
            picture, grid[..., :2], None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        height, width = picture.shape[:2]
        inside = (
            (grid[..., 0] > 0)
            & (grid[..., 0] < width - 1)
            & (grid[..., 1] > 0)
            & (grid[..., 1] < height - 1)
        )
        weight = np.round(255 * grid[..., 2] * inside * (self._fine.triangle >= 0)).astype(np.uint8)
        pose = fit_pose(self._mesh.shape, mesh, self._mesh.rigid)
        detail = self._detail(picture, vertices)
        shape = frontalise(mesh[: len(self._mesh.shape)], pose)
        local = mesh.copy()
        local[:, :2] = mesh[:, :2] + vertices[0, :2] - mesh[0, :2]
        iris = (
            iris_contrast(picture, local)
            if len(local) > SURFACE
            else np.full(3, np.nan, np.float32)
        )
        measured = np.array([*detail[:2], pose.scale, detail[2]], np.float32)
        return _Sample(held.frame, texture, weight, shape, measured, iris)

    def _detail(self, picture: U8, vertices: F32) -> tuple[float, float, float]:
        skin = np.flatnonzero(self._mesh.labels == SKIN)
        size = (picture.shape[0], picture.shape[1])
        cover = rasterise(vertices[:, :2], self._mesh.triangles, size, skin)
        inner = cv2.erode((cover >= 0).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
        return high_pass(picture, inner)

    def gather(self) -> Mapping[str, NDArray[np.generic]]:
        """What was kept of each frame, stacked, for ``combine``; empty when none was good enough."""
        kept = [self._sample(s) if isinstance(s, _Held) else s for s in self._samples]
        if not kept:
            return {}
        stacked = {name: np.stack([getattr(s, name) for s in kept]) for name in _KEPT}
        frames = np.array([s.frame for s in kept], np.int64)
        return {"frame": frames, "stride": np.array(self._stride), **stacked}

    @staticmethod
    def join(
        a: Mapping[str, NDArray[np.generic]], b: Mapping[str, NDArray[np.generic]], start: int
    ) -> Mapping[str, NDArray[np.generic]]:
        """What one collector would have kept of a whole track.

        Args:
            a: ``gather`` of the track up to a frame.
            b: ``gather`` of the track from that frame or an earlier one on.
            start: That frame.
        """
        if not b:
            return a
        later = b["frame"].astype(np.int64) >= start
        rows = {name: b[name][later] for name in ("frame", *_KEPT)}
        if a:
            rows = {name: np.concatenate([a[name], rows[name]]) for name in rows}
        frames = rows["frame"].astype(np.int64)
        least = max(int(part["stride"].item()) for part in (a, b) if part)
        apart = stride(frames.tolist(), least)
        chosen = frames % apart == 0
        if not chosen.any():
            return {}
        return {"stride": np.array(apart), **{name: r[chosen] for name, r in rows.items()}}

    @staticmethod
    def combine(
        kept: Mapping[str, NDArray[np.generic]],
    ) -> Mapping[str, NDArray[np.generic]]:
        """The static arrays: medians over the frames kept; empty where there are none."""
        if not kept:
            return {}
        weight, texture = kept["weight"].astype(np.uint8), kept["texture"].astype(np.uint8)
        median = _weighted_median(texture, weight)
        light = cv2.resize(
            median.astype(np.float32) / 255, (LIGHT, LIGHT), interpolation=cv2.INTER_AREA
        )
        return {
            "texture": median,
            "texture_weight": np.round(weight.mean(0)).astype(np.uint8),
            "texture_spread": _spread(texture, weight, median),
            "light_mean": light.astype(np.float32),
            "shape": np.median(kept["shape"].astype(np.float32), axis=0).astype(np.float32),
            "iris": _nan_median(list(kept["iris"].astype(np.float32))),
            "detail": np.median(kept["detail"].astype(np.float32), axis=0).astype(np.float32),
        }

    def finish(self) -> Mapping[str, NDArray[np.generic]]:
        """The static arrays of a track that was collected at one go."""
        return self.combine(self.gather())


def stride(frames: Sequence[int], least: int = 1) -> int:
    """The power of two, from ``least`` on, whose multiples among these frames are few enough."""
    while sum(frame % least == 0 for frame in frames) >= KEEP:
        least *= 2
    return least


def high_pass(picture: U8, inside: NDArray[np.bool_]) -> tuple[float, float, float]:
    """Spread of the luma's high-pass, in [0, 1].

    Returns:
        The mean absolute high-pass at 1.2 and at 3 px over the lower nine tenths, where edges do not
        count, and its root mean square at 1.5 px, where they do.
    """
    luma = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    sharp = luma - cv2.GaussianBlur(luma, (0, 0), 1.5)
    spread = []
    for sigma in (1.2, 3.0):
        band = np.abs(luma - cv2.GaussianBlur(luma, (0, 0), sigma))[inside]
        if band.size < 16:
            return 0.0, 0.0, 0.0
        band = np.partition(band, int(0.9 * band.size))[: int(0.9 * band.size)]
        spread.append(float(band.mean()))
    return spread[0], spread[1], float(np.sqrt((sharp[inside] ** 2).mean()))


IRISES = ((468, 469, 470, 471, 472), (473, 474, 475, 476, 477))
"""Centre and four rim points of each iris, image-left eye first."""


def iris_contrast(picture: U8, mesh: F32) -> F32:
    """Mean log colour of the irises against the cheeks: eye colour, whatever the exposure.

    Args:
        picture: (h, w, 3).
        mesh: (478, 3) in px of ``picture``.

    Returns:
        (3,) log ratio, NaN when the eyes are shut or too small to see.
    """
    values = []
    for (centre, *rim), (up, down) in zip(IRISES, ((159, 145), (386, 374)), strict=True):
        radius = float(np.linalg.norm(mesh[rim, :2] - mesh[centre, :2], axis=1).mean())
        if radius < 1.5 or mesh[down, 1] - mesh[up, 1] < radius:
            continue
        box = _disc(picture, mesh[centre, :2] + (0, 0.15 * radius), 0.7 * radius)
        if len(box):
            # Between the pupil and the highlight.
            values.append(np.percentile(np.log(np.maximum(box, 0.01)), 45, axis=0))
    cheek = [_disc(picture, mesh[v, :2], 0.12 * float(np.ptp(mesh[:, 0]))) for v in (50, 280)]
    cheek = [c for c in cheek if len(c)]
    if not values or not cheek:
        return np.full(3, np.nan, np.float32)
    skin = np.median(np.log(np.maximum(np.concatenate(cheek), 0.01)), axis=0)
    return (np.mean(values, 0) - skin).astype(np.float32)


def _nan_median(rows: list[F32]) -> F32:
    good = [row for row in rows if np.isfinite(row).all()]
    return np.median(good, axis=0).astype(np.float32) if good else np.full(3, np.nan, np.float32)


def _disc(picture: U8, centre: F32, radius: float) -> F32:
    """(N, 3) pixels of a disc, in [0, 1]."""
    height, width = picture.shape[:2]
    left, top = np.floor(centre - radius).astype(int)
    right, bottom = np.ceil(centre + radius).astype(int) + 1
    left, top, right, bottom = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
    if left >= right or top >= bottom:
        return np.zeros((0, 3), np.float32)
    yy, xx = np.mgrid[top:bottom, left:right]
    near = (xx - centre[0]) ** 2 + (yy - centre[1]) ** 2 <= radius**2
    return picture[top:bottom, left:right][near].astype(np.float32) / 255


def _weighted_median(stack: U8, weight: U8) -> U8:
    """(N, S, S, 3) per-texel median over the frames that saw the texel best."""
    good = weight >= np.maximum(weight.max(0) * 0.6, 1)
    # Left-out values sort behind all others; sorting contiguous integers is many times faster than
    # a median that knows NaN.
    masked = np.where(good[..., None], stack, np.uint16(256))
    ranked = np.sort(np.ascontiguousarray(np.moveaxis(masked, 0, -1)), axis=-1)
    count = good.sum(0)[..., None, None]
    below = np.take_along_axis(ranked, np.maximum(count - 1, 0) // 2, -1)[..., 0]
    above = np.take_along_axis(ranked, count // 2, -1)[..., 0]
    median = np.where(count[..., 0] > 0, (below.astype(np.float32) + above) / 2, 0)
    return np.round(median).astype(np.uint8)


def _spread(stack: U8, weight: U8, median: U8) -> NDArray[np.float16]:
    """(128, 128) how much a texel's log brightness usually differs from the median's, exposure apart."""
    luma = np.log(_small(np.stack([t.mean(-1) for t in stack])) + 15)
    usual = np.log(_small(median.mean(-1)[None]) + 15)
    seen = _small(weight) > 60
    away = luma - usual
    for row, good in zip(away, seen, strict=True):
        row -= np.median(row[good]) if good.any() else 0.0
    ranked = np.sort(np.where(seen, np.abs(away), np.inf), axis=0)
    count = seen.sum(0)
    middle = np.take_along_axis(ranked, np.maximum(count - 1, 0)[None] // 2, 0)[0]
    return np.where(count > 0, np.clip(middle, 0, 1), 1).astype(np.float16)


def _small(stack: NDArray[np.generic]) -> F32:
    """(N, S, S) → (N, 128, 128)."""
    side = TEXTURE // 2
    return np.stack(
        [
            cv2.resize(p.astype(np.float32), (side, side), interpolation=cv2.INTER_AREA)
            for p in stack
        ]
    )


@cache
def _layouts() -> tuple[FaceMesh, Atlas, Atlas]:
    """The geometry, and its layouts for light and for textures; the same for all tracks."""
    mesh = FaceMesh.load()
    return mesh, Atlas.build(mesh, 2 * LIGHT), Atlas.build(mesh, TEXTURE)
