"""Smoothing of meshes: calm at rest, on the spot in haste, blinks kept, the same in windows."""

import numpy as np
import pytest

from vidswap.faces.facemesh import FaceMesh
from vidswap.faces.pose import eye_opening, mouth_opening
from vidswap.faces.steady import Steadier, confidence, groups
from vidswap.recipe import SmoothOptions

EYES = 120.0
"""Pixels between the outer eye corners."""
NOISE = 0.15


@pytest.fixture(scope="module")
def mesh():
    return FaceMesh.load()


def film(mesh, seconds, *, shake=0.0, yaw=0.0, talk=0.0, blinks=()):
    """(T, 478, 3) true meshes of a head that moves, turns, talks and blinks."""
    shape = np.zeros((478, 3))
    shape[:468] = mesh.shape
    for k, eye in ((468, (33, 133)), (473, (263, 362))):
        shape[k : k + 5] = shape[list(eye)].mean(0)
    t = np.asarray(seconds)
    points = np.repeat(shape[None], len(t), 0)
    opening = talk * np.clip(np.sin(2 * np.pi * 4.5 * t), 0, None)
    for lower, share in ((14, 1.0), (87, 0.8), (317, 0.8), (17, 1.0)):
        points[:, lower, 1] += share * opening
    lids = np.zeros(len(t))
    for b in blinks:
        lids = np.maximum(lids, np.clip(1.4 - np.abs(t - b) / 0.05, 0, 1))
    for upper, lower in ((160, 144), (158, 153), (159, 145), (385, 380), (387, 373), (386, 374)):
        points[:, upper] += lids[:, None] * (points[:, lower] - points[:, upper])
    a = np.radians(yaw) * np.sin(2 * np.pi * 1.0 * t)
    turn = np.stack(
        [np.stack([np.cos(a), 0 * a, np.sin(a)], -1), np.tile([0.0, 1, 0], (len(t), 1)),
         np.stack([-np.sin(a), 0 * a, np.cos(a)], -1)], 1,
    )  # fmt: skip
    points = np.einsum("tij,tvj->tvi", turn, points) * EYES
    points[..., 0] += 400 + shake * np.sin(2 * np.pi * 2.0 * t)[:, None]
    points[..., 1] += 300 + 0.4 * shake * np.sin(2 * np.pi * 1.4 * t)[:, None]
    return points


def noisy(points, seed=0):
    rng = np.random.default_rng(seed)
    return (points + NOISE * rng.normal(size=points.shape)).astype(np.float32)


def steady(raw, t, weights=None, window=2000, **options):
    weights = np.ones(len(t)) if weights is None else weights
    steadier = Steadier(raw, np.asarray(t), weights, SmoothOptions(**options), 0.008)
    pieces = list(steadier.run(window))
    assert [first for first, _ in pieces] == list(np.cumsum([0] + [len(p) for _, p in pieces])[:-1])
    return np.concatenate([p for _, p in pieces]), steadier


def rigid_lag(mesh, out, truth):
    """Largest coherent offset of the rigid vertices, in shares of the eye distance."""
    off = np.einsum("v,tvd->td", mesh.rigid, (out - truth)[:, :468, :2])
    return float(np.linalg.norm(off, axis=1).max() / EYES)


def test_a_still_face_comes_to_rest(mesh):
    t = np.arange(150) / 30
    truth = film(mesh, t)
    raw = noisy(truth)
    out, _ = steady(raw, t)
    assert np.diff(out[..., :2], axis=0).std() < 0.35 * np.diff(raw[..., :2], axis=0).std()
    assert np.abs(out - truth)[..., :2].std() < 0.7 * NOISE


@pytest.mark.parametrize("fps", [24, 30, 60])
def test_a_shaken_and_turning_head_is_not_lagged_behind(mesh, fps):
    t = np.arange(6 * fps) / fps
    truth = film(mesh, t, shake=60, yaw=25)
    out, steadier = steady(noisy(truth), t)
    assert rigid_lag(mesh, out, truth) < 0.003
    assert np.linalg.norm((out - truth)[..., :2], axis=-1).mean() < 2 * NOISE
    assert (steadier.weights > 0).all()
    assert steadier.breaks == []


def test_sudden_haste_after_rest_is_followed(mesh):
    t = np.arange(240) / 30
    truth = film(mesh, t)
    burst = np.clip((t - 4) / 0.2, 0, 1) * 60  # 300 px/s out of nothing
    truth[..., 0] += burst[:, None]
    out, steadier = steady(noisy(truth), t)
    assert rigid_lag(mesh, out, truth) < 0.02
    assert (steadier.weights > 0).all()


def test_speech_and_blinks_keep_their_size_and_time(mesh):
    t = np.arange(240) / 30
    truth = film(mesh, t, shake=8, talk=0.12, blinks=(1.02, 3.3, 5.57))
    raw = noisy(truth)
    out, steadier = steady(raw, t)
    assert (steadier.weights > 0).all()
    for measure in (mouth_opening, lambda m: eye_opening(m)[:, 0], lambda m: eye_opening(m)[:, 1]):
        want, got = measure(truth), measure(out)
        assert np.corrcoef(want, got)[0, 1] > 0.97
        assert np.ptp(got) > 0.9 * np.ptp(want)
        likeness = [np.corrcoef(np.roll(got, k), want)[0, 1] for k in (-1, 0, 1)]
        assert np.argmax(likeness) == 1, "no lag"


def test_uneven_time_stamps_are_respected(mesh):
    t = np.cumsum(np.random.default_rng(3).choice([1 / 60, 1 / 30, 1 / 20], 240))
    truth = film(mesh, t, shake=30, yaw=10)
    out, _ = steady(noisy(truth), t)
    assert rigid_lag(mesh, out, truth) < 0.006


def test_an_outlier_counts_nothing_and_a_gap_is_bridged(mesh):
    t = np.arange(120) / 30
    truth = film(mesh, t, shake=10)
    raw, weights = noisy(truth), np.ones(120)
    raw[50, :, :2] += 15
    raw[80:86] = raw[80]
    weights[80:86] = 0
    out, steadier = steady(raw, t, weights)
    assert steadier.weights[50] == 0
    assert (steadier.weights > 0).sum() == 120 - 1 - 6
    assert np.abs(out[50] - truth[50])[:, :2].max() < 2
    assert np.abs(out[80:86] - truth[80:86])[..., :2].mean() < 1.5


def test_a_jump_that_stays_starts_afresh(mesh):
    t = np.arange(100) / 30
    truth = film(mesh, t, shake=5)
    truth[41:, :, 0] += 40
    truth[:1, :, 1] += 30  # and at the very start
    out, steadier = steady(noisy(truth), t)
    assert steadier.breaks == [1, 41]
    assert np.abs((out - truth)[38:44, :, :2]).mean() < 0.3


@pytest.mark.parametrize("method", ["whittaker", "gaussian", "none"])
def test_windows_change_nothing(mesh, method):
    t = np.arange(400) / 30
    raw = noisy(film(mesh, t, shake=20, yaw=15, talk=0.1, blinks=(2.0, 9.1)))
    whole, _ = steady(raw, t, method=method)
    parts, _ = steady(raw, t, window=70, method=method)
    assert np.abs(whole - parts).max() < 1e-3


@pytest.mark.parametrize("method", ["causal", "gaussian", "none"])
def test_other_methods(mesh, method):
    t = np.arange(60) / 30
    raw = noisy(film(mesh, t, shake=5))
    out, _ = steady(raw, t, method=method)
    same = np.allclose(out, raw, atol=1e-3)
    assert same == (method == "none")
    assert np.abs(out - raw).max() < 20


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7])
def test_short_tracks(mesh, count):
    t = np.arange(count) / 30
    raw = noisy(film(mesh, t))
    out, _ = steady(raw, t)
    assert out.shape == raw.shape
    assert np.abs(out - raw).max() < 1


def test_groups_share_every_vertex(mesh):
    soft = groups(mesh)
    np.testing.assert_allclose(soft.sum(0), 1)
    assert (soft >= 0).all()
    assert soft[1, 13] > 0.9
    assert soft[2, 468] == 1
    assert soft[0, 234] > 0.9  # the cheek's edge belongs to the face at large


def test_confidence_never_jumps():
    t = np.arange(100) / 30
    score, spread, seen = np.ones(100), np.full(100, 0.008), np.ones(100, bool)
    np.testing.assert_allclose(confidence(score, spread, seen, t, enters=False, leaves=False), 1)
    seen[40] = False
    assert confidence(score, spread, seen, t, enters=False, leaves=False).min() > 0.95
    seen[40:55] = False
    gap = confidence(score, spread, seen, t, enters=True, leaves=True)
    assert gap[47] < 0.05
    assert gap[0] < 0.05
    assert gap[-1] < 0.05
    assert gap[20] > 0.99
    assert np.abs(np.diff(gap)).max() < 0.3
    assert confidence(score, spread * 20, seen, t, enters=False, leaves=False).max() == 0
