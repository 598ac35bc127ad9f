"""Smoothing a whole track's meshes: the only place where landmarks meet their neighbours in time.

A mesh is split into the head's motion in the plane (centre, log scale, angle) and the shape that is
left, which holds out-of-plane pose and expression. Each is smoothed at its own cut-off, and every
cut-off opens where the signal really moves faster: a mesh that lags behind a shaken head is worse
than a mesh that trembles. Frames that jump off and back alone are outliers and count nothing; this
is judged on rigid vertices, so that a blink never is one. Where the head jumps and stays (a cut that
was missed, a dropped second), smoothing starts afresh.

Tracks may be long: meshes are read in windows, and only a few numbers per frame are kept.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np

from vidswap.faces.facemesh import SURFACE, FaceMesh
from vidswap.faces.vertices import BROWS, CHIN, EYES, LIPS_INNER, LIPS_OUTER
from vidswap.ops.geometry import apply, invert, matrix, similarity
from vidswap.ops.smooth import (
    PASS_SHARE,
    adaptive,
    fill,
    interval,
    jump_energy,
    local_mean,
    open_band,
    settling,
    smooth,
    whittaker,
)
from vidswap.recipe import SmoothOptions
from vidswap.types import F32, F64, VERTICES, Bool

WINDOW = 600
"""Frames smoothed at once."""
CALM = 0.015
"""Residual of a frame against its neighbours, in eye distances, that is normal for any head."""
NOISY = 0.0015
"""Standard deviation in eye distances up to which fast trembling may be taken for noise anywhere."""
JUMP = 0.12
"""Eye distances by which a head must miss both neighbours' course for a break."""
BREAK = 8.0
"""The same in local medians."""

IRISES = ((468, 473), (473, 478))
REACH = 0.09
"""Sigma in eye distances over which a region hands over to the rest of the face."""


class Meshes(Protocol):
    """Raw meshes of a track: (T, 478, 3) pixels, rows of unseen frames already interpolated."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice, /) -> F32: ...


@dataclass(frozen=True, slots=True, eq=False)
class Survey:
    """What one reading of a track tells, a few numbers per frame."""

    gauge: F64
    """(T, 4) centre x, y in pixels, log of pixels per canonical unit, unwrapped angle in radians."""
    odd: F64
    """(T,) distance of the rigid vertices from their neighbours' course, in eye distances."""
    jump: F64
    """(T,) how far the head jumped before this frame, and stayed, in eye distances."""
    noise: F64
    """(T, groups) energy of third differences of the shape, canonical units squared."""


class Steadier:
    """Smooths one track.

    Args:
        meshes: Its raw meshes.
        seconds: (T,) time stamps.
        weights: (T,) trust in each frame; 0 where the face was not seen.
        options: Method and cut-offs.
        doubt: Typical disagreement between landmark passes, in eye distances. It bounds what may be
            taken for noise: a clip of doubled frames moves in steps, and steps are no noise.
        mesh: The face's geometry, loaded if None.
    """

    def __init__(
        self,
        meshes: Meshes,
        seconds: F64,
        weights: F64,
        options: SmoothOptions,
        doubt: float = 0.0,
        mesh: FaceMesh | None = None,
    ) -> None:
        data = mesh or FaceMesh.load()
        self._meshes, self._seconds, self._options = meshes, seconds, options
        self._shape = data.shape[:, :2].astype(np.float64)
        self._rigid = data.rigid.astype(np.float64)
        self.groups = groups(data)
        self._noisiest = max(NOISY, 0.2 * doubt)
        self._survey = self._look()
        self.weights, self.breaks = self._judge(np.asarray(weights, np.float64))
        edges = [0, *self.breaks, len(seconds)]
        self._segments = list(pairwise(edges))
        self._gauge = np.concatenate([self._smooth_gauge(slice(a, b)) for a, b in self._segments])

    def run(self, window: int = WINDOW) -> Iterator[tuple[int, F32]]:
        """Smoothed meshes in order: first row and (n, 478, 3) pixels of each piece."""
        margin = self._margin()
        for first, last in self._segments:
            noise = np.sqrt(np.median(self._survey.noise[first:last], 0))
            noise = np.minimum(noise, self._noisiest)
            for start in range(first, last, window):
                stop = min(start + window, last)
                low, high = max(start - margin, first), min(stop + margin, last)
                shapes = self._smooth_shape(slice(low, high), noise)[start - low : stop - low]
                yield start, _place(shapes, self._gauge[start:stop])

    # --- reading

    def _look(self) -> Survey:
        parts: list[tuple[F64, ...]] = []
        count = len(self._meshes)
        for start in range(0, count, WINDOW):
            stop = min(start + WINDOW, count)
            low, high = max(start - 4, 0), min(stop + 4, count)
            points = np.asarray(self._meshes[low:high], np.float64)
            inner = slice(start - low, stop - low)
            parts.append(tuple(v[inner] for v in self._measure(points)))
        gauge, *rest = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        gauge[:, 3] = np.unwrap(gauge[:, 3])
        return Survey(gauge, *rest)

    def _measure(self, points: F64) -> tuple[F64, ...]:
        fitted = similarity(self._shape, points[:, :SURFACE, :2], self._rigid)
        turn = fitted[:, 0, 0] + 1j * fitted[:, 1, 0]
        gauge = np.stack(
            [fitted[:, 0, 2], fitted[:, 1, 2], np.log(np.abs(turn)), np.angle(turn)], -1
        )
        shapes = apply(invert(fitted), points[..., :2])
        rigid = np.flatnonzero(self._rigid > self._rigid.mean())
        course = points[:, rigid, :2] / np.abs(turn)[:, None, None]
        noise = np.stack([jump_energy(shapes[:, g > 0.5]) for g in self.groups], -1)
        return gauge, *_courses(course), noise

    def _judge(self, weights: F64) -> tuple[F64, list[int]]:
        """Weights without outliers, and the rows at which smoothing starts afresh."""
        from scipy.ndimage import median_filter

        odd, jump = self._survey.odd, self._survey.jump
        usual = np.maximum(median_filter(jump, 15, mode="nearest"), CALM)
        seen = weights > 0
        fresh = (jump > JUMP) & (jump > BREAK * usual) & seen & np.r_[False, seen[:-1]]
        # Next to a jump every frame misses its neighbours' course; none of them is odd.
        near = np.convolve(fresh, np.ones(5), "same") > 0 if len(fresh) >= 5 else fresh
        local = np.maximum(median_filter(odd, 15, mode="nearest"), CALM)
        peak = odd >= _running_max(odd, 2)
        alone = peak & (odd > self._options.reject * local) & ~near
        return np.where(alone, 0.0, weights), [int(t) for t in np.flatnonzero(fresh)]

    # --- smoothing

    def _margin(self) -> int:
        lowest = min(self._options.pose, self._options.expression)
        if lowest <= 0:
            return len(self._seconds)
        return int(np.ceil((settling(lowest) + 0.5) / interval(self._seconds))) + 4

    def _smooth_gauge(self, rows: slice) -> F64:
        gauge, time, weight = self._survey.gauge[rows], self._seconds[rows], self.weights[rows]
        options = self._options
        out = np.empty_like(gauge)
        side = float(np.exp(np.median(gauge[:, 2])))
        columns = ((slice(0, 2), options.centre, side), (slice(2, 3), options.scale_rotation, 0.5),
                   (slice(3, 4), options.scale_rotation, 0.5))  # fmt: skip
        for column, cutoff, unit in columns:
            if options.method == "whittaker":
                noise = float(np.sqrt(np.median(jump_energy(gauge[:, column]))))
                noise = min(noise, self._noisiest * unit)
                out[:, column] = adaptive(gauge[:, column], time, cutoff, noise, weight)
            else:
                out[:, column] = smooth(gauge[:, column], time, cutoff, weight, options.method)
        return out

    def _smooth_shape(self, rows: slice, noise: F64) -> F64:
        """(n, 478, 3) smoothed shapes in canonical units."""
        points = np.asarray(self._meshes[rows], np.float64)
        time, weight, options = self._seconds[rows], self.weights[rows], self._options
        shapes = _lift(points, self._survey.gauge[rows])
        if options.method == "none":
            return fill(shapes, time, weight)
        if options.method != "whittaker":
            calm = smooth(shapes, time, options.pose, weight, options.method)
            quick = smooth(shapes, time, options.expression, weight, options.method)
            face = self.groups[0][:, None]
            mixed: F64 = face * calm + (1 - face) * quick
            return mixed
        step = interval(time)
        frequency = min(options.pose, options.expression)
        following = max(options.pose, options.expression)
        lower = whittaker(shapes, time, frequency, weight)
        out = lower.copy()
        opened = np.ones((len(time), len(self.groups)))
        while frequency * step < PASS_SHARE:
            band = whittaker(shapes, time, following, weight) - lower
            lower += band
            for k, group in enumerate(self.groups):
                energy = (band[:, group > 0.5, :2] ** 2).mean((1, 2))
                share = open_band(
                    local_mean(energy, time), (frequency, following), step, float(noise[k])
                )
                # Expression starts out open up to its own cut-off.
                known = k > 0 and following <= options.expression
                opened[:, k] *= 1.0 if known else share
            out += (opened @ self.groups)[..., None] * band
            frequency, following = following, 2 * following
        return out


def groups(mesh: FaceMesh) -> F64:
    """(6, 478) soft membership: the face at large, mouth, eyes, brows; sums to 1 at every vertex."""
    shape = mesh.shape[:, :2].astype(np.float64)
    eyes = np.linalg.norm(shape[263] - shape[33])
    near = np.zeros((6, VERTICES))
    for k, members in enumerate(((*LIPS_OUTER, *LIPS_INNER, *CHIN), *EYES, *BROWS), 1):
        gap = np.linalg.norm(shape[:, None] - shape[list(members)][None], axis=-1).min(1) / eyes
        near[k, :SURFACE] = np.exp(-0.5 * (gap / REACH) ** 2)
    for k, (first, last) in zip((2, 3), IRISES, strict=True):
        near[k, first:last] = 1
    total = near.sum(0)
    near[1:] /= np.maximum(total, 1)
    near[0] = np.maximum(1 - near[1:].sum(0), 0)
    return near


def confidence(
    score: F64, spread: F64, seen: Bool, seconds: F64, *, enters: bool, leaves: bool
) -> F32:
    """Confidence that engines fade with, smooth in time.

    Presence, less where the passes disagree. A short gap that is interpolated keeps the confidence
    of its sides; a longer one loses it within a tenth of a second. Where a face enters or leaves
    inside a shot, it rises from and falls to 0; at a cut it does not.

    Args:
        score: (T,) presence in [0, 1].
        spread: (T,) disagreement between passes, in eye distances.
        seen: (T,) False in gaps.
        seconds: (T,) time stamps.
        enters: The track starts after its shot does.
        leaves: The track ends before its shot does.

    Returns:
        (T,) in [0, 1].
    """
    raw = fill(score * np.clip((0.1 - spread) / 0.05, 0, 1), seconds, seen.astype(np.float64))
    known = seconds[seen]
    if len(known) == 0:
        return np.zeros(len(raw), np.float32)
    after = np.clip(np.searchsorted(known, seconds), 0, len(known) - 1)
    before = np.clip(np.searchsorted(known, seconds, side="right") - 1, 0, len(known) - 1)
    away = np.minimum(np.abs(known[after] - seconds), np.abs(seconds - known[before]))
    raw = raw * np.clip(1 - (away - 0.05) / 0.1, 0, 1)
    out = local_mean(raw, seconds, 0.07)
    ramp = 0.2
    if enters:
        out = out * np.clip((seconds - seconds[0] + 1e-3) / ramp, 0, 1)
    if leaves:
        out = out * np.clip((seconds[-1] - seconds + 1e-3) / ramp, 0, 1)
    return np.clip(out, 0, 1).astype(np.float32)


def _courses(points: F64) -> tuple[F64, F64]:
    """(T,) distance of each frame from the course of both sides, and the jump before each frame."""
    count = len(points)
    odd, jump = np.zeros(count), np.full(count, np.inf)

    def size(gap: F64) -> F64:
        rms: F64 = np.sqrt((gap**2).sum(-1).mean(-1))
        return rms

    if count >= 5:
        inner = (4 * (points[1:-3] + points[3:-1]) - points[:-4] - points[4:]) / 6
        odd[2:-2] = size(points[2:-2] - inner)
    if count < 3:
        return odd, np.zeros(count)
    # A jump before frame t: t misses the course of t-2, t-1, and t-1 that of t, t+1. So do both
    # sides of a frame that is odd alone; but then t+1 lies on the course of t-2, t-1, or t-2 on
    # that of t, t+1. Where a side is too short to tell, the other one decides.
    bend = size(points[2:] - 2 * points[1:-1] + points[:-2])
    jump[2:] = np.minimum(jump[2:], bend)
    jump[1:-1] = np.minimum(jump[1:-1], bend)
    if count >= 4:
        before, after = points[:-3], points[3:]
        first, second = points[1:-2], points[2:-1]
        over = np.minimum(
            size(after - 3 * first + 2 * before), size(before - 3 * second + 2 * after)
        )
        jump[2:-1] = np.minimum(jump[2:-1], over)
    jump[0] = 0
    return odd, jump


def _running_max(values: F64, reach: int) -> F64:
    padded = np.pad(values, reach, mode="edge")
    highest: F64 = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1).max(-1)
    return highest


def _gauge_matrix(gauge: F64) -> F64:
    turn = np.exp(gauge[:, 2] + 1j * gauge[:, 3])
    return matrix(turn, gauge[:, 0] + 1j * gauge[:, 1])


def _lift(points: F64, gauge: F64) -> F64:
    """(n, 478, 3) pixels → canonical units, upright."""
    flat = apply(invert(_gauge_matrix(gauge)), points[..., :2])
    return np.concatenate([flat, points[..., 2:] * np.exp(-gauge[:, 2])[:, None, None]], -1)


def _place(shapes: F64, gauge: F64) -> F32:
    """(n, 478, 3) canonical units → pixels."""
    flat = apply(_gauge_matrix(gauge), shapes[..., :2])
    depth = shapes[..., 2:] * np.exp(gauge[:, 2])[:, None, None]
    pixels: F32 = np.concatenate([flat, depth], -1).astype(np.float32)
    return pixels
