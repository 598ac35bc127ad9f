import math
from dataclasses import replace

import numpy as np
import pytest

from vidswap.errors import RecipeError, ShapeError
from vidswap.synth.params import GROUPS, Expression, HeadParams, Pose, slices, swap_truth
from vidswap.synth.sample import identity, portrait, sample, view


def test_vector_there_and_back():
    for seed in range(20):
        head = sample(seed)
        vector = head.vector()
        assert vector.dtype == np.float32
        assert vector.min() >= 0
        assert vector.max() <= 1
        again = HeadParams.from_vector(vector)
        assert np.allclose(again.vector(), vector, atol=1e-6)
        assert again.pose.yaw == pytest.approx(head.pose.yaw, abs=1e-3)


def test_vector_layout():
    head, where = sample(3), slices()
    assert list(where) == list(GROUPS)
    assert where["scene"].stop == len(head.vector()) == len(head.names())
    for name, part in where.items():
        assert np.array_equal(head.vector()[part], getattr(head, name).vector())
    assert head.names()[where["pose"].start] == "pose.yaw"


def test_vector_beyond_the_range_is_clipped():
    vector = np.full(HeadParams().vector().shape, 7.0, np.float32)
    assert HeadParams.from_vector(vector).pose.yaw == 90


@pytest.mark.parametrize("length", [0, 5, 500])
def test_vector_of_another_length(length):
    with pytest.raises(ShapeError, match="expected"):
        HeadParams.from_vector(np.zeros(length, np.float32))


@pytest.mark.parametrize("value", [1.01, -0.01, math.nan, math.inf])
def test_out_of_range(value):
    with pytest.raises(RecipeError, match=r"expression\.jaw: expected 0 … 1"):
        Expression(jaw=value)


def test_out_of_range_names_the_unit():
    with pytest.raises(RecipeError, match="degrees"):
        Pose(yaw=91)


def test_seeds_differ_and_repeat():
    assert sample(5) == sample(5)
    assert sample(5) != sample(6)
    assert view(1, identity(5)).identity == view(2, identity(5)).identity
    assert view(1, identity(5)).pose != view(2, identity(5)).pose


def test_swap_truth_takes_the_identity_and_nothing_else():
    a, b = sample(1), sample(2)
    swapped = swap_truth(a, b)
    assert swapped.identity == a.identity
    assert replace(swapped, identity=b.identity) == b
    assert swap_truth(a, a) == a


def test_portrait_keeps_the_person():
    head = sample(4)
    assert portrait(head).identity == head.identity
    assert portrait(head).pose.yaw == 0
