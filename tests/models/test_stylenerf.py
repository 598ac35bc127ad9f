import pytest
import torch

from tests.models.seeded import golden
from vidswap import zoo
from vidswap.errors import ShapeError
from vidswap.models import nerf
from vidswap.models.generator import Generator
from vidswap.models.latentswap import LatentMixer, MixerConfig
from vidswap.models.stylegan2 import StyleGAN2, StyleGAN2Config
from vidswap.models.stylenerf import StyleNeRF, StyleNeRFConfig


@pytest.fixture(scope="module")
def published():
    torch.set_num_threads(1)
    fixture = golden("stylenerf_256")
    return fixture, zoo.load_official("stylenerf", {"G_ema": fixture.weights()})


@torch.inference_mode()
def test_fields(published):
    fixture, network = published
    x = fixture.inputs()
    fixture.check("w", network.mapping(x["z"]))
    near = network.synthesis.foreground(x["fg_points"], x["ws"][:, :10])
    fixture.check("fg_feat", near.features)
    fixture.check("fg_sigma", near.density)
    far = network.synthesis.background(x["bg_points"], x["z_shape_bg"])
    fixture.check("bg_feat", far.features)
    fixture.check("bg_sigma", far.density)


@torch.inference_mode()
@pytest.mark.parametrize("index", [0, 1])
def test_cameras(published, index):
    fixture, network = published
    u, v, _ = fixture.spec["cameras"][index]
    camera = network.synthesis.camera(u, v)
    rays = nerf.cast(camera, 32)
    fixture.check(f"camera{index}.camera_mat", camera.intrinsics)
    fixture.check(f"camera{index}.world_mat", camera.pose)
    fixture.check(f"camera{index}.pixels", nerf.pixel_grid(32, camera.pose)[None])
    fixture.check(f"camera{index}.ray", rays.direction)
    fixture.check(f"camera{index}.origin", rays.origin)


@pytest.mark.slow
@torch.inference_mode()
def test_pictures(published):
    fixture, network = published
    x, synthesis = fixture.inputs(), network.synthesis
    cameras = [synthesis.camera(u, v) for u, v, _ in fixture.spec["cameras"]]
    background = x["z_shape_bg"]
    small = synthesis.render(x["ws"][:, :10], cameras[0], background)
    fixture.check("img_nerf", small[:, :3])
    for index, camera in enumerate(cameras):
        fixture.check(f"image_ws.camera{index}", synthesis(x["ws"], camera, background))
    ws = network.mapping(x["z"], 0.7)
    fixture.check("image_z_trunc", synthesis(ws, cameras[0], background))
    synthesis.alpha.fill_(-1.0)
    fixture.check("image_ws_alpha-1", synthesis(x["ws"], cameras[0], background))
    synthesis.alpha.fill_(1.0)


TINY = StyleNeRFConfig(
    size=64, z_dim=8, style_dim=8, volume=8, hidden=16, features=16, channel_max=16, samples=4
)


def test_both_generators_carry_the_mixer():
    """LatentSwap runs on whatever implements the protocol; gradients reach the mixer."""
    torch.manual_seed(0)
    gan = StyleGAN2(StyleGAN2Config(size=16, z_dim=8, style_dim=8, mapping_layers=2, channel_max=8))
    generators: list[Generator] = [gan, StyleNeRF(TINY)]
    for generator in generators:
        mixer = LatentMixer(MixerConfig(generator.num_ws, generator.style_dim))
        source, target = (
            generator.mapping(torch.randn(2, generator.z_dim), 0.5, cutoff=8) for _ in range(2)
        )
        picture = generator.synthesis(mixer(source.detach(), target.detach()))
        assert picture.shape == (2, 3, generator.size, generator.size)
        picture.square().mean().backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in mixer.parameters())


def test_conditions():
    torch.manual_seed(0)
    network = StyleNeRF(TINY).requires_grad_(False)
    ws = torch.randn(1, network.num_ws, 8)
    front = network.synthesis(ws)
    assert torch.equal(front, network.synthesis(ws, network.synthesis.camera()))
    assert not torch.allclose(front, network.synthesis(ws, network.synthesis.camera(0.1)))
    code = torch.ones(1, 32)
    assert not torch.allclose(front, network.synthesis(ws, background=code))
    pair = network.synthesis(torch.cat([ws, ws]), network.synthesis.camera(), code)
    torch.testing.assert_close(
        pair[:1], network.synthesis(ws, background=code), atol=1e-4, rtol=1e-4
    )
    with pytest.raises(TypeError, match="noise"):
        network.synthesis(ws, noise="fixed")
    with pytest.raises(ShapeError, match="ws"):
        network.synthesis(ws[:, :9])
    network.synthesis.alpha.fill_(0.5)
    with pytest.raises(ShapeError, match="not fully grown"):
        network.synthesis(ws)


@pytest.mark.parametrize(("size", "codes"), [(256, 17), (512, 19), (1024, 21)])
def test_number_of_codes(size, codes):
    assert StyleNeRFConfig(size=size).num_ws == codes


def test_resampled_places_follow_the_weights():
    places = torch.linspace(0, 1, 20).expand(1, 1, 20)
    weights = torch.zeros(1, 1, 20)
    weights[..., 12] = 1.0
    fine = nerf.resample(places, weights)
    assert ((fine - places[..., 12]).abs() < 0.06).float().mean() > 0.85
    assert (fine.diff(dim=-1) >= 0).all()


def test_points_outside_lie_on_their_rays():
    torch.manual_seed(0)
    camera = nerf.orbit(torch.tensor([0.2]), torch.tensor([1.4]), 12.0)
    rays = nerf.cast(camera, 4)
    inverse = torch.tensor([0.5, 0.25])
    points = nerf.outside_points(rays, inverse)
    world = points[..., :3] / points[..., 3:]
    offset = world - rays.origin[:, :, None]
    heading = torch.nn.functional.normalize(rays.direction, dim=-1)[:, :, None]
    assert torch.linalg.cross(offset, heading.expand_as(offset)).norm(dim=-1).max() < 1e-4
    torch.testing.assert_close(world.norm(dim=-1), (1 / inverse).expand(1, 16, 2))
