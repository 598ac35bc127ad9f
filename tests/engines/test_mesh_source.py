"""What a photograph of a turned or side-lit head gives, and what it must not."""

import cv2
import numpy as np
import pytest

from vidswap.engines.mesh.mask import skin_mask
from vidswap.engines.mesh.regions import depth_inside, features, polygon
from vidswap.engines.mesh.shade import clean_shadows, even_light
from vidswap.engines.mesh.source import identify
from vidswap.faces.facemesh import Atlas, FaceMesh
from vidswap.faces.vertices import BROWS, EYES
from vidswap.types import SourceFace


@pytest.fixture(scope="module")
def mesh():
    return FaceMesh.load()


@pytest.fixture(scope="module")
def normals(mesh):
    smooth = mesh.spread(mesh.normals(mesh.extend(mesh.shape)), 2)
    return Atlas.build(mesh, 256).spread(smooth)


def turned_head(mesh, yaw):
    """Plain skin whose mesh misses the outline: the background shows where it has the far eye."""
    angle = np.radians(yaw)
    turn = np.array(
        [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
    )
    points = ((mesh.shape @ turn.T) * 200 + [256, 256, 0]).astype(np.float32)
    iris = np.repeat(points[[468 - 1, 468 - 1]], 5, 0)
    photo = np.full((512, 512, 3), (180, 140, 120), np.uint8)
    edge = points[33 if yaw > 0 else 263, 0]
    x = np.arange(512)
    photo[:, (x < edge) if yaw > 0 else (x > edge)] = 8
    return SourceFace(
        rgb=photo,
        mesh=np.concatenate([points, iris]),
        pose=np.zeros(3, np.float32),
        path="made",
        score=1.0,
    )


@pytest.mark.parametrize("yaw", [35, -35])
def test_background_beside_the_far_eye_of_a_turned_head_is_no_skin(mesh, yaw):
    source = turned_head(mesh, yaw)
    assert (source.rgb.max(-1) < 20).any()
    found = identify([source], mesh, Atlas.build(mesh, 512), Atlas.build(mesh, 256))
    far = EYES[0] if yaw > 0 else EYES[1]
    around = (polygon(far, 512, 0.04) > 0) & (found.valid > 0.5)
    assert around.mean() > 0.005
    assert (found.texture[around].max(-1) < 0.8 * 180 / 255).mean() < 0.05


def test_light_from_one_side_is_evened_out_and_marks_stay(normals):
    size = 256
    mole = np.ones((size, size, 1), np.float32)
    cv2.circle(mole, (90, 150), 4, 0.6, -1)
    skin = np.array((0.4, 0.3, 0.25), np.float32) * mole
    light = np.exp(0.6 * normals[..., :1] * np.array((1.0, 1.0, 1.3), np.float32))
    photo = np.clip(skin * light, 0, 1).astype(np.float32)
    inside = (depth_inside(size) > 0.02) & (features(size, 0.02) < 0.5)
    half = inside & (np.arange(size) > size // 2)  # the other one was not seen
    out = even_light(photo, half.astype(np.float32), normals, 1.0)

    def lopsided(x):
        logs = np.log(x + 0.03)
        return np.abs(logs - logs[:, ::-1])[inside & inside[:, ::-1]].mean()

    assert lopsided(out) < 0.15 * lopsided(photo)
    assert np.log(out[150, 90] / out[150, 105]).mean() == pytest.approx(np.log(0.6), abs=0.12)
    some = even_light(photo, half.astype(np.float32), normals, 0.4)
    assert lopsided(out) < lopsided(some) < lopsided(photo)
    np.testing.assert_array_equal(even_light(photo, half.astype(np.float32), normals, 0.0), photo)


def test_a_scarf_right_above_the_brows_leaves_room_for_raised_ones(mesh):
    """The target's own would show there."""
    source = turned_head(mesh, 0)
    top = source.mesh[[i for brow in BROWS for i in brow], 1].min()
    source.rgb[: int(top) - 10] = (30, 40, 110)
    found = identify([source], mesh, Atlas.build(mesh, 512), Atlas.build(mesh, 256))
    above = np.max([polygon(brow, 512, 0.025) for brow in BROWS], 0) > 0
    above[np.flatnonzero((np.max([polygon(brow, 512) for brow in BROWS], 0) > 0).any(1))[0] :] = 0
    assert found.valid[above].mean() > 0.8
    shown = found.texture[above & (found.valid > 0.2)]
    assert (shown[:, 0] > shown[:, 2]).mean() > 0.98  # skin and no scarf
    assert found.valid[:60].max() < 0.1


@pytest.mark.parametrize("yaw", [22, -22])
@pytest.mark.parametrize("side", ["far", "near"])
def test_a_line_on_the_far_flank_of_a_nose_is_no_stain_and_one_on_the_near_flank_stays(
    mesh, monkeypatch, yaw, side
):
    source = turned_head(mesh, yaw)
    source.rgb[:] = source.rgb.max((0, 1))
    # Grain, as every photo has it: GrabCut is slow on a plain one.
    source.rgb[:] += np.random.default_rng(3).integers(0, 3, source.rgb.shape, dtype=np.uint8)
    flank = (188, 174, 198) if (yaw > 0) == (side == "far") else (412, 399, 420)
    line = np.round(source.mesh[list(flank), :2]).astype(np.int32)
    cv2.polylines(source.rgb, [line], False, (100, 80, 70), 3)
    x, y = np.round(mesh.uv[flank[1]] * 512).astype(int)

    def dark():
        found = identify([source], mesh, Atlas.build(mesh, 512), Atlas.build(mesh, 256))
        return 180 / 255 - found.texture[y - 12 : y + 13, x - 12 : x + 13].max(-1).mean()

    cleaned = dark()
    monkeypatch.setattr("vidswap.engines.mesh.source.CLEANED", 0.0)
    usual = dark()
    assert usual > 0.02
    if side == "far":
        assert cleaned < 0.8 * usual
    else:
        assert cleaned == pytest.approx(usual, rel=0.02)


def test_the_sides_of_a_frontal_photo_are_seen_at_a_slant(mesh):
    found = identify([turned_head(mesh, 0)], mesh, Atlas.build(mesh, 512), Atlas.build(mesh, 256))
    row = found.slant[300]
    assert row[256] < 0.1
    assert row[100] > 0.7
    assert row[412] > 0.7


def test_a_mark_beside_one_brow_does_not_come_to_stand_beside_the_other():
    """Elsewhere the half in shadow does take the other's detail."""
    size = 512
    shadow = np.where(np.arange(size) < size / 2, 0.5, 1.0)[None, :, None]
    photo = np.full((size, size, 3), (0.7, 0.55, 0.45)) * shadow
    tail = polygon(BROWS[1], size, 0.03) * (polygon(BROWS[1], size, 0.022) == 0) > 0
    cheek = np.zeros((size, size), bool)
    cheek[290:296, 340:346] = True
    photo[tail | cheek] *= 0.6
    out = clean_shadows(photo.astype(np.float32), np.ones((size, size), np.float32)).mean(-1)
    depths = []
    for mark in (tail, cheek):
        other = mark[:, ::-1].astype(np.uint8)
        around = cv2.dilate(other, np.ones((15, 15), np.uint8)) - cv2.dilate(other, np.ones((9, 9)))
        depths.append(np.log(out[around > 0].mean() / out[other > 0].mean()))
    assert depths[1] > 0.15
    assert abs(depths[0]) < 0.05


def test_a_target_has_room_for_raised_brows_under_its_hair():
    """Hair stands close above the brows: only as far around them as is asked for does the face go on."""
    size = 256
    skin = np.full((size, size, 3), (200, 160, 140), np.uint8)
    brows = np.max([polygon(b, size) for b in BROWS], 0) > 0
    rows = np.arange(size)[:, None]
    hair = np.broadcast_to(rows < np.nonzero(brows)[0].min() - 0.03 * size, brows.shape)
    skin[brows | hair] = (40, 30, 30)
    seen = np.full((size, size), 255, np.uint8)
    ring = (np.max([polygon(b, size, 0.045) for b in BROWS], 0) > 0) & ~hair
    ring &= np.max([polygon(b, size, 0.03) for b in BROWS], 0) == 0
    usual, more = (
        skin_mask(skin, seen, room)[ring & (rows < 0.3 * size)].mean() for room in (0.03, 0.05)
    )
    assert more > usual + 0.1


def test_the_tail_of_a_brow_that_ends_at_hair_is_covered():
    """Half of it would be seen beside another's."""
    size = 256
    skin = np.full((size, size, 3), (200, 160, 140), np.uint8)
    brows = [polygon(b, size) > 0 for b in BROWS]
    columns = np.arange(size)[None]
    first, last = (int(np.nonzero(b.any(0))[0][k]) for b, k in zip(brows, (0, -1), strict=True))
    skin[brows[0] | brows[1]] = (40, 30, 30)
    skin[:, : first + 1] = skin[:, last:] = (40, 30, 30)
    shown = skin_mask(skin, np.full((size, size), 255, np.uint8))
    tails = [
        (columns > first + 4) & (columns < first + 8),
        (columns > last - 8) & (columns < last - 4),
    ]
    for brow, tail in zip(brows, tails, strict=True):
        assert shown[brow & tail].mean() > 0.75
