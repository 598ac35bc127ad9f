"""The smoother: gains in Hz on any clock, no lag, nothing lost at the ends, motion kept."""

import numpy as np
import pytest

from vidswap.ops.latent_smooth import smooth_latents
from vidswap.ops.smooth import (
    GAUSS_HALF,
    adaptive,
    fill,
    gain,
    gaussian,
    interval,
    jump_energy,
    one_euro,
    robust_whittaker,
    settling,
    smooth,
    whittaker,
)
from vidswap.recipe import SmoothOptions


def amplitude(signal, time, frequency):
    """Least-squares amplitude of a tone, away from the ends."""
    inner = slice(len(time) // 6, -len(time) // 6)
    phase = 2 * np.pi * frequency * time[inner]
    basis = np.stack([np.cos(phase), np.sin(phase), np.ones_like(phase)], 1)
    c = np.linalg.lstsq(basis, signal[inner], rcond=None)[0]
    return np.hypot(c[0], c[1]), np.arctan2(-c[1], c[0])


@pytest.mark.parametrize("fps", [23.976, 30, 60])
@pytest.mark.parametrize("method", ["whittaker", "gaussian"])
@pytest.mark.parametrize("cutoff", [1.0, 2.0, 5.0])
def test_the_cutoff_passes_half_and_nothing_lags(fps, method, cutoff):
    time = np.arange(600) / fps
    out = smooth(np.cos(2 * np.pi * cutoff * time)[:, None], time, cutoff, method=method)[:, 0]
    size, phase = amplitude(out, time, cutoff)
    assert size == pytest.approx(0.5, abs=0.01)
    assert abs(phase) < 1e-3


def test_the_cutoff_means_hz_on_an_uneven_clock():
    steps = np.tile([1 / 60, 1 / 60, 1 / 30, 1 / 24], 200)
    time = np.cumsum(steps)
    out = whittaker(np.cos(2 * np.pi * 3.0 * time)[:, None], time, 3.0)[:, 0]
    assert amplitude(out, time, 3.0)[0] == pytest.approx(0.5, abs=0.08)
    assert amplitude(
        whittaker(np.cos(2 * np.pi * 0.5 * time)[:, None], time, 3.0)[:, 0], time, 0.5
    )[0] == pytest.approx(1, abs=0.01)


def test_gain_says_what_whittaker_does():
    time = np.arange(900) / 30
    for frequency in (1.0, 4.0, 9.0):
        out = whittaker(np.cos(2 * np.pi * frequency * time)[:, None], time, 4.0)[:, 0]
        assert amplitude(out, time, frequency)[0] == pytest.approx(
            float(gain(4.0, 1 / 30, frequency)), abs=0.01
        )


@pytest.mark.parametrize("method", ["whittaker", "none"])
def test_linear_motion_survives_gaps_and_ends_on_any_clock(method):
    time = np.cumsum(np.random.default_rng(0).uniform(0.02, 0.06, 80))
    line = np.stack([3 * time + 2, -time], 1)
    weights = np.ones(80)
    weights[30:41] = 0
    spoiled = line.copy()
    spoiled[30:41] = 1e3
    np.testing.assert_allclose(smooth(spoiled, time, 2.0, weights, method), line, atol=1e-6)


def test_limits_of_the_cutoff():
    rng = np.random.default_rng(1)
    values, time, weights = rng.normal(size=(50, 3)), np.arange(50) / 25, rng.uniform(0.1, 1, 50)
    np.testing.assert_allclose(whittaker(values, time, 12.0), values)
    mean = (weights[:, None] * values).sum(0) / weights.sum()
    np.testing.assert_allclose(whittaker(values, time, 0.0, weights), np.tile(mean, (50, 1)))
    for count in (1, 2):
        np.testing.assert_allclose(whittaker(values[:count], time[:count], 2.0), values[:count])
    assert np.isfinite(whittaker(values, time, 2.0, np.zeros(50))).all()
    with pytest.raises(ValueError, match="ascend"):
        whittaker(values, np.zeros(50), 2.0)


def test_outliers_do_not_pull_the_robust_curve():
    rng = np.random.default_rng(2)
    time = np.arange(300) / 25
    truth = np.stack([np.sin(time), np.cos(0.7 * time)], 1)
    values = truth + 0.02 * rng.normal(size=truth.shape)
    odd = rng.choice(300, 12, replace=False)
    values[odd] += 3
    curve, weights = robust_whittaker(values, time, 1.0)
    assert (weights[odd] == 0).all()
    assert np.abs(curve - truth).max() < 0.05 < np.abs(whittaker(values, time, 1.0) - truth).max()


def test_adaptive_calms_rest_and_follows_haste():
    rng = np.random.default_rng(3)
    time = np.arange(600) / 30
    shake = np.where((time > 8) & (time < 11), 40 * np.sin(2 * np.pi * 2.5 * time), 0.0)
    truth = np.stack([shake, 0.3 * shake], 1)
    values = truth + 0.2 * rng.normal(size=truth.shape)
    noise = float(np.sqrt(np.median(jump_energy(values))))
    out = adaptive(values, time, 2.0, noise)
    rest = (time < 7) | (time > 12)
    haste = (time > 8.2) & (time < 10.8)
    assert noise == pytest.approx(0.2, rel=0.15)
    assert np.abs(out - truth)[rest].std() < 0.6 * np.abs(values - truth)[rest].std()
    assert np.abs(out - values)[haste].max() < 0.5  # a fixed 2 Hz is wrong by 20 here
    assert np.abs(whittaker(values, time, 2.0) - values)[haste].max() > 10


def test_causal_rows_ignore_the_future():
    rng = np.random.default_rng(4)
    values, time = rng.normal(size=(100, 2)), np.arange(100) / 25
    changed = values.copy()
    changed[60:] = values[60:][::-1]  # the same spread, so the same scale
    np.testing.assert_allclose(
        one_euro(values, time, 2.0)[:60], one_euro(changed, time, 2.0)[:60], rtol=1e-6
    )


def test_fill_is_linear_in_time_and_held_at_the_ends():
    time = np.array([0.0, 1, 2, 5, 6, 7])
    values = np.array([9.0, 1, 9, 5, 7, 9])
    weights = np.array([0, 1, 0, 1, 1, 0])
    np.testing.assert_allclose(fill(values, time, weights), [1, 1, 2, 5, 7, 7])


def test_responses_have_settled_when_settling_says_so():
    time = np.arange(2001) / 30
    pulse = np.zeros((2001, 1))
    pulse[1000] = 1
    for cutoff in (0.5, 2.0, 5.0):
        out = np.abs(whittaker(pulse, time, cutoff)[:, 0])
        assert out[1000 + int(settling(cutoff) / interval(time)) + 1 :].max() < 2e-6 * out.max()


# --- latent codes: the toy table of the published comparison


def toy(seed):
    """T 500, D 64, 25 fps: pose, speech, blinks, a cut, 3 % outliers and an occlusion."""
    rng = np.random.default_rng(seed)
    count, size, cut = 500, 64, 260
    t = np.arange(count) / 25
    pose = [
        np.sin(2 * np.pi * 0.3 * t),
        np.sin(2 * np.pi * 0.4 * t + 2),
        np.sin(2 * np.pi * 0.22 * t),
    ]
    jaw = np.clip(np.sin(2 * np.pi * 4.6 * t) * np.sin(2 * np.pi * 0.45 * t), 0, None)
    eye = np.ones(count)
    blinks = np.arange(20, count - 5, 45)
    for b in blinks:
        eye[b - 2 : b + 3] -= (0.5, 1, 1, 0.9, 0.4)
    motion = np.stack([*pose, jaw, eye], 1)
    mix = rng.normal(size=(5, size)) * np.array([0.5, 0.5, 0.5, 1.45, 0.85])[:, None]
    base = np.where(np.arange(count)[:, None] < cut, rng.normal(size=size), rng.normal(size=size))
    clean = (
        base + motion @ mix + 0.15 * np.sin(2 * np.pi * 0.1 * t)[:, None] * rng.normal(size=size)
    )
    codes = clean + 0.2 * rng.normal(size=clean.shape)
    odd = rng.choice(count, 15, replace=False)
    codes[odd] += 0.8 * rng.normal(size=(15, size))
    confidence = np.ones(count)
    codes[130:140] += 0.4 * rng.normal(size=size)
    confidence[130:140] = 0
    seen = motion * (10, 5, 5, 1, 1) + rng.normal(size=(count, 5)) * (0.26, 0.28, 0.17, 0.04, 0.03)
    return t, clean, codes, seen, confidence, cut, mix, blinks


@pytest.mark.parametrize("seed", [0, 1])
def test_motion_compensation_beats_plain_smoothing(seed):
    t, clean, codes, motion, confidence, cut, mix, blinks = toy(seed)

    def rmse(z):
        return float(np.sqrt(((z - clean) ** 2).mean()))

    def blink(z):
        part = np.linalg.lstsq(mix.T, (z - z.mean(0)).T, rcond=None)[0][4]
        return float(np.mean([np.median(part[max(b - 12, 0) : b + 12]) - part[b] for b in blinks]))

    done = smooth_latents(codes[:, None], motion, confidence, t, SmoothOptions(), cuts=(cut,))
    ours, plain = done.codes[:, 0], gaussian(codes, t, GAUSS_HALF * 25)
    assert rmse(codes) == pytest.approx(0.251, abs=0.01)
    assert rmse(plain) > 0.255  # published 0.274: worse than nothing
    assert rmse(ours) <= 0.13
    assert blink(ours) / blink(clean) >= 0.9
    around = np.sqrt(((ours - clean)[cut - 4 : cut + 4] ** 2).mean())
    assert around <= 0.18  # smoothing across the cut gives .4
    assert (done.weights[130:140] == 0).all()
    assert 0.5 < done.explained <= 1


def test_fine_layers_become_one_code_per_shot_and_short_shots_pass():
    rng = np.random.default_rng(5)
    codes, t = rng.normal(size=(40, 4, 8)), np.arange(40) / 25
    done = smooth_latents(
        codes, np.zeros((40, 0)), np.ones(40), t, SmoothOptions(), cuts=(3, 20), fine_from=2
    ).codes
    np.testing.assert_array_equal(done[:3], codes[:3])
    assert np.ptp(done[3:20, 2:], axis=0).max() < 1e-9 < np.ptp(done[3:20, :2], axis=0).max()
    assert not np.allclose(done[3, 2:], done[20, 2:])


@pytest.mark.parametrize("method", ["gaussian", "causal", "none"])
def test_other_methods_smooth_codes_plainly(method):
    rng = np.random.default_rng(6)
    codes, t = rng.normal(size=(30, 2, 4)), np.arange(30) / 25
    done = smooth_latents(
        codes, np.zeros((30, 0)), np.ones(30), t, SmoothOptions(method=method, expression=2.0)
    ).codes
    rough = np.abs(np.diff(codes, axis=0)).mean()
    assert (np.abs(np.diff(done, axis=0)).mean() < 0.7 * rough) == (method != "none")


def test_a_short_shot_keeps_speech_in_its_codes():
    """Too few frames to fit the motion: hard smoothing of the residual would freeze the mouth."""
    t = np.arange(30) / 25
    speech = np.sin(2 * np.pi * 3 * t)
    codes = np.zeros((30, 8, 4))
    codes[:, 5] = speech[:, None]
    done = smooth_latents(codes, speech[:, None] @ np.ones((1, 8)), np.ones(30), t, SmoothOptions())
    assert np.ptp(done.codes[:, 5]) > 0.9 * np.ptp(codes[:, 5])
