import pytest
import torch
from torch.nn import functional

from tests.models.seeded import golden
from vidswap import zoo
from vidswap.models import bisenet


@torch.inference_mode()
def test_arcface():
    fixture = golden("irse50")
    network = zoo.load_official("irse50", fixture.weights())
    x = fixture.inputs()
    crop = network.crop(x["face256"])
    fixture.check("pooled112", crop)
    raw = network.raw(crop)
    fixture.check("embedding_raw", raw)
    fixture.check("embedding", functional.normalize(raw))
    fixture.check("embedding112", network(x["face112"]))
    scales = network.scales(crop)
    fixture.check(
        "cos_multiscale", torch.stack([functional.cosine_similarity(*s, dim=0) for s in scales])
    )


@torch.inference_mode()
def test_bisenet():
    fixture = golden("bisenet19")
    network = zoo.load_official("bisenet", fixture.weights())
    x = fixture.inputs()["image"]
    logits = network.heads(x)
    for name in ("logits", "logits.crop"):
        fixture.check(name, logits.main)
    fixture.check("logits16", logits.at8)
    fixture.check("logits32", logits.at16)
    top = logits.main.topk(2, dim=1)
    fixture.check("argmax_margin", top.values[:, 0] - top.values[:, 1])
    sure = fixture.tensors["argmax_margin"] > 2 * fixture.spec["outputs"]["logits"]["atol"]
    labels = top.indices[:, 0, ::4, ::4]
    assert torch.equal(labels[sure], fixture.tensors["argmax"].long()[sure])
    assert torch.equal(network(x), logits.main)


@pytest.mark.parametrize("order", ["bisenet", "celebamask"])
def test_regions(order):
    fixture = golden("e4s_masks").tensors
    table = bisenet.to_regions(torch.arange(19, dtype=torch.uint8), order)
    assert torch.equal(table, fixture[f"map19_{order}_to_12"])
    assert torch.equal(
        bisenet.to_regions(fixture["in.labels19"], order), fixture[f"labels19_{order}_to_12"]
    )
    assert len(bisenet.CLASSES) == 19
    assert len(bisenet.REGIONS) == int(table.max()) + 1
