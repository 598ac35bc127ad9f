"""The mesh engine's shortcuts: pixels come out as if every one of them had been worked out."""

from dataclasses import replace
from importlib import import_module

import cv2
import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from vidswap.engines.mesh.maps import Maps, Window
from vidswap.engines.mesh.plan import held_extents, lip_gain
from vidswap.engines.mesh.shape import parted
from vidswap.engines.mesh.strips import Grid, rows_of, strips
from vidswap.faces.facemesh import FaceMesh
from vidswap.faces.vertices import LIP_MIDDLES, LIPS_INNER, LIPS_OUTER
from vidswap.types import REST, Box


@pytest.fixture(scope="module")
def swapping(scene, meshed):
    engine, _, plan = meshed
    return engine, plan, scene.face(engine, plan, 2)


GRIDS = [Grid(1), Grid(3), Grid(7), Grid(3, 0.4, 2.7), Grid(2, -0.3, 1.1), Grid(6, 5.6, 0.01)]
"""As they lie when a face moves; a window's may begin up to half a pixel inside it."""
SIZE = (210, 173)


def spread(values, grid):
    """(210, 173, ...) coarse values where their cells' centres lie."""
    y, x = np.mgrid[0 : SIZE[0], 0 : SIZE[1]].astype(float)
    at = [(v + 0.5 + o) / grid.step - 0.5 for v, o in ((y, grid.y), (x, grid.x))]
    planes = np.moveaxis(np.atleast_3d(values), 2, 0)
    wide = [map_coordinates(p.astype(float), at, order=1, mode="nearest") for p in planes]
    return np.stack(wide, -1).astype(np.float32)


@pytest.mark.parametrize("grid", GRIDS)
def test_only_what_moves_is_moved_and_just_as_a_whole_remap_would(grid):
    rng = np.random.default_rng(4)
    picture = cv2.GaussianBlur(rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8), (0, 0), 1)
    rows, cols = grid.count(SIZE)
    shift = np.zeros((rows, cols, 2), np.float32)
    inner = (slice(rows // 4, rows // 2), slice(cols // 3, 2 * cols // 3))
    shift[inner] = rng.normal(0, 2, (*shift[inner].shape[:2], 2))
    shift = cv2.GaussianBlur(shift, (0, 0), 2)
    maps = Maps(shift, shift, shift[..., 0], shift[..., 0])
    move = import_module("vidswap.engines.mesh.render")._move
    dense = spread(shift, grid)
    y, x = np.mgrid[0 : SIZE[0], 0 : SIZE[1]].astype(np.float32)
    whole = cv2.remap(
        picture, x + dense[..., 0], y + dense[..., 1], cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    moved = move(picture, maps, grid)
    assert (moved != picture).any()
    # cv2.remap rounds places to a 32nd: what lies between two of them may go either way.
    away = np.abs(moved.astype(int) - whole)
    assert (away > 0).mean() < 0.01
    assert away.max() <= 8
    np.testing.assert_array_equal(
        moved[np.abs(dense).max(-1) == 0], picture[np.abs(dense).max(-1) == 0]
    )


@pytest.mark.parametrize("grid", GRIDS)
def test_strips_cover_every_pixel_once_and_place_exactly(grid):
    rng = np.random.default_rng(1)
    coarse = rng.normal(0, 1, (*grid.count(SIZE), 2)).astype(np.float32)
    planes = rows_of(cv2.split(coarse), grid, SIZE[1])
    exact, fast = np.full((*SIZE, 2), np.nan, np.float32), np.full((*SIZE, 2), np.nan, np.float32)
    wanted = np.ones(coarse.shape[:2], bool)
    for strip in strips(wanted, SIZE, grid, 3000):
        assert np.isnan(exact[strip.at]).all()
        exact[strip.at] = np.moveaxis(strip.place(planes), 0, 2)
        fast[strip.at] = strip.widen(coarse)
    np.testing.assert_allclose(exact, spread(coarse, grid), atol=1e-4)
    rounded = replace(grid, x=round(grid.x), y=round(grid.y))
    np.testing.assert_allclose(fast, spread(coarse, rounded), atol=1e-4)


@pytest.mark.parametrize("grid", GRIDS)
def test_means_of_cells_are_those_of_their_pixels(grid):
    y, x = np.mgrid[0 : SIZE[0], 0 : SIZE[1]].astype(np.float32)
    ramp = np.dstack([x, y, x + y]).astype(np.uint16)
    rows, cols = grid.count(SIZE)
    means = grid.means(ramp, (rows, cols)).astype(float)
    centres = (np.arange(cols) + 0.5) * grid.step - 0.5 - grid.x
    inner = slice(2, -3)
    assert means.shape == (rows, cols, 3)
    np.testing.assert_allclose(means[5, inner, 0], centres[inner], atol=1.01)


def test_a_window_has_the_cells_of_the_box():
    grid = Grid(3, 0.4, 2.7)
    alpha = np.zeros(grid.count(SIZE), np.float32)
    alpha[10:20, 12:30] = 1
    window = Window.around(alpha, grid)
    picture = np.arange(SIZE[0] * SIZE[1]).reshape(SIZE)
    left, top = window.origin
    part = picture[window.pixels]
    assert part[0, 0] == picture[top, left]
    points = np.float32([[50, 47], [60.3, 55.5]])
    there = grid.cells(points) - (window.left, window.top)
    np.testing.assert_allclose(window.inner.cells(points - (left, top)), there, atol=1e-5)


def test_cells_lie_on_the_face_and_not_on_the_box(swapping):
    """However much of the frame is cut out around a face, it is drawn the same."""
    engine, plan, face = swapping
    usual = engine.swap([face], [plan])[0].rgb.astype(int)
    for left, top in ((1, 0), (0, 2), (4, 3)):
        box = Box(face.box.left + left, face.box.top + top, face.box.right, face.box.bottom)
        cut = replace(face, rgb=np.ascontiguousarray(face.rgb[top:, left:]), box=box)
        away = np.abs(engine.swap([cut], [plan])[0].rgb - usual[top:, left:])
        inner = away[8:, 8:]
        assert inner.max() <= 3
        assert inner.mean() < 0.01


def test_a_face_between_two_sizes_of_texture_keeps_one():
    """Its width breathes about the one at which cells and texture change; later it comes near."""
    t = np.arange(200)
    size = np.where(t < 150, 200 + 8 * np.sin(t / 2), 200 + 6 * (t - 150)).astype(np.float32)
    boxes = np.stack([300 - size / 2, 300 - size * 0.6, 300 + size / 2, 300 + size * 0.6], -1)
    held = held_extents(boxes)
    assert len(np.unique(held[:150])) == 1
    assert 6 < len(np.unique(held)) < 12
    ratio = held / (1.4 * size)
    assert 1 / 1.16 < ratio.min() <= ratio.max() < 1.16
    turned = boxes.copy()
    turned[:, 2] -= 0.3 * size
    assert np.abs(held_extents(turned) / held - 1).max() < 0.2


def test_cells_and_texture_go_by_the_size_that_is_held(swapping):
    engine, plan, face = swapping
    usual = engine.swap([face], [plan])[0].rgb.astype(int)
    seen = {}
    for extent in (plan.extent(face.at.index, 0.0), 110.0, 600.0):
        held = replace(plan, extents=np.full(len(plan.extents), extent, np.float32))
        seen[extent] = np.abs(engine.swap([face], [held])[0].rgb - usual).mean()
    first, *others = seen.values()
    assert first == 0
    assert min(others) > 0
    assert plan.extent(-1, 77.0) == 77.0


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


def test_what_rounding_took_is_told(swapping):
    """With it an 8-bit face is as near as its target's own levels allow to one drawn in 16 bits."""
    engine, plan, face = swapping
    # Features that are moved, irises and lips are rounded before anything is drawn onto them, and grain
    # is taken from them.
    plan = replace(plan, grain=0.0)
    deep = replace(face, rgb=face.rgb.astype(np.uint16) * 257)
    (patch,), (exact,) = (engine.swap([one], [plan]) for one in (face, deep))
    drawn = np.abs(patch.rest).max(-1) > 0
    told = patch.rgb + patch.rest.astype(np.float32) / REST
    error = [np.abs(x - exact.rgb / 257)[drawn].mean() for x in (patch.rgb, told)]
    assert drawn.mean() > 0.2
    assert error[1] < 0.4 * error[0]


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
    # So wide that nobody takes what is in the middle for lips.
    moved = g.moved.copy()
    moved[[*LIPS_INNER[11:], *LIP_MIDDLES[1]]] += (0, 0.24 * np.ptp(moved[:, 0]))
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
    # Its edge is soft; farther away they are under the drawn ones.
    away = cv2.distanceTransform(1 - inside, cv2.DIST_L2, 5)
    assert change[(away > 0) & (away < 2)].min() < -0.25
    assert not change[away > 3 * shut.softness(g) + 2].any()
    assert np.abs(drawn(teeth)[cv2.erode(inside, np.ones((5, 5), np.uint8)) > 0]).max() < 0.02
    assert not drawn(lip, share=0.0).any()  # behind a hand, say
    # But what a fold leaves to the target is single cells, and they would be spots.
    holes = np.ones((height, width), np.float32)
    holes[upper[1], upper[0] - 2 : upper[0] + 3] = 0
    np.testing.assert_array_equal(drawn(lip, holes), change)
    # However pale the source's are, it is lips that are seen.
    plan = replace(plan, lips=np.array(2 * [[-0.6, 0.2, 0.2]], np.float32))
    change = drawn(lip)
    lost = (change[..., 1] - change[..., 0])[cv2.erode(inside, np.ones((3, 3), np.uint8)) > 0]
    assert 0.02 < lost.max() < 0.35 * np.log(180 / 90)


def parted_mouth(swapping, scene):
    """The module, geometry and plan of the frame in which lips part most, and (h, w) the opening."""
    engine, plan, _ = swapping
    face = scene.face(engine, plan, int(np.argmax([parted(m) for m in scene.meshes])))
    maps, shut = (import_module(f"vidswap.engines.mesh.{m}") for m in ("maps", "openings"))
    g = maps.geometry(face, plan, engine._mesh, 1.0)
    inside = np.zeros(face.rgb.shape[:2], np.uint8)
    cv2.fillPoly(inside, [np.round(g.moved[list(LIPS_INNER)]).astype(np.int32)], 1)
    return shut, g, plan, inside


def test_flesh_in_the_shadow_of_the_mouth_turns_no_violet(swapping, scene):
    """In warm light it is brown, and lips that are less so would make it blue before it is darkened."""
    shut, g, plan, inside = parted_mouth(swapping, scene)
    plan = replace(plan, lips=np.array(2 * [[-0.2, 0.0, 0.5]], np.float32))
    part = np.full((*inside.shape, 3), (180, 92, 42), np.uint8)
    part[inside > 0] = (160, 80, 34)
    before = part.astype(float)
    shut.recolour_lips(part, g, plan, np.ones(inside.shape, np.float32), (0, 0), 1)
    change = np.log(part / before)
    shadow = (inside > 0) & (change.mean(-1) < -0.35)
    assert shadow.sum() > 20
    assert (change[shadow, 2] - change[shadow, 0]).max() < 0.15


def test_flesh_between_lips_of_another_colour_lies_in_shadow(swapping, scene):
    """It would be taken for lips, and the mouth for shut; teeth, dark mouths and wide ones need none."""
    shut, g, plan, inside = parted_mouth(swapping, scene)
    plan = replace(plan, lips=np.array(2 * [[-0.3, 0.1, 0.0]], np.float32))
    height, width = inside.shape
    deep = cv2.distanceTransform(inside, cv2.DIST_L2, 5)
    middle = deep > 0.75 * deep.max()
    lip, flesh, teeth = (170, 75, 80), (160, 85, 90), (210, 195, 180)

    def darker(colour, own=plan, teeth_in=0.0):
        part = np.full((height, width, 3), lip, np.uint8)
        part[inside > 0] = colour
        columns = np.flatnonzero(inside.any(0))
        shown = inside.astype(bool)
        shown[:, columns[0] + round(teeth_in * len(columns)) :] = False
        part[shown] = teeth
        before = part.astype(float)
        everywhere = np.ones((height, width), np.float32)
        shut.recolour_lips(part, g, own, everywhere, (0, 0), 1)
        return -np.log(part / before).mean(-1)

    shadow = darker(flesh)
    assert 0.35 < shadow[middle].mean() < 0.6
    # It begins at nothing: lips round off into the mouth.
    assert shadow[(deep > 0) & (deep <= 1)].mean() < 0.7 * shadow[middle].mean()
    for colour in (teeth, (40, 15, 15)):
        assert np.abs(darker(colour)[middle]).max() < 0.05
    alike = replace(plan, lips=np.full((2, 3), 0.005, np.float32))
    assert np.abs(darker(flesh, alike)[middle]).max() < 0.05
    assert darker(flesh, teeth_in=0.6)[middle].max() < 0.25 * shadow[middle].mean()


def test_lips_part_a_little_farther_in_a_larger_face_and_stay_as_thick(swapping, scene):
    engine, plan, _ = swapping
    plans = import_module("vidswap.engines.mesh.plan")
    geometry = import_module("vidswap.engines.mesh.maps").geometry
    own = plan.shape
    usual, larger = (plans._parting(own * s, own) for s in (0.9, 1.1))
    assert 0.02 < usual < larger < 0.15
    for mesh, least in zip(
        sorted(scene.meshes, key=parted)[:: len(scene.meshes) - 1], (0.0, 0.1), strict=True
    ):
        face = scene.face(engine, plan, 0)
        face = replace(face, at=replace(face.at, mesh=mesh))
        same, farther = (
            geometry(face, replace(plan, parting=p), engine._mesh, 1.0).moved for p in (0.0, 0.1)
        )
        before, after = (np.linalg.norm(m[13] - m[14]) for m in (same, farther))
        assert after == pytest.approx(1.1 * before, rel=0.01)
        assert before >= least * np.ptp(same[:, 0]) / 3
        for lip in ((13, 12, 0), (14, 15, 17)):
            move = farther[list(lip)] - same[list(lip)]
            np.testing.assert_allclose(move, np.tile(move[0], (3, 1)), atol=1e-3)
        np.testing.assert_array_equal(same[[61, 291, 1, 152]], farther[[61, 291, 1, 152]])


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
