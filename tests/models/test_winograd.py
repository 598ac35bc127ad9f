"""Minimal filtering: the same convolutions, quicker."""

import copy
import importlib.util
import sys

import numba
import pytest
import torch
from torch.nn import functional

from vidswap.models import filtering, winograd
from vidswap.models.irse import Bottleneck
from vidswap.models.layers import fir_kernel
from vidswap.models.stylegan2 import StyleGAN2, StyleGAN2Config
from vidswap.models.winograd import Finish, Winograd, accelerate, smoothed, usable

CHANNELS = 32
CLOSE = {"rtol": 0, "atol": 2e-3}
"""Of values with a spread of one, sums of 288 terms: a wrong tile or border is off by 0.1 and more."""


@pytest.fixture(autouse=True)
def every_size(monkeypatch):
    """Small pictures too, or these tests would take minutes."""
    monkeypatch.setattr(winograd, "LEAST_WORK", 0)
    monkeypatch.setattr(winograd, "LEAST_TILES", 1)


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def plain(y, scale, offset, slope, noise):
    y = y * scale[:, :, None, None] + offset[:, None, None] + noise
    return torch.where(y > 0, y, y * slope[:, None, None])


def case(height, width, count=2):
    g = torch.Generator().manual_seed(height * width)
    x = torch.randn(count, CHANNELS, height, width, generator=g)
    weight = torch.randn(CHANNELS, CHANNELS, 3, 3, generator=g) / (3 * CHANNELS**0.5)
    scale = torch.rand(count, CHANNELS, generator=g) + 0.5
    shift, offset, slope = torch.randn(3, CHANNELS, generator=g)
    noise = torch.randn(count, 1, height, width, generator=g)
    return x, weight, scale, shift, Finish(scale.flip(1), offset, slope, noise)


@pytest.mark.parametrize(("height", "width"), [(4, 4), (8, 20), (13, 7), (6, 33)])
def test_convolutions_are_equal(height, width):
    """Sides that are no multiple of a tile, a shift that stops at the border, slopes below zero."""
    x, weight, scale, shift, finish = case(height, width)
    shifted = x * scale[:, :, None, None] + shift[:, None, None]
    y = functional.conv2d(shifted, weight, padding=1)
    expected = plain(y, finish.scale, finish.offset, finish.slope, finish.noise)
    for given in (x, x.contiguous(memory_format=torch.channels_last)):
        found = Winograd(weight)(given, scale, shift, finish)
        assert found.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(found, expected, **CLOSE)


def test_one_factor_and_no_noise_for_all():
    x, weight, scale, shift, finish = case(8, 8)
    one = Finish(finish.scale[:1], finish.offset, finish.slope)
    expected = plain(
        functional.conv2d(x * scale[:1, :, None, None], weight, padding=1),
        one.scale, one.offset, one.slope, torch.zeros(1),
    )  # fmt: skip
    found = Winograd(weight)(x, scale[:1], torch.zeros_like(shift), one)
    torch.testing.assert_close(found, expected, **CLOSE)


@pytest.mark.parametrize(("height", "width"), [(4, 4), (70, 9), (131, 6)])
def test_the_filter_is_equal(height, width):
    """Over the end of what one thread does at a time, too."""
    g = torch.Generator().manual_seed(0)
    x = torch.randn(2, CHANNELS, height + 1, width + 1, generator=g)
    finish = case(height, width)[4]
    y = functional.conv2d(x, fir_kernel(CHANNELS, 4.0), padding=1, groups=CHANNELS)
    expected = plain(y, finish.scale, finish.offset, finish.slope, finish.noise)
    torch.testing.assert_close(smoothed(x, finish), expected, rtol=0, atol=1e-4)


def test_results_depend_on_no_neighbour_and_no_thread(threads):
    """Chunks must be equal bit for bit, however faces fall into batches."""
    x, weight, scale, shift, finish = case(40, 24)
    convolve = Winograd(weight)
    threads(1)
    both, filtered = convolve(x, scale, shift, finish), smoothed(x, at(finish, 39, 23))
    alone = Finish(finish.scale[1:], finish.offset, finish.slope, finish.noise[1:])
    assert torch.equal(convolve(x[1:], scale[1:], shift, alone), both[1:])
    threads(3)
    assert torch.equal(convolve(x, scale, shift, finish), both)
    assert torch.equal(smoothed(x, at(finish, 39, 23)), filtered)
    assert torch.get_num_threads() == 3


def at(finish, height, width):
    return Finish(finish.scale, finish.offset, finish.slope, finish.noise[:, :, :height, :width])


@pytest.fixture(scope="module")
def generators():
    torch.manual_seed(0)
    config = StyleGAN2Config(32, channel_multiplier=32 / 1024, channel_max=CHANNELS, clamp=4.0)
    network = StyleGAN2(config)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith(("bias", "strength")):
                parameter.add_(0.3 * torch.randn_like(parameter))
    network.freeze()
    quick = copy.deepcopy(network)
    assert accelerate(quick)
    return network, quick, torch.randn(2, network.num_ws, network.style_dim)


@pytest.mark.parametrize("noise", ["fixed", "none", "random"])
def test_generator_gives_the_same_pictures(generators, noise):
    network, quick, ws = generators

    def picture(net):
        return net.synthesis(ws, noise=noise, rng=torch.Generator().manual_seed(1))

    with torch.no_grad():
        expected, found = picture(network), picture(quick)
    assert not torch.equal(found, expected)  # or the quicker form was not used
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-3 * float(expected.std()))


def test_learning_never_meets_stale_weights(generators):
    """With gradients the plain form runs, and what was prepared is dropped for good."""
    network, quick, ws = copy.deepcopy(generators)
    expected = network.synthesis(ws)
    assert torch.equal(quick.synthesis(ws.requires_grad_()), expected)
    quick.requires_grad_(True)
    with torch.no_grad():
        assert torch.equal(quick.synthesis(ws), expected)
        for parameter in quick.synthesis.layers.parameters():
            parameter.mul_(1.5)
        network.load_state_dict(quick.state_dict())
        quick.requires_grad_(False)
        assert torch.equal(quick.synthesis(ws), network.synthesis(ws))


def test_new_weights_drop_what_was_prepared(generators):
    network, quick, ws = copy.deepcopy(generators)
    with torch.no_grad():
        for parameter in network.synthesis.layers.parameters():
            parameter.mul_(1.5)
        quick.load_state_dict(network.state_dict())
        for layer in quick.synthesis.layers:
            layer.conv.energy = None
        expected = network.freeze().synthesis(ws)
        torch.testing.assert_close(quick.synthesis(ws), expected)


@pytest.mark.parametrize("stride", [1, 2])
def test_blocks_of_the_encoders_are_equal(stride):
    torch.manual_seed(stride)
    block = Bottleneck(CHANNELS, CHANNELS, stride)
    with torch.no_grad():
        for norm in (block.norm1, block.norm2):
            for values in (norm.weight, norm.running_var):
                values.uniform_(0.5, 1.5)
            for values in (norm.bias, norm.running_mean):
                values.normal_()
        block.act.weight.normal_()
    block.eval().requires_grad_(False)
    quick = copy.deepcopy(block)
    assert accelerate(quick)
    x = torch.randn(2, CHANNELS, 16, 12)
    with torch.no_grad():
        expected, found = block(x), quick(x)
    assert not torch.equal(found, expected)
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-3 * float(expected.std()))


def test_where_it_serves(monkeypatch):
    x = torch.zeros(1, CHANNELS, 16, 16)
    assert not usable(x, CHANNELS, CHANNELS)  # gradients
    with torch.no_grad():
        assert usable(x, CHANNELS, CHANNELS)
        assert not usable(x.double(), CHANNELS, CHANNELS)
        assert not usable(x.to("meta"), CHANNELS, CHANNELS)
        assert not usable(x, CHANNELS, 16)
        with torch.autocast("cpu", torch.bfloat16):
            assert not usable(x, CHANNELS, CHANNELS)
        monkeypatch.setattr(winograd, "LEAST_WORK", 9 * CHANNELS**2 * 16**2 + 1)
        assert not usable(x, CHANNELS, CHANNELS)


def test_without_numba_nothing_changes(monkeypatch):
    network = StyleGAN2(StyleGAN2Config(32, channel_max=CHANNELS)).freeze()
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    monkeypatch.setattr(winograd, "find_spec", lambda _: None)
    assert not accelerate(network)
    assert not any(layer.conv.accelerated for layer in network.synthesis.layers)


def test_a_numba_that_cannot_be_imported_is_none(monkeypatch):
    """It is there and refuses the NumPy beside it: found out before the first frame."""
    network = StyleGAN2(StyleGAN2Config(32, channel_max=CHANNELS)).freeze()
    monkeypatch.setitem(sys.modules, "vidswap.models.filtering", None)
    assert not accelerate(network)
    assert not any(layer.conv.accelerated for layer in network.synthesis.layers)


def test_without_a_place_for_the_cache(monkeypatch):
    """Read-only installations of users without a home compile anew and work."""
    real, asked = numba.njit, []

    def njit(**options):
        asked.append(options.get("cache", False))
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return real(**options)

    monkeypatch.setattr(numba, "njit", njit)
    filtering.loader.__wrapped__(5)
    assert asked == [True, False]
