"""Every figure on a clip where its value can be worked out."""

from itertools import pairwise

import numpy as np
import pytest

from tests.metrics.clips import FPS, mesh, talk, texture, times
from vidswap.errors import ShapeError
from vidswap.metrics.identity import over_shots, tg_id, tl_id
from vidswap.metrics.motion import blink_recall, blinks, eye_aspect, fidelity, jaw, motion_fidelity
from vidswap.metrics.temporal import brightness_flicker, flicker, jerk, jerk_ratio
from vidswap.metrics.warping import flow, texture_change, visible, warp, warping_error


def circle(angles):
    return np.stack([np.cos(angles), np.sin(angles)], -1)


def test_identity_on_a_circle():
    """Unit vectors that turn by a known angle: similarities are cosines."""
    slow, fast = circle(np.arange(10) * 0.1), circle(np.arange(10) * 0.3)
    assert tl_id(slow, slow) == pytest.approx(1)
    assert tl_id(fast, slow) == pytest.approx(np.cos(0.3) / np.cos(0.1))
    pairs = [np.cos(0.3 * (j - i)) for i in range(10) for j in range(i + 1, 10)]
    other = [np.cos(0.1 * (j - i)) for i in range(10) for j in range(i + 1, 10)]
    assert tg_id(fast, slow) == pytest.approx(np.mean(pairs) / np.mean(other))
    # A face that alternates is locally unsteady, one that drifts globally.
    alternating, drifting = circle(0.4 * (np.arange(10) % 2)), circle(np.arange(10) * 0.1)
    assert tl_id(alternating, slow) < tl_id(drifting, slow)
    assert tg_id(alternating, slow) > tg_id(drifting, slow)
    assert np.isnan(tl_id(slow[:1], slow[:1]))
    assert np.isnan(tg_id(slow[:1], slow[:1]))


def test_shots_are_weighted_by_length():
    values = {0: 1.0, 10: 4.0, 40: 100.0}
    shots = [(0, 10), (10, 40), (40, 41)]
    assert over_shots(lambda part: values[part.start], shots) == pytest.approx((10 + 4 * 30) / 40)
    assert np.isnan(over_shots(lambda part: 1.0, [(0, 1)]))


@pytest.fixture(scope="module")
def pan():
    """A texture that moves 3 px right and 1 px down in each frame."""
    whole = texture(128)
    return [whole[40 - t : 104 - t, 40 - 3 * t : 104 - 3 * t] for t in range(5)]


def test_warping_error_sees_change_but_not_motion(pan):
    flows = [flow(a, b) for a, b in pairwise(pan)]
    middle = flows[0].forward[16:-16, 16:-16]
    assert np.abs(np.median(middle, (0, 1)) - (3, 1)).max() < 0.1
    assert flows[0].visible[16:-16, 16:-16].mean() > 0.95
    assert not flows[0].visible[:, -3:].any()  # they leave the picture
    still = warping_error(pan, flows)
    assert still < 1e-3
    assert np.mean((pan[0] - pan[1]) ** 2) * 3 > 20 * still
    # A step of .1 in every channel from frame to frame is .03, whatever the motion.
    blinking = [f + 0.1 * (t % 2) for t, f in enumerate(pan)]
    assert warping_error(blinking, flows) - still == pytest.approx(0.03, abs=3e-3)
    # Where the mask is zero nothing counts.
    spoiled = [f.copy() for f in pan]
    for t in (1, 3):
        spoiled[t][:32] += 0.3
    below = np.zeros((5, 64, 64), np.float32)
    below[:, 44:60] = 1
    assert warping_error(spoiled, flows, below) < 1e-3 < warping_error(spoiled, flows)
    assert np.isnan(warping_error(pan[:1], []))
    assert np.isnan(warping_error(pan, flows, 0 * below))


def test_occlusion():
    """A square moves 4 px right over a still ground: what it covers cannot be followed."""
    forward, backward = np.zeros((2, 40, 60, 2), np.float32)
    forward[10:30, 20:40, 0] = 4
    backward[10:30, 24:44, 0] = -4
    seen = visible(forward, backward)
    assert not seen[12:28, 40:44].any()  # ground that is hidden in the next frame
    assert seen[12:28, 23:37].all()
    assert seen[:8].all()
    assert not seen[15, 19:21].any()  # the edge of the motion
    np.testing.assert_allclose(
        warp(np.indices((40, 60))[1:].transpose(1, 2, 0).astype("f4"), forward)[20, 25], 29
    )


def test_flicker():
    base = texture(16)
    frames = np.stack([base + 0.05 * (-1) ** t for t in range(9)])
    masks = np.ones((9, 16, 16), np.float32)
    assert flicker(frames, masks) == pytest.approx(0.1, abs=1e-5)
    ramp = np.stack([base + 0.05 * t for t in range(9)])
    assert flicker(ramp, masks) < 1e-6  # light that rises evenly is not flicker
    masks[:, 8:] = 0
    frames[:, 8:] += np.random.default_rng(0).normal(size=frames[:, 8:].shape)
    assert flicker(frames, masks) == pytest.approx(0.1, abs=1e-5)
    assert np.isnan(flicker(frames[:2], masks[:2]))


def test_brightness_flicker():
    t = times(250)
    masks = np.ones((250, 4, 4), np.float32)

    def clip(hertz):
        return (
            np.full((250, 4, 4, 3), 0.5)
            + (0.1 * np.sin(2 * np.pi * hertz * t))[:, None, None, None]
        )

    assert brightness_flicker(clip(8.0), masks, t) == pytest.approx(0.1 / np.sqrt(2), rel=0.05)
    assert brightness_flicker(clip(0.5), masks, t) < 0.002
    assert np.isnan(brightness_flicker(clip(1.0)[:2], masks[:2], t[:2]))


def test_jerk_of_a_sine():
    t = times(1000)
    wave = np.stack([3 * np.sin(2 * np.pi * 0.5 * t), 0 * t], -1)[:, None]
    expected = 3 * np.pi**3 / np.sqrt(2)
    assert jerk(wave, t) == pytest.approx(expected, rel=0.01)
    assert jerk(wave, t, scale=3.0) == pytest.approx(expected / 3, rel=0.01)
    cubic = (t**3)[:, None]
    assert jerk(cubic, t) == pytest.approx(6, rel=1e-5)
    # At uneven times too, where differences between frames alone would be wrong.
    uneven = np.sort(np.random.default_rng(0).uniform(0, 10, 200))
    assert jerk((uneven**3)[:, None], uneven) == pytest.approx(6, rel=1e-4)
    noise = 0.05 * np.random.default_rng(1).normal(size=(1000, 1, 2))
    assert jerk_ratio(wave + noise, wave, t) > 1.3
    assert jerk_ratio(0.5 * wave, wave, t) == pytest.approx(0.5)
    assert np.isnan(jerk(wave[:3], t[:3]))
    assert np.isnan(jerk_ratio(wave, 0 * wave, t))


def test_jerk_of_white_noise():
    """Third differences of white noise of variance 1 have variance 20."""
    noise = np.random.default_rng(2).normal(size=(4000, 2))
    assert jerk(noise, times(4000)) == pytest.approx(np.sqrt(2 * 20) * FPS**3, rel=0.03)


def test_measures_of_the_mesh():
    lips, lids = talk(100)
    points = mesh(lips, lids, np.full((100, 2), 200.0))
    np.testing.assert_allclose(jaw(points), lips, atol=1e-6)
    np.testing.assert_allclose(eye_aspect(points), lids, rtol=0.2)
    assert blinks(eye_aspect(points)).tolist() == [20, 52, 81]
    with pytest.raises(ShapeError, match="468"):
        jaw(points[:, :68])


def test_fidelity():
    source, _ = talk(100)
    same = fidelity(source, source)
    assert (same.correlation, same.amplitude, same.lag) == (pytest.approx(1), pytest.approx(1), 0)
    assert same.kept
    half = fidelity(0.5 * source, source)
    assert (half.correlation, half.amplitude) == (pytest.approx(1), pytest.approx(0.5))
    assert not half.kept
    late = fidelity(np.roll(source, 2), source)
    assert late.lag == 2
    assert fidelity(np.roll(source, -3), source).lag == -3
    assert not late.kept
    frozen = fidelity(np.full(100, 0.2), source)
    assert (frozen.correlation, frozen.amplitude) == (0, 0)
    assert not frozen.kept
    nothing = fidelity(source, np.full(100, 0.2))
    assert np.isnan(nothing.correlation)
    assert nothing.kept


def test_blinks_are_missed_when_smoothed_away():
    from scipy.ndimage import gaussian_filter1d

    _, lids = talk(100)
    assert blink_recall(lids, lids) == 1
    assert blink_recall(np.ones(100), lids) == 0
    assert blink_recall(gaussian_filter1d(lids, 6), lids) == 0
    part = lids.copy()
    part[40:60] = 1
    assert blink_recall(part, lids) == pytest.approx(2 / 3)
    assert np.isnan(blink_recall(lids, np.ones(100)))
    assert blinks(np.zeros(0)).size == 0


def test_motion_fidelity_of_a_frozen_face():
    lips, lids = talk(100)
    still = np.full((100, 2), 200.0)
    source = mesh(lips, lids, still)
    assert motion_fidelity(source + 5, source).kept
    frozen = motion_fidelity(mesh(0 * lips + 0.1, 0 * lids + 1, still), source)
    assert not frozen.kept
    assert frozen.blink_recall == 0


def test_texture_change_sees_change_but_not_motion(pan):
    move, mask = flow(pan[0], pan[1]), np.ones((64, 64), np.float32)
    still = texture_change(pan[0], pan[1], move, mask)
    assert still < 0.1 * np.abs(pan[0] - pan[1]).mean()
    assert texture_change(pan[0], pan[1] + 0.1, move, mask) == pytest.approx(0.1, rel=0.05)
    spoiled = pan[1].copy()
    spoiled[:20] += 0.3
    below = mask.copy()
    below[:30] = 0
    assert texture_change(pan[0], spoiled, move, below) < 2 * still + 1e-3
    assert np.isnan(texture_change(pan[0], pan[1], move, 0 * mask))
