"""How far the mesh engine opens eyes, against the target's."""

from dataclasses import replace

import numpy as np
import pytest

from vidswap.engines.mesh.maps import geometry
from vidswap.engines.mesh.openings import _beyond_tip
from vidswap.engines.mesh.shape import aperture, shape_offset, under_brows
from vidswap.faces.facemesh import FaceMesh
from vidswap.faces.puppet import Act
from vidswap.faces.vertices import BROW_EDGES, BROWS, EYES, UNDER_BROWS


@pytest.fixture(scope="module")
def mesh():
    return FaceMesh.load()


def test_open_eyes_take_the_photos_form_and_shut_ones_stay_shut(mesh, meshed, scene):
    engine, identity, plan = meshed
    face = scene.face(engine, plan, 0)
    upper, lower = 159, 145

    def gap(opened):
        """How far the image-left eye is open, before and after, when its lids are that much apart."""
        at = face.at.mesh.copy()
        for eye in EYES:
            rim = list(eye)
            line = at[rim, 1].mean()
            at[rim, 1] = line + opened * (at[rim, 1] - line)
        shown = geometry(replace(face, at=replace(face.at, mesh=at)), plan, mesh, 1.0)
        return [float((g[lower] - g[upper])[1]) for g in (shown.source, shown.moved)]

    target, own = (aperture(s)[0] for s in (plan.shape, identity.shape))
    before, after = gap(1.0)
    assert (after > before) == (own > target)  # the photo's eye is the wider one, or it is not
    assert 0.8 < after / before < 1.3
    # Its lids go farther than the target's to both sides: what is seen of that is a share.
    for lower_, upper_ in ((0.8, 1.0), (1.0, 1.2)):
        low, high = gap(lower_), gap(upper_)
        assert 1.3 < (high[1] - low[1]) / (high[0] - low[0]) < 2.0
    steps = np.diff([gap(k)[1] for k in np.linspace(0.0, 1.6, 17)])
    assert steps.min() > -0.02 * after  # and never back
    narrow = [gap(k) for k in (0.05, 0.5)]
    assert narrow[0][1] < 0.15 * after  # shut is shut
    assert narrow[0][1] < narrow[1][1] < after


def test_a_darker_iris_stays_dark_as_a_blink_begins(meshed, scene):
    """Else it would flash up in the target's colour, and one eye before the other."""
    engine, _, plan = meshed
    still = scene.face(engine, plan, 0)

    def darkened(blink):
        """By how much an iris is darker that is to be so, in levels, where it is seen."""
        picture, truth = scene.puppet.frame(Act(blink=blink))
        face = replace(still, at=replace(still.at, mesh=truth))
        box = engine.footprint(face.at, plan).clip(*scene.size)
        face = replace(face, rgb=scene.cut(picture, box), box=box)
        own, dark = (
            engine.swap([face], [replace(plan, iris=np.full(3, gain, np.float32))])[0].rgb
            for gain in (0.0, -0.7)
        )
        return float((own.astype(int) - dark).max())

    opened = aperture(scene.puppet.frame(Act(blink=0.55))[1]).max()
    assert 0.11 < opened < 0.16  # half shut, and the iris is seen
    assert darkened(0.55) > 0.6 * darkened(0.0) > 10
    assert darkened(1.0) == 0


def test_what_is_as_dark_as_the_new_iris_is_not_darkened_again(meshed, scene):
    """Lashes and the shade of a lid: an eye that has just begun to open would be a black bar."""
    engine, _, plan = meshed
    face = scene.face(engine, plan, 0)
    plan = replace(plan, iris=np.full(3, -0.7, np.float32))
    own = engine.swap([face], [replace(plan, iris=np.zeros(3, np.float32))])[0].rgb.astype(int)

    def darker(eyes):
        """By how many levels an iris is, whose usual log colour against the skin is to be ``eyes``."""
        usual = replace(plan, eyes=np.full(3, eyes, np.float32))
        return int((own - engine.swap([face], [usual])[0].rgb).max())

    assert darker(0.0) < 0.3 * darker(-np.inf)
    assert darker(-3.0) == darker(-np.inf) > 15


def test_flesh_in_the_corner_of_an_eye_takes_no_colour_of_the_iris(meshed, scene):
    engine, _, plan = meshed
    # The picture stays where it is: else its own edge would move past the places that are looked at.
    moves = {name: np.zeros_like(getattr(plan, name)) for name in ("offset", "lids", "wider")}
    plan = replace(plan, **moves)
    face = scene.face(engine, plan, 0)
    x, y = np.round(face.at.mesh[468, :2] - (face.box.left, face.box.top)).astype(int)
    picture = face.rgb.copy()
    picture[y - 8 : y + 9, x - 8 : x + 9] = 90, 80, 70
    picture[y - 8 : y + 9, x + 1 : x + 9] = 190, 80, 70
    face = replace(face, rgb=picture)
    own, dark = (
        engine.swap([face], [replace(plan, iris=np.full(3, gain, np.float32))])[0].rgb.astype(int)
        for gain in (0.0, -0.7)
    )
    darker = (own - dark)[y - 1 : y + 2]
    assert darker[:, x - 2 : x].mean() > 15
    assert np.abs(darker[:, x + 2 : x + 5]).max() <= 3


@pytest.mark.parametrize("roll", [0, 50])
def test_drawn_skin_closes_over_the_thin_outer_end_of_an_eye(roll):
    """Landmarks put the corner beyond the lids: light skin of the target there would be a white line."""
    angle = np.pi - np.arange(16) * np.pi / 8
    turn = np.radians(roll)
    way = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])

    def shown(high, along):
        """[0, 1] how much of the target is seen in an eye 40 px wide that is ``high`` of that."""
        rim = np.stack([20 * np.cos(angle), -20 * high * np.sin(angle)], 1) @ way + 30
        x, y = np.round(np.array([40 * along - 20, 0]) @ way + 30).astype(int)
        return float(_beyond_tip(rim.astype(np.float32), 60, 60)[y, x])

    assert shown(0.05, 0.05) < 0.05 < 0.95 < shown(0.05, 0.5)
    assert shown(0.05, 0.95) == 1  # the inner corner is its own
    assert shown(0.5, 0.15) > 0.9  # an iris may look out of the corner of an open eye


def test_a_raised_brow_takes_what_lies_right_under_it_along(mesh, meshed, scene):
    """It uncovers lid; stretched over all of the gap, a photo's brow becomes a blot."""
    engine, _, plan = meshed
    face = scene.face(engine, plan, 0)
    edge, under = list(BROW_EDGES), list(UNDER_BROWS)
    rise = 0.06 * float(np.linalg.norm(face.at.mesh[263] - face.at.mesh[33]))

    def apart(times):
        at = face.at.mesh.copy()
        at[sorted({*BROWS[0], *BROWS[1]}), 1] -= times * rise
        shown = geometry(replace(face, at=replace(face.at, mesh=at)), plan, mesh, 1.0)
        return [(g[under] - g[edge])[:, 1] for g in (shown.source, shown.moved)]

    low, high = apart(1.0), apart(2.0)
    assert np.allclose(high[0] - low[0], rise, rtol=0.01)  # the target's own lies behind
    assert (high[1] - low[1]).max() < 0.35 * rise
    lowered = [apart(k)[1] for k in (-1.0, -2.0)]
    assert np.allclose(lowered[0] - lowered[1], rise, rtol=0.1)  # one that frowns does not


def test_a_brow_that_is_raised_all_along_keeps_its_lower_edge(mesh, meshed, scene):
    """Then the target's own shape has it there, and nothing is raised against it."""
    engine, identity, plan = meshed
    face = scene.face(engine, plan, 0)
    brows = sorted({*BROWS[0], *BROWS[1]})
    unit = float(np.linalg.norm(face.at.mesh[263, :2] - face.at.mesh[33, :2]))
    high, at = plan.shape.copy(), face.at.mesh.copy()
    high[brows, 1] -= 0.1
    at[brows, 1] -= 0.1 * unit
    offset, *_ = shape_offset(identity.shape, high, mesh, 1.0)
    plan = replace(plan, shape=high, offset=offset)

    def gaps():
        """Of the target and drawn, in units of what is drawn at the most."""
        shown = geometry(replace(face, at=replace(face.at, mesh=at)), plan, mesh, 1.0)
        usual = unit * plan.brows.mean()
        return [float(under_brows(g).mean() / usual) for g in (shown.source, shown.moved)]

    target, drawn = gaps()
    assert target > 2
    assert drawn < 1.5
    for eye in EYES:
        at[list(eye), 1] = at[list(eye), 1].mean()
    assert gaps()[1] > 1.9  # an eye that shuts takes it down, or it would blink less
