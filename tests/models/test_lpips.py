import pytest
import torch
from torch import nn
from torch.nn import functional

from vidswap import zoo
from vidswap.models.irse import Trunk
from vidswap.models.lpips import FeatureDistance

ALEX = (
    (0, 3, 64, 11, 4, 2),
    (3, 64, 192, 5, 1, 2),
    (6, 192, 384, 3, 1, 1),
    (8, 384, 256, 3, 1, 1),
    (10, 256, 256, 3, 1, 1),
)


def alexnet():
    """torchvision's layout of AlexNet's features."""
    modules = [nn.Identity() for _ in range(13)]
    for index, inputs, outputs, kernel, stride, padding in ALEX:
        modules[index] = nn.Conv2d(inputs, outputs, kernel, stride, padding)
        modules[index + 1] = nn.ReLU()
    for index in (2, 5, 12):
        modules[index] = nn.MaxPool2d(3, 2)
    return nn.Sequential(*modules)


def vgg16():
    layers, inputs = [], 3
    for width, depth in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(depth):
            layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU()]
            inputs = width
        layers.append(nn.MaxPool2d(2, 2))
    return nn.Sequential(*layers)


BACKBONES = {
    "alex": (alexnet, (1, 4, 7, 9, 11), (64, 192, 384, 256, 256)),
    "vgg": (vgg16, (3, 8, 15, 22, 29), (64, 128, 256, 512, 512)),
}


def published(features, taps, heads, a, b):
    """The paper's formula, written out on torchvision's modules."""

    def maps(x):
        x = (x - torch.tensor([-0.030, -0.088, -0.188]).view(3, 1, 1)) / torch.tensor(
            [0.458, 0.448, 0.450]
        ).view(3, 1, 1)
        for index, module in enumerate(features):
            x = module(x)
            if index in taps:
                yield x / (x.norm(dim=1, keepdim=True) + 1e-10)

    return sum(
        functional.conv2d((x - y) ** 2, head).mean((2, 3))[:, 0]
        for x, y, head in zip(maps(a), maps(b), heads, strict=True)
    )


@torch.inference_mode()
@pytest.mark.parametrize("name", BACKBONES)
def test_lpips_equals_its_formula(name):
    torch.manual_seed(0)
    make, taps, widths = BACKBONES[name]
    features = make()
    heads = [torch.rand(1, width, 1, 1) for width in widths]
    state = {f"features.{k}": t for k, t in features.state_dict().items()}
    state |= {f"lin{i}.model.1.weight": head for i, head in enumerate(heads)}
    state["classifier.1.weight"] = torch.zeros(2, 2)
    metric = zoo.load_official("lpips", state)
    assert metric.name == f"LPIPS ({name})"
    assert not metric.substitute

    a, b = torch.rand(2, 2, 3, 64, 64) * 2 - 1
    expected = published(features, taps, heads, a, b)
    torch.testing.assert_close(metric(a, b), expected)
    assert metric(a, a).abs().max() == 0


def test_substitute_says_so():
    torch.manual_seed(0)
    distance = FeatureDistance.of_trunk(Trunk().eval().requires_grad_(False))
    assert distance.substitute
    assert "in place of LPIPS" in distance.name
    assert "IR-SE50" in distance.name
    a = torch.rand(1, 3, 64, 64) * 2 - 1
    near, far = a + 0.02 * torch.randn_like(a), a.flip(3)
    far.requires_grad_()
    assert distance(a, a).item() == 0
    assert 0 < distance(a, near).item() < distance(a, far).item()
    (gradient,) = torch.autograd.grad(distance(a, far).sum(), far)
    assert gradient.abs().sum() > 0


def test_small_trunk_counts_all_its_stages():
    torch.manual_seed(0)
    trunk = Trunk((16, 16, 16, 16), (1, 1, 2, 1)).eval().requires_grad_(False)
    distance = FeatureDistance.of_trunk(trunk)
    assert len(distance.extract(torch.rand(1, 3, 32, 32))) == 4
    assert "IR-SE trunk of 5 blocks" in distance.name
    assert "in place of LPIPS" in distance.name
