import pytest
import torch

from tests.models.seeded import golden
from vidswap import zoo


def checkpoint(fixture):
    state = fixture.weights()
    return {"latent_avg": state.pop("latent_avg"), "state_dict": state}


@pytest.mark.slow
@torch.inference_mode()
def test_e4e():
    fixture = golden("e4e_1024")
    network = zoo.load_official("e4e", checkpoint(fixture))
    x = fixture.inputs()["image"]
    codes = network.encoder.offsets(x)
    fixture.check("encoder_out", codes)
    fixture.check("encoder_out_stage3", network.encoder.offsets(x, stage=3)[:, :6])
    picture, codes = network(x)
    fixture.check("codes", codes)
    fixture.check("image", picture)
    fixture.check("image.crop", picture)
    fixture.check("image256", torch.nn.functional.adaptive_avg_pool2d(picture, (256, 256)))


@pytest.mark.slow
@torch.inference_mode()
def test_psp():
    fixture = golden("psp_1024")
    config = {"encoder_type": "GradualStyleEncoder"}
    encoder = zoo.load_official("e4e", checkpoint(fixture), config).encoder
    x = fixture.inputs()["image"]
    fixture.check("encoder_out", encoder.offsets(x))
    fixture.check("codes", encoder(x))
