"""``run.compile`` and ``run.winograd``: the same codes and pictures by other ways."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests.tiny_networks import NAMES, SETTINGS, random_weights
from vidswap import recipe
from vidswap.engines import Execution, create, latentswap
from vidswap.models import winograd
from vidswap.models.e4e import Encoder
from vidswap.recipe import LatentSwapEngine
from vidswap.run.prepare import engine_of


@pytest.fixture
def asked(monkeypatch):
    """What was compiled, and the batches it was then called with."""
    seen = []

    def compiling(function, **how):
        calls = []
        seen.append((function, how, calls))

        def run(x):
            calls.append(len(x))
            return function(x)

        return run

    monkeypatch.setattr(torch, "compile", compiling)
    return seen


def test_generator(weights_here, asked):
    rng = np.random.default_rng(3)
    codes = [rng.standard_normal((3, 8, 16), dtype=np.float32) for _ in range(2)]
    options = LatentSwapEngine(**NAMES)
    plain = create(options).generate(*codes)
    assert not asked
    fast = create(options, Execution(compiled=True)).generate(*codes)
    ((_, how, calls),) = asked
    assert how == {"dynamic": False}
    assert calls == [latentswap.CPU_BATCH]
    np.testing.assert_allclose(fast, plain, atol=1e-5)


def test_large_pictures_are_not_made_several_times(weights_here, asked, monkeypatch):
    """What is generated one by one is compiled for one, whatever ``run.batch`` says."""
    monkeypatch.setattr(latentswap, "SMALL", 8)
    engine = engine_of_sets(
        ["engine.name=latentswap", *SETTINGS, "run.batch=3", "run.compile=true"]
    )
    codes = np.zeros((3, 8, 16), np.float32)
    engine.generate(codes, codes)
    ((_, _, calls),) = asked
    assert calls == [1, 1, 1]


def test_encoder_for_frames_but_not_for_photographs(weights_here, asked):
    options = LatentSwapEngine(**NAMES)
    plain, fast = create(options), create(options, Execution(compiled=True))
    size = plain.inversion.input_size
    rng = np.random.default_rng(4)
    crops = rng.integers(0, 256, (2, size, size, 3), dtype=np.uint8)
    mesh = np.float32([[20, 20, 0], [40, 22, 0]]).repeat(239, 0) + rng.normal(0, 4, (478, 3))
    photo = SimpleNamespace(
        rgb=rng.integers(0, 256, (64, 64, 3), dtype=np.uint8), mesh=mesh.astype(np.float32),
        score=1.0, pose=np.zeros(3), path=None,
    )  # fmt: skip
    identity = fast.identify([photo])
    assert not asked
    np.testing.assert_array_equal(identity.codes, plain.identify([photo]).codes)
    codes = fast.encode(crops)
    ((network, _, calls),) = asked
    assert isinstance(network, Encoder)
    assert calls == [latentswap.CPU_BATCH]
    np.testing.assert_allclose(codes, plain.encode(crops), atol=1e-5)


def test_recipe(weights_here):
    sets = ["engine.name=latentswap", *SETTINGS, "run.batch=3"]
    assert engine_of_sets([*sets, "run.compile=true"]).networks.compiled == latentswap.CPU_BATCH
    assert engine_of_sets(sets).networks.compiled == 0
    assert engine_of_sets(sets).networks.winograd
    assert not engine_of_sets([*sets, "run.winograd=false"]).networks.winograd


def test_minimal_filtering(tmp_path, monkeypatch):
    # Of the width that other tests compile for, too.
    monkeypatch.setenv("VIDSWAP_WEIGHTS", str(random_weights(tmp_path, channels=32)))
    for name in ("LEAST_WORK", "LEAST_TILES"):
        monkeypatch.setattr(winograd, name, 1)
    rng = np.random.default_rng(3)
    codes = [rng.standard_normal((3, 8, 16), dtype=np.float32) for _ in range(2)]
    options = LatentSwapEngine(**NAMES)
    plain = create(options).generate(*codes)
    quick = create(options, Execution(winograd=True)).generate(*codes)
    assert not np.array_equal(quick, plain)  # or it was not used
    np.testing.assert_allclose(quick, plain, atol=1e-4)


def engine_of_sets(sets):
    return engine_of(SimpleNamespace(recipe=recipe.load("latentswap", sets)))


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
