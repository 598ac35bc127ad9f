import hashlib
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from vidswap.errors import RecipeError
from vidswap.models.bisenet import REGIONS
from vidswap.ops.ffhq import anchors
from vidswap.synth import skin
from vidswap.synth.anatomy import LIPS_BETWEEN
from vidswap.synth.params import Expression, HeadParams, Pose, Scene, swap_truth
from vidswap.synth.render import ffhq_window, render, render_frame
from vidswap.synth.sample import sample

NOSE_TIP = 4
BROWS = ([105, 66, 334, 296], [52, 65, 282, 295])
"""Upper and lower outline."""

DIGEST = """
import hashlib
from vidswap.synth.render import render
from vidswap.synth.sample import sample
drawn = render(sample(7), 48, aligned=True)
print(hashlib.sha256(drawn.rgb.tobytes() + drawn.labels.tobytes() + drawn.mesh.tobytes()).hexdigest())
"""


def test_same_seed_same_bits_in_another_process():
    drawn = render(sample(7), 48, aligned=True)
    here = hashlib.sha256(drawn.rgb.tobytes() + drawn.labels.tobytes() + drawn.mesh.tobytes())
    # Another number of BLAS threads, as in a pool of processes.
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "2", "OMP_NUM_THREADS": "2"}
    there = subprocess.run(
        [sys.executable, "-c", DIGEST], capture_output=True, text=True, check=True, env=environment
    )
    assert there.stdout.strip() == here.hexdigest()


def test_shapes_and_types(heads):
    for head, drawn in heads:
        assert drawn.rgb.shape == (96, 96, 3)
        assert drawn.rgb.dtype == np.uint8
        assert drawn.mesh.shape == (478, 3)
        assert drawn.points.shape == (5, 2)
        assert np.allclose(drawn.pose, [head.pose.yaw, head.pose.pitch, head.pose.roll])
        assert np.array_equal(drawn.identity, head.identity.vector())
        assert np.array_equal(drawn.expression, head.expression.vector())


def test_labels_are_those_of_e4s():
    named = {n.lower(): getattr(skin, n) for n in (
        "BACKGROUND", "LIPS", "BROWS", "EYES", "HAIR", "NOSE", "SKIN", "EARS", "NECK", "MOUTH",
        "GLASSES", "EARRING",
    )}  # fmt: skip
    assert named == {name: number for number, name in enumerate(REGIONS)}


def test_silhouette(heads):
    for _, drawn in heads:
        nothing = np.isinf(drawn.depth)
        assert nothing.any()
        assert (drawn.labels[nothing] == 0).all()
        assert ((drawn.owner == -1) == nothing).all()
        face = np.isin(drawn.labels, [1, 2, 3, 5, 6])
        assert 0.1 < face.mean() < 0.7
        assert np.isfinite(drawn.depth[face]).all()


def _open_face(**pose):
    return HeadParams(
        expression=Expression(jaw=0.7), pose=Pose(**pose), scene=Scene(hair=0.0, noise=0.0)
    )


@pytest.mark.parametrize("yaw", [-25.0, 0.0, 25.0])
def test_landmarks_lie_on_their_labels(yaw):
    drawn = render(_open_face(yaw=yaw, pitch=4.0, roll=10.0), 256, aligned=True)

    def share(vertices, label):
        return lies(drawn.mesh[list(vertices), :2], label)

    def lies(points, label):
        x, y = np.rint(points).astype(int).T
        return (drawn.labels[y, x] == label).mean()

    assert share(LIPS_BETWEEN, 1) > 0.9
    assert share((468, 473), 3) == 1
    assert share((1, 4, 5, 195, 197), 5) == 1
    # The mesh outlines brows; their hairs grow between the outlines.
    assert lies((drawn.mesh[BROWS[0], :2] + drawn.mesh[BROWS[1], :2]) / 2, 2) == 1
    assert share((50, 280, 151, 199), 6) == 1
    inside = drawn.mesh[[13, 14], :2].mean(0)
    assert drawn.labels[int(inside[1]), int(inside[0])] == 9


def test_aligned_points_stand_where_ffhq_puts_them(heads):
    for _, drawn in heads:
        left, right, mouth = anchors(drawn.mesh[:, :2].astype(np.float64))
        eyes = (left + right) / 2
        reach = max(np.hypot(*(right - left)) * 2, np.hypot(*(mouth - eyes)) * 1.8)
        assert reach == pytest.approx(48, abs=0.1)
        assert abs((right - left)[1]) < 9
        assert np.allclose(eyes + 0.1 * (mouth - eyes), 47.5, atol=0.1)


def test_depth_agrees_with_landmarks():
    head = _open_face(distance=12.0)
    drawn = render(head, 200)
    x, y = np.rint(drawn.mesh[NOSE_TIP, :2]).astype(int)
    nose = drawn.depth[y, x]
    x, y = np.rint(drawn.mesh[50, :2]).astype(int)
    pixel = head.pose.field_height / 200
    expected = (drawn.mesh[50, 2] - drawn.mesh[NOSE_TIP, 2]) * pixel
    assert drawn.depth[y, x] - nose == pytest.approx(expected, abs=0.03)
    assert 11 < nose < 12


@pytest.mark.parametrize(
    ("pose", "sign"), [({"yaw": 30.0}, 1), ({"yaw": -30.0}, -1), ({"pitch": 20.0}, 1)]
)
def test_pose_signs(pose, sign):
    still = render(_open_face(), 64).mesh
    moved = render(_open_face(**pose), 64).mesh
    shift = moved[NOSE_TIP] - still[NOSE_TIP]
    assert (shift[0] if "yaw" in pose else -shift[1]) * sign > 1


def test_pose_is_what_the_pose_fit_finds():
    fit = pytest.importorskip("vidswap.faces.pose").PoseFit()
    # Far away, so that perspective, which the fit does not know, hardly matters.
    level = fit.angles(render(HeadParams(pose=Pose(distance=40.0)), 64).mesh)
    head = HeadParams(pose=Pose(yaw=20.0, pitch=-8.0, roll=6.0, distance=40.0))
    assert np.allclose(fit.angles(render(head, 64).mesh), [20, -8, 6], atol=3)
    assert abs(level[0]) < 0.5


def test_blink_shuts_the_eyes():
    wide = render(HeadParams(), 256, aligned=True)
    shut = render(
        HeadParams(expression=Expression(blink_left=1.0, blink_right=1.0)), 256, aligned=True
    )
    assert (shut.labels == 3).sum() < 0.15 * (wide.labels == 3).sum()


def test_swap_truth_of_oneself_is_bit_equal():
    head = sample(11)
    crop = ffhq_window(head)
    assert np.array_equal(
        render(swap_truth(head, head), 64, crop=crop).rgb, render(head, 64, aligned=True).rgb
    )


def test_swap_truth_keeps_the_scene():
    a, b = sample(1), sample(2)
    target, truth = render(b, 96), render(swap_truth(a, b), 96)
    both = np.isinf(target.depth) & np.isinf(truth.depth)
    border = both & ~_near(~both)
    assert np.array_equal(target.rgb[border], truth.rgb[border])
    face = (target.labels == 6) & (truth.labels == 6)
    assert np.abs(target.rgb[face].astype(int) - truth.rgb[face]).mean() > 3
    assert np.array_equal(target.pose, truth.pose)


def _near(mask):
    grown = mask.copy()
    for axis in (0, 1):
        for step in (-1, 1):
            grown |= np.roll(mask, step, axis)
    return grown


@pytest.mark.parametrize("kind", [0.5, 0.9])
def test_occluder_is_background_and_belongs_to_the_scene(kind):
    bare = replace(_open_face(), scene=Scene(hair=0.0, noise=0.0))
    covered = replace(
        bare, scene=replace(bare.scene, occluder=kind, occluder_x=0.0, occluder_y=0.3)
    )
    one, two = render(bare, 96), render(covered, 96)
    hidden = np.isin(one.labels, [1, 5, 6, 9]) & (two.labels == 0)
    assert hidden.mean() > 0.005
    assert (two.depth[hidden] < one.depth[hidden]).all()
    other = render(swap_truth(sample(3), covered), 96)
    still = hidden & (other.labels == 0) & ~_near(~hidden)
    # Only the shadow that the other nose casts on it differs.
    assert np.median(np.abs(two.rgb[still].astype(int) - other.rgb[still])) == 0
    assert np.array_equal(one.mesh, two.mesh)


def test_several_heads():
    a = replace(sample(1), pose=Pose(x=-1.3))
    b = replace(sample(2), pose=Pose(x=1.3))
    drawn = render_frame([a, b], 160, 90)
    assert len(drawn.faces) == 2
    assert drawn.rgb.shape == (90, 160, 3)
    for number, face in enumerate(drawn.faces):
        x, y = np.rint(face.points[2]).astype(int)
        assert drawn.owner[y, x] == number


@pytest.mark.parametrize("size", [0, 3, 15, 5000])
def test_impossible_size(size):
    with pytest.raises(RecipeError, match="16 … 4096"):
        render(HeadParams(), size)


def test_impossible_frames():
    with pytest.raises(RecipeError, match="at least one head"):
        render_frame([], 64, 64)
    with pytest.raises(RecipeError, match="one camera"):
        render_frame([HeadParams(), HeadParams(pose=Pose(distance=20.0))], 64, 64)
