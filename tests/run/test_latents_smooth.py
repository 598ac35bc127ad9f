"""Windows and codes of a track, smoothed in time."""

import numpy as np

from vidswap.recipe import SmoothOptions
from vidswap.run.latents_smooth import smoothed_codes, spans, steady


def test_long_tracks_are_smoothed_in_spans_that_meet_without_a_step():
    rng = np.random.default_rng(2)
    count = 1500
    assert spans(600) == [(0, 600)]
    assert spans(count)[0] == (0, 600)
    assert spans(count)[-1][1] == count
    seconds = np.arange(count) / 25
    drift = np.linspace(0, 3, count)[:, None, None]  # as light that changes over a minute
    codes = (drift + rng.normal(size=(count, 4, 3)) * 0.3).astype(np.float32)
    blocks = list(
        smoothed_codes(
            lambda a, b: codes[a:b], np.zeros((count, 2)), np.ones(count), seconds,
            SmoothOptions(residual=0.2), 3,
        )
    )  # fmt: skip
    out = np.concatenate(blocks)
    assert out.shape == codes.shape
    steps = np.abs(np.diff(out, axis=0)).max((0, 2))
    assert steps[:3].max() < 0.1
    assert steps[3] < 0.03  # the fine layer, one mean for each span
    assert len(blocks) == len(spans(count))


def test_windows_follow_a_fast_head_and_drop_its_jitter():
    from vidswap.ops.ffhq import window

    rng = np.random.default_rng(3)
    t = np.arange(100) / 25
    face = np.array([[-30, -20], [30, -20], [0, 10], [-20, 35], [20, 35]], float)
    path = np.stack([200 + 40 * np.sin(2 * np.pi * 0.8 * t), 150 + 0 * t], -1)
    clean = window(face + path[:, None])
    noisy = window(face + path[:, None] + rng.normal(size=(100, 5, 2)) * 0.7)
    from vidswap.engines.crops import quad_of

    calm = quad_of(steady(noisy, t, np.ones(100), SmoothOptions()))
    side = np.hypot(*(calm[:, 3] - calm[:, 0]).T)
    assert side.std() < 0.4 * noisy.side.std()
    assert np.abs(calm.mean(1) - clean.centre)[10:-10].max() < 1.5
    jerk = np.abs(np.diff(calm.mean(1), 3, axis=0)).mean()
    assert jerk < 0.35 * np.abs(np.diff(noisy.centre, 3, axis=0)).mean()
