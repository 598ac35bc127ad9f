import pytest
import torch

from vidswap import zoo
from vidswap.errors import ShapeError, WeightsError
from vidswap.latents.encode import EncoderInverter, encoder_of, resized

TINY = {
    "size": 64, "style_dim": 16, "channel_max": 16, "mapping_layers": 1, "input_size": 32,
    "widths": [16] * 4, "depths": [1] * 4,
}  # fmt: skip


@pytest.fixture(scope="module", params=["Encoder4Editing", "GradualStyleEncoder"])
def encoder(request):
    torch.manual_seed(3)
    network = zoo.build("e4e-encoder", {**TINY, "encoder_type": request.param})
    network.latent_avg.copy_(torch.randn(10, 16))
    return network


def test_codes_are_the_networks_whatever_the_batch(encoder):
    inverter = EncoderInverter(encoder, batch=2)
    crops = torch.rand(5, 3, 32, 32) * 2 - 1
    codes = inverter.invert(crops)
    assert codes.shape == (5, 10, 16) == (5, inverter.num_ws, inverter.style_dim)
    assert not codes.requires_grad
    assert inverter.name in encoder.config.encoder_type.replace("Encoder4Editing", "e4e").replace(
        "GradualStyleEncoder", "pSp"
    )
    with torch.no_grad():
        expected = torch.cat([encoder.offsets(crop[None]) for crop in crops])
    torch.testing.assert_close(codes, expected + encoder.latent_avg, atol=1e-4, rtol=1e-4)
    assert inverter.invert(crops[:0]).shape == (0, 10, 16)


def test_other_sizes_are_resized_without_aliasing(encoder):
    inverter = EncoderInverter(encoder)
    small = torch.rand(1, 3, 32, 32) * 2 - 1
    large = small.repeat_interleave(4, 2).repeat_interleave(4, 3)
    smooth = torch.nn.functional.avg_pool2d(large, 9, 1, 4)
    torch.testing.assert_close(
        inverter.invert(smooth), inverter.invert(resized(smooth, 32)), atol=1e-5, rtol=1e-5
    )
    # One-pixel stripes vanish; picking single pixels would turn them into a picture.
    stripes = torch.ones(1, 3, 128, 128)
    stripes[..., ::2] = -1
    assert resized(stripes, 32)[..., 4:-4].abs().max() < 0.05


def test_wrong_input(encoder):
    with pytest.raises(ShapeError, match="crops"):
        EncoderInverter(encoder).invert(torch.zeros(3, 64, 64))
    with pytest.raises(WeightsError, match="expected an e4e or pSp encoder"):
        encoder_of(torch.nn.Identity(), "other")
    with pytest.raises(ValueError, match="batch"):
        EncoderInverter(encoder, batch=0)
