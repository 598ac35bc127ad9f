from itertools import pairwise

import pytest
import torch

from tests.models.seeded import golden
from vidswap import zoo
from vidswap.errors import ShapeError
from vidswap.models.latentswap import LatentMixer, MixerConfig


@torch.inference_mode()
def test_mixer():
    fixture = golden("latentswap_mixer18")
    official = {f"identity_mixer.{k}": t for k, t in fixture.weights().items()}
    official["style_gan.mapping.w_avg"] = torch.zeros(512)  # Others live in the same checkpoint.
    network = zoo.load_official("latentswap-mixer", {"state_dict": official})
    source, target = fixture.inputs().values()
    mix = network(source, target)
    fixture.check("mix", mix)
    fixture.check("mlp", mix - target)
    fixture.check("mix_swapped", network(target, source))
    fixture.check("mix_same", network(target, target))


@torch.inference_mode()
def test_single_code_variant_equals_its_formula():
    torch.manual_seed(0)
    widths = (32, 32, 32, 16, 16, 16)
    layers = [torch.nn.Linear(a, b) for a, b in pairwise(widths)]
    plain = torch.nn.Sequential(*(m for layer in layers for m in (layer, torch.nn.SiLU())))[:-1]
    official = {f"mixer.{k}": t for k, t in plain.state_dict().items()}
    network = zoo.load_official("latentswap-mixer", official, {"residual": 0.5})
    source, target = torch.randn(3, 16), torch.randn(3, 16)
    expected = plain(torch.cat([source, target], 1)) + 0.5 * target
    torch.testing.assert_close(network(source, target), expected)
    with pytest.raises(ShapeError):
        network(source, target[:2])


def test_number_of_codes_is_free():
    network = LatentMixer(MixerConfig(layers=21, style_dim=8))
    codes = torch.randn(2, 21, 8)
    assert network(codes, codes).shape == codes.shape
    with pytest.raises(ShapeError, match="21"):
        network(codes[:, :18], codes[:, :18])
