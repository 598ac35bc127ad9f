import json
from dataclasses import replace

import pytest
import torch

from tests.models.seeded import GOLDEN, golden
from vidswap import zoo
from vidswap.errors import ShapeError
from vidswap.models.winograd import accelerate
from vidswap.weights.convert import convert
from vidswap.weights.rules import stylegan2


def nested(official):
    state = dict(official)
    return {"latent_avg": state.pop("latent_avg"), "g_ema": state}


@pytest.mark.parametrize("name", ["rosinality_g64", "rosinality_g256"])
def test_rosinality(name):
    fixture = golden(name)
    network = zoo.load_official("stylegan2-generator", nested(fixture.weights())).freeze()
    x = fixture.inputs()
    mapping, synthesis = network.mapping, network.synthesis
    inject = 4 if name.endswith("64") else 6
    w = mapping(x["z"])
    average = mapping.w_avg
    mix = torch.cat([w[:, :inject], mapping(x["z2"])[:, inject:]], dim=1)
    fixture.check("w", w[:, 0])
    fixture.check("latent_trunc", mapping(x["z"], 0.7))
    fixture.check("image_z", synthesis(w[:, 0]))
    picture = synthesis(x["wplus"])
    fixture.check("image_wplus", picture)
    if name == "rosinality_g256":
        fixture.check("image_wplus.crop", picture)
    fixture.check("image_z_trunc", synthesis(mapping(x["z"], 0.7)))
    fixture.check("image_wplus_trunc", synthesis(average.lerp(x["wplus"], 0.7)))
    fixture.check("image_mix", synthesis(mix))
    if name == "rosinality_g64":
        maps = [x[f"noise.{j}"] for j in range(9)]
        fixture.check("image_wplus_extnoise", synthesis(x["wplus"], noise=maps))
        fixture.check("image_wplus_nonoise", synthesis(x["wplus"], noise="none"))


def test_nvidia():
    fixture = golden("nvidia_g64")
    official = fixture.weights()
    network = zoo.load_official("stylegan2-generator", {"G_ema": official}).freeze()
    x = fixture.inputs()
    mapping, synthesis = network.mapping, network.synthesis
    ws = mapping(x["z"], 0.5, cutoff=8)
    fixture.check("w", mapping(x["z"]))
    fixture.check("ws_trunc", ws)
    fixture.check("image_trunc", synthesis(ws))
    fixture.check("image_trunc_all", synthesis(mapping(x["z"], 0.5)))
    fixture.check("image_ws", synthesis(x["ws"]))
    fixture.check("image_ws_nonoise", synthesis(x["ws"], noise="none"))
    clamped = zoo.load_official("stylegan2-generator", official, {"clamp": 0.75}).freeze()
    fixture.check("image_ws_clamp", clamped.synthesis(x["ws"]))


def test_nvidia_equals_rosinality_through_the_published_key_map():
    """Both tables agree on where every tensor goes, and on the configuration."""
    fixture = golden("nvidia_g64")
    nvidia = fixture.layout()
    rows = json.loads((GOLDEN / "nvidia_g64.keymap.json").read_text())["rows"]
    names = {official: other for official, other, _ in rows if other}
    ours = {}
    for rule_set, state in (
        (stylegan2.NVIDIA_RULES, nvidia),
        (stylegan2.RULES, golden("rosinality_g64").layout()),
    ):
        for key in state:
            if "kernel" in key or "resample_filter" in key:
                continue
            ours.setdefault(names.get(key, key), set()).add(own_name(rule_set, key, state[key]))
    assert all(len(found) == 1 for found in ours.values()), ours
    assert len(ours) == len(zoo.expected("stylegan2-generator", {"size": 64}))


def own_name(rules, key, tensor):
    (name,) = convert([replace(rule, optional=True) for rule in rules], {key: tensor})
    return name


def test_discriminator():
    fixture = golden("rosinality_d64")
    network = zoo.load_official("stylegan2-discriminator", {"d": fixture.weights(), "g": {}})
    x = fixture.inputs()
    with torch.inference_mode():
        fixture.check("logits4", network(x["image4"]))
        fixture.check("logits2", network(x["image2"]))
    with pytest.raises(ShapeError, match="not a multiple"):
        network(x["image4"].repeat(2, 1, 1, 1)[:6])


@pytest.mark.slow  # compiles for every width
def test_minimal_filtering_keeps_the_golden_pictures():
    fixture = golden("rosinality_g256")
    network = zoo.load_official("stylegan2-generator", nested(fixture.weights())).freeze()
    assert accelerate(network)
    x = fixture.inputs()
    with torch.no_grad():
        picture = network.synthesis(x["wplus"])
    fixture.check("image_wplus", picture)
    fixture.check("image_wplus.crop", picture)
