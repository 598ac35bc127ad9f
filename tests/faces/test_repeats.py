"""Pictures that a conversion of the rate repeated, and those that only change little."""

import numpy as np
import pytest

from vidswap.faces.repeats import LONGEST, change, pictures, repeated


def measured(level, motion, most=None):
    most = 2 * np.asarray(motion) if most is None else most
    return np.stack(np.broadcast_arrays(np.asarray(level, float), motion, most), -1).astype(
        np.float32
    )


@pytest.mark.parametrize("every", [2, 3, 4, 5])
def test_repeats_of_a_conversion_are_found_though_coded_anew(every):
    """A head that moves at varying speed; every so often the frame before is shown again."""
    rng = np.random.default_rng(every)
    level, motion = rng.uniform(3, 12, 60), rng.uniform(0.005, 0.05, 60)
    again = np.arange(60) % every == every - 1
    level[again], motion[again] = rng.uniform(0.02, 0.4, again.sum()), rng.uniform(0, 0.001)
    assert np.array_equal(repeated(measured(level, motion)), again)


def test_four_of_five_may_repeat():
    again = np.arange(50) % 5 != 0
    assert np.array_equal(
        repeated(measured(np.where(again, 0.3, 6.0), np.where(again, 0, 0.03))), again
    )


def test_a_quiet_head_does_not_repeat():
    """Small changes among small changes are motion; so is what moves however little it changes."""
    level = np.random.default_rng(1).uniform(0.2, 0.9, 40)
    assert not repeated(measured(level, 0.001)).any()
    again = np.arange(40) % 4 == 3
    assert not repeated(measured(np.where(again, 0.4, 8), np.where(again, 0.005, 0.05))).any()


def test_a_mouth_that_moves_in_a_still_head_does_not_repeat():
    """Right after a nod, which changes far more pixels."""
    nod = np.arange(30) < 12
    level, motion = np.where(nod, 9, 0.8), np.where(nod, 0.05, 0.0004)
    assert not repeated(measured(level, motion, np.where(nod, 0.07, 0.02))).any()
    assert repeated(measured(level, motion, np.where(nod, 0.07, 0.001))).any()


def test_where_nothing_is_known_nothing_repeats():
    level = np.where(np.arange(30) % 3 == 0, 0.01, 5.0)
    level[[0, 9]] = np.nan
    found = repeated(measured(level, np.where(level < 1, 0, 0.03)))
    assert np.flatnonzero(found).tolist() == [3, 6, 12, 15, 18, 21, 24, 27]
    assert repeated(np.zeros((0, 3), np.float32)).shape == (0,)
    assert not repeated(np.full((1, 3), np.nan, np.float32)).any()


def test_what_creeps_is_held_for_no_longer_than_nobody_sees_it():
    still = np.arange(90) % 7 > 0
    found = repeated(measured(np.where(still, 0.5, 20.0), np.where(still, 0.0012, 0.1)))
    runs = np.diff(np.flatnonzero(~np.append(found, False)))
    assert runs.max() == 4


def test_a_held_picture_is_one_in_pieces_of_bounded_length():
    found = repeated(measured(np.r_[5.0, np.zeros(99)], 0))
    assert np.diff(np.flatnonzero(~found)).tolist() == [LONGEST] * 3


def test_frames_and_pictures():
    first, shown = pictures(np.array([False, True, False, False, True, True]))
    assert first.tolist() == [0, 2, 3]
    assert shown.tolist() == [0, 0, 1, 2, 2, 2]


def test_change_is_in_levels():
    grey = np.full((20, 30), 100, np.uint8)
    other = grey.copy()
    other[:, :15] += 4
    assert change(grey, other) == 2
