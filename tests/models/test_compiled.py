import pytest
import torch
from torch import nn

from vidswap.models.compiled import Compiled, channels_last
from vidswap.models.stylegan2 import StyleGAN2, StyleGAN2Config


def double(x):
    return 2 * x


def broken(x):
    raise RuntimeError("no compiler here\nand more")


def test_without_a_compiler_it_runs_as_it_is(monkeypatch):
    """Whatever the compiled form raises, at its first call or later."""
    monkeypatch.setattr(torch, "compile", lambda *_, **__: broken)
    function = Compiled(double, 2)
    x = torch.randn(5, 3)
    assert function.compiled
    assert function.remark is None
    torch.testing.assert_close(function(x), 2 * x)
    assert not function.compiled
    assert function.remark == "not compiled: no compiler here"
    torch.testing.assert_close(function(x), 2 * x)


def test_mistakes_in_the_input_are_not_hidden(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda f, **_: f)
    function = Compiled(lambda x: x @ torch.ones(3, 1), 2)
    with pytest.raises(RuntimeError, match="shapes"):
        function(torch.ones(2, 4))
    assert function.compiled  # the input was wrong, not the compiler


def test_one_shape_for_every_batch(monkeypatch):
    seen = []

    def record(f, **_):
        def run(x):
            seen.append(tuple(x.shape))
            return f(x)

        return run

    monkeypatch.setattr(torch, "compile", record)
    function = Compiled(double, 4)
    for count in (1, 4, 9):
        x = torch.randn(count, 2)
        assert torch.equal(function(x), 2 * x)
    assert set(seen) == {(4, 2)}
    off = Compiled(double, 4, enabled=False)
    assert (off.compiled, off.remark) == (False, "not asked for")
    assert torch.equal(off(x), 2 * x)
    with pytest.raises(ValueError, match="batch"):
        Compiled(double, 0)


def test_layout_changes_no_value():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.PReLU(8), nn.Conv2d(8, 4, 1))
    x = torch.randn(1, 3, 9, 9)
    before = network(x)
    assert channels_last(network) is network
    assert network[0].weight.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(network(x), before)


def test_the_tracer_knows_that_weights_are_constants(monkeypatch):
    """As an option of ``torch.compile`` freezing comes too late: nothing is prepared from weights."""
    seen = []

    def tracing(f, **_):
        def run(x):
            seen.append(torch._dynamo.utils.is_parameter_freezing())
            return f(x)

        return run

    monkeypatch.setattr(torch, "compile", tracing)
    Compiled(double)(torch.ones(1, 2))
    assert seen == [True]
    assert not torch._inductor.config.freezing  # nobody else's compilations


@pytest.mark.slow
def test_weights_are_constants():
    torch.manual_seed(2)
    network = nn.Sequential(nn.Conv2d(4, 8, 3), nn.ReLU()).eval().requires_grad_(False)
    function, x = Compiled(network), torch.randn(1, 4, 9, 9)
    before = function(x)
    if function.remark:
        pytest.skip(function.remark)
    torch.testing.assert_close(before, network(x), atol=1e-5, rtol=1e-5)
    network[0].weight.mul_(2)
    assert torch.equal(function(x), before)


@pytest.mark.slow
def test_a_generator_is_compiled_and_the_same():
    torch.manual_seed(1)
    config = StyleGAN2Config(16, z_dim=16, style_dim=16, mapping_layers=1, channel_max=16)
    network = StyleGAN2(config).freeze()
    function = Compiled(network.synthesis, 2)
    ws = torch.randn(3, network.num_ws, 16)
    ours, expected = function(ws), network.synthesis(ws)
    if function.remark:
        pytest.skip(function.remark)
    torch.testing.assert_close(ours, expected, atol=1e-4, rtol=1e-4)
