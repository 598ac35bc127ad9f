import pytest
import torch

from tests.models.seeded import golden
from vidswap import zoo


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
    fixture.check("image_wplus", synthesis(x["wplus"]))
    fixture.check("image_z_trunc", synthesis(mapping(x["z"], 0.7)))
    fixture.check("image_wplus_trunc", synthesis(average.lerp(x["wplus"], 0.7)))
    fixture.check("image_mix", synthesis(mix))
    if name == "rosinality_g64":
        maps = [x[f"noise.{j}"] for j in range(9)]
        fixture.check("image_wplus_extnoise", synthesis(x["wplus"], noise=maps))
        fixture.check("image_wplus_nonoise", synthesis(x["wplus"], noise="none"))
