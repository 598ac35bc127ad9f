"""Heads that turn to a profile: nothing is drawn beside a face, and the swap goes in small steps."""

from dataclasses import replace

import numpy as np
import pytest

from vidswap.engines.mesh.maps import geometry
from vidswap.faces.appearance import IRISES
from vidswap.types import TargetFace


@pytest.fixture(scope="module")
def engine(meshed):
    return meshed[0]


@pytest.fixture(scope="module")
def plan(meshed):
    return meshed[2]


def turned(scene, engine, plan, yaw, **changes):
    """A frame whose mesh is turned about the head's axis; the picture is a plain grey."""
    at = scene.at(0, pose=(yaw, 0, 0), **changes)
    angle = np.radians(yaw)
    turn = np.array(
        [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
    )
    middle = at.mesh.mean(0)
    mesh = ((at.mesh - middle) @ turn.T + middle).astype(np.float32)
    at = replace(at, mesh=mesh, data={})
    box = engine.footprint(at, plan).clip(*scene.size)
    picture = np.full((scene.size[1], scene.size[0], 3), 120, np.uint8)
    return TargetFace(scene.cut(picture, box), box, at)


@pytest.mark.parametrize("side", [1, -1])
def test_the_eye_behind_the_nose_goes_and_the_near_one_stays(engine, scene, plan, side):
    mesh = engine._mesh
    far, near = (33, 263) if side > 0 else (263, 33)
    for yaw, shown in ((20, True), (50, False)):
        facing = geometry(turned(scene, engine, plan, side * yaw), plan, mesh, 1.0).facing
        assert (facing[far] > 0.12) == shown
        assert facing[near] > 0.42
    # Nor is its iris coloured, which would be a spot on the background.
    face = turned(scene, engine, plan, side * 46)
    centre = np.round(face.at.mesh[IRISES[0 if side > 0 else 1][0], :2]).astype(int)
    y, x = centre[1] - face.box.top, centre[0] - face.box.left
    result = engine.swap([face], [replace(plan, iris=np.full(3, -0.7, np.float32))])[0].rgb
    around = (slice(max(y - 3, 0), y + 4), slice(max(x - 3, 0), x + 4))
    assert np.abs(result[around].astype(int) - face.rgb[around]).max() <= 3


def test_the_share_of_the_swap_falls_in_small_steps(engine, scene, plan):
    # To a track's looks plain grey is something in front of seven or eight tenths of the face, by a hair: what
    # falls here is the share of a face with nothing before it.
    plan = replace(plan, looks=None)

    def share(yaw, confidence):
        face = turned(scene, engine, plan, 20, confidence=confidence)
        face = replace(face, at=replace(face.at, pose=np.array([yaw, 0, 0], np.float32)))
        patch = engine.swap([face], [plan])[0]
        return 0.0 if patch is None else float(np.abs(patch.rgb - face.rgb.astype(float)).sum())

    by_yaw = [share(yaw, 1.0) for yaw in np.linspace(38, 58, 11)]
    by_trust = [share(0, c) for c in np.linspace(1, 0, 11)]
    for values in (by_yaw, by_trust):
        steps = -np.diff(values) / values[0]
        assert values[-1] == 0
        assert steps.min() > -0.01
        assert steps.max() < 0.35
