"""Crop windows of a clip: what expression does must not move them, and jitter must not shake them.

The published window follows lids and mouth corners of each frame, so that a blink shifts it and an
opening jaw enlarges it; an encoder then reads a face that breathes. Here the window is that of the
track's neutral face in each frame's pose.
"""

from typing import NamedTuple

import numpy as np

from vidswap.checks import check_shape
from vidswap.ops import ffhq
from vidswap.ops.ffhq import Window
from vidswap.ops.smooth import smooth
from vidswap.recipe import SmoothOptions
from vidswap.types import F32, F64

STABLE = (33, 133, 362, 263, 168, 6, 197, 195, 5, 4, 127, 356, 234, 454, 10)
"""Mesh vertices that neither lids nor jaw move: corners of the eyes, bridge of the nose, temples."""
LIDS = ((33, 160, 158, 133, 153, 144), (362, 385, 387, 263, 373, 380))
MOUTH = (61, 291)
NEEDED = (*STABLE, *LIDS[0], *LIDS[1], *MOUTH)
"""Vertices that :func:`neutral_windows` reads, in its order."""
PASSES = 3
"""Alignments of all frames to their mean."""


class Rigid(NamedTuple):
    """Turn, scale and shift of a neutral head, for each frame."""

    turn: F64
    """(T, 3, 3)"""
    scale: F64
    """(T,)"""
    shift: F64
    """(T, 3)"""

    def place(self, points: F64) -> F64:
        """(N, 3) points of the neutral head → (T, N, 3)."""
        turned = np.einsum("tij,nj->tni", self.turn, points)
        return turned * self.scale[:, None, None] + self.shift[:, None]

    def undo(self, points: F64) -> F64:
        """(T, N, 3) → (T, N, 3) in the neutral head's frame."""
        centred = (points - self.shift[:, None]) / self.scale[:, None, None]
        return np.einsum("tji,tnj->tni", self.turn, centred)


def fit(points: F64, template: F64) -> Rigid:
    """Least-squares similarity from a template to each frame (Umeyama, 1991).

    Args:
        points: (T, N, 3)
        template: (N, 3), not all on a line.
    """
    check_shape("T N 3, N 3", points=points, template=template)
    middle, origin = points.mean(1), template.mean(0)
    a, b = template - origin, points - middle[:, None]
    u, singular, vt = np.linalg.svd(np.einsum("tni,nj->tij", b, a))
    # A mirror image is never a turn.
    signs = np.ones((len(points), 3))
    signs[:, 2] = np.sign(np.linalg.det(u @ vt))
    turn = (u * signs[:, None]) @ vt
    scale = (singular * signs).sum(1) / max(float((a**2).sum()), 1e-30)
    return Rigid(turn, scale, middle - scale[:, None] * (turn @ origin))


def neutral_windows(points: F32 | F64, weights: F64 | None = None) -> Window:
    """FFHQ windows of the neutral face of one track in the pose of each frame.

    The neutral face is the median over the track, in the frame of the bones; blinks and speech
    hardly change it.

    Args:
        points: (T, N, 3) vertices ``NEEDED`` of the mesh, pixels, one shot of one face.
        weights: (T,) ≥ 0 confidence; frames of weight 0 do not shape the neutral face.

    Returns:
        Windows of (T, 2); not smoothed.

    Raises:
        ShapeError: Another number of vertices.
    """
    p = np.asarray(points, np.float64)
    trust = np.ones(len(p)) if weights is None else np.asarray(weights, np.float64)
    check_shape(f"T {len(NEEDED)} 3, T", points=p, weights=trust)
    if not len(p):
        return Window(np.zeros((0, 2)), np.zeros((0, 2)), np.zeros((0, 2)))
    known = np.flatnonzero(trust > 0) if (trust > 0).any() else np.arange(len(p))
    bones = p[:, : len(STABLE)]
    template = bones[known[len(known) // 2]]
    for _ in range(PASSES):
        template = np.median(fit(bones, template).undo(bones)[known], axis=0)
    pose = fit(bones, template)
    soft = np.median(pose.undo(p[:, len(STABLE) :])[known], axis=0)
    placed = pose.place(soft)[..., :2]
    left, right, mouth = placed[:, :6].mean(1), placed[:, 6:12].mean(1), placed[:, 12:].mean(1)
    # The five-point form: its nose is not read, and both corners of its mouth are the middle.
    return ffhq.window(np.stack([left, right, mouth, mouth, mouth], axis=1))


def needed(mesh: F32 | F64) -> F64:
    """(T, V ≥ 468, 3) → (T, N, 3): what :func:`neutral_windows` reads."""
    return np.asarray(mesh[:, list(NEEDED)], np.float64)


def steady(windows: Window, seconds: F64, weights: F64, options: SmoothOptions) -> Window:
    """Windows that neither shake nor breathe.

    Centres are smoothed at ``centre``; size, as its logarithm, and angle at ``scale_rotation``.

    Args:
        windows: Of one shot of one track, (T, 2) each.
        seconds: (T,) ascending.
        weights: (T,) trust.
        options: Method and cut-offs.

    Returns:
        Windows of (T, 2); squares.
    """
    x = windows.x @ np.array([1, 1j])
    polar = np.stack([np.log(np.abs(x)), np.unwrap(np.angle(x))], -1)
    centre = smooth(windows.centre, seconds, options.centre, weights, options.method)
    size, angle = smooth(polar, seconds, options.scale_rotation, weights, options.method).T
    across = np.exp(size)[:, None] * np.stack([np.cos(angle), np.sin(angle)], -1)
    return Window(centre, across, np.stack([-across[:, 1], across[:, 0]], -1))
