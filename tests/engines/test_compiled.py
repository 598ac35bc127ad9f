"""``run.compile``: the same pictures by another way."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests.tiny_networks import NAMES, SETTINGS
from vidswap import recipe
from vidswap.engines import Execution, create
from vidswap.recipe import LatentSwapEngine
from vidswap.run.prepare import engine_of


def test_the_generator_is_compiled_for_one_batch(weights_here, monkeypatch):
    asked = []

    def compiling(function, **how):
        asked.append(how)
        return function

    monkeypatch.setattr(torch, "compile", compiling)
    rng = np.random.default_rng(3)
    codes = [rng.standard_normal((3, 8, 16), dtype=np.float32) for _ in range(2)]
    options = LatentSwapEngine(**NAMES)
    plain = create(options).generate(*codes)
    assert not asked
    fast = create(options, Execution(compiled=2)).generate(*codes)
    assert asked == [{"dynamic": False}]
    np.testing.assert_allclose(fast, plain, atol=1e-5)


def test_recipe(weights_here):
    sets = ["engine.name=latentswap", *SETTINGS, "run.batch=3"]
    assert engine_of_sets([*sets, "run.compile=true"]).networks.compiled == 3
    assert engine_of_sets(sets).networks.compiled == 0


def engine_of_sets(sets):
    return engine_of(SimpleNamespace(recipe=recipe.load("latentswap", sets)))


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
