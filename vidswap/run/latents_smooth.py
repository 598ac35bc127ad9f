"""Crop windows and latent codes of a track, smoothed in time."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from vidswap.engines.crops import to_unit
from vidswap.faces.motion import ANGLES, motion
from vidswap.faces.pose import PoseFit
from vidswap.ops import windows
from vidswap.ops.ffhq import Window
from vidswap.ops.latent_smooth import smooth_latents
from vidswap.ops.smooth import adaptive, fill, jump_energy, smooth
from vidswap.recipe import SmoothOptions
from vidswap.types import F32, F64, Bool

SPAN = 600
"""Frames whose codes are smoothed at once: memory must not grow with the track."""
SHARED = 150
"""Frames that two spans have in common; the result is faded from one to the other."""
LIGHT = 0.03
"""Relative change of the face's brightness above which fine layers follow it, at least at ``DRIFT``."""
DRIFT = 0.5
"""Hz."""
COLOUR = 1.0
"""Cut-off of the colours that a swap is matched to, Hz."""
LARGE = 1024
"""Pictures from which on fine layers start one later."""

Meshes = Callable[[int, int], F32]
"""(first, stop) rows of a track → (n, 478, 3) meshes."""


def measures(meshes: Meshes, count: int) -> tuple[Window, F64]:
    """Crop windows of the neutral face, and motion, of a whole track, read in blocks.

    Args:
        meshes: Reads them.
        count: T.

    Returns:
        Windows of (T, 2), and (T, k) motion.
    """
    fit = PoseFit()
    points, moves = [], []
    for start in range(0, count, SPAN):
        block = meshes(start, min(start + SPAN, count))
        points.append(windows.needed(block))
        moves.append(motion(block, fit))
    return windows.neutral_windows(np.concatenate(points)), np.concatenate(moves)


def held(pose: F32) -> Bool:
    """Which frames repeat the picture before: the analysis gives them its very mesh, hence its pose.

    Args:
        pose: (T, 3) of one track, as the analysis has it.

    Returns:
        (T,)
    """
    same = np.zeros(len(pose), np.bool_)
    same[1:] = (pose[1:] == pose[:-1]).all(1)
    return same


def steady(rough: Window, seconds: F64, weights: F64, options: SmoothOptions) -> F64:
    """Matrices of windows that neither shake nor breathe.

    Args:
        rough: Of one track, (T, 2) each.
        seconds: (T,)
        weights: (T,) trust.
        options: Method and cut-offs.

    Returns:
        (T, 2, 3) frame pixels → unit square.
    """
    return to_unit(windows.steady(rough, seconds, weights, options).quad)


def smoothed_codes(
    codes: Callable[[int, int], F32],
    moves: F64,
    trust: F64,
    seconds: F64,
    options: SmoothOptions,
    fine_from: int,
) -> Iterator[NDArray[np.float32]]:
    """Blocks of smoothed codes of one track, in order, in bounded memory.

    Long tracks are smoothed in overlapping spans that fade into each other, so that no layer jumps.

    Args:
        codes: (first, stop) rows → (n, L, D) codes.
        moves: (T, k) motion.
        trust: (T,) weights.
        seconds: (T,)
        options: The smoother's.
        fine_from: First layer of the fine group.
    """
    count = len(moves)
    tail: F64 | None = None
    for start, stop in spans(count):
        part = slice(start, stop)
        done = smooth_latents(
            codes(start, stop).astype(np.float64), moves[part], trust[part], seconds[part], options,
            angles=ANGLES, fine_from=fine_from,
        ).codes  # fmt: skip
        if tail is not None:
            share = (np.arange(len(tail)) + 0.5)[:, None, None] / len(tail)
            done[: len(tail)] = (1 - share) * tail + share * done[: len(tail)]
        last = stop == count
        keep = len(done) if last else len(done) - SHARED
        yield done[:keep].astype(np.float32)
        tail = None if last else done[keep:]


def spans(count: int) -> list[tuple[int, int]]:
    """Overlapping ranges that cover ``count`` frames; the last one may be up to 1½ as long."""
    step = SPAN - SHARED
    starts = list(range(0, max(count - SPAN // 2 - SHARED, 1), step))
    return [(start, count if start == starts[-1] else min(start + SPAN, count)) for start in starts]


def following_light(options: SmoothOptions, colours: F32, trust: F64) -> SmoothOptions:
    """Fine layers are one code for the shot, unless the light on the face changes.

    Args:
        options: As the recipe has them.
        colours: (T, 2, 3) mean and deviation of the face's colours.
        trust: (T,)
    """
    known = trust > 0
    if not known.any():
        return options
    bright = colours[known, 0].mean(-1)
    changes = float(bright.std() / max(float(bright.mean()), 1e-6))
    return replace(options, fine=max(options.fine, DRIFT)) if changes > LIGHT else options


def smoothed_colours(colours: F32, trust: F64, seconds: F64, options: SmoothOptions) -> F32:
    """(T, 2, 3) colours smoothed for matching, but not where the light really changes fast."""
    if options.method != "whittaker":
        return smooth(colours, seconds, COLOUR, trust, options.method).astype(np.float32)
    known = fill(colours, seconds, trust)
    noise = float(np.sqrt(np.median(jump_energy(known))))
    return adaptive(known, seconds, COLOUR, noise, trust).astype(np.float32)


def fine_layer(size: int) -> int:
    """First layer of the fine group of a generator of that size."""
    return 9 if size >= LARGE else 8
