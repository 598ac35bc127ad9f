"""Our cheap forms equal the published ones, for every kind of modulation."""

import pytest
import torch

from tests.models import reference
from vidswap.errors import ShapeError
from vidswap.models.layers import ModulatedConv, StyledConv, ToRGB
from vidswap.models.stylegan2 import StyleGAN2, StyleGAN2Config

SMALL = StyleGAN2Config(size=32, z_dim=24, style_dim=16, mapping_layers=2, channel_max=24)


@pytest.fixture
def generator():
    torch.manual_seed(1)
    network = StyleGAN2(SMALL)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith(("bias", "strength")):
                parameter.add_(0.3 * torch.randn_like(parameter))
    return network


def test_generator_equals_reference(generator):
    ws = torch.randn(3, generator.num_ws, 16)
    for noise in (True, False):
        ours = generator.synthesis(ws, noise="fixed" if noise else "none")
        expected = reference.synthesis(generator.synthesis, ws, noise)
        assert ours.shape == (3, 3, 32, 32)
        torch.testing.assert_close(ours, expected, atol=1e-3, rtol=0)
        assert (ours - expected).abs().max() < 1e-5 * expected.abs().max()


@pytest.mark.parametrize("clamp", [None, 1.0])
def test_gradients_equal_reference(generator, clamp):
    """Training and pivotal tuning need the same gradient, not only the same picture."""
    for layer in (*generator.synthesis.layers, *generator.synthesis.to_rgb):
        layer.clamp = clamp
    ws = torch.randn(2, generator.num_ws, 16, requires_grad=True)
    inputs = [ws, *generator.synthesis.parameters()]
    ours = torch.autograd.grad(generator.synthesis(ws).square().sum(), inputs)
    expected = torch.autograd.grad(
        reference.synthesis(generator.synthesis, ws).square().sum(), inputs
    )
    for a, b in zip(ours, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4 * float(b.abs().max()))


@torch.inference_mode()
def test_batch_is_one_by_one(generator):
    ws = torch.randn(4, generator.num_ws, 16)
    together = generator.freeze().synthesis(ws)
    apart = torch.cat([generator.synthesis(w[None]) for w in ws])
    torch.testing.assert_close(together, apart, atol=1e-5, rtol=1e-5)


def test_frozen_constants_follow_the_weights(generator):
    """Constants prepared by ``freeze`` must not survive training or loading."""
    ws = torch.randn(1, generator.num_ws, 16)
    other = StyleGAN2(SMALL)
    generator.freeze()
    generator.load_state_dict(other.state_dict())
    torch.testing.assert_close(generator.synthesis(ws), other.synthesis(ws))
    generator.freeze().requires_grad_(True)
    with torch.no_grad():
        for p in generator.synthesis.parameters():
            p.mul_(1.5)
    generator.synthesis(ws)
    generator.requires_grad_(False)
    torch.testing.assert_close(
        generator.synthesis(ws), reference.synthesis(generator.synthesis, ws), atol=1e-4, rtol=1e-4
    )


def test_one_code_for_all_layers(generator):
    w = torch.randn(2, 16)
    repeated = w[:, None].repeat(1, generator.num_ws, 1)
    assert torch.equal(generator.synthesis(w), generator.synthesis(repeated))


def test_noise(generator):
    ws = torch.randn(1, generator.num_ws, 16)
    maps = [layer.noise[None, None] for layer in generator.synthesis.layers]
    assert torch.equal(generator.synthesis(ws, noise=maps), generator.synthesis(ws))
    seeded = [
        generator.synthesis(ws, noise="random", rng=torch.Generator().manual_seed(s))
        for s in (0, 0, 1)
    ]
    assert torch.equal(seeded[0], seeded[1])
    assert not torch.equal(seeded[0], seeded[2])
    with pytest.raises(ShapeError, match="7 maps"):
        generator.synthesis(ws, noise=maps[:3])
    with pytest.raises(ShapeError, match="fixed, random or none"):
        generator.synthesis(ws, noise="constant")
    with pytest.raises(ShapeError, match="ws"):
        generator.synthesis(ws[:, :5])


def test_features_take_the_place_of_a_layer(generator):
    ws = torch.randn(1, generator.num_ws, 16)
    seen = {}
    handle = generator.synthesis.layers[4].register_forward_hook(
        lambda _m, _i, out: seen.update(out=out.clone())
    )
    whole = generator.synthesis(ws)
    handle.remove()
    assert torch.equal(generator.synthesis(ws, features={4: seen["out"]}), whole)
    changed = generator.synthesis(ws, features={4: seen["out"] * 0.5})
    assert not torch.allclose(changed, whole)


def test_truncation(generator):
    generator.mapping.w_avg.normal_()
    z = torch.randn(2, 24)
    whole = generator.mapping(z)
    cut = generator.mapping(z, 0.3, cutoff=2)
    assert torch.equal(cut[:, 2:], whole[:, 2:])
    average = generator.mapping.w_avg
    torch.testing.assert_close(cut[:, :2], average + 0.3 * (whole[:, :2] - average))
    torch.testing.assert_close(generator.mapping(z, 0.0), average.expand_as(whole))


@pytest.mark.parametrize("up", [False, True])
def test_injected_features(up):
    """The concatenated map passes bias and activation too, and there is no noise."""
    torch.manual_seed(2)
    layer = StyledConv(6, 8, 5, size=16, up=up, injected=3)
    torch.nn.init.normal_(layer.bias)
    torch.nn.init.constant_(layer.strength, 0.7)
    side = 8 if up else 16
    x, w, features = torch.randn(2, 6, side, side), torch.randn(2, 5), torch.randn(2, 3, 16, 16)
    ours = layer(x, w, features=features)
    assert ours.shape == (2, 11, 16, 16)
    expected = reference.styled_conv(layer, x, w, features=features)
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)
    assert layer.noise is None


@pytest.mark.parametrize("up", [False, True])
def test_regions_are_convolved_apart_and_selected_afterwards(up):
    torch.manual_seed(3)
    conv = ModulatedConv(6, 8, 5, up=up)
    side = 8 if up else 16
    x, w = torch.randn(2, 6, side, side), torch.randn(2, 3, 5)
    labels = torch.randint(0, 3, (2, 16, 16))
    regions = torch.nn.functional.one_hot(labels, 3).permute(0, 3, 1, 2).float()
    ours = conv(x, w, torch.zeros(1, 8, 1, 1), regions=regions)
    apart = [
        reference.modulated_conv(conv.weight, x, reference.affine(conv.affine, w[:, k]), up=up)
        for k in range(3)
    ]
    expected = torch.stack(apart, 1).gather(1, labels[:, None, None].expand(-1, 1, 8, -1, -1))[:, 0]
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)


def test_regions_to_rgb():
    torch.manual_seed(4)
    layer = ToRGB(6, 5, clamp=1.0)
    x, w = torch.randn(2, 6, 8, 8), torch.randn(2, 3, 5)
    regions = torch.rand(2, 3, 8, 8).softmax(1)
    parts = [reference.to_rgb(layer, x, w[:, k]) for k in range(3)]
    unclamped = ToRGB(6, 5)
    unclamped.load_state_dict(layer.state_dict())
    expected = sum(
        reference.to_rgb(unclamped, x, w[:, k]) * regions[:, k : k + 1] for k in range(len(parts))
    )
    torch.testing.assert_close(layer(x, w, regions), expected.clamp(-1, 1), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("size", [0, 8, 48, 2048])
def test_sizes_are_powers_of_two(size):
    with pytest.raises(ValueError, match="power of two"):
        StyleGAN2Config(size=size)
