"""What makes spans independent of each other: each piece forgets where it began."""

import gc
import weakref

import numpy as np
import pytest

from vidswap.faces.appearance import KEEP, AppearanceCollector, stride
from vidswap.faces.facemesh import FaceMesh
from vidswap.faces.follow import Motion
from vidswap.faces.landmarks import Landmarker, Region
from vidswap.faces.shots import ShotSplitter
from vidswap.recipe import ShotOptions
from vidswap.run.rows import JoinedRows, Spool
from vidswap.types import Box


def film(seed):
    """(h, w) grey pictures: scenes of random length, with flashes, black and fog between them."""
    rng = np.random.default_rng(seed)
    while True:
        scene = rng.integers(0, 256, (9, 16)).astype(np.uint8).repeat(10, 0).repeat(10, 1)
        for _ in range(rng.integers(3, 45)):
            noise = rng.integers(-3, 4, scene.shape)
            yield np.clip(scene.astype(int) + noise, 0, 255).astype(np.uint8)
            if rng.random() < 0.03:
                yield from [np.full_like(scene, 250)] * int(rng.integers(1, 4))
        if rng.random() < 0.3:
            yield from [np.full_like(scene, 16)] * int(rng.integers(1, 12))


def verdicts(pictures, start):
    """Verdict of every frame from ``start`` on, and the frame from which they count."""
    splitter, out, since = ShotSplitter(ShotOptions()), [], None
    for picture in pictures[start:]:
        out += splitter.add(picture)
        if since is None and splitter.settled:
            since = start + len(out)
    return dict(enumerate(out + splitter.flush(), start)), since


@pytest.mark.parametrize("seed", range(2))
def test_a_settled_splitter_cuts_as_one_that_saw_everything(seed):
    source = film(seed)
    pictures = [next(source) for _ in range(260)]
    truth, _ = verdicts(pictures, 0)
    compared = 0
    for start in range(5, 150, 48):
        found, since = verdicts(pictures, start)
        if since is not None:
            compared += 1
            assert all(found[i] == truth[i] for i in range(since, 260)), (start, since)
    assert sum(truth.values()) >= 4
    assert compared >= 2


def collected(frames, pictures, mesh):
    collector = AppearanceCollector()
    box = Box(0, 0, 96, 96)
    for frame in frames:
        weight = 0.2 if frame % 7 == 3 else 0.9
        rgb = pictures[frame % len(pictures)]
        collector.add(frame / 25, rgb, box, mesh + np.float32(0.01 * frame), weight, frame)
    return collector.gather()


@pytest.mark.parametrize("border", [25, 70])
def test_parts_of_a_track_keep_what_the_whole_would(border):
    rng = np.random.default_rng(1)
    pictures = [rng.integers(0, 256, (96, 96, 3)).astype(np.uint8) for _ in range(5)]
    shape = FaceMesh.load().shape * 40
    mesh = np.concatenate([shape, shape[:10]]) + np.float32(48)
    whole = collected(range(10, 100), pictures, mesh)
    parts = [collected(range(10, border), pictures, mesh)]
    parts.append(collected(range(max(border - 20, 10), 100), pictures, mesh))
    joined = AppearanceCollector.join(AppearanceCollector.join({}, parts[0], 0), parts[1], border)
    assert joined.keys() == whole.keys()
    for name, rows in whole.items():
        np.testing.assert_array_equal(joined[name], rows, err_msg=name)
    assert 0 < len(whole["frame"]) < KEEP


def test_the_stride_is_the_least_power_of_two_that_leaves_few():
    assert stride(range(KEEP - 1)) == 1
    assert stride(range(KEEP)) == 2
    assert stride(range(1000)) == 64
    assert stride([], 8) == 8


def test_two_histories_of_a_head_become_one():
    """The landmarks' noise depends on the region, as it does in truth: never the same twice."""

    def answer(region, k):
        noise = np.random.default_rng([k, *np.float64([region.x, region.size]).view(np.uint64)])
        true = np.array([300 + 40 * np.sin(k / 9), 200 + 2 * k, 180, 0.1 * np.sin(k / 7)])
        return Region(*(true + noise.normal(0, [0.05, 0.05, 0.05, 0.0003])))

    motions = [Motion(Region(290, 205, 170, 0.0), 0.0), Motion(Region(310, 190, 190, 0.05), 0.0)]
    same = []
    for k in range(1, 76):
        expected = [motion.expect(k / 25) for motion in motions]
        same.append(expected[0] == expected[1])
        for motion, region in zip(motions, expected, strict=True):
            motion.correct(answer(region, k), k / 25)
    assert not any(same[:10])
    assert all(same[50:])


def test_joined_rows_read_across_their_parts(tmp_path):
    files = []
    for number in range(3):
        spool = Spool(tmp_path / str(number))
        spool.append(np.arange(10, dtype=np.float32)[:, None] + 10 * number)
        files.append(spool.close())
    joined = JoinedRows([(files[0], 0, 10), (files[1], 4, 6), (files[2], 9, 10)])
    want = [*range(10), 14, 15, 29]
    assert len(joined) == 13
    for rows in (slice(0, 13), slice(8, 11), slice(10, 12), slice(12, 40), slice(5, 5)):
        assert joined[rows][:, 0].tolist() == want[rows]


def test_a_closed_network_gives_its_memory_back():
    """Each span opens its own; what one keeps is kept by every span of a clip."""
    pytest.importorskip("mediapipe")
    landmarker = Landmarker()
    graph = weakref.ref(landmarker._graph)
    landmarker.close()
    del landmarker
    gc.collect()
    assert graph() is None
