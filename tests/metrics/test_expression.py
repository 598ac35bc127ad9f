"""The expression model tells what a face does from whose it is."""

import numpy as np
import pytest

from vidswap.errors import ShapeError
from vidswap.faces.expressions import canonical_shapes, expression_model
from vidswap.faces.facemesh import FaceMesh
from vidswap.metrics.expression import AXES

SMILE = 2


@pytest.fixture(scope="module")
def model():
    return expression_model()


def clip(model, seed, frames=10):
    """A person who talks and moves the brows: shapes with landmark noise."""
    rng = np.random.default_rng(seed)
    who = np.tensordot(rng.normal(0, 0.8, len(model.people)), model.people, 1)
    does = np.zeros((frames, len(model.moves)))
    does[:, 1] = 0.5 + 0.5 * np.sin(np.arange(frames))
    does[:, 5] = rng.uniform(0, 0.8)
    noise = rng.normal(0, 0.003, (frames, *model.mean.shape))
    shapes = model.mean + who + np.tensordot(does, model.moves, 1) + noise
    return shapes.astype(np.float32), model.size(does.astype(np.float32)).mean()


def test_an_added_smile_leaks_as_much_as_was_added(model):
    shapes, own = clip(model, 1)
    for share in (0.3, 0.6):
        added = share * model.moves[SMILE]
        wanted = float(model.size(np.eye(len(model.moves))[[SMILE]] * share)[0]) / own
        assert 0.1 < wanted < 0.9
        assert 0.7 * wanted < model.leak(shapes, shapes + added) < 1.1 * wanted


def test_another_person_who_does_the_same_leaks_little(model):
    """Of what people differ by, little is taken for expression; as large an expression would count in full."""
    leaks, sizes = [], []
    for seed in range(6):
        before, own = clip(model, seed)
        rng = np.random.default_rng(seed + 50)
        other = np.tensordot(rng.normal(0, 1.0, len(model.people)), model.people, 1)
        leaks.append(model.leak(before, (before + other).astype(np.float32)))
        sizes.append(np.linalg.norm(other * AXES) / own)
    assert np.mean(sizes) > 0.5
    assert np.mean(leaks) < 0.3 * np.mean(sizes)
    assert model.leak(before, before) == 0


def test_a_mask_of_another_face_counts_less_than_its_size(model):
    """A chin that no sum of moves explains is no expression."""
    before, _ = clip(model, 3)
    after = before.copy()
    chin = np.flatnonzero(model.mean[:, 1] > np.percentile(model.mean[:, 1], 96))
    after[:, chin] += (0, 0.2, 0)
    plain = model.coefficients(after, rounds=1) - model.coefficients(before, rounds=1)
    robust = model.coefficients(after) - model.coefficients(before)
    assert model.size(robust).mean() < 0.5 * model.size(plain).mean()


def test_moves_are_not_taken_for_each_other(model):
    """Small ones shrink under their prior, those that are to be seen hardly do."""
    found = model.coefficients((model.mean + model.moves).astype(np.float32))
    each = np.eye(len(model.moves), dtype=np.float32)
    seen = model.size(each) > 0.19
    assert seen.sum() > 8
    assert (model.size(found - each) < 0.65 * model.size(each))[seen].all()
    jaws = [0, 1]  # half open and wide open: the same way, not as far
    assert (found.argmax(1) == np.arange(len(each)))[seen][len(jaws) :].all()
    assert set(found[jaws].argmax(1)) <= set(jaws)


def test_pose_and_size_are_no_expression(model):
    mesh = FaceMesh.load()
    shapes, _ = clip(model, 5, frames=3)
    a = 0.3
    turn = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    pixels = (150 * shapes @ turn.T + [320, 240, 0]).astype(np.float32)
    plain, turned = (canonical_shapes(v, mesh) for v in (shapes, pixels))
    np.testing.assert_allclose(turned, plain, atol=1e-3)
    assert model.leak(plain, turned) < 0.02


def test_shapes_that_do_not_match_are_an_error(model):
    shapes, _ = clip(model, 1, frames=2)
    with pytest.raises(ShapeError):
        model.leak(shapes, shapes[:1])
