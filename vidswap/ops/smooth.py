"""Smoothing along time, on timestamps and with weights: the one smoother of the whole program.

Landmarks, crop windows, light fields and latent codes all pass through here. The default is the
Whittaker smoother (penalised least squares on second derivatives; Whittaker 1923, Eilers 2003),
which has no lag, no negative lobes and no loss at the ends, is exact on linear motion and takes
missing samples as weight zero. Cut-offs are in Hz: the frequency that passes with half its
amplitude. Time stamps may be unequally spaced; the penalty uses divided differences.

Arrays are ``(T, ...)``; everything after the first axis is smoothed channel by channel. Nothing is
ever smoothed across a cut: callers pass one shot of one face at a time.
"""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_matrix

from vidswap.checks import check_shape
from vidswap.types import F64

Method = Literal["whittaker", "causal", "gaussian", "none"]
Array = NDArray[np.float32] | NDArray[np.float64]

PASS_SHARE = 0.45
"""Cut-offs above this share of the frame rate change nothing and pass the signal through."""
BAND_WINDOW = 0.08
"""Sigma in seconds of the window in which ``adaptive`` judges the energy of a band."""
GAUSS_HALF = np.sqrt(np.log(2) / 2) / np.pi
"""Gaussian sigma in seconds × its half-amplitude frequency in Hz (0.1874)."""


def smooth(
    values: Array,
    seconds: ArrayLike,
    cutoff: float,
    weights: ArrayLike | None = None,
    method: Method = "whittaker",
) -> F64:
    """Smooth by the named method.

    Args:
        values: (T, ...) samples; rows of weight zero may hold anything finite.
        seconds: (T,) ascending time stamps.
        cutoff: Half-amplitude frequency in Hz; 0 gives the weighted mean.
        weights: (T,) ≥ 0 confidence of each sample; None trusts all alike.
        method: ``none`` only fills samples of weight zero, linearly in time.

    Returns:
        (T, ...) float64.
    """
    if method == "none":
        return fill(values, seconds, weights)
    if method == "gaussian":
        return gaussian(values, seconds, cutoff, weights)
    if method == "causal":
        return one_euro(fill(values, seconds, weights), seconds, cutoff)
    return whittaker(values, seconds, cutoff, weights)


def whittaker(
    values: Array, seconds: ArrayLike, cutoff: float, weights: ArrayLike | None = None
) -> F64:
    """Minimise ``Σ c (y − z)² + λ ∫ z''²``: a zero-phase low pass with gain ½ at ``cutoff``.

    At a constant rate the gain is ``1 / (1 + λ (2 sin πf/fps)⁴)`` with
    ``λ = (2 sin πf_c/fps)⁻⁴``. Samples weigh as much as the time they stand for, so that the
    cut-off means the same Hz where the frame rate changes.

    Args:
        values: (T, ...) samples.
        seconds: (T,) ascending.
        cutoff: Hz; 0 gives the weighted mean, from 0.45 × the frame rate up the signal passes.
        weights: (T,) ≥ 0; rows of weight zero are interpolated.

    Returns:
        (T, ...) float64.
    """
    data, time, weight = _prepare(values, seconds, weights)
    if cutoff <= 0:
        return _mean(data, weight)
    if len(data) < 3 or np.count_nonzero(weight) < 3:
        return fill(values, seconds, weights)
    step = interval(time)
    if cutoff * step >= PASS_SHARE:
        return fill(values, seconds, weights)
    from scipy.linalg import solveh_banded

    bands = _penalty(time / step) * (2 * np.sin(np.pi * cutoff * step)) ** -4.0
    # The tiny floor keeps the system definite where long runs have no weight at all.
    trust = np.maximum(weight * _durations(time / step), 1e-9)
    bands[2] += trust
    flat = fill(data, time, weight).reshape(len(data), -1) * trust[:, None]
    curve: F64 = solveh_banded(bands, flat, overwrite_b=True, check_finite=False)
    return curve.reshape(data.shape)


def robust_whittaker(
    values: Array,
    seconds: ArrayLike,
    cutoff: float,
    weights: ArrayLike | None = None,
    *,
    iterations: int = 4,
    huber: float = 1.6,
    reject: float = 4.0,
) -> tuple[F64, F64]:
    """Whittaker smoothing that outliers cannot pull: iteratively re-weighted least squares.

    A sample's distance from the curve over all channels, in units of the median distance, decides
    its weight: 1 up to ``huber``, falling with the square beyond it, 0 from ``reject`` on.

    Args:
        values: (T, ...) samples.
        seconds: (T,) ascending.
        cutoff: Hz, as for ``whittaker``.
        weights: (T,) ≥ 0 prior weights.
        iterations: Times the weights are renewed.
        huber: Median distances up to which a sample counts fully.
        reject: Median distances from which it counts nothing.

    Returns:
        (T, ...) the curve, (T,) the final weights.
    """
    data, time, prior = _prepare(values, seconds, weights)
    weight = prior
    curve = whittaker(data, time, cutoff, weight)
    for _ in range(iterations):
        distance = np.sqrt(((data - curve) ** 2).reshape(len(data), -1).sum(1))
        weight = prior * robust_weights(distance, huber, reject, prior > 0)
        curve = whittaker(data, time, cutoff, weight)
    return curve, weight


def robust_weights(distance: F64, huber: float, reject: float, known: NDArray[np.bool_]) -> F64:
    """(T,) weights in [0, 1] from distances to the curve; the scale is their median."""
    if not known.any():
        return np.ones_like(distance)
    scale = max(float(np.median(distance[known])), 1e-12)
    ratio = distance / scale
    weight = np.minimum(1.0, (huber / np.maximum(ratio, 1e-12)) ** 2)
    return np.where(ratio < reject, weight, 0.0)


def gaussian(
    values: Array, seconds: ArrayLike, cutoff: float, weights: ArrayLike | None = None
) -> F64:
    """Normalised Gaussian on time stamps, truncated at 4 sigma; the plain alternative.

    Args:
        values: (T, ...) samples.
        seconds: (T,) ascending.
        cutoff: Half-amplitude frequency in Hz; 0 gives the weighted mean.
        weights: (T,) ≥ 0.

    Returns:
        (T, ...) float64.
    """
    data, time, weight = _prepare(values, seconds, weights)
    if cutoff <= 0:
        return _mean(data, weight)
    sigma = GAUSS_HALF / cutoff
    data = fill(data, time, weight)
    # A little trust in filled samples, so that a gap wider than the kernel stays defined.
    kernel = _kernel(time, sigma, np.maximum(weight * _durations(time / interval(time)), 1e-6))
    return np.asarray(kernel @ data.reshape(len(data), -1)).reshape(data.shape)


def one_euro(values: Array, seconds: ArrayLike, cutoff: float, slope: float = 1.0) -> F64:
    """Causal low pass whose cut-off rises with speed (One-Euro filter, Casiez 2012).

    The speed is measured over all channels together, in standard deviations of the signal per
    second, so that ``slope`` has no unit.

    Args:
        values: (T, ...) samples.
        seconds: (T,) ascending.
        cutoff: Hz at rest.
        slope: Rise of the cut-off in Hz for each standard deviation per second.

    Returns:
        (T, ...) float64; every row depends on earlier rows alone, but for the overall scale.
    """
    data, time, _ = _prepare(values, seconds, None)
    flat = data.reshape(len(data), -1)
    scale = max(float(np.sqrt(flat.var(0).mean())), 1e-12)
    out, speed = flat.copy(), np.zeros(flat.shape[1])
    for t in range(1, len(flat)):
        step = time[t] - time[t - 1]
        change = (flat[t] - flat[t - 1]) / step
        speed += (change - speed) / (1 + 1 / (2 * np.pi * step))
        adapted = cutoff + slope * float(np.sqrt((speed**2).mean())) / scale
        out[t] = out[t - 1] + (flat[t] - out[t - 1]) / (1 + 1 / (2 * np.pi * adapted * step))
    return out.reshape(data.shape)


def adaptive(
    values: Array,
    seconds: ArrayLike,
    cutoff: float,
    noise: float,
    weights: ArrayLike | None = None,
) -> F64:
    """Whittaker smoothing that opens up wherever the signal really moves faster than ``cutoff``.

    A fixed cut-off that calms a still face lags behind a shaken head. Here the signal is smoothed
    at ``cutoff``, 2 ``cutoff``, 4 ``cutoff`` … and not at all; each band between two of these is
    let through while its energy over a fifth of a second, averaged over all channels, exceeds what
    noise alone would put there (a soft threshold of sub-bands, Donoho 1995). All channels of one
    call open together: give it parts that move together.

    Args:
        values: (T, ...) samples.
        seconds: (T,) ascending.
        cutoff: Hz at rest.
        noise: Standard deviation of the noise of one channel, in the unit of ``values``.
        weights: (T,) ≥ 0.

    Returns:
        (T, ...) float64.
    """
    data, time, weight = _prepare(values, seconds, weights)
    step = interval(time)
    out = whittaker(data, time, cutoff, weight)
    opened = np.ones(len(data))
    lower, frequency = out.copy(), cutoff
    while frequency * step < PASS_SHARE:
        upper = whittaker(data, time, 2 * frequency, weight)
        band = upper - lower
        energy = local_mean((band.reshape(len(band), -1) ** 2).mean(1), time)
        # A higher band cannot be let through where a lower one is not: its gain would have a hole.
        opened = opened * open_band(energy, (frequency, 2 * frequency), step, noise)
        out += opened.reshape(-1, *[1] * (data.ndim - 1)) * band
        lower, frequency = upper, 2 * frequency
    return out


def open_band(energy: F64, cutoffs: tuple[float, float], step: float, noise: float) -> F64:
    """(T,) in [0, 1]: how far to let a band through, from its local energy.

    Args:
        energy: (T,) mean square of the difference between smoothing at both cut-offs.
        cutoffs: The lower and the upper one, Hz.
        step: Seconds between samples.
        noise: Standard deviation of white noise in one channel.

    Returns:
        0 up to twice the energy that noise alone has in this band, 1 from five times.
    """
    frequencies = np.linspace(0, 0.5 / step, 257)
    passed = gain(cutoffs[1], step, frequencies) - gain(cutoffs[0], step, frequencies)
    expected = max(float((passed**2).mean()) * noise**2, 1e-18)
    ratio = np.clip((energy / expected - 2.0) / 3.0, 0, 1)
    opening: F64 = ratio * ratio * (3 - 2 * ratio)
    return opening


def jump_energy(values: Array) -> F64:
    """(T,) energy of third differences, scaled so that white noise of variance 1 gives 1.

    Its median over a track is the variance of the noise: real motion hardly reaches that band
    except for moments. The three frames at the ends repeat their neighbours.
    """
    flat = np.asarray(values, np.float64).reshape(len(values), -1)
    if len(flat) < 4:
        return np.zeros(len(flat))
    energy = (np.diff(flat, 3, axis=0) ** 2).mean(1) / 20.0
    padded: F64 = np.r_[energy[:1], energy[:1], energy, energy[-1:]]
    return padded


def fill(values: Array, seconds: ArrayLike, weights: ArrayLike | None = None) -> F64:
    """(T, ...) float64 with rows of weight zero interpolated linearly in time, held at the ends."""
    data, time, weight = _prepare(values, seconds, weights)
    known = np.flatnonzero(weight > 0)
    if len(known) in (0, len(data)):
        return data.copy()
    missing = np.flatnonzero(weight <= 0)
    after = np.clip(np.searchsorted(known, missing), 0, len(known) - 1)
    before = np.clip(np.searchsorted(known, missing) - 1, 0, len(known) - 1)
    left, right = known[before], known[after]
    span = time[right] - time[left]
    share = np.where(span > 0, (time[missing] - time[left]) / np.where(span > 0, span, 1), 0)
    share = np.clip(share, 0, 1).reshape(-1, *[1] * (data.ndim - 1))
    out = data.copy()
    out[missing] = data[left] * (1 - share) + data[right] * share
    return out


def local_mean(values: Array, seconds: ArrayLike, sigma: float = BAND_WINDOW) -> F64:
    """(T, ...) Gaussian mean of standard deviation ``sigma`` seconds on time stamps."""
    data, time, weight = _prepare(values, seconds, None)
    kernel = _kernel(time, sigma, weight * _durations(time / interval(time)))
    return np.asarray(kernel @ data.reshape(len(data), -1)).reshape(data.shape)


def interval(seconds: ArrayLike) -> float:
    """Typical time between two samples in seconds: the median, 1 for a single sample."""
    time = np.asarray(seconds, np.float64)
    return float(np.median(np.diff(time))) if len(time) > 1 else 1.0


def settling(cutoff: float) -> float:
    """Seconds after which a Whittaker or Gaussian response has died down to 10⁻⁶."""
    # The slowest mode decays with exp(-√2 π f_c t).
    return 14.0 / (np.sqrt(2) * np.pi * cutoff) if cutoff > 0 else np.inf


def gain(cutoff: float, step: float, frequency: ArrayLike) -> F64:
    """Amplitude gain of ``whittaker`` at frequencies in Hz, for samples ``step`` seconds apart."""
    f = np.asarray(frequency, np.float64)
    if cutoff * step >= PASS_SHARE:
        return np.ones_like(f)
    passed: F64 = 1 / (1 + (np.sin(np.pi * f * step) / np.sin(np.pi * cutoff * step)) ** 4)
    return passed


def _prepare(values: Array, seconds: ArrayLike, weights: ArrayLike | None) -> tuple[F64, F64, F64]:
    data = np.asarray(values, np.float64)
    time = np.asarray(seconds, np.float64)
    weight = np.ones(len(data)) if weights is None else np.asarray(weights, np.float64)
    check_shape(
        "T, T, T", values=data.reshape(len(data), -1)[:, :1].sum(1), seconds=time, weights=weight
    )
    if len(time) > 1 and not (np.diff(time) > 0).all():
        raise ValueError("time stamps must ascend")
    return data, time, weight


def _mean(data: F64, weight: F64) -> F64:
    total = weight.sum()
    mean = np.tensordot(weight / total, data, 1) if total > 0 else data.mean(0)
    return np.broadcast_to(mean, data.shape).copy()


def _durations(time: F64) -> F64:
    """(T,) time each sample stands for in units of the typical interval, within [¼, 4]."""
    if len(time) < 2:
        return np.ones(len(time))
    steps = np.diff(time)
    mean: F64 = (np.r_[steps, steps[-1]] + np.r_[steps[0], steps]) / 2
    return np.clip(mean, 0.25, 4.0)


def _penalty(time: F64) -> F64:
    """(3, T) upper bands of ``∫ z''²`` in units of the typical interval."""
    h1, h2 = np.diff(time)[:-1], np.diff(time)[1:]
    root = np.sqrt((h1 + h2) / 2)
    a, b, c = 2 * root / (h1 * (h1 + h2)), -2 * root / (h1 * h2), 2 * root / (h2 * (h1 + h2))
    bands = np.zeros((3, len(time)))
    bands[0, 2:] = a * c
    bands[1, 1:-1] += a * b
    bands[1, 2:] += b * c
    bands[2, :-2] += a * a
    bands[2, 1:-1] += b * b
    bands[2, 2:] += c * c
    return bands


def _kernel(time: F64, sigma: float, weight: F64) -> csr_matrix:
    """(T, T) sparse rows of a truncated, normalised Gaussian."""
    start = np.searchsorted(time, time - 4 * sigma)
    stop = np.searchsorted(time, time + 4 * sigma, side="right")
    counts = stop - start
    rows = np.repeat(np.arange(len(time)), counts)
    columns = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + start[rows]
    taps = np.exp(-0.5 * ((time[columns] - time[rows]) / sigma) ** 2) * weight[columns]
    taps /= np.maximum(np.bincount(rows, taps, len(time)), 1e-300)[rows]
    return csr_matrix((taps, (rows, columns)), shape=(len(time), len(time)))
