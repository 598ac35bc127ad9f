import pytest
import torch
from torch.nn import functional

from tests.models.seeded import golden
from vidswap import zoo
from vidswap.errors import ShapeError
from vidswap.latents.pivotal import around
from vidswap.latents.project import (
    ProjectOptions,
    ProjectorInverter,
    moments,
    project,
    structure,
)
from vidswap.models.stylegan2 import StyleGAN2, StyleGAN2Config


class Toy:
    """The fixture's features in place of VGG."""

    name, substitute = "toy", True

    def __init__(self, weight, bias):
        self.weight, self.bias = weight, bias

    def __call__(self, a, b):
        f, g = (functional.conv2d(x, self.weight, self.bias, stride=2) for x in (a, b))
        return (f - g).square().sum((1, 2, 3))


class Pixels:
    name, substitute = "pixels", True

    def __call__(self, a, b):
        return (a - b).square().mean((1, 2, 3))


def test_equals_the_published_projector():
    fixture = golden("pti_projector_64")
    state = fixture.weights()
    toy = Toy(state.pop("toy.weight"), state.pop("toy.bias"))
    network = zoo.load_official("stylegan2-generator", {"G_ema": state}).freeze()
    x = fixture.inputs()
    names = [n for n in x if n.startswith("noise.")]

    def normal(name, shape):
        kind, index = name.split(".")
        value = x[names[int(index)]] if kind == "noise" else x[f"wnoise.{index}"]
        assert tuple(value.shape) == tuple(shape)
        return value

    steps = []
    codes = project(
        network,
        x["target"][None] / 127.5 - 1,
        toy,
        ProjectOptions(steps=10),
        normal=normal,
        told=steps.append,
    )
    start = moments(network)
    fixture.check("w_avg", start.mean)
    fixture.check("w_std", torch.tensor([start.spread]))
    fixture.check("w_steps", torch.cat([s.codes for s in steps]))
    fixture.check("lr", torch.tensor([s.rate for s in steps]))
    fixture.check("loss", torch.cat([s.loss for s in steps]))
    fixture.check("noise_first", steps[-1].noise[0][0, 0])
    fixture.check("noise_last", steps[-1].noise[-1][0, 0])
    fixture.check("w_result", codes[:, 0])
    assert codes.shape == (1, 10, 512)
    assert (codes == codes[:, :1]).all()
    # The code of the locality regulariser belongs to the same fixture.
    w = network.mapping(x["wnoise.0"][0], 0.5)
    fixture.check("locality_w", w)
    fixture.check("locality_moved", around(codes, w, 30.0))


@pytest.fixture(scope="module")
def generator():
    torch.manual_seed(2)
    config = StyleGAN2Config(16, z_dim=16, style_dim=16, mapping_layers=2, channel_max=16)
    return StyleGAN2(config).freeze()


OPTIONS = ProjectOptions(steps=20, samples=50, noise_weight=10.0, learning_rate=0.1)


def test_pictures_do_not_mix_and_runs_repeat(generator):
    with torch.no_grad():
        pictures = generator.synthesis(generator.mapping(torch.randn(3, 16)), noise="none")
    told, costs = [], []
    inverter = ProjectorInverter(
        generator, Pixels(), OPTIONS, 2, lambda *s: told.append(s), costs.append
    )
    codes = inverter.invert(pictures)
    assert codes.shape == (3, generator.num_ws, 16)
    assert not codes.requires_grad
    assert told[-1] == ("project", 60, 60)
    assert [t[1] for t in told] == sorted(t[1] for t in told)
    (cost,) = costs
    assert (cost.frames, cost.steps, cost.shared) == (3, 20, False)
    assert cost.seconds == pytest.approx(60 * cost.step_seconds) != 0
    assert "3 frames, 20 steps each" in str(cost)
    alone = project(generator, pictures[2:], Pixels(), OPTIONS)
    torch.testing.assert_close(alone, codes[2:], atol=1e-3, rtol=1e-3)
    assert torch.equal(codes, inverter.invert(pictures))
    assert "pixels" in inverter.name

    def error(w):
        return Pixels()(generator.synthesis(w, noise="none"), pictures)

    mean = moments(generator, 50).mean.expand(3, generator.num_ws, -1)
    assert (error(codes) < 0.5 * error(mean)).all()
    assert inverter.invert(pictures[:0]).shape == (0, generator.num_ws, 16)


def test_noise_structure_is_seen_at_every_scale():
    torch.manual_seed(0)
    white = torch.randn(2, 1, 64, 64)
    blobs = torch.randn(1, 1, 16, 16).repeat_interleave(4, 2).repeat_interleave(4, 3)
    assert structure([white]).max() < 0.05
    assert structure([blobs]) > 0.5
    torch.testing.assert_close(structure([white, white]), 2 * structure([white]))


def test_wrong_size(generator):
    with pytest.raises(ShapeError, match="targets"):
        project(generator, torch.zeros(1, 3, 32, 32), Pixels(), OPTIONS)
    with pytest.raises(ValueError, match="steps"):
        ProjectOptions(steps=0)
