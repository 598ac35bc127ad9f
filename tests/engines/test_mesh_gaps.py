"""Where the target is seen between drawn skin: at the lips of a parted mouth, and in gaps beside a nose."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from vidswap.engines.mesh.blend import _lift
from vidswap.engines.mesh.maps import geometry
from vidswap.engines.mesh.shape import parted
from vidswap.faces.facemesh import FaceMesh
from vidswap.faces.vertices import BROWS, LIPS_INNER, LIPS_OUTER

FAIR = 0.6
DARK = 60


def test_dark_lips_have_no_black_outline_where_they_part(scene, meshed):
    """As under a moustache: what the target's lips show there is given that colour once, not twice."""
    engine, _, plan = meshed
    face = scene.face(engine, plan, int(np.argmax([parted(m) for m in scene.meshes])))
    mesh = FaceMesh.load()
    levels = []
    for level in plan.levels:
        level = level.copy()
        lips = np.round(mesh.uv[list(LIPS_OUTER)] * len(level) - 0.5).astype(np.int32)
        zone = cv2.fillPoly(np.zeros(level.shape[:2], np.uint8), [lips], 1)
        zone = cv2.dilate(zone, np.ones((2 * (len(level) // 40) + 1,) * 2, np.uint8))
        level[zone > 0, :3] = DARK
        levels.append(level)
    lips = np.full((2, 3), -1.0, np.float32)
    plan = replace(plan, levels=tuple(levels), lips=lips, grain=0.0)
    (patch,) = engine.swap([face], [plan])
    inside = np.zeros(face.rgb.shape[:2], np.uint8)
    moved = geometry(face, plan, mesh, 1.0).moved
    cv2.fillPoly(inside, [np.round(moved[list(LIPS_INNER)]).astype(np.int32)], 1)
    around = cv2.dilate(inside, np.ones((7, 7), np.uint8)) - cv2.dilate(
        inside, np.ones((3, 3), np.uint8)
    )
    drawn = patch.rgb[around > 0].mean(-1)
    assert len(drawn) > 50
    assert np.percentile(drawn, 5) > 0.75 * DARK


@pytest.mark.parametrize("skin", [FAIR, 0.2])
def test_dark_spots_in_gaps_of_the_skin_are_lifted_to_what_is_drawn_around(skin):
    """A part of the target's nostril, where the drawn nose is skin; or a part of the drawn nostril."""
    target = np.full((40, 40, 3), FAIR, np.float32)
    target[18:22, 18:22] = 0.1
    gap = np.zeros((40, 40), np.float32)
    gap[17:23, 19:21] = 1
    texture = np.full_like(target, skin)
    lift = _lift(texture, 1 - gap, target, gap)
    np.testing.assert_allclose(lift[18:22, 19:21], skin - 0.1, atol=0.05)
    assert not lift[gap == 0].any()
    # What is as light as its surroundings stays as it is.
    assert not lift[[17, 22]].any()


def test_a_shadow_that_is_wider_than_a_gap_stays():
    target = np.full((60, 60, 3), FAIR, np.float32)
    target[:, 20:40] = 0.3
    gap = np.zeros((60, 60), np.float32)
    gap[:, 28:32] = 1
    lift = _lift(np.full_like(target, FAIR), 1 - gap, target, gap)
    assert not lift.any()


def test_a_brow_that_is_raised_out_of_the_swap_leaves_no_line_above_it(scene, meshed):
    engine, _, plan = meshed
    mesh = FaceMesh.load()
    face = scene.face(engine, plan, 0)
    points = geometry(face, plan, mesh, 1.0).moved
    brow = points[list(BROWS[0])]
    left, right = np.round(np.percentile(brow[:, 0], [25, 75])).astype(int)
    plain = engine.swap([face], [replace(plan, grain=0.0)])[0].rgb.astype(int)
    lifted = []
    for up in range(4, 40, 3):
        picture = face.rgb.copy()
        row = int(brow[:, 1].min()) - up
        picture[row - 1 : row + 2, left:right] = DARK
        with_line, without = (
            engine.swap([replace(face, rgb=picture)], [replace(plan, grain=0.0, above=room)])[0].rgb
            for room in (np.zeros_like(plan.above), plan.above)
        )
        before, after = (
            (plain - v)[row, left + 2 : right - 2].mean() for v in (with_line, without)
        )
        assert -3 < after < before + 3
        lifted.append(before - after)
    assert max(lifted) > 25
