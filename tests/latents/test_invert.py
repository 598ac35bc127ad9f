from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.latents.test_project import Pixels
from vidswap import recipe, zoo
from vidswap.errors import RecipeError, WeightsError
from vidswap.latents.encode import EncoderInverter
from vidswap.latents.invert import Inversion, perceptual
from vidswap.recipe import InvertOptions, Recipe
from vidswap.weights.cache import Store

COUNT = 11


@pytest.fixture(scope="module")
def setting():
    torch.manual_seed(7)
    shape = {"size": 64, "style_dim": 16, "channel_max": 8, "mapping_layers": 1, "input_size": 32}
    network = zoo.build("e4e", {**shape, "widths": [16] * 4, "depths": [1] * 4})
    encoder = EncoderInverter(network.encoder)
    frames = torch.rand(COUNT, 3, 64, 64) * 2 - 1
    return Inversion(InvertOptions(), encoder), network.decoder.freeze(), frames


def test_encoder_needs_nothing_else(setting):
    inversion, _, frames = setting
    told = []
    inversion = replace(inversion, watch=lambda *s: told.append(s))
    done = inversion.track(lambda i: frames[i], COUNT, calm=lambda codes: codes + 1)
    torch.testing.assert_close(done.pivots, inversion.encoder.invert(frames) + 1)
    assert told[-1] == ("encode", COUNT, COUNT)
    assert not len(done.frames)


@pytest.mark.parametrize("method", ["projector", "pivotal"])
def test_optimising_methods(setting, method):
    inversion, generator, frames = setting
    told, costs = [], []
    options = InvertOptions(method=method, steps=2, tune_frames=3)
    inversion = replace(inversion, options=options)
    with pytest.raises(WeightsError, match=f"{method} needs a generator"):
        inversion.track(lambda i: frames[i], COUNT)
    inversion = replace(
        inversion, generator=generator, distance=Pixels(),
        watch=lambda *s: told.append(s), announce=lambda c: costs.append((c, len(told))),
    )  # fmt: skip
    done = inversion.track(lambda i: frames[i], COUNT)
    (cost, before), total = costs[0], 2 * (COUNT if method == "projector" else 3)
    assert done.pivots.shape == (COUNT, 10, 16)
    assert told[-1][1:] == (total, total)
    assert cost.frames * cost.steps == total
    # Pivots come from the encoder first; the optimisation itself has not begun.
    assert all(stage == "encode" for stage, *_ in told[:before])
    tuned = done.generator is not generator
    assert tuned == (method == "pivotal") == bool(len(done.frames))
    again = inversion.track(lambda i: frames[i], COUNT)
    assert torch.equal(done.pivots, again.pivots)
    assert np.array_equal(done.frames, again.frames)


def test_distance_says_what_it_is(setting, tmp_path):
    inversion, _, frames = setting
    distance = perceptual(inversion.encoder.encoder.trunk, Store(tmp_path))
    assert distance.substitute
    assert "in place of LPIPS" in distance.name
    assert distance(frames[:1], frames[1:2]) > 0


def test_recipe(tmp_path):
    plain = Recipe()
    other = replace(plain, invert=InvertOptions(method="pivotal"))
    assert plain.render_key() != other.render_key()
    assert plain.analyse_key() == other.analyse_key()
    chosen = recipe.load("mesh", ["invert.method=projector", "invert.steps=100"]).invert
    assert (chosen.method, chosen.steps, chosen.encoder) == ("projector", 100, None)
    for bad in ("invert.steps=0", "invert.tune_frames=0", "invert.method=magic"):
        with pytest.raises(RecipeError, match=bad.partition("=")[0]):
            recipe.load("mesh", [bad])
