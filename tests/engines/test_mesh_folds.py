"""Skin that lies unseen between two cells of the coarse maps."""

import numpy as np
import pytest

from vidswap.engines.mesh.maps import FOLD, NOSE, SQUEEZE, _folds
from vidswap.engines.mesh.regions import both_lids

STEP = 0.02
SHUT, OPEN = np.zeros(2, np.float32), np.ones(2, np.float32)


def squeezed(times):
    """Layout coordinates whose tenth column is ``times`` as far from the next as the others."""
    row = np.arange(20) * STEP + 0.3
    row[10:] += (times - 1) * STEP
    u = np.tile(row, (12, 1)).astype(np.float32)
    return u, np.tile(np.arange(12)[:, None] * STEP + 0.33, (1, 20)).astype(np.float32)


@pytest.mark.parametrize(("times", "fold"), [(0.8 * FOLD, False), (2 * FOLD, True)])
def test_skin_that_is_hidden_between_two_cells_is_not_drawn(times, fold):
    u, v = squeezed(times)
    found = _folds(u, v, np.ones(u.shape, bool), np.full((256, 256, 4), 150, np.uint8), SHUT)
    assert (found[:, 9:11] > 0.9).all() == fold
    assert not found[:, :7].any()
    assert not found[:, 13:].any()


@pytest.mark.parametrize("times", [1.0, 2 * SQUEEZE])
@pytest.mark.parametrize("dark", [False, True])
def test_a_lesser_jump_counts_where_it_would_draw_a_line(times, dark):
    """As beside a nose, whose shadow is squeezed to a hair's width when the head turns."""
    u, v = squeezed(times)
    texture = np.full((256, 256, 4), 150, np.uint8)
    if dark:
        middle = (u[0, 9] + u[0, 10]) / 2 * 256
        half = (u[0, 10] - u[0, 9]) / 4 * 256
        texture[:, round(middle - half) : round(middle + half)] = 60
    found = _folds(u, v, np.ones(u.shape, bool), texture, SHUT)
    assert (found[:, 9:11] > 0.9).all() == (dark and times > 1)
    assert not found[:, :7].any()
    assert not found[:, 13:].any()


@pytest.mark.parametrize("place", [0.3, 0.5, 0.7])
def test_a_line_is_found_wherever_it_lies_between_two_cells(place):
    """As under a lower lip, where the shadow lies nearer to the lip."""
    u, v = squeezed(2 * SQUEEZE)
    texture = np.full((256, 256, 4), 150, np.uint8)
    between = 256 * (u[0, 10] - u[0, 9])
    middle = 256 * u[0, 9] + place * between
    texture[:, round(middle - 0.12 * between) : round(middle + 0.12 * between)] = 60
    found = _folds(u, v, np.ones(u.shape, bool), texture, SHUT)
    assert (found[:, 9:11] > 0.9).all()


@pytest.mark.parametrize("times", [1.0, 2 * SQUEEZE])
def test_a_dark_band_that_squeezed_skin_becomes_is_not_drawn(times):
    """As the shaded side of a nose: cells show the shadow, too, not only what lies between them."""
    u, v = squeezed(times)
    texture = np.full((256, 256, 4), 150, np.uint8)
    texture[:, round(256 * (u[0, 9] - STEP / 2)) : round(256 * (u[0, 10] + STEP / 2))] = 60
    found = _folds(u, v, np.ones(u.shape, bool), texture, SHUT)
    beside = v[:, 0] > NOSE + 1.5 * STEP
    assert beside.any()
    assert (found[beside, 9:11] > 0.9).all() == (times > 1)
    # A little higher lie the corners of the eyes.
    assert not found[v[:, 0] < NOSE - 1.5 * STEP].any()
    assert not found[:, :7].any()
    assert not found[:, 13:].any()


@pytest.mark.parametrize("upright", [True, False])
def test_lids_fold_as_an_eye_opens_and_no_hole_is_left_there(upright):
    """Through it the target's lashes would be seen; the nose before an eye's corner hides skin all the same."""
    step, jump = 0.004, 0.04
    along = 0.335 + step * np.arange(16) + jump * (np.arange(16) > 7)
    still = 0.355 + step * np.arange(10)
    u, v = np.meshgrid(still, along) if upright else np.meshgrid(along - 0.01, still)
    u, v = u.astype(np.float32), v.astype(np.float32)
    texture = np.full((128, 128, 4), 150, np.uint8)
    x, y = (np.round(w * 128 - 0.5).astype(int) for w in (u, v))
    assert both_lids(128)[y, x].max() > 0.9
    found = _folds(u, v, np.ones(u.shape, bool), texture, OPEN)
    assert (found.max() < 0.1) == upright
    assert _folds(u, v, np.ones(u.shape, bool), texture, SHUT).max() > 0.9
    # Beside the eyes it is a fold either way.
    assert _folds(u, v + 0.3, np.ones(u.shape, bool), texture, OPEN).max() > 0.9
