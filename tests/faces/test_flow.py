"""Optical flow under a face mesh, against known motion."""

import cv2
import numpy as np
import pytest

from vidswap.faces.facemesh import FaceMesh
from vidswap.faces.flow import FlowMeter, carry
from vidswap.faces.pose import eye_opening
from vidswap.faces.vertices import EYES, LIPS_INNER
from vidswap.types import Box

SIZE = 480


@pytest.fixture(scope="module")
def skin():
    """A picture with detail everywhere, larger than the frame."""
    rng = np.random.default_rng(8)
    noise = rng.normal(0, 1, (SIZE + 80, SIZE + 80, 3)).astype(np.float32)
    fine, slow = (cv2.GaussianBlur(noise, (0, 0), s) * s for s in (2.0, 8.0))
    return np.clip(128 + 60 * fine + 60 * slow, 0, 255).astype(np.uint8)


def frame(skin, shift, zoom=1.0):
    """What a camera sees that moved and came nearer."""
    y, x = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32)
    places = [(v - SIZE / 2 - d) / zoom + SIZE / 2 + 40 for v, d in zip((x, y), shift, strict=True)]
    return cv2.remap(skin, *(p.astype(np.float32) for p in places), cv2.INTER_CUBIC)


def face(scale, centre):
    mesh = FaceMesh.load().shape.copy() * scale
    mesh[:, :2] += np.subtract(centre, mesh[:, :2].mean(0))
    return mesh.astype(np.float32)


def footprint(mesh):
    points = FaceMesh.load().extend(mesh)[:, :2]
    low, high = np.floor(points.min(0)).astype(int), np.ceil(points.max(0)).astype(int) + 1
    return Box(*low.tolist(), *high.tolist()).clip(SIZE, SIZE)


def cut(picture, box):
    return np.ascontiguousarray(picture[box.top : box.bottom, box.left : box.right])


@pytest.mark.parametrize("scale", [60, 130])
def test_flow_is_finer_than_landmarks(skin, scale):
    """Each point moves by a fraction of a pixel of its own; the landmarks tremble by more."""
    rng = np.random.default_rng(1)
    views = [((0.0, 0.0), 1.0), ((0.7, -0.4), 1.02), ((5.9, 2.3), 1.03)]
    still = face(scale, (230, 250))
    meter, before = FlowMeter(), None
    for index, (shift, zoom) in enumerate(views):
        mesh = still.copy()
        mesh[:, :2] = SIZE / 2 + zoom * (still[:, :2] - SIZE / 2) + shift
        mesh[:, :2] += rng.normal(0, 0.8, (len(mesh), 2))
        box = footprint(mesh)
        flow = meter.step(index, cut(frame(skin, shift, zoom), box), box, mesh).flow
        if before is None:
            assert np.isnan(flow).all()
        else:
            (old_shift, old_zoom), old = before
            there = SIZE / 2 + zoom * (old - SIZE / 2 - old_shift) / old_zoom + shift
            assert np.sqrt(((old + flow - there) ** 2).mean()) < 0.1
        before = (shift, zoom), mesh[:, :2]


def test_nothing_is_known_after_a_gap(skin):
    meter, mesh = FlowMeter(), face(100, (240, 240))
    box = footprint(mesh)
    picture = cut(frame(skin, (0, 0)), box)
    for index, known in ((0, False), (1, True), (3, False), (4, True)):
        step = meter.step(index, picture, box, mesh)
        assert np.isfinite(step.flow).all() == np.isfinite(step.change).all() == known


@pytest.mark.parametrize("centre", [(20, 240), (240, 470), (-200, 240), (471, 9)])
def test_a_face_that_leaves_the_frame_is_no_accident(skin, centre):
    mesh = face(100, centre)
    box = footprint(mesh)
    if not box.width or not box.height:
        box = Box(0, 200, 2, 300)
    meter = FlowMeter()
    meter.step(0, cut(frame(skin, (0, 0)), box), box, mesh)
    flow = meter.step(1, cut(frame(skin, (0.5, 0)), box), box, mesh).flow
    assert flow.shape == (468, 2)
    inside = (np.abs(mesh[:, :2] - SIZE / 2) < SIZE / 2 - 12).all(1)
    if np.isfinite(flow).all() and inside.any():
        assert np.sqrt(((flow - (0.5, 0))[inside] ** 2).mean()) < 0.25


def test_a_held_picture_has_not_changed_however_its_landmarks_tremble(skin):
    """Boxes follow them: what one shows and the next does not is no change."""
    rng = np.random.default_rng(3)
    picture, still, meter = frame(skin, (0, 0)), face(100, (240, 240)), FlowMeter()
    for index in range(8):
        mesh = still + rng.normal(0, 2.0, (len(still), 3)).astype(np.float32)
        mesh[:, :2] += rng.normal(0, 3.0, 2)
        box = footprint(mesh)
        changed = meter.step(index, cut(picture, box), box, mesh).change[0]
        assert changed == 0 or index == 0


def test_a_blink_that_flow_sees_half_of_keeps_its_size_and_still_lids_do_not_tremble():
    """Truth: shut lids for a fifth of a second. Landmarks tremble; flow is smooth, and misses the lids."""
    mesh = FaceMesh.load()
    still, t = face(120, (240, 240)).astype(np.float64), np.arange(90) / 30
    shut = np.clip(1.5 - np.abs(t - 1.5) / 0.1, 0, 1)
    truth = np.repeat(np.concatenate([still, np.zeros((10, 3))])[None], len(t), 0)
    for eye in EYES:
        upper, lower = list(eye[1:8]), list(eye[:8:-1])
        truth[:, upper] += shut[:, None, None] * (truth[:, lower] - truth[:, upper])
    seen = truth + np.random.default_rng(4).normal(0, 0.1, truth.shape)
    flow = 0.4 * np.diff(truth[:, :468, :2], axis=0, prepend=truth[:1, :468, :2])
    out = carry(seen.astype(np.float32), flow.astype(np.float32), t, 0.4, mesh)
    want, noisy, got = (eye_opening(m).mean(1) for m in (truth, seen, out))
    assert np.ptp(got) > 0.95 * np.ptp(want)
    assert np.corrcoef(want, got)[0, 1] > 0.99
    quiet = np.abs(t - 1.5) > 0.6
    assert np.diff(got, 2)[quiet[1:-1]].std() < 0.75 * np.diff(noisy, 2)[quiet[1:-1]].std()


def test_lips_part_as_the_landmarks_say():
    mesh = FaceMesh.load()
    still, t = face(120, (240, 240)), np.arange(60) / 30
    seen = np.repeat(np.concatenate([still, np.zeros((10, 3), np.float32)])[None], len(t), 0)
    open_ = 20 * np.abs(np.sin(2 * np.pi * 2 * t))
    seen[:, LIPS_INNER[11:], 1] += open_[:, None]
    nothing = np.zeros((len(t), 468, 2), np.float32)
    out = carry(seen, nothing, t, 0.4, mesh)
    assert np.abs(out[:, 14, 1] - out[:, 13, 1] - seen[:, 14, 1] + seen[:, 13, 1]).max() < 1e-3
    assert not np.array_equal(out, seen), "flow counts"
