import pytest
import torch

from tests.models.seeded import golden
from vidswap import zoo
from vidswap.models.compiled import channels_last
from vidswap.models.e4e import Encoder, EncoderConfig, strided_product


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


@pytest.mark.parametrize(("groups", "bias"), [(1, True), (3, True), (3, False)])
def test_matrix_products_are_the_strided_convolution(groups, bias):
    torch.manual_seed(0)
    conv = torch.nn.Conv2d(12, 18, 3, stride=2, padding=1, groups=groups, bias=bias)
    x = torch.randn(2, 12, 8, 6)
    found = strided_product(x, conv.weight, conv.bias, groups)
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert torch.allclose(found, conv(x), atol=1e-5)


def test_an_encoder_channels_last_gives_the_same_codes():
    torch.manual_seed(0)
    config = EncoderConfig(
        64,
        channel_max=16,
        style_dim=16,
        input_size=64,
        widths=(16, 16, 16, 16),
        depths=(1, 1, 1, 1),
    )
    encoder = Encoder(config).eval()
    x = torch.rand(2, 3, 64, 64) * 2 - 1
    plain = encoder(x)  # with gradients: convolutions as they are
    with torch.inference_mode():
        assert torch.allclose(channels_last(encoder)(x), plain, atol=1e-5)
