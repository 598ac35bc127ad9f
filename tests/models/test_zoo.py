"""From a published file on disk to a running network."""

import pytest
import torch

from tests.models.seeded import golden
from vidswap import zoo
from vidswap.errors import WeightsError
from vidswap.models.layers import drawn
from vidswap.weights import importing
from vidswap.weights.cache import Store

LAST = {"convs": 4, "to_rgbs": 2, "noises": 5}
"""Official lists of layers, cut after 16 px."""


def small(official):
    """Two channels of everything in a rosinality checkpoint, and only the levels up to 16 px."""
    kept = {}
    for key, tensor in official.items():
        group, index, *_ = [*key.split("."), ""]
        if group not in LAST or int(index.removeprefix("noise_")) < LAST[group]:
            kept[key] = tensor if group == "noises" else two_channels(tensor)
    return kept


def two_channels(tensor):
    index = tuple(slice(2 if size == 512 else size) for size in tensor.shape)
    return tensor[index].clone()


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    official = small(golden("rosinality_g64").weights())
    tree = {"latent_avg": official.pop("latent_avg"), "g_ema": official}
    path = tmp_path_factory.mktemp("published") / "some-name.pt"
    torch.save(tree, path)
    return tree, path


def test_imported_file_is_the_same_network(published, tmp_path):
    tree, path = published
    store = Store(tmp_path)
    importing.add(path, store, "mine")
    direct = zoo.load_official("stylegan2-generator", tree)
    loaded = zoo.load_named("mine", store)
    z = torch.randn(2, 2)
    assert direct.size == loaded.size == 16
    assert not loaded.training
    assert torch.equal(loaded(z, 0.7), direct(z, 0.7))
    for name, tensor in direct.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name


def test_outlines_draw_nothing(monkeypatch):
    """On the meta device random values and arithmetic go through a tracer that takes seconds to load."""

    def refuse(*_, **__):
        raise AssertionError("drawn on the meta device")

    for name in ("randn", "rand", "div", "mul"):
        monkeypatch.setattr(torch, name, refuse)
    monkeypatch.setattr(torch.Tensor, "normal_", refuse)
    for arch in zoo.architectures():
        assert zoo.expected(arch)


def test_fresh_weights_are_the_usual_ones():
    torch.manual_seed(3)
    first, second = torch.randn(7, 5, 3, 3), torch.randn(33, 20) / 0.01
    torch.manual_seed(3)
    assert torch.equal(drawn(7, 5, 3, 3), first)
    assert torch.equal(drawn(33, 20, lr=0.01), second)


def test_messages_name_the_file(published, tmp_path):
    _, path = published
    with pytest.raises(WeightsError, match=r"some-name\.pt"):
        zoo.load_file(path)
    with pytest.raises(WeightsError, match="no checkpoint is called 'nobody'"):
        zoo.load_named("nobody", Store(tmp_path))
