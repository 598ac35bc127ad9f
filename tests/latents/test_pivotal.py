import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.latents.test_project import Pixels
from vidswap.errors import ShapeError
from vidswap.latents.pivotal import CLIP, PivotalOptions, around, spread, tune, tune_clip
from vidswap.models.stylegan2 import StyleGAN2, StyleGAN2Config


@pytest.fixture(scope="module")
def generator():
    torch.manual_seed(4)
    config = StyleGAN2Config(16, z_dim=16, style_dim=16, mapping_layers=2, channel_max=16)
    return StyleGAN2(config).freeze()


@pytest.fixture(scope="module")
def scene(generator):
    """Codes, and pictures the generator almost makes of them."""
    torch.manual_seed(5)
    with torch.no_grad():
        codes = generator.mapping(torch.randn(6, 16))
        other = copy.deepcopy(generator)
        for parameter in other.synthesis.parameters():
            parameter.mul_(1 + 0.05 * torch.randn_like(parameter))
        return codes, other.freeze().synthesis(codes)


def far(network, codes, pictures):
    with torch.no_grad():
        return Pixels()(network.synthesis(codes), pictures)


FAST = PivotalOptions(rounds=40, learning_rate=3e-3, enough=None)


def test_one_picture_and_its_early_end(generator, scene):
    codes, pictures = (part[:1] for part in scene)
    before = {k: v.clone() for k, v in generator.state_dict().items()}
    done = tune(generator, pictures, codes, Pixels(), FAST)
    start = far(generator, codes, pictures)
    assert far(done.generator, codes, pictures) < 0.1 * start
    assert done.rounds == 40
    assert all(torch.equal(before[k], v) for k, v in generator.state_dict().items())
    again = tune(generator, pictures, codes, Pixels(), FAST).generator
    for name, value in done.generator.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
        held = name.startswith("mapping") or name.endswith(".noise")
        assert torch.equal(value, before[name]) == held, name
    # The published stop is looked at before the step: a first picture that is near changes nothing.
    near = tune(generator, pictures, codes, Pixels(), replace(FAST, enough=float(start) * 1.01))
    assert near.rounds == 0
    assert torch.equal(near.generator.synthesis.const, generator.synthesis.const)
    some = tune(generator, pictures, codes, Pixels(), replace(FAST, enough=float(start) * 0.5))
    assert 0 < some.rounds < 40


def test_one_step_is_adam_on_the_published_loss(generator, scene):
    codes, pictures = (part[:2] for part in scene)
    done = tune(generator, pictures, codes, Pixels(), PivotalOptions(rounds=1, squared=2.0))
    by_hand = copy.deepcopy(generator)
    by_hand.synthesis.requires_grad_(requires_grad=True)
    optimiser = torch.optim.Adam(by_hand.synthesis.parameters(), lr=3e-4)
    for code, picture in zip(codes.split(1), pictures.split(1), strict=True):
        made = by_hand.synthesis(code)
        optimiser.zero_grad()
        (2 * (made - picture).square().mean() + Pixels()(made, picture).mean()).backward()
        optimiser.step()
    torch.testing.assert_close(done.generator.state_dict(), by_hand.state_dict())


def test_locality_keeps_the_rest(generator, scene):
    codes, pictures = (part[:1] for part in scene)
    elsewhere = around(codes, generator.mapping(torch.randn(1, 16)), 8.0)
    with torch.no_grad():
        known = generator.synthesis(elsewhere)
    changed = []
    for locality in (0.0, 1.0):
        done = tune(
            generator, pictures, codes, Pixels(), replace(FAST, locality=locality, reach=8.0)
        )
        assert far(done.generator, codes, pictures) < 0.5 * far(generator, codes, pictures)
        changed.append(float(far(done.generator, elsewhere, known)))
    assert changed[1] < 0.7 * changed[0]


def test_clip_is_tuned_once_on_few_frames(generator, scene):
    codes, _ = scene
    track = torch.cat([codes[:2].lerp(codes[2:4], t) for t in torch.linspace(0, 1, 10)])
    asked, told, costs = [], [], []

    def read(frames):
        asked.append(frames.tolist())
        with torch.no_grad():
            return generator.synthesis(track[torch.from_numpy(frames)]) + 0.1

    options = replace(CLIP, rounds=20, learning_rate=2e-3)
    done = tune_clip(
        generator, read, track, Pixels(), options, frames=4,
        watch=lambda *step: told.append(step), announce=costs.append,
    )  # fmt: skip
    assert asked == [done.frames.tolist()]
    assert len(done.frames) == len(done.perceptual) == 4
    assert told[-1] == ("tune", 80, 80)
    assert (costs[0].frames, costs[0].steps) == (4, 20)
    everything = read(np.arange(20))
    ratio = far(done.generator, track, everything) / far(generator, track, everything)
    assert ratio.mean() < 0.4
    assert ratio.max() < 0.8
    assert done.pivots is track


def test_spread_covers_and_avoids_what_is_doubtful():
    line = np.linspace(0, 1, 101)[:, None]
    assert spread(line, 3).tolist() == [0, 50, 100]
    assert spread(line, 5).tolist() == [0, 25, 50, 75, 100]
    weights = np.ones(101)
    weights[95:] = 0
    assert spread(line, 3, weights).max() == 94
    weights[95:] = 0.2
    assert spread(line, 3, weights).max() == 94
    assert spread(line, 500).tolist() == list(range(101))
    assert spread(line, 2, np.zeros(101)).size == 2
    assert spread(line[:0], 2).size == 0


def test_wrong_input(generator, scene):
    codes, pictures = scene
    with pytest.raises(ShapeError, match="pivots"):
        tune(generator, pictures, codes[:2], Pixels())
    with pytest.raises(ShapeError, match="at least one"):
        tune(generator, pictures[:0], codes[:0], Pixels())
