import json

import numpy as np
import pytest

from tests.metrics.clips import observed, times
from vidswap.metrics.motion import Fidelity, MotionFidelity
from vidswap.metrics.stability import Stability, stability

SECONDS = times(100)
MASKS = np.ones((100, 48, 48), np.float32)


@pytest.fixture(scope="module")
def source():
    return observed()


def test_the_source_itself_is_the_measure(source):
    found = stability(source, source, MASKS, SECONDS)
    for name in ("tl_id", "tg_id", "flicker", "brightness", "jerk"):
        assert getattr(found, name) == pytest.approx(1)
    assert found.warping == pytest.approx(0)
    assert found.motion.kept
    assert "motion kept" in str(found)


def test_a_shaking_result_shows_in_every_figure(source):
    found = stability(observed(shake=0.5, noise=0.02), source, MASKS, SECONDS)
    assert found.tl_id < 0.99
    assert found.tg_id < 0.99
    assert found.warping > 5e-4
    assert found.flicker > 2
    assert found.brightness > 2
    assert found.jerk > 1.3


def test_a_frozen_face_is_steady_and_fails(source):
    found = stability(observed(frozen=True), source, MASKS, SECONDS)
    assert found.tl_id == pytest.approx(1, abs=0.01)
    assert found.jerk < 0.95
    assert not found.motion.kept
    assert "MOTION LOST" in str(found)
    rows = json.loads(json.dumps(found.rows()))
    assert rows["motion_kept"] is False
    assert rows["blink_recall"] == 0
    assert rows["jaw_amplitude"] == 0


def test_nothing_is_compared_across_a_cut(source):
    """Another face after the cut changes no figure of steadiness."""
    cut = observed()
    cut.embeddings[60:] = -cut.embeddings[60:]
    cut.meshes[60:] += 300
    cut.crops[60:] = 1 - cut.crops[60:]
    shots = [(0, 60), (60, 100)]
    found = stability(cut, cut, MASKS, SECONDS, shots)
    assert found.tl_id == pytest.approx(1)
    across, within = (stability(cut, source, MASKS, SECONDS, s) for s in (None, shots))
    assert across.jerk > 2
    assert within.jerk == pytest.approx(1, abs=0.01)
    assert across.tg_id < 0.9 < within.tg_id


def test_no_stability_without_motion_fidelity():
    figures = {"tl_id": 1, "tg_id": 1, "warping": 0, "flicker": 1, "brightness": 1, "jerk": 1}
    with pytest.raises(TypeError):
        Stability(**figures)
    with pytest.raises(TypeError, match="never reported without motion fidelity"):
        Stability(motion=None, **figures)
    still = Fidelity(float("nan"), float("nan"), 0)
    rows = Stability(MotionFidelity(still, still, float("nan")), **figures).rows()
    assert rows["jaw_correlation"] is None
    assert rows["motion_kept"] is True
