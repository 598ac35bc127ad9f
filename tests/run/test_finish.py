"""What finishing makes of landmarks that tremble, where the flow knows how the skin moved."""

import numpy as np
import pytest

from vidswap.faces.facemesh import FaceMesh
from vidswap.faces.pose import mouth_opening
from vidswap.faces.vertices import LIPS_INNER, LIPS_OUTER
from vidswap.recipe import SmoothOptions
from vidswap.run import finish
from vidswap.run.finish import Finisher, Whole
from vidswap.types import Shot

FRAMES, RATE, SIZE = 150, 25, 120.0
"""Pixels of a canonical unit; eyes are about one apart."""


@pytest.fixture(scope="module")
def head():
    """A head that sways and speaks: true meshes, how their skin moves, and trembling landmarks."""
    mesh, rng = FaceMesh.load(), np.random.default_rng(0)
    t = np.arange(FRAMES) / RATE
    still = np.zeros((478, 3))
    still[:468] = mesh.shape[:468]
    still[468:] = mesh.shape[[33] * 5 + [263] * 5]
    truth = np.repeat(still[None] * SIZE, FRAMES, 0)
    truth[..., 0] += (300 + 25 * np.sin(2 * np.pi * 1.1 * t))[:, None]
    truth[..., 1] += (300 + 9 * np.sin(2 * np.pi * 1.7 * t))[:, None]
    speech = 0.1 * SIZE * np.clip(np.sin(2 * np.pi * 1.9 * t), 0, None)
    lower = [
        v for v in (*LIPS_INNER, *LIPS_OUTER) if still[v, 1] > still[list(LIPS_INNER), 1].mean()
    ]
    truth[:, lower, 1] += speech[:, None]
    flow = np.diff(truth[:, :468, :2], axis=0, prepend=np.nan).astype(np.float32)
    # The network errs on whole parts of the face at once.
    modes = (
        rng.normal(0, 1, (8, 478, 1))
        * np.exp(
            -((still[None, :, :2] - still[rng.integers(0, 468, 8), None, :2]) ** 2).sum(-1) / 0.5
        )[..., None]
    )
    tremble = np.einsum("tkc,kvc->tvc", rng.normal(0, 0.002 * SIZE, (FRAMES, 8, 3)), modes)
    return truth, flow, (truth + tremble).astype(np.float32)


def finished(folder, flow, raw):
    folder.mkdir()
    rows = {"mesh": raw, "flow": flow}
    one = np.ones(FRAMES)
    whole = Whole(
        "t", 0, 0, rows, one, 0.002 * one, one > 0, np.zeros((0, 512), np.float32), None, {}
    )
    finisher = Finisher(folder, SmoothOptions(), FaceMesh.load())
    done = finisher.finish(whole, np.arange(FRAMES) / RATE, Shot(0, FRAMES), 0 * one)
    assert not list(folder.glob("*.raw"))
    return np.array(done.rows["mesh"][0:FRAMES], np.float64)


def jerk(meshes):
    return np.sqrt((np.diff(meshes[10:-10, :468, :2], 3, axis=0) ** 2).sum(-1).mean())


def test_trembling_is_taken_out_before_smoothing_opens_for_it(head, tmp_path, monkeypatch):
    truth, flow, raw = head
    with_flow = finished(tmp_path / "with", flow, raw)
    monkeypatch.setattr(finish, "FUSE", 1000.0)  # Hz no clip has: the landmarks are left alone
    without = finished(tmp_path / "without", flow, raw)
    assert jerk(with_flow - truth) < 0.8 * jerk(without - truth)
    assert np.abs(with_flow - truth)[10:-10].mean() < np.abs(without - truth)[10:-10].mean()
    opening = [mouth_opening(m.astype(np.float32))[10:-10] for m in (truth, with_flow)]
    assert np.corrcoef(*opening)[0, 1] > 0.98
    assert np.ptp(opening[1]) > 0.9 * np.ptp(opening[0])
