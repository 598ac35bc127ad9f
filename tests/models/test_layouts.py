"""Tables of official layouts, on the meta device: coverage without weights."""

import pytest
import torch

from tests.models.seeded import golden
from vidswap import zoo
from vidswap.errors import WeightsError
from vidswap.weights.convert import Rule, convert, flatten
from vidswap.weights.rules import LAYOUTS

FIXTURES = {
    "rosinality_g64": "stylegan2-rosinality",
    "rosinality_g256": "stylegan2-rosinality",
    "nvidia_g64": "stylegan2-nvidia",
    "rosinality_d64": "stylegan2-discriminator",
    "irse50": "irse50",
    "e4e_1024": "e4e",
    "psp_1024": "e4e",
    "bisenet19": "bisenet",
    "latentswap_mixer18": "latentswap",
    "stylenerf_256": "stylenerf",
}


def official(name):
    layout = LAYOUTS[FIXTURES[name]]
    state = golden(name).layout()
    return layout, state


@pytest.mark.parametrize("name", FIXTURES)
def test_total_coverage(name):
    layout, state = official(name)
    config = layout.config(state)
    shapes = zoo.expected(layout.arch, config)
    converted = convert(layout.rules, state, shapes)
    assert {k: tuple(t.shape) for k, t in converted.items()} == dict(shapes)
    network = zoo.load_official(layout.arch, state)
    assert all(t.is_meta for t in network.state_dict().values())


@pytest.mark.parametrize("name", FIXTURES)
def test_every_missing_key_is_an_error(name):
    """Without any one tensor, conversion fails and says which of ours is missing."""
    layout, state = official(name)
    shapes = zoo.expected(layout.arch, layout.config(state))
    constants = ("kernel", "resample_filter")
    keys = [k for k in state if not k.endswith(constants) and k != "latent_avg"]
    for key in keys[:: max(1, len(keys) // 12)]:
        with pytest.raises(WeightsError, match=r"missing|needs parts|shape"):
            convert(layout.rules, {k: t for k, t in state.items() if k != key}, shapes)


@pytest.mark.parametrize("name", FIXTURES)
def test_extra_key_is_an_error(name):
    layout, state = official(name)
    state["surprise.weight"] = torch.empty(3, device="meta")
    with pytest.raises(WeightsError, match=r"unexpected key 'surprise\.weight'"):
        convert(layout.rules, state)


def test_wrong_shape_is_an_error():
    layout, state = official("rosinality_g64")
    shapes = zoo.expected(layout.arch, layout.config(state))
    state["convs.2.conv.weight"] = torch.empty(1, 512, 511, 3, 3, device="meta")
    with pytest.raises(WeightsError, match=r"layers\.3\.conv\.weight.*511.*expected"):
        convert(layout.rules, state, shapes)
    state["convs.2.noise.weight"] = torch.empty(2, device="meta")
    with pytest.raises(WeightsError, match="unusable shape"):
        convert(layout.rules, state, shapes)


def test_rules_are_checked():
    state = {"a": torch.zeros(1), "b": torch.zeros(1)}
    with pytest.raises(WeightsError, match="two tensors claim 'x', the second is 'b'"):
        convert([Rule("a", "x"), Rule("b", "x")], state)
    with pytest.raises(WeightsError, match="nothing matches 'c'"):
        convert([Rule("a|b", r"\g<0>"), Rule("c", "c")], state)
    with pytest.raises(WeightsError, match="left over"):
        convert([Rule("a|b", r"\g<0>")], state, {"a": (1,)})
    assert convert([Rule("a", "x"), Rule("b", None)], state).keys() == {"x"}


def test_flatten():
    tree = {"g_ema": {"w": torch.zeros(1)}, "opts": {"n": 3}, "list": [torch.ones(2)]}
    assert {k: len(v) for k, v in flatten(tree).items()} == {"g_ema.w": 1, "list.0": 2}


def test_training_checkpoint_without_mean_code():
    """rosinality's own checkpoints hold several networks and no ``latent_avg``."""
    network = zoo.build("stylegan2-generator", {"size": 16, "mapping_layers": 2, "channel_max": 8})
    generator = {
        # Mapping weights are stored divided by the learning-rate multiplier 0.01.
        key: torch.randn(shape) * (100 if key.startswith("style") else 1)
        for key, shape in _rosinality(network).items()
    }
    tree = {"g": generator, "g_ema": generator, "d": {}, "g_optim": {"state": {0: torch.zeros(2)}}}
    loaded = zoo.load_official("stylegan2-generator", tree)
    z = torch.randn(2000, 512)
    average = loaded.mapping(z).mean((0, 1))
    assert loaded.mapping.w_avg.abs().max() > 0.1
    assert (loaded.mapping.w_avg - average).norm() < 0.2 * average.norm()


def _rosinality(network):
    """Official keys and shapes of one of our generators."""
    shapes = {}
    for j, layer in enumerate(network.synthesis.layers):
        name = f"convs.{j - 1}" if j else "conv1"
        shapes[f"{name}.conv.weight"] = (1, *layer.conv.weight.shape)
        shapes[f"{name}.conv.modulation.weight"] = layer.conv.affine.weight.shape
        shapes[f"{name}.conv.modulation.bias"] = layer.conv.affine.bias.shape
        shapes[f"{name}.noise.weight"] = (1,)
        shapes[f"{name}.activate.bias"] = layer.bias.shape
        shapes[f"noises.noise_{j}"] = (1, 1, *layer.noise.shape)
        if layer.conv.up:
            shapes[f"{name}.conv.blur.kernel"] = (4, 4)
    for k, layer in enumerate(network.synthesis.to_rgb):
        name = f"to_rgbs.{k - 1}" if k else "to_rgb1"
        shapes[f"{name}.conv.weight"] = (1, *layer.weight.shape, 1, 1)
        shapes[f"{name}.conv.modulation.weight"] = layer.affine.weight.shape
        shapes[f"{name}.conv.modulation.bias"] = layer.affine.bias.shape
        shapes[f"{name}.bias"] = (1, 3, 1, 1)
    for i, layer in enumerate(network.mapping.layers):
        shapes[f"style.{i + 1}.weight"] = layer.weight.shape
        shapes[f"style.{i + 1}.bias"] = layer.bias.shape
    shapes["input.input"] = (1, *network.synthesis.const.shape)
    return shapes


def test_unknown_architectures_and_configurations():
    with pytest.raises(WeightsError, match="no network is called 'stylegan9'"):
        zoo.build("stylegan9")
    with pytest.raises(WeightsError, match="unknown key"):
        zoo.build("irse50", {"sizes": 112})
    with pytest.raises(WeightsError, match="power of two"):
        zoo.build("stylegan2-generator", {"size": 100})
    with pytest.raises(WeightsError, match="14 layers do not go with size 1024"):
        zoo.expected("stylegan2-generator", {"size": 1024, "layers": 14})
    with pytest.raises(WeightsError, match="holds no bisenet"):
        zoo.load_official("bisenet", {"weight": torch.zeros(1)})
    with pytest.raises(WeightsError, match="do not fit"):
        zoo.load("latentswap-mixer", {"layers": 2, "style_dim": 4}, {})
