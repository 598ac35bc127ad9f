"""The mesh engine against truth: what must change, what must not, and what light must not do."""

from dataclasses import replace
from itertools import pairwise

import cv2
import numpy as np
import pytest

from vidswap.engines.mesh import Mesh
from vidswap.engines.mesh.light import relight
from vidswap.engines.mesh.maps import coarse_maps
from vidswap.engines.mesh.mask import skin_mask
from vidswap.engines.mesh.plan import iris_gain
from vidswap.engines.mesh.regions import depth_inside, features, polygon
from vidswap.engines.mesh.render import geometry
from vidswap.engines.mesh.shade import clean_shadows
from vidswap.engines.mesh.shape import LIP_COLUMNS, aperture, foreign_lines, shape_offset
from vidswap.engines.mesh.strips import Grid
from vidswap.faces.appearance import AppearanceCollector
from vidswap.faces.facemesh import EYE, MOUTH, SKIN, Atlas, FaceMesh, rasterise
from vidswap.faces.vertices import BROWS, EYES
from vidswap.recipe import MeshEngine


@pytest.fixture(scope="module")
def engine():
    return Mesh(MeshEngine())


@pytest.fixture(scope="module")
def mesh():
    return FaceMesh.load()


@pytest.fixture(scope="module")
def swapped(meshed, scene):
    engine, identity, plan = meshed
    face = scene.face(engine, plan, 1)
    return identity, plan, face, engine.swap([face], [plan])[0]


def unwrap(rgb, box, vertices, mesh, size=128):
    atlas = Atlas.build(mesh, size)
    points = mesh.extend(vertices)[:, :2] - (box.left, box.top)
    return cv2.remap(rgb, atlas.spread(points.astype(np.float32)), None, cv2.INTER_LINEAR)


def relief(x, where):
    """Mid-frequency luma inside a mask: features, not light."""
    luma = cv2.cvtColor(np.asarray(x, np.float32), cv2.COLOR_RGB2GRAY)
    return (cv2.GaussianBlur(luma, (0, 0), 1.5) - cv2.GaussianBlur(luma, (0, 0), 12))[where]


def test_result_shows_the_source_and_not_the_target(swapped, mesh):
    identity, plan, face, patch = swapped
    moved = face.at.mesh[:468].copy()
    moved[:, :2] = geometry(face, plan, mesh, 1.0).moved[:468]
    moved[:, :2] += (face.box.left, face.box.top)
    result = unwrap(patch.rgb, face.box, moved, mesh)
    target = unwrap(face.rgb, face.box, face.at.mesh, mesh)
    source = cv2.resize(identity.texture * 255, (128, 128), interpolation=cv2.INTER_AREA)
    rows = np.arange(128)[:, None]
    eyes = np.max([polygon(eye, 128, 0.02) for eye in EYES], 0) > 0  # gaze is the target's
    inner = (depth_inside(128) > 0.08) & (rows > 34) & (rows < 70) & ~eyes
    # Sockets and the nose's flanks are alike on everybody: it is what tells the two people apart that
    # has to be the source's. The photo's glasses do not come along.
    was, now, wanted = (relief(x, inner) for x in (target, result, source))
    assert np.corrcoef(now - was, wanted - was)[0, 1] > 0.6
    assert np.corrcoef(now, wanted)[0, 1] > np.corrcoef(was, wanted)[0, 1] + 0.3


def test_swapping_a_person_onto_themselves_changes_little(engine, scene, astronaut):
    plan = engine.plan(scene.track, scene.static, engine.identify([astronaut]))
    face = scene.face(engine, plan, 0)
    patch = engine.swap([face], [plan])[0]
    error = (patch.rgb.astype(float) - face.rgb) ** 2
    assert 10 * np.log10(255**2 / error.mean()) > 30


def test_mouth_and_gaze_stay_the_targets(swapped, mesh, scene):
    _, _, face, patch = swapped
    points = mesh.extend(face.at.mesh)[:, :2] - (face.box.left, face.box.top)
    mouth = np.flatnonzero(mesh.labels == MOUTH)
    inside = rasterise(points, mesh.triangles, face.rgb.shape[:2], mouth) >= 0
    inside = cv2.erode(inside.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    assert inside.sum() > 30
    luma_in, luma_out = (x.mean(-1)[inside].astype(float) for x in (face.rgb, patch.rgb))
    assert abs(luma_in.mean() - luma_out.mean()) < 18


def test_pixels_beyond_the_rings_are_bit_equal(swapped, mesh):
    _, _, face, patch = swapped
    points = mesh.extend(face.at.mesh)[:, :2] - (face.box.left, face.box.top)
    everything = np.arange(len(mesh.triangles))
    covered = rasterise(points, mesh.triangles, face.rgb.shape[:2], everything) >= 0
    outside = cv2.dilate(covered.astype(np.uint8), np.ones((13, 13), np.uint8)) == 0
    assert outside.sum() > 50
    np.testing.assert_array_equal(patch.rgb[outside], face.rgb[outside])


def test_no_seam(swapped, mesh):
    """Gradients along the oval stay near what they were."""
    _, _, face, patch = swapped
    points = mesh.extend(face.at.mesh)[mesh.oval, :2] - (face.box.left, face.box.top)
    ring = np.zeros(face.rgb.shape[:2], np.uint8)
    cv2.polylines(ring, [np.round(points).astype(np.int32)], True, 1, 9)

    def steep(x):
        luma = cv2.cvtColor(x, cv2.COLOR_RGB2GRAY).astype(np.float32)
        return np.hypot(cv2.Sobel(luma, cv2.CV_32F, 1, 0), cv2.Sobel(luma, cv2.CV_32F, 0, 1))[
            ring > 0
        ].mean()

    assert 0.8 < steep(patch.rgb) / steep(face.rgb) < 1.2


def test_exposure_and_tint_of_the_photo_do_not_matter(engine, scene, hopper, swapped):
    _, _, _, usual = swapped
    photo = np.clip(hopper.rgb * np.array([0.62, 0.7, 0.8]), 0, 255).astype(np.uint8)
    plan = engine.plan(scene.track, scene.static, engine.identify([replace(hopper, rgb=photo)]))
    patch = engine.swap([scene.face(engine, plan, 1)], [plan])[0]
    assert np.abs(patch.rgb.astype(float) - usual.rgb).mean() < 4


def test_confidence_and_yaw_fade_without_a_step(engine, scene, swapped):
    _, plan, face, full = swapped
    change = [np.abs(full.rgb.astype(float) - face.rgb).mean()]
    for yaw in (43, 45.5, 48, 50.5, 53):
        patch = engine.swap([scene.face(engine, plan, 1, pose=(yaw, 0, 0))], [plan])[0]
        change.append(np.abs(patch.rgb.astype(float) - face.rgb).mean())
    assert all(a >= b for a, b in pairwise(change))
    assert max(a - b for a, b in pairwise(change)) < 0.45 * change[0]
    assert engine.swap([scene.face(engine, plan, 1, pose=(75, 0, 0))], [plan]) == [None]
    assert engine.swap([scene.face(engine, plan, 1, confidence=0.0)], [plan]) == [None]


def test_track_without_appearance_is_left_alone(engine, scene, hopper):
    plan = engine.plan(scene.track, {}, engine.identify([hopper]))
    assert engine.swap([scene.face(engine, plan, 0)], [plan]) == [None]


def test_fringe_is_not_skin(astronaut, mesh):
    atlas = Atlas.build(mesh, 256)
    vertices = mesh.extend(astronaut.mesh)
    grid = atlas.spread(
        np.concatenate([vertices[:, :2], np.ones((len(vertices), 1))], 1).astype(np.float32)
    )
    texture = cv2.remap(astronaut.rgb, grid[..., :2], None, cv2.INTER_LINEAR)
    skin = skin_mask(texture, np.where(atlas.triangle >= 0, 255, 0).astype(np.uint8))

    def at(vertex):
        u, v = (mesh.uv[vertex] * 256).astype(int)
        return skin[v - 2 : v + 3, u - 2 : u + 3].mean()

    assert at(10) < 0.2  # top of the forehead, under her hair
    assert min(at(v) for v in (50, 280, 1, 199)) > 0.9  # cheeks, nose, chin


def test_an_eyeliners_wing_beside_hair_is_no_hair(mesh):
    size, hair = 256, 65
    rng = np.random.default_rng(2)
    face = np.full((size, size, 3), (190, 150, 125), np.float32) + rng.normal(0, 2, (size, size, 1))
    face[:, :hair] = face[:, size - hair :] = (35, 28, 30)
    face = np.clip(face, 0, 255).astype(np.uint8)
    corners = np.round(mesh.uv[[33, 263]] * size).astype(int).tolist()
    for (x, y), side in zip(corners, (-1, 1), strict=True):
        cv2.line(face, (x, y), (x + side * 12, y - 5), (20, 16, 18), 3, cv2.LINE_AA)
    skin = skin_mask(face, np.full((size, size), 255, np.uint8))
    for (x, y), side in zip(corners, (-1, 1), strict=True):
        assert skin[y - 2, x + side * 6] > 0.8
        assert skin[y - 3, x + side * 8] > 0.45
    assert skin[:, : hair - 3].max() < 0.05


def test_shape_offset_leaves_openings_and_rim_alone(mesh, hopper, astronaut):
    rng = np.random.default_rng(5)
    target = mesh.shape
    source = target + rng.normal(0, 0.02, target.shape).astype(np.float32)
    source[[13, 82, 312]] += [0, -0.08, 0]
    source[[14, 87, 317]] += [0, 0.08, 0]
    offset, *lids = shape_offset(source, target, mesh, 1.0)
    assert not offset[-len(mesh.oval) :].any()
    assert not any(part[:, -len(mesh.oval) :].any() for part in lids)
    opened = (offset[14] - offset[13])[1]
    assert abs(opened) < 0.25 * 0.16  # the photo's open mouth does not open the target's
    assert abs((offset[145] - offset[159])[1]) < 0.02
    assert all(np.abs(part).max() < 1e-5 for part in shape_offset(target, target, mesh, 1.0)[:2])


def test_lips_part_and_lids_open_as_far_as_the_targets(mesh):
    """Also where the photo's mouth is shut, and its brows weigh on the lids until skin must give way."""
    target = mesh.shape.copy()
    for _, lower in LIP_COLUMNS:
        target[list(lower), 1] += 0.05  # a target that talks: its median mouth is open
    source = mesh.shape.copy()
    for upper, lower in LIP_COLUMNS:
        middle = (source[upper[0]] + source[lower[0]]) / 2
        source[[upper[0], lower[0]]] = middle
    brows = sorted({*BROWS[0], *BROWS[1]})
    source[brows, 1] += 0.12
    offset, *_ = shape_offset(source, target, mesh, 1.0)
    for upper, lower in LIP_COLUMNS:
        assert abs((offset[lower[0]] - offset[upper[0]])[1]) < 0.004
    for before, after in zip(aperture(target), aperture(target + offset[:468]), strict=True):
        assert 0.95 < after / before < 1.05


def test_colour_closes_the_gap_beside_a_nose_and_not_the_outline(meshed, scene, mesh):
    engine, _, plan = meshed
    face = scene.face(engine, plan, 1)
    size = face.rgb.shape[:2]
    maps = coarse_maps(geometry(face, plan, mesh, 1.0), mesh, size, Grid(2), plan.levels[1])
    filled = maps.closed - maps.alpha
    assert filled.min() >= 0
    assert filled.max() > 0.5  # nostrils and the side of the nose face away even from the front
    hull = np.zeros(maps.alpha.shape, np.uint8)
    points = cv2.findNonZero((maps.alpha > 0.01).astype(np.uint8))
    cv2.fillConvexPoly(hull, cv2.convexHull(points), 1)
    assert not filled[hull == 0].any()


def test_irises_never_turn_purple_and_never_go_blind():
    blue, magenta = np.log([0.4, 0.5, 0.6]), np.log([0.53, 0.43, 0.5])
    gain = iris_gain(magenta.astype(np.float32), blue.astype(np.float32))
    assert gain[1] >= (gain[0] + gain[2]) / 2 - 1e-6
    dark, pale = (np.log(np.full(3, v, np.float32)) for v in (0.05, 0.7))
    assert np.exp(iris_gain(dark, pale)).min() > 0.4
    assert np.exp(iris_gain(pale, dark)).max() < 1.2
    assert not iris_gain(np.full(3, np.nan, np.float32), pale).any()


def test_a_smile_on_the_photo_stays_on_the_photo(mesh):
    bones = np.zeros_like(mesh.shape)
    bones[[1, 4, 5]] += (0, -0.03, 0)  # another nose
    calm, *_ = shape_offset(mesh.shape + bones, mesh.shape, mesh, 1.0)
    smiling_, *_ = shape_offset(mesh.shape + bones + mesh.smile, mesh.shape, mesh, 1.0)
    corners = [61, 291]
    assert np.linalg.norm(mesh.smile[corners], axis=1).min() > 0.05
    assert np.linalg.norm((smiling_ - calm)[corners], axis=1).max() < 0.01
    assert np.abs(calm[4]).max() > 0.01


@pytest.mark.parametrize("who", ["target", "photo"])
def test_a_jaw_that_hangs_in_all_that_is_seen_is_no_bone(mesh, who):
    """A short shot may be one shout: what lies between nose and mouth must not be squeezed for it."""
    hanging = mesh.shape + mesh.jaw
    shapes = (mesh.shape, hanging) if who == "target" else (hanging, mesh.shape)
    offset, *_ = shape_offset(*shapes, mesh, 1.0)
    lips = [0, 13, 164]
    assert np.linalg.norm(mesh.jaw[14]) > 0.2
    assert np.linalg.norm(offset[lips], axis=1).max() < 0.015


def test_a_broad_smile_of_the_target_stays(mesh):
    """Up to a bound a photo's calm mouth is the person; beyond it, it would wipe out what the target does."""
    cheeks = [205, 425]

    def wiped(much):
        offset, *_ = shape_offset(mesh.shape, mesh.shape + much * mesh.smile, mesh, 1.0)
        return float(np.linalg.norm(offset[cheeks], axis=1).mean())

    assert wiped(0.8) > 1.5 * wiped(0.4)
    assert wiped(1.8) < 1.15 * wiped(1.1)


@pytest.mark.parametrize(
    ("line", "smile", "left"), [((129, 206, 57), 2, 0.6), ((43, 202, 211), -2, 0.7)]
)
def test_lines_of_a_smile_fade_only_when_it_is_not_the_targets(mesh, line, smile, left):
    """And those under the corners of a mouth at rest when the target smiles, which stretches them."""
    size = 256
    valid = (depth_inside(size) > 0.01).astype(np.float32)
    skin = np.full((size, size, 3), (0.7, 0.55, 0.45), np.float32)
    photo = skin.copy()
    place = mesh.uv[line[1]]
    line = np.array([mesh.uv[v] * size - 0.5 for v in line])
    for points in (line, line * [-1, 1] + [size - 1, 0]):
        cv2.polylines(photo, [np.round(points).astype(np.int32)], False, (0.45, 0.33, 0.26), 3)
    photo = cv2.GaussianBlur(photo, (0, 0), 1.5)
    x, y = np.round(place * size - 0.5).astype(int)

    def depth(more):
        out = relight(photo, valid, skin, valid, 1.0, foreign_lines(more))
        return np.log(skin[y, x] / out[y - 3 : y + 4, x - 3 : x + 4].min((0, 1))).mean()

    assert depth(0.0) > 0.1
    assert depth(smile) < left * depth(0.0)
    assert depth(-smile) > 0.9 * depth(0.0)


def test_a_shadow_of_the_photo_is_lightened_and_the_lit_half_stays(mesh):
    size = 512
    rng = np.random.default_rng(3)
    skin = np.full((size, size, 3), (0.7, 0.55, 0.45), np.float32)
    xx = np.mgrid[0:size, 0:size][1] / size
    shadow = np.where(xx < 0.48, 0.5, 1.0)[..., None].astype(np.float32)
    noise = 1 + 0.1 * (xx < 0.48)[..., None] * rng.standard_normal((size, size, 1))
    photo = np.clip(skin * shadow * noise, 0, 1).astype(np.float32)
    out = clean_shadows(photo, np.ones((size, size), np.float32))
    cheek, other = (slice(260, 300), slice(170, 200)), (slice(260, 300), slice(312, 342))

    def depth(x):
        return np.log(x[other].mean() / x[cheek].mean())

    assert 0.4 < depth(out) / depth(photo) < 0.75
    grain = [np.log(x[cheek].mean(-1)).std() for x in (out, photo)]
    assert grain[0] < 0.6 * grain[1]
    np.testing.assert_allclose(out[other], photo[other], atol=1e-3)


def test_relight_removes_a_side_light(mesh):
    """A symmetric face lit from one side comes out lit like the flat target."""
    size = 256
    xx = np.mgrid[0:size, 0:size][1].astype(np.float32) / size
    flat = np.full((size, size, 3), (0.7, 0.55, 0.45), np.float32)
    side = flat * np.exp(-1.2 * (xx[..., None] - 0.5))
    valid = (depth_inside(size) > 0.01).astype(np.float32)
    out = relight(cv2.resize(side, (512, 512)), cv2.resize(valid, (512, 512)), flat, valid, 1.0)
    inner = (
        cv2.resize(
            ((depth_inside(size) > 0.06) & (features(size) < 0.1)).astype(np.uint8), (512, 512)
        )
        > 0
    )
    assert np.abs(np.log(out[inner] / np.array([0.7, 0.55, 0.45]))).max() < 0.2
    assert (
        np.abs(np.log(cv2.resize(side, (512, 512))[inner] / np.array([0.7, 0.55, 0.45]))).max()
        > 0.3
    )


def test_collector_memory_is_bounded_and_rows_are_fixed(scene):
    collector = AppearanceCollector()
    mesh, picture = scene.meshes[0], scene.frames[0]
    box = collector.footprint(mesh).clip(*scene.size)
    rows = [
        collector.add(i / 25, scene.cut(picture, box), box, mesh, 1.0)["light"] for i in range(60)
    ]
    assert len(collector._samples) <= 24
    assert {(r.shape, r.dtype) for r in rows} == {((24, 24, 3), np.dtype(np.float16))}
    assert AppearanceCollector().finish() == {}


def test_collector_never_trusts_doubtful_frames(scene):
    collector = AppearanceCollector()
    mesh, picture = scene.meshes[0], scene.frames[0]
    box = collector.footprint(mesh).clip(*scene.size)
    collector.add(0.0, scene.cut(picture, box), box, mesh, 0.1)
    assert collector.finish() == {}


def test_facemesh_is_consistent(mesh):
    assert np.bincount(mesh.labels)[SKIN] == 852
    assert (mesh.mirror[mesh.mirror] == np.arange(468)).all()
    np.testing.assert_allclose(
        mesh.uv[:468][mesh.mirror] * [-1, 1] + [1, 0], mesh.uv[:468], atol=2e-3
    )
    normals = mesh.normals(mesh.extend(mesh.shape))
    assert normals[1, 2] < -0.9  # the nose tip faces the camera
    assert normals[454, 0] > 0.5  # the image-right side faces right
    assert (np.bincount(mesh.labels)[[EYE, MOUTH]] > 0).all()


def test_features_that_lie_as_if_the_head_were_turned_do_not_turn_it(mesh):
    """Only in the picture, not in depth: what a photo gives when its depth is guessed wrongly."""
    weight = mesh.rigid / mesh.rigid.sum()
    depth = mesh.shape[:, 2] - weight @ mesh.shape[:, 2]
    turned = mesh.shape.copy()
    turned[:, 1] += 0.1 * depth
    wide = turned.copy()
    wide[:, 0] *= 1.1  # and a face of its own, which stays
    for source in (turned, wide):
        move = shape_offset(source, mesh.shape, mesh, 1.0)[0][:468]
        left = (weight * move[:, 1] * depth).sum() / (weight * depth**2).sum()
        assert abs(left) < 0.02
    nose = move[[129, 358], 0]
    assert nose[1] - nose[0] > 0.04 * (mesh.shape[358, 0] - mesh.shape[129, 0])
