"""The talking portrait: what it says of itself is what is seen, and what moves is of one piece."""

import numpy as np
import pytest

from tests.engines.conftest import portrait
from vidswap.faces.pose import eye_opening, mouth_opening
from vidswap.faces.puppet import Act, Puppet


@pytest.fixture(scope="module")
def puppet():
    source = portrait("astronaut")
    return Puppet(source.rgb, source.mesh, (640, 480))


@pytest.fixture(scope="module")
def landmarker():
    landmarks = pytest.importorskip("vidswap.faces.landmarks")
    found = landmarks.Landmarker()
    yield lambda picture, mesh: found.mesh(picture, landmarks.region_of(mesh), 4).mesh
    found.close()


def lip(mesh):
    """Thickness of the lower lip, in outer-eye distances."""
    return np.linalg.norm(mesh[17, :2] - mesh[14, :2]) / np.linalg.norm(mesh[33] - mesh[263])


def test_the_lower_lip_goes_down_as_a_whole(puppet):
    shut, wide = (puppet.frame(Act(jaw=jaw))[1] for jaw in (0.0, 1.0))
    assert mouth_opening(wide) > mouth_opening(shut) + 0.15
    assert lip(wide) == pytest.approx(lip(shut), rel=0.1)
    # Corners and the upper lip stay.
    np.testing.assert_allclose(wide[[61, 291, 13, 0]], shut[[61, 291, 13, 0]], atol=2.0)


@pytest.mark.parametrize("jaw", [0.4, 1.0])
def test_an_open_mouth_is_seen_as_open_as_it_is_said_to_be(puppet, landmarker, jaw):
    pictures, truth = zip(*(puppet.frame(Act(jaw=v)) for v in (0.0, jaw)), strict=True)
    seen = [landmarker(p, m) for p, m in zip(pictures, truth, strict=True)]
    said, found = (float(np.diff(mouth_opening(np.stack(m)))[0]) for m in (truth, seen))
    assert found == pytest.approx(said, rel=0.35)


def test_what_opens_is_dark_below_the_teeth(puppet):
    picture, mesh = puppet.frame(Act(jaw=1.0))
    x, y = mesh[14, :2]
    assert picture[round(y) - 6, round(x)].max() < 80
    teeth = picture[round(mesh[13, 1]) : round(y), round(x)].max(1)
    assert teeth.max() > 150


def test_shut_lids_are_skin_with_lashes_on_their_edge(puppet, landmarker):
    picture, mesh = puppet.frame(Act(blink=1.0))
    assert eye_opening(mesh).max() < 0.02
    assert eye_opening(landmarker(picture, mesh)).max() < 0.2
    for lid, crease in ((159, 27), (386, 257)):
        edge, above = mesh[lid, :2], mesh[crease, :2]
        middle = np.round((edge + above) / 2).astype(int)
        x, y = np.round(edge).astype(int)
        assert picture[y - 1 : y + 2, x].mean() < 0.75 * picture[middle[1], middle[0]].mean()


def test_a_still_puppet_is_its_portrait(puppet):
    first, again = puppet.frame(Act())[0], puppet.frame(Act())[0]
    np.testing.assert_array_equal(first, again)
    height, width = puppet._rgb.shape[:2]
    top, left = (height - 480) // 2, (width - 640) // 2
    own = puppet._rgb[top : top + 480, left : left + 640]
    assert np.abs(first.astype(int) - own).mean() < 4
