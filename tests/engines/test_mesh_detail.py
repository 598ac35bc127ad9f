"""How crisp a photo's texture is next to the footage."""

import cv2
import numpy as np
import pytest

from vidswap.engines.mesh.plan import TEXTURED, frontal_view, match_detail
from vidswap.engines.mesh.source import TEXTURE
from vidswap.faces.appearance import high_pass
from vidswap.faces.facemesh import FaceMesh

EYES = 110.0
"""Pixels between the outer eye corners."""


@pytest.fixture(scope="module")
def mesh():
    return FaceMesh.load()


def noise(strength):
    rng = np.random.default_rng(7)
    one = cv2.GaussianBlur(rng.normal(0, 1, (TEXTURE, TEXTURE)), (0, 0), 1.5)
    return np.repeat((0.5 + strength * one / one.std())[..., None], 3, 2).astype(np.float32)


def seen(texture, mesh):
    _, uv, skin = frontal_view(mesh.whole_shape, mesh, EYES)
    drawn = cv2.remap(np.clip(texture, 0, 1), uv, None, cv2.INTER_LINEAR)
    return high_pass(np.round(drawn * 255).astype(np.uint8), skin)


def matched(strength, footage, mesh):
    wanted = seen(noise(footage), mesh)
    detail = np.array([wanted[0], wanted[1], EYES, wanted[2]], np.float32)
    valid = np.ones((TEXTURE, TEXTURE), np.float32)
    texture, grain = match_detail(
        noise(strength), valid, detail, mesh.whole_shape, mesh, strength=1.0
    )
    return seen(texture, mesh)[0] / wanted[0], grain


@pytest.mark.parametrize("strength", [0.03, 0.06, 0.12])
def test_a_crisp_photo_leaves_room_for_the_footages_own_detail(mesh, strength):
    have, grain = matched(strength, 0.03, mesh)
    assert have == pytest.approx(TEXTURED, abs=0.06)
    # Both together are as crisp as the footage: they have nothing to do with each other.
    assert np.hypot(have, grain) == pytest.approx(1, abs=0.06)


def test_a_soft_photo_stays_as_it_is(mesh):
    have, grain = matched(0.01, 0.03, mesh)
    assert have == pytest.approx(1 / 3, abs=0.05)
    assert grain > 0.9
