"""Motion-compensated robust Whittaker smoothing of latent codes.

Encoder jitter is broadband, speech and blinks are not slow: a low pass on codes removes either
too little or too much. So the part of the codes that pose and expression explain is regressed on
the (smoothed) motion and kept, and only the residual is smoothed, hard.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from vidswap.checks import check_shape
from vidswap.ops.smooth import adaptive, fill, jump_energy, robust_whittaker, smooth
from vidswap.recipe import SmoothOptions
from vidswap.types import F64, Bool

RIDGE = 1e-2
"""Ridge of the motion fit, relative to the number of trusted frames, on unit-variance motion."""
MIN_SEGMENT = 5
"""Frames below which a segment is passed through."""
COARSE = 4
"""Layers below it follow the head, which moves more slowly than mouth and eyes."""


@dataclass(frozen=True, slots=True, eq=False)
class Smoothed:
    """Smoothed codes and how they came about."""

    codes: F64
    """(T, L, D)"""
    weights: F64
    """(T,) share of trust the residual smoother gave each frame; 0 = rejected as an outlier."""
    explained: float
    """[0, 1] share of the codes' variance that the motion explains, over all segments."""


def smooth_latents(  # noqa: PLR0913 - four arrays of one clip, three facts about them
    codes: F64,
    motion: F64,
    confidence: F64,
    seconds: F64,
    options: SmoothOptions,
    *,
    cuts: tuple[int, ...] = (),
    angles: int = 3,
    fine_from: int | None = None,
) -> Smoothed:
    """Smooth per-frame codes of one face.

    Where there are too few trusted frames to fit the motion (4 k), the codes are smoothed as they
    are: coarse layers with the ``centre`` cut-off, middle ones with ``expression``.

    Args:
        codes: (T, L, D) latent codes.
        motion: (T, k) pose angles first, then expression measures, any units; k may be 0.
        confidence: (T,) [0, 1]; below 0.3 a frame counts nothing.
        seconds: (T,) ascending.
        options: Cut-offs, method and robustness; ``method`` other than ``whittaker`` smooths the
            codes plainly, with the ``expression`` cut-off.
        cuts: Frames at which a new shot starts; nothing is smoothed across them.
        angles: Leading columns of ``motion`` that are head pose; only they may be despiked, since
            a blink looks like a spike.
        fine_from: First layer of the fine group, smoothed with ``options.fine``; None has none.

    Returns:
        Smoothed codes with diagnostics.
    """
    check_shape(
        "T L D, T k, T, T", codes=codes, motion=motion, confidence=confidence, seconds=seconds
    )
    trust = np.where(np.asarray(confidence) < 0.3, 0.0, confidence)
    out, weights = np.empty(codes.shape), np.empty(len(codes))
    left = total = 0.0
    edges = [0, *sorted(cuts), len(codes)]
    for start, stop in pairwise(edges):
        part = slice(start, stop)
        if stop - start < MIN_SEGMENT:
            out[part], weights[part] = codes[part], trust[part]
            continue
        if options.method != "whittaker":
            out[part] = smooth(
                codes[part], seconds[part], options.expression, trust[part], options.method
            )
            weights[part] = trust[part]
            continue
        tidy = smooth_motion(motion[part], seconds[part], trust[part], options, angles)
        moved = _moved(codes[part], tidy, trust[part])
        rest = codes[part] - moved
        groups = _groups(codes.shape[1], fine_from, options, fitted=_fits(tidy, trust[part]))
        curve, weights[part] = _residual(rest, seconds[part], trust[part], options, groups)
        out[part] = moved + curve
        left += float((rest - rest.mean(0)).var(0).sum()) * (stop - start)
        total += float(codes[part].var(0).sum()) * (stop - start)
    return Smoothed(out, weights, 1 - left / total if total > 0 else 0.0)


def smooth_motion(
    motion: F64, seconds: F64, trust: F64, options: SmoothOptions, angles: int = 3
) -> F64:
    """Motion measures, pose despiked and smoothed at ``pose``, the rest at ``expression``.

    Every measure's cut-off opens by itself where it moves faster, as fast speech and blinks do.

    Args:
        motion: (T, k)
        seconds: (T,) ascending.
        trust: (T,) weights.
        options: Cut-offs.
        angles: Leading columns that are head pose.

    Returns:
        (T, k)
    """
    out = np.empty(motion.shape)
    despiked = trust * ~spikes(fill(motion[:, :angles], seconds, trust))
    for column in range(motion.shape[1]):
        pose = column < angles
        values = fill(motion[:, column], seconds, despiked if pose else trust)
        out[:, column] = adaptive(
            values,
            seconds,
            options.pose if pose else options.expression,
            float(np.sqrt(np.median(jump_energy(values)))),
            despiked if pose else trust,
        )
    return out


def spikes(values: F64, reach: int = 3, limit: float = 4.0) -> Bool:
    """(T,) rows in which any channel is a Hampel outlier: ``limit`` deviations off its local median."""
    if not values.size:
        return np.zeros(len(values), bool)
    padded = np.pad(
        values, ((reach, reach), (0, 0)), mode="reflect" if len(values) > reach else "edge"
    )
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1, axis=0)
    middle = np.median(windows, -1)
    spread = 1.4826 * np.median(np.abs(windows - middle[..., None]), -1)
    floor = 1e-9 + 0.1 * np.median(np.abs(np.diff(values, axis=0)), 0) if len(values) > 1 else 1e-9
    far: Bool = (np.abs(values - middle) > limit * np.maximum(spread, floor)).any(1)
    return far


def _fits(motion: F64, trust: F64) -> bool:
    """Whether there are enough frames to regress on the motion."""
    return 0 < 4 * motion.shape[1] <= np.count_nonzero(trust)


def _moved(codes: F64, motion: F64, trust: F64) -> F64:
    """(T, L, D) mean code plus what a weighted ridge regression on the motion explains."""
    weight = trust / max(trust.sum(), 1e-12) if trust.any() else np.full(len(codes), 1 / len(codes))
    flat = codes.reshape(len(codes), -1).astype(np.float64)
    mean = weight @ flat
    if not _fits(motion, trust):
        return np.broadcast_to(mean, flat.shape).reshape(codes.shape).copy()
    centred = motion - weight @ motion
    scale = np.sqrt(weight @ centred**2)
    z = centred / np.where(scale > 1e-12, scale, 1)
    gram = (z * weight[:, None]).T @ z + RIDGE * np.eye(motion.shape[1])
    fitted = np.linalg.solve(gram, (z * weight[:, None]).T @ (flat - mean))
    moved: F64 = (mean + z @ fitted).reshape(codes.shape)
    return moved


def _groups(
    layers: int, fine_from: int | None, options: SmoothOptions, *, fitted: bool
) -> list[tuple[slice, float]]:
    """Layers that are smoothed together, with their cut-off in Hz; the fine ones first."""
    split = layers if fine_from is None else min(fine_from, layers)
    head = min(COARSE, split)
    if fitted:
        rest = [(slice(0, split), options.residual)]
    else:
        rest = [(slice(head, split), options.expression), (slice(0, head), options.centre)]
    return [(slice(split, layers), options.fine), *rest]


def _residual(
    rest: F64,
    seconds: F64,
    trust: F64,
    options: SmoothOptions,
    groups: list[tuple[slice, float]],
) -> tuple[F64, F64]:
    curve, weights = np.empty(rest.shape), trust
    for group, cutoff in groups:
        if rest[:, group].size:
            curve[:, group], weights = robust_whittaker(
                rest[:, group], seconds, cutoff, trust,
                iterations=options.iterations, huber=options.huber, reject=options.reject,
            )  # fmt: skip
    return curve, weights
