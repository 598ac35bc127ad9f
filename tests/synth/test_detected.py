"""The default detector takes drawn heads for faces, so whole pipelines can be tested on them."""

import numpy as np
import pytest

from vidswap.recipe import DetectOptions
from vidswap.synth.render import render
from vidswap.synth.sample import sample

YAW = 45.0
ENOUGH = 0.95


@pytest.fixture(scope="module")
def detector():
    pytest.importorskip("mediapipe")
    from vidswap.faces.blazeface import MediaPipeDetector

    found = MediaPipeDetector(DetectOptions())
    yield found
    found.close()


def _found(detector, seed, size):
    head = sample(seed)
    if abs(head.pose.yaw) > YAW:
        return None
    drawn = render(head, size)
    across = np.linalg.norm(drawn.points[1] - drawn.points[0])
    reach = max(across, np.ptp(drawn.points[:, 1]))
    return any(
        np.linalg.norm(face.points[:3].mean(0) - drawn.points[:3].mean(0)) < 0.5 * reach
        for face in detector.glance(drawn.rgb)
    )


def _rate(detector, seeds, size):
    answers = [a for s in seeds if (a := _found(detector, s, size)) is not None]
    return np.mean(answers)


def test_heads_are_found(detector):
    assert _rate(detector, range(2000, 2024), 192) >= ENOUGH


@pytest.mark.slow
def test_many_heads_are_found(detector):
    assert _rate(detector, range(5000, 5300), 256) >= ENOUGH
