"""The weights that come with vidswap are whole, small, and do what their notes say."""

import numpy as np
import pytest

from vidswap import paths, zoo
from vidswap.models.shape import ShapeModel
from vidswap.train import quality
from vidswap.train.heads import LANDMARKS
from vidswap.weights import manifest
from vidswap.weights.cache import Store, hash_file

SHIPPED = sorted(name for name in manifest.shipped() if name.startswith("vidswap-"))


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_weights_are_whole_and_free(name, tmp_path):
    own = manifest.shipped()[name]
    path = Store(tmp_path).require(own)
    assert (hash_file(path)[0], path.stat().st_size) == (own.sha256, own.size)
    assert (own.licence, own.commercial) == ("MIT", True)
    assert "vidswap train" in own.note
    network = zoo.load_named(name, Store(tmp_path))
    assert {p.dtype.itemsize for p in network.parameters()} == {4}


def test_shipped_weights_are_small():
    folder = paths.data("weights")
    sizes = [(folder / f"{name}.safetensors").stat().st_size for name in SHIPPED]
    assert sum(sizes) <= 25 << 20


def test_every_landmark_has_a_vertex():
    assert len(LANDMARKS) == 68
    assert max(LANDMARKS) < 468


def test_table_says_what_was_not_reached():
    rows = [
        quality.Row("embedder", "AUC", 0.97, "≥ .98", reached=False),
        quality.Row("parser", "mean IoU", 0.6, "", reached=True),
    ]
    text = quality.table(rows)
    assert "| embedder | AUC | ≥ .98 | 0.970 | **no** |" in text
    assert text.endswith("| parser | mean IoU |  | 0.600 |  |")


@pytest.mark.slow
def test_embedder_and_landmarks_on_unseen_people():
    pytest.importorskip("numba")
    heads = quality.draw(range(quality.HELD_OUT, quality.HELD_OUT + 60), 4, quality.SIZE)
    found = quality.evaluate.verification(
        quality.evaluate.embed(zoo.load_named("vidswap-identity-64"), heads.pictures),
        heads.identity,
        400,
    )
    assert found.auc >= 0.98
    model = zoo.load_named("vidswap-landmarks-64")
    assert isinstance(model, ShapeModel)
    points = model(quality.evaluate.tensor(heads.pictures)).detach().numpy() * quality.SIZE
    assert np.linalg.norm(points - heads.landmarks, axis=-1).mean() < 1.0
