import dataclasses
import tomllib

import pytest

from vidswap.errors import WeightsError
from vidswap.weights import manifest
from vidswap.weights.recognise import LAYOUTS

SHIPPED = manifest.shipped()
PUBLISHED = [
    "latentswap-mixer",
    "smooth-embedder",
    "stylegan2-ffhq-1024",
    "stylegan2-ffhq-config-f",
    "stylegan2-rosinality-256",
    "e4e-ffhq",
    "irse50",
    "dlib-68",
    "nvidia-vgg16",
    "lpips-alex",
    "deep3d",
    "bfm09",
    "stylenerf-ffhq-1024",
    "e4s-net3",
    "bisenet",
    "facevid2vid",
    "gpen-bfr-512",
    "direction-matrix-voxceleb",
    "stylegan2-voxceleb-256",
    "e4e-voxceleb-256",
    "deca",
    "s3fd",
    "2dfan4",
    "buffalo_l",
    "antelopev2",
    "raccoon_s",
    "face-landmarker",
]


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_published_checkpoint_has_a_manifest(name):
    assert SHIPPED[name].name == name


@pytest.mark.parametrize("found", SHIPPED.values(), ids=list(SHIPPED))
def test_manifests_are_sound(found):
    assert found.converter in {"none", "tensors", *LAYOUTS}
    assert found.summary
    assert found.source
    assert found.commercial_reason
    assert found.urls or found.pages or found.instructions or found.source
    if found.commercial:
        assert found.licence in {"Apache-2.0", "BSD-2-Clause", "MIT"}
    assert manifest.decode(tomllib.loads(manifest.encode(found)), "x") == found


def test_nothing_that_descends_from_nvidias_weights_is_commercial():
    for found in SHIPPED.values():
        if "NVIDIA" in found.licence + found.commercial_reason:
            assert not found.commercial


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"licenze": "MIT"}, "licenze: unknown key"),
        ({"commercial": "yes"}, "commercial: expected bool"),
        ({"size": -1.5}, "size: expected int"),
        ({"sha256": "abc"}, "not 64 lower-case hex digits"),
        ({"name": "../x"}, "not lower-case letters"),
        ({"file": "a/b.pt"}, "not a plain file name"),
        ({"urls": ["ftp://x/y"]}, "not https"),
        ({"urls": ["file:///etc/passwd"]}, "not https"),
        ({"config": {"sise": 3}}, "config.sise: unknown key"),
        ({"variants": [{"sha256": "0"}]}, "64 lower-case"),
    ],
)
def test_decoding_is_strict(change, reason):
    table = tomllib.loads(manifest.encode(SHIPPED["irse50"])) | change
    with pytest.raises(WeightsError, match=reason) as caught:
        manifest.decode(table, "mine.toml")
    assert "mine.toml" in str(caught.value)


def test_own_manifests(store):
    store.root.mkdir()
    own = dataclasses.replace(SHIPPED["irse50"], name="mine", commercial=True)
    (store.root / "mine.toml").write_text(manifest.encode(own))
    assert manifest.get("mine", store.root) == own
    (store.root / "mine.toml").rename(store.root / "yours.toml")
    with pytest.raises(WeightsError, match="'mine', expected the file's: 'yours'"):
        manifest.catalogue(store.root)
    (store.root / "yours.toml").write_text("name = ")
    with pytest.raises(WeightsError, match="not valid TOML"):
        manifest.catalogue(store.root)


def test_an_own_manifest_cannot_relicense_a_shipped_checkpoint(store):
    store.root.mkdir()
    freed = dataclasses.replace(SHIPPED["irse50"], commercial=True)
    (store.root / "irse50.toml").write_text(manifest.encode(freed))
    with pytest.raises(WeightsError, match="shipped checkpoint has this name"):
        manifest.catalogue(store.root)


def test_unknown_name_gets_suggestions(store):
    with pytest.raises(WeightsError, match="did you mean bisenet"):
        manifest.get("bisnet", store.root)


def test_licence_gate():
    free, bound = SHIPPED["lpips-alex"], [SHIPPED["bisenet"], SHIPPED["buffalo_l"]]
    manifest.require_commercial([free, free])
    manifest.require_commercial([])
    with pytest.raises(WeightsError, match="2 of the weights") as caught:
        manifest.require_commercial([free, *bound])
    message = str(caught.value)
    assert all(m.name in message and m.licence in message for m in bound)
    assert free.name not in message
    assert caught.value.exit_code == 4
