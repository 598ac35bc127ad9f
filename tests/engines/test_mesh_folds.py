"""Skin that lies unseen between two cells of the coarse maps."""

import numpy as np
import pytest

from vidswap.engines.mesh.maps import FOLD, _folds


@pytest.mark.parametrize(("times", "fold"), [(0.8 * FOLD, False), (2 * FOLD, True)])
def test_skin_that_is_hidden_between_two_cells_is_not_drawn(times, fold):
    step = 0.02
    row = np.arange(20) * step
    row[10:] += (times - 1) * step
    u = np.tile(row, (12, 1)).astype(np.float32)
    v = np.tile(np.arange(12)[:, None] * step, (1, 20)).astype(np.float32)
    found = _folds(u, v, np.ones(u.shape, bool))
    assert found[:, 9:11].all() == fold
    assert not found[:, :7].any()
    assert not found[:, 13:].any()
