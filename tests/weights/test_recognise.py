"""Official key lists are recognised, complete, and told apart; on meta tensors, without weights."""

import json
from argparse import Namespace
from pathlib import Path

import pytest
import torch

from tests.weights import published
from vidswap.errors import WeightsError
from vidswap.weights import layouts
from vidswap.weights.formats import Checkpoint
from vidswap.weights.own_names import network_config, to_own_names
from vidswap.weights.recognise import recognise
from vidswap.weights.stylenerf_layout import expect_stylenerf

GOLDEN = Path(__file__).parents[1] / "golden"
PATH = Path("some.file")


def official(name, drop=()):
    file = GOLDEN / f"{name}.keys.json"
    if not file.exists():
        pytest.skip(f"{file.name} is not in this checkout")
    rows = json.loads(file.read_text())
    return {
        key: torch.empty(shape, device="meta", dtype=torch.int64 if rule == "int0" else None)
        for key, shape, rule, *_ in rows
        if key not in drop
    }


def split(state):
    return {"latent_avg": state.pop("latent_avg")}, state


def rosinality(name):
    average, state = split(official(name))
    return {"g_ema": state, "g": {}, "args": Namespace(size=1), **average}


def e4e(kind):
    average, state = split(official("e4e_1024"))
    opts = {"encoder_type": kind, "device": "cuda:0", "start_from_latent_avg": True}
    return {"state_dict": state, "opts": opts, **average}


def latentswap():
    state = {f"identity_mixer.{k}": v for k, v in official("latentswap_mixer18").items()}
    state["style_gan.mapping.w_avg"] = torch.zeros(512)
    return {"state_dict": state, "epoch": 39, "optimizer_states": []}


def e4s(name):
    average, state = split(official(name))
    return {"state_dict": {f"module.{k}": v for k, v in state.items()}, "opts": {}, **average}


def matrix():
    state = {k: v.to("meta") for k, v in published.matrix().items()}
    return {"A_matrix": state, "shift_scale": 6, "w_plus": True, "learned_directions": 15}


FILES = {
    "rosinality_g64": (lambda: rosinality("rosinality_g64"), "stylegan2-rosinality", {"size": 64}),
    "rosinality_g256": (
        lambda: rosinality("rosinality_g256"),
        "stylegan2-rosinality",
        {"size": 256, "channel_multiplier": 2.0, "layers": 14, "mapping_layers": 8},
    ),
    "nvidia_g64": (
        lambda: {"G_ema": official("nvidia_g64")},
        "stylegan2-nvidia",
        {"size": 64, "layers": 10},
    ),
    "projector": (
        lambda: {"G_ema": official("pti_projector_64", ("toy.weight", "toy.bias"))},
        "stylegan2-nvidia",
        {"size": 64, "mapping_layers": 2, "channel_max": 64},
    ),
    "e4e": (lambda: e4e("Encoder4Editing"), "e4e", {"encoder_type": "Encoder4Editing"}),
    "psp": (lambda: e4e("GradualStyleEncoder"), "e4e", {"encoder_type": "GradualStyleEncoder"}),
    "irse50": (lambda: official("irse50"), "irse50", {"size": 112}),
    "bisenet": (lambda: official("bisenet19"), "bisenet", {"classes": 19}),
    "latentswap": (latentswap, "latentswap", {"layers": 18, "style_dim": 512}),
    "e4s": (lambda: e4s("e4s_net3_256"), "e4s-net3", {"classes": 12, "masked_layers": 13}),
    "stylenerf": (
        lambda: {"G_ema": official("stylenerf_256")},
        "stylenerf",
        {"size": 256, "layers": 17},
    ),
    "matrix": (matrix, "direction-matrix", {"directions": 15, "layers": 8}),
}


@pytest.mark.parametrize("name", FILES)
def test_official_layouts(name):
    tree, layout, numbers = FILES[name][0](), *FILES[name][1:]
    found = recognise(Checkpoint("torch", tree), PATH)
    assert found.layout == layout
    assert {key: getattr(found.config, key) for key in numbers} == numbers
    with pytest.raises(WeightsError, match="wrong architecture"):
        recognise(Checkpoint("torch", tree), PATH, "bisenet" if layout != "bisenet" else "e4e")


@pytest.mark.parametrize("name", ["rosinality_g64", "nvidia_g64", "e4e", "irse50", "bisenet"])
def test_converted_tensors_and_configuration_fit_the_network(name):
    zoo = pytest.importorskip("vidswap.zoo")
    found = recognise(Checkpoint("torch", FILES[name][0]()), PATH)
    state, names = to_own_names(found)
    assert names == "own"
    from vidswap.weights.rules import LAYOUTS

    shapes = zoo.expected(LAYOUTS[found.layout].arch, network_config(found))
    assert {k: tuple(v.shape) for k, v in state.items()} == shapes


def test_encoder_alone():
    state = {k: torch.empty(s, device="meta") for k, s in layouts.psp_encoder(14).items()}
    found = recognise(Checkpoint("torch", {"e": state}), PATH)
    assert (found.layout, found.config.layers, found.config.size) == ("e4e-encoder", 14, 256)
    assert len(state) == 565
    converted, names = to_own_names(found)
    assert names == "own"
    assert all(k.startswith("encoder.") for k in converted)


def test_every_single_defect_is_found():
    good = published.rosinality()
    for key in good:
        for change in ("missing", "shape"):
            state = dict(good)
            if change == "missing":
                del state[key]
            else:
                state[key] = torch.zeros(*state[key].shape, 2)
            with pytest.raises(WeightsError):
                recognise(Checkpoint("torch", {"g_ema": state}), PATH)


def test_counters_of_batch_norm_may_be_absent():
    state = {k: v for k, v in official("irse50").items() if "num_batches" not in k}
    found = recognise(Checkpoint("torch", state), PATH)
    assert len(found.state) == 397


def test_constructor_arguments_of_a_pickle_survive():
    kwargs = {"_init_kwargs": {"synthesis_kwargs": {"conv_clamp": 256}}, "num_ws": 6}
    checkpoint = Checkpoint("persistence", {"G_ema": published.nvidia()}, {"G_ema": kwargs})
    found = recognise(checkpoint, PATH)
    assert found.settings == {"conv_clamp": 256, "num_ws": 6}
    assert network_config(found)["clamp"] == 256.0


@pytest.mark.parametrize("size", [256, 512, 1024])
def test_stylenerf_parameter_counts(size):
    """The published sizes hold 5.26, 5.41 and 5.48 million parameters."""
    res = [r for r in (64, 128, 256, 512, 1024) if r <= size]
    probe = {f"synthesis.b{r}.conv0.weight": () for r in res}
    config, shapes = expect_stylenerf(probe | {"synthesis.fg_nerf.fc_in.weight": ()})
    buffers = ("resample_filter", "w_avg", "alpha")
    total = sum(torch.Size(s).numel() for k, s in shapes.items() if not k.endswith(buffers))
    assert round(total / 1e6, 2) == {256: 5.26, 512: 5.41, 1024: 5.48}[size]
    assert config.layers == {256: 17, 512: 19, 1024: 21}[size]


def test_e4e_of_1024_px_has_the_published_number_of_tensors():
    _, keys = layouts.expect_e4e({k: tuple(v.shape) for k, v in e4e("")["state_dict"].items()})
    assert sum(k.startswith("encoder.") for k in keys) == 621
    assert sum(k.startswith("decoder.") for k in keys) == 171
