"""Swapped clips next to their truth: what counts as excess, and that the figures see it."""

from contextlib import closing

import cv2
import numpy as np
import pytest

from vidswap.bench import temporal
from vidswap.bench.quality_methods import Swapped
from vidswap.bench.quality_score import Judge
from vidswap.bench.quality_set import draw, talking

pytestmark = pytest.mark.usefixtures("compiled")
RATES = {"closer": 1.0, "jaw": 0.9, "lids": np.nan}


def test_only_what_lies_beyond_the_truth_is_excess():
    assert temporal.excess([0.5, 1.0]) == 0
    assert temporal.excess([0.5, 1.4, 2.0]) == pytest.approx(1.4 / 3)
    assert temporal.excess([np.nan, 1.5]) == pytest.approx(0.5)


def test_smoothing_must_halve_the_excess():
    rough = [{"flicker": 1.4, "jerk": 2.0, **RATES}]
    good = [{"flicker": 1.2, "jerk": 1.4, **RATES}]
    bad = [{"flicker": 1.3, "jerk": 1.4, **RATES}]
    for smoothed, flicker in ((good, True), (bad, False)):
        rows = temporal.table_rows(smoothed, rough)
        reached = {row.measure: row.reached for row in rows}
        assert reached["flicker beyond the true clip's, smoothed"] is flicker
        assert reached["jerk beyond the true clip's, smoothed"] is True
    far = temporal.table_rows([{**good[0], "closer": 0.8}], rough)
    assert [row.reached for row in far if "closer" in row.measure] == [False]


def test_figures_see_flicker_and_a_shaking_face(tmp_path):
    pytest.importorskip("numba")
    drawn = draw(talking(temporal.FIRST, 0.4, 128), tmp_path)
    rng = np.random.default_rng(1)
    pulsing = [f * (1 + 0.1 * (-1) ** t) for t, f in enumerate(0.8 * drawn.truth)]
    shaken = [
        cv2.warpAffine(f, np.float32([[1, 0, dx], [0, 1, dy]]), (128, 128), borderMode=1)
        for f, (dx, dy) in zip(drawn.truth, rng.uniform(-3, 3, (len(drawn.truth), 2)), strict=True)
    ]
    with closing(Judge()) as judge:
        reference = judge.reference(drawn)

        def scored(frames):
            swapped = Swapped(np.stack(frames).astype(np.uint8))
            return temporal.figures(judge, lambda *_: swapped, reference, tmp_path)

        same, bright, moved = (scored(f) for f in (drawn.truth, pulsing, shaken))
    assert same["flicker"] == same["jerk"] == 1
    assert bright["flicker"] > 2
    assert moved["jerk"] > 2


@pytest.mark.slow
def test_smoothing_halves_the_excess_of_the_small_networks():
    pytest.importorskip("numba")
    rows = {row.measure: row for row in temporal.rows(clips=2)}
    assert all(row.reached for row in rows.values()), rows
