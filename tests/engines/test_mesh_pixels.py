"""The mesh engine's shortcuts: pixels come out as if every one of them had been worked out."""

from dataclasses import replace
from importlib import import_module

import cv2
import numpy as np
import pytest

from vidswap.engines.mesh.maps import Maps
from vidswap.engines.mesh.plan import lip_gain, parted
from vidswap.faces.facemesh import FaceMesh
from vidswap.faces.vertices import LIP_MIDDLES, LIPS_INNER, LIPS_OUTER


@pytest.fixture(scope="module")
def swapping(scene, meshed):
    engine, _, plan = meshed
    return engine, plan, scene.face(engine, plan, 2)


@pytest.mark.parametrize("step", [1, 3, 7])
def test_only_what_moves_is_moved_and_just_as_a_whole_remap_would(step):
    rng = np.random.default_rng(4)
    picture = cv2.GaussianBlur(rng.integers(0, 256, (210, 173, 3), dtype=np.uint8), (0, 0), 1)
    rows, cols = -(-210 // step) + 1, -(-173 // step) + 1
    shift = np.zeros((rows, cols, 2), np.float32)
    inner = (slice(rows // 4, rows // 2), slice(cols // 3, 2 * cols // 3))
    shift[inner] = rng.normal(0, 2, (*shift[inner].shape[:2], 2))
    shift = cv2.GaussianBlur(shift, (0, 0), 2)
    maps = Maps(shift, shift, shift[..., 0], shift[..., 0])
    move = import_module("vidswap.engines.mesh.render")._move
    size = (cols * step, rows * step)
    dense = cv2.resize(shift, size, interpolation=cv2.INTER_LINEAR)[:210, :173]
    y, x = np.mgrid[0:210, 0:173].astype(np.float32)
    whole = cv2.remap(
        picture, x + dense[..., 0], y + dense[..., 1], cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    moved = move(picture, maps, step)
    assert (moved != picture).any()
    np.testing.assert_array_equal(moved, whole)


def test_strips_leave_no_trace(swapping, monkeypatch):
    engine, plan, face = swapping
    usual = engine.swap([face], [plan])[0].rgb
    for pixels in (1, 1 << 24):
        monkeypatch.setattr(import_module("vidswap.engines.mesh.blend"), "STRIP", pixels)
        np.testing.assert_array_equal(engine.swap([face], [plan])[0].rgb, usual)


def test_deep_pictures_come_out_as_others_do(swapping):
    engine, plan, face = swapping
    usual = engine.swap([face], [plan])[0].rgb
    deep = engine.swap([replace(face, rgb=face.rgb.astype(np.uint16) * 257)], [plan])[0].rgb
    assert deep.dtype == np.uint16
    away = np.abs(deep / 257 - usual)
    assert away.max() < 3
    assert away.mean() < 0.5


def test_eyes_and_mouth_are_looked_for_only_around_them(swapping):
    """Nothing is lost at the edge of a place: there the soft border has ended."""
    engine, plan, face = swapping
    maps, shut = (import_module(f"vidswap.engines.mesh.{m}") for m in ("maps", "openings"))
    mesh = engine._mesh
    g = maps.geometry(face, plan, mesh, 1.0)
    found = shut.openings(g, mesh, face.rgb.shape[:2], (0, 0), 1.5)
    assert len(found.places) == 3
    beyond = found.picture.copy()
    for rows, columns in found.places:
        assert found.picture[rows, columns].max() > 200
        edge = found.picture[rows, columns]
        assert not edge[[0, -1]].any()
        assert not edge[:, [0, -1]].any()
        beyond[rows, columns] = 0
    assert not beyond.any()


def test_a_shut_mouth_shows_no_line_of_the_targets_lips(swapping):
    engine, plan, face = swapping
    maps, shut = (import_module(f"vidswap.engines.mesh.{m}") for m in ("maps", "openings"))
    g = maps.geometry(face, plan, engine._mesh, 1.0)
    moved = g.moved.copy()
    upper, lower = list(LIPS_INNER[1:10]), list(LIPS_INNER[:10:-1])
    tallest = []
    for gap in (0.0, 0.5, 8.0):
        moved[lower] = moved[upper] + (0, gap)
        found = shut.openings(
            replace(g, moved=moved), engine._mesh, face.rgb.shape[:2], (0, 0), 0.6
        )
        tallest.append([int(found.picture[place].max()) for place in found.places])
    eyes, mouth = np.array(tallest)[:, :2], np.array(tallest)[:, 2]
    assert (eyes > 200).all()
    assert mouth[0] < 30 < mouth[1] < 150 < 240 < mouth[2]


def test_edges_of_parted_lips_have_the_sources_colour(swapping, scene):
    engine, plan, _ = swapping
    index = int(np.argmax([parted(m) for m in scene.meshes]))
    face = scene.face(engine, plan, index)
    maps, shut = (import_module(f"vidswap.engines.mesh.{m}") for m in ("maps", "openings"))
    g = maps.geometry(face, plan, engine._mesh, 1.0)
    mouth = shut.openings(g, engine._mesh, face.rgb.shape[:2], (0, 0), 1.0).picture
    skin, lips = np.zeros_like(mouth), np.zeros_like(mouth)
    cv2.fillPoly(skin, [np.round(g.source[list(LIPS_OUTER)]).astype(np.int32)], 1)
    cv2.fillPoly(lips, [np.round(g.moved[list(LIPS_OUTER)]).astype(np.int32)], 1)
    edge = (lips > 0) & (mouth < 3) & (cv2.dilate(mouth, np.ones((7, 7))) > 3)
    painted = face.rgb.copy()
    painted[skin > 0] = np.clip(painted[skin > 0] * (0.8, 1.04, 0.95), 0, 255)
    out, usual = (
        engine.swap([replace(face, rgb=rgb)], [plan])[0].rgb[edge].astype(float)
        for rgb in (painted, face.rgb)
    )
    tint = np.abs(painted[edge].astype(float) - face.rgb[edge])[:, 0].mean()
    assert tint > 10
    assert np.abs(out - usual)[:, 0].mean() < 0.18 * tint


def test_what_the_targets_lips_show_inside_an_open_mouth_is_no_second_pair(swapping, scene):
    """Lips there take the drawn lips' colour; teeth stay, and so does what lies deep."""
    engine, plan, _ = swapping
    face = scene.face(engine, plan, int(np.argmax([parted(m) for m in scene.meshes])))
    maps, shut = (import_module(f"vidswap.engines.mesh.{m}") for m in ("maps", "openings"))
    g = maps.geometry(face, plan, engine._mesh, 1.0)
    # Wide enough to have a middle.
    moved = g.moved.copy()
    moved[[*LIPS_INNER[11:], *LIP_MIDDLES[1]]] += (0, 30)
    g = replace(g, moved=moved)
    plan = replace(plan, lips=np.array([[-0.5, -0.4, -0.45], [-0.4, -0.3, -0.4]], np.float32))
    height, width = face.rgb.shape[:2]
    inside = np.zeros((height, width), np.uint8)
    cv2.fillPoly(inside, [np.round(moved[list(LIPS_INNER)]).astype(np.int32)], 1)
    deep = cv2.distanceTransform(inside, cv2.DIST_L2, 5) / np.ptp(moved[:, 0])
    rim, middle = (deep > 0) & (deep < 0.006), deep > 0.04
    assert middle.sum() > 20
    lip, teeth = (180, 90, 90), (210, 195, 180)

    def drawn(colour, share=1.0):
        part = np.full((height, width, 3), lip, np.uint8)
        part[inside > 0] = colour
        before = part.astype(float)
        shut.recolour_lips(part, g, plan, np.full((height, width), share, np.float32), (0, 0), 1)
        return np.log(part / before)

    change = drawn(lip)
    upper, lower = ((moved[v] + (0, s)).astype(int) for v, s in ((13, 2), (14, -2)))
    for (x, y), gain in zip((upper, lower), plan.lips, strict=True):
        much = change[y, x] @ gain / (gain @ gain)
        assert 0.5 < much < 1.1
        np.testing.assert_allclose(change[y, x], much * gain, atol=0.04)
    assert change[rim].min() < -0.25
    assert np.abs(change[middle]).max() < 0.02
    beyond = cv2.dilate(inside, np.ones((3, 3), np.uint8)) == 0
    assert np.abs(change[beyond]).max() < 0.02
    assert np.abs(drawn(teeth)[cv2.erode(inside, np.ones((5, 5), np.uint8)) > 0]).max() < 0.02
    assert not drawn(lip, share=0.0).any()  # behind a hand, say
    # However pale the source's are, it is lips that are seen.
    plan = replace(plan, lips=np.array(2 * [[-0.6, 0.2, 0.2]], np.float32))
    change = drawn(lip)
    lost = (change[..., 1] - change[..., 0])[cv2.erode(inside, np.ones((3, 3), np.uint8)) > 0]
    assert 0.02 < lost.max() < 0.35 * np.log(180 / 90)


@pytest.mark.parametrize("colour", [(100, 100, 70), (210, 160, 150)])
def test_gain_of_the_lips_is_what_both_textures_differ_by_and_never_brighter(colour):
    own = np.array((150, 80, 80)) / 255
    target = np.full((256, 256, 3), (150, 80, 80), np.uint8)
    drawn = np.ones((512, 512, 4), np.float32)
    drawn[..., :3] = np.array(colour) / 255
    gain = lip_gain(drawn, target, FaceMesh.load())
    ratio = np.log(np.array(colour) / 255 + 0.03) - np.log(own + 0.03)
    brighter = max(ratio @ (0.3, 0.59, 0.11), 0)
    assert (brighter > 0.2) == (colour[0] > 150)
    np.testing.assert_allclose(gain, np.tile(ratio - brighter, (2, 1)), atol=0.01)
    drawn[..., 3] = 0  # a texture that ends above the lips has no say
    assert not lip_gain(drawn, target, FaceMesh.load()).any()
