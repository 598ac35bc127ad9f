"""Hair of nearly the skin's colour is told from skin, and nothing else is taken for it."""

import numpy as np
import pytest

from vidswap.engines.mesh.hair import CHIN, hair, trusted
from vidswap.engines.mesh.regions import depth_inside, polygon
from vidswap.faces.facemesh import Atlas, FaceMesh
from vidswap.faces.vertices import BROWS, EYES, LIPS_OUTER

SIZE = 256
SEEN = np.full((SIZE, SIZE), 255, np.uint8)


@pytest.fixture(scope="module")
def normals():
    mesh = FaceMesh.load()
    smooth = mesh.spread(mesh.normals(mesh.extend(mesh.shape)), 2)
    return Atlas.build(mesh, SIZE).spread(smooth)


@pytest.fixture
def skin(normals):
    """(256, 256, 3) grainy skin in warm light from one side, with dark brows, eyes and lips, in [0, 255]."""
    light = np.exp(0.5 * normals[..., :1] - 0.6 * (1 + normals[..., 2:]))
    grain = np.random.default_rng(2).normal(0, 3, (SIZE, SIZE, 1))
    face = np.array([190, 140, 110]) * light + grain
    for part in (*BROWS, *EYES, LIPS_OUTER):
        face[polygon(part, SIZE) > 0] *= 0.5
    return face


def found(face, normals):
    return hair(np.clip(face, 0, 255).astype(np.uint8), SEEN, normals)


def beside(size=SIZE):
    """Image-left temple and cheek beyond the eye's corner."""
    x, y = (np.indices((size, size))[::-1] + 0.5) / size
    return (x < 0.27) & (y > 0.2) & (y < 0.6) & (depth_inside(size) > 0)


def test_a_bare_face_has_no_hair_in_it(skin, normals):
    assert found(skin, normals).max() == 0


def test_fair_hair_over_a_temple_is_found_and_no_more(skin, normals):
    there = beside()
    skin[there] *= [0.85, 0.7, 0.55]
    got = found(skin, normals)
    assert got[there & (depth_inside(SIZE) > 0.02)].mean() > 0.9
    for part in (CHIN, *EYES, LIPS_OUTER):
        assert got[polygon(part, SIZE) > 0].max() < 0.05
    assert got[:, round(0.36 * SIZE) :].max() < 0.05


def test_what_lies_behind_the_edge_of_a_strand_is_hair_as_well(skin, normals):
    """As fair as the skin itself: only the strand's shadow at the edge is not."""
    x, y = (np.indices((SIZE, SIZE))[::-1] + 0.5) / SIZE
    skin[(x > 0.25) & (x < 0.27) & (y < 0.7)] *= 0.5
    skin[(x < 0.27) & (y > 0.58) & (y < 0.6)] *= 0.5
    got = found(skin, normals)
    assert got[(x > 0.17) & (x < 0.24) & (y > 0.35) & (y < 0.55)].min() > 0.9
    assert got[x > 0.36].max() < 0.05


def test_hair_that_hangs_down_beside_a_mouth_is_found_up_to_where_a_moustache_may_end(
    skin, normals
):
    x, y = (np.indices((SIZE, SIZE))[::-1] + 0.5) / SIZE
    corner = np.flatnonzero((polygon(LIPS_OUTER, SIZE) > 0).any(0))[0] / SIZE
    hangs = (x < corner - 0.075) & (y > 0.2) & (y < 0.69)
    skin[hangs] *= [0.85, 0.7, 0.55]
    got = found(skin, normals)
    beside = (np.abs(y - 0.62) < 0.03) & (x > 0.2)
    assert got[beside & hangs].min() > 0.9
    assert got[beside & (x > corner - 0.03)].max() < 0.05


def test_a_hard_shadow_is_not_hair(skin, normals):
    x = (np.arange(SIZE) + 0.5) / SIZE
    skin[:, x < 0.42] *= 0.35
    assert found(skin, normals).max() == 0


def test_a_beard_stays(skin, normals):
    x, y = (np.indices((SIZE, SIZE))[::-1] + 0.5) / SIZE
    skin[(y > 0.62) | ((y > 0.5) & (np.abs(x - 0.5) > 0.24))] *= [0.5, 0.45, 0.4]
    got = found(skin, normals)
    assert got[round(0.64 * SIZE) :].max() < 0.05


@pytest.mark.parametrize(
    ("hair_colour", "stays"), [((0.25, 0.2, 0.2), True), ((0.85, 0.7, 0.5), False)]
)
def test_the_tail_of_a_brow_stays_beside_dark_hair_and_goes_under_fair(
    skin, normals, hair_colour, stays
):
    x = (np.arange(SIZE) + 0.5) / SIZE
    brow = polygon(BROWS[0], SIZE) > 0
    there = beside() | ((x < 0.3)[None] & brow)
    bare = skin / np.where(brow, 0.5, 1)[..., None]
    skin[there] = (bare * hair_colour)[there]
    tail = brow & (x < 0.29)[None]
    assert tail.sum() > 10
    got = found(skin, normals)[tail]
    assert got.max() < 0.5 if stays else got.mean() > 0.5


def test_a_photo_fades_out_beside_its_hair(skin, normals):
    """Its end amid a cheek would be a seam; brows and eyes that are free stay whole."""
    skin[beside()] *= [0.85, 0.7, 0.55]
    trust = trusted(found(skin, normals), 0.1, 0.4)
    drawn = np.clip((trust - 0.1) / 0.3, 0, 1)
    row = drawn[round(0.5 * SIZE), round(0.2 * SIZE) : SIZE // 2]
    assert row[0] < 0.01
    assert row[-1] > 0.99
    assert np.abs(np.diff(row)).max() < 0.2
    assert ((row > 0.05) & (row < 0.95)).sum() > 6
    for eye in EYES:
        assert drawn[polygon(eye, SIZE) > 0].mean() > 0.9
    assert trusted(np.zeros((SIZE, SIZE), np.float32), 0.1, 0.4).min() == 1
