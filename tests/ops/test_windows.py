"""Windows on a head whose true path is known."""

import numpy as np
import pytest

from vidswap.errors import ShapeError
from vidswap.ops import ffhq
from vidswap.ops.windows import LIDS, NEEDED, STABLE, fit, needed, neutral_windows, steady
from vidswap.recipe import SmoothOptions

COUNT = 150
TIME = np.arange(COUNT) / 25


def head():
    """(478, 3) a neutral face of about 200 px."""
    rng = np.random.default_rng(0)
    points = rng.uniform(-100, 100, (478, 3)) * (1, 1, 0.4)
    points[list(STABLE)] = rng.uniform(-90, 90, (len(STABLE), 3)) * (1, 0.4, 0.5)
    for side, lids in zip((-1, 1), LIDS, strict=True):
        ring = [(-22, 0), (-8, -7), (8, -7), (22, 0), (8, 7), (-8, 7)]
        points[list(lids)] = [(45 * side + x, -30 + y, 0) for x, y in ring]
    points[[61, 291]] = [(-35, 65, 10), (35, 65, 10)]
    return points


def turns():
    yaw, roll = 0.35 * np.sin(2 * np.pi * 0.3 * TIME), 0.15 * np.sin(2 * np.pi * 0.2 * TIME + 1)
    c, s, zero, one = np.cos(yaw), np.sin(yaw), 0 * yaw, 0 * yaw + 1
    about_y = np.array([[c, zero, s], [zero, one, zero], [-s, zero, c]]).transpose(2, 0, 1)
    c, s = np.cos(roll), np.sin(roll)
    about_z = np.array([[c, -s, zero], [s, c, zero], [zero, zero, one]]).transpose(2, 0, 1)
    return about_z @ about_y


def path(points):
    """(T, 478, 3) points (T, 478, 3) or (478, 3) in the pose of every frame."""
    scale = 1 + 0.2 * np.sin(2 * np.pi * 0.15 * TIME)
    shift = np.stack([400 + 60 * np.sin(TIME), 300 + 20 * np.cos(1.7 * TIME), 0 * TIME], -1)
    each = np.broadcast_to(points, (COUNT, 478, 3))
    return np.einsum("tij,tnj->tni", turns(), each) * scale[:, None, None] + shift[:, None]


def acting():
    """The head blinks three times, talks, and smiles once."""
    points = np.repeat(head()[None], COUNT, 0)
    for blink in (30, 75, 120):
        for lids in LIDS:
            points[blink - 2 : blink + 3, [lids[1], lids[2]], 1] += 13
    points[:, [61, 291], 1] += 14 * np.maximum(np.sin(2 * np.pi * 3 * TIME), 0)[:, None] ** 4
    return points


TRUTH = ffhq.window(path(head())[..., :2])


def error(windows):
    """Largest distance of a corner from the truth, relative to the side."""
    return (np.linalg.norm(windows.quad - TRUTH.quad, axis=-1) / TRUTH.side[:, None]).max()


def test_expression_does_not_move_the_window():
    mesh = path(acting())
    plain, ours = ffhq.window(mesh[..., :2]), neutral_windows(needed(mesh))
    assert error(plain) > 0.08
    assert error(ours) < 0.01
    # The pose does, exactly.
    np.testing.assert_allclose(neutral_windows(needed(path(head()))).quad, TRUTH.quad, atol=1e-6)


def test_jitter_is_smoothed_away_and_motion_kept():
    rng = np.random.default_rng(1)
    mesh = path(acting()) + rng.normal(size=(COUNT, 478, 3)) * 1.5
    rough = neutral_windows(needed(mesh))
    calm = steady(rough, TIME, np.ones(COUNT), SmoothOptions())

    def rms(windows, order):
        return np.sqrt((np.diff(windows.quad - TRUTH.quad, order, axis=0) ** 2).mean())

    assert rms(calm, 0) < 0.6 * rms(rough, 0)
    assert rms(calm, 3) < 0.15 * rms(rough, 3)
    assert error(calm) < 0.02
    np.testing.assert_allclose(calm.y, np.stack([-calm.x[:, 1], calm.x[:, 0]], -1))


def test_frames_without_trust_shape_nothing():
    mesh = needed(path(acting()))
    weights = np.ones(COUNT)
    weights[40:110] = 0
    spoiled = mesh.copy()
    spoiled[40:110, len(STABLE) :] += 500
    np.testing.assert_allclose(
        neutral_windows(spoiled, weights).quad, neutral_windows(mesh, weights).quad
    )
    gap = neutral_windows(mesh)
    gap.centre[60:64] += 80
    weights = np.ones(COUNT)
    weights[60:64] = 0
    assert error(steady(gap, TIME, weights, SmoothOptions())) < 0.02


def test_fit_finds_the_pose_and_never_mirrors():
    points = head()[list(STABLE)]
    found = fit(path(head())[:, list(STABLE)], points)
    np.testing.assert_allclose(found.turn, turns(), atol=1e-9)
    np.testing.assert_allclose(found.place(points), path(head())[:, list(STABLE)], atol=1e-6)
    np.testing.assert_allclose(
        found.undo(found.place(points)), np.broadcast_to(points, (COUNT, *points.shape)), atol=1e-6
    )
    mirrored = fit((points * (1, 1, -1))[None], points)
    assert np.linalg.det(mirrored.turn[0]) == pytest.approx(1)


def test_wrong_and_empty_input():
    with pytest.raises(ShapeError, match="points"):
        neutral_windows(np.zeros((3, 5, 3)))
    assert neutral_windows(np.zeros((0, len(NEEDED), 3))).quad.shape == (0, 4, 2)
    one = neutral_windows(needed(path(head()))[:1])
    np.testing.assert_allclose(one.quad, TRUTH.quad[:1], atol=1e-6)
