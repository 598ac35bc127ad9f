"""Who is swapped."""

import numpy as np
import pytest

from vidswap.errors import RecipeError, WeightsError
from vidswap.faces import scrfd
from vidswap.faces.cast import is_reference, people, select
from vidswap.faces.embed import Embedder, cluster, five_points, open_embedder, recogniser
from vidswap.types import Track


def unit(*values):
    v = np.zeros(512, np.float32)
    v[: len(values)] = values
    return v / np.linalg.norm(v)


def track(number, shot=0, start=0, stop=20, x=100.0, size=50.0, seen=None, embedding=None):
    count = stop - start
    box = np.array([x - size / 2, 50, x + size / 2, 50 + size], np.float32)
    known = np.ones(count, bool) if seen is None else np.arange(count) < seen
    return Track(
        number, shot, start, stop, known, np.ones(count, np.float32), np.tile(box, (count, 1)),
        np.zeros((count, 3), np.float32), embedding,
    )  # fmt: skip


TRACKS = [
    track(0, x=60, size=40),
    track(1, x=200, size=80, seen=10),
    track(2, shot=1, start=20, stop=40, x=300, size=30),
    track(3, shot=1, start=20, stop=32, x=90, size=60),
]


def never(path):
    raise AssertionError(path)


@pytest.mark.parametrize(
    ("rule", "want"),
    [
        ("all", {0, 1, 2, 3}),
        ("largest", {1, 3}),
        ("most-seen", {0, 2}),
        ("left", {0, 3}),
        ("right", {1, 2}),
        ("2", {2}),
        ("0, 3", {0, 3}),
    ],
)
def test_rules(rule, want):
    assert select([rule], TRACKS, never) == dict.fromkeys(want, rule)
    assert not is_reference(rule)


def test_a_face_found_again_in_the_same_shot_is_chosen_again():
    halves = [track(0, stop=10), track(1, start=14, stop=20), track(2, x=10, size=20)]
    assert set(select(["largest"], halves, never)) == {0, 1}


def test_unknown_indices_are_named():
    with pytest.raises(RecipeError, match="no track 7; there are 0 to 3"):
        select(["7"], TRACKS, never)
    with pytest.raises(RecipeError, match="there are none"):
        select(["0"], [], never)
    assert select(["all"], [], never) == {}


def test_the_first_rule_wins():
    assert select(["1", "all"], TRACKS, never) == {1: "1", 0: "all", 2: "all", 3: "all"}


def test_references_take_the_tracks_most_like_them():
    ann, bob = unit(1, 0.1), unit(0, 1)
    tracks = [
        track(0, embedding=unit(1, 0, 0.2)),
        track(1, embedding=unit(0.1, 1)),
        track(2, embedding=unit(0, 0, 1)),
        track(3),
    ]
    vectors = {"ann.jpg": ann, "bob.jpg": bob}
    assert is_reference("ann.jpg")
    assert select(["ann.jpg", "bob.jpg"], tracks, vectors.get) == {0: "ann.jpg", 1: "bob.jpg"}


def test_an_index_means_the_person_where_identities_are_known():
    tracks = [
        track(0, embedding=unit(1)),
        track(1, embedding=unit(0, 1)),
        track(2, shot=1, start=20, stop=40, embedding=unit(1, 0.3)),
    ]
    assert set(select(["0"], tracks, never)) == {0, 2}
    assert people(tracks) == {0: 0, 1: 1, 2: 0}


def test_cluster():
    assert cluster([]) == []
    assert cluster([None, unit(1), None, unit(1, 0.1)]) == [0, 1, 2, 1]


def test_clusters_are_merged_by_their_mean_likeness():
    def at(degrees):
        angle = np.radians(degrees)
        return unit(np.cos(angle), np.sin(angle))

    assert cluster([at(0), at(45), at(95)]) == [0, 0, 1]  # the nearest alone would join all
    assert cluster([at(70), at(0), at(30)]) == [0, 0, 0]  # the farthest alone would keep one out


def test_without_an_embedder_the_error_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv("VIDSWAP_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("INSIGHTFACE_HOME", str(tmp_path / "none"))
    assert open_embedder() is None
    with pytest.raises(WeightsError, match="reference photograph needs an InsightFace") as caught:
        recogniser()
    assert "indices that vidswap inspect prints" in caught.value.hint
    assert "vidswap weights fetch buffalo_l" in caught.value.hint
    assert str(tmp_path) in caught.value.hint
    with pytest.raises(WeightsError):
        Embedder()


def test_packs_on_disk_are_found(monkeypatch, tmp_path):
    monkeypatch.setenv("VIDSWAP_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("INSIGHTFACE_HOME", str(tmp_path / "none"))
    pack = tmp_path / "insightface" / "buffalo_l"
    pack.mkdir(parents=True)
    (pack / "w600k_r50.onnx").write_bytes(b"not a model")
    assert scrfd.find_model("recognition") == pack / "w600k_r50.onnx"
    assert scrfd.find_model("detection") is None
    with pytest.raises(WeightsError, match=r"w600k_r50\.onnx"):
        open_embedder()


def test_faces_are_aligned_before_they_are_embedded(scene, truth):
    class Model:
        def get_feat(self, crop):
            self.crop = crop
            return np.arange(1, 513, dtype=np.float32)[None]

    model = Model()
    embedder = Embedder(model=model)
    vectors = []
    crops = []
    for place in ((160, 120, 0.8, 0.0), (150, 110, 0.6, 0.3)):
        points = five_points(np.c_[truth.at(*place), np.zeros(478)].astype(np.float32))
        vectors.append(embedder.embed(scene.draw(place), points))
        crops.append(model.crop.astype(float))
    assert crops[0].shape == (112, 112, 3)
    assert np.linalg.norm(vectors[0]) == pytest.approx(1)
    middle = np.s_[30:90, 30:80]
    assert np.abs(crops[0][middle] - crops[1][middle]).mean() < 12  # upright and of one size
    assert crops[0][60, 56, 2] > crops[0][60, 56, 0]  # BGR: skin has more red, last
