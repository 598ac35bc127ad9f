from fractions import Fraction

import numpy as np
import pytest

from vidswap.errors import RecipeError
from vidswap.synth.clip import clip
from vidswap.synth.params import Pose
from vidswap.synth.sample import identity


def _track(made, group, name, person=0):
    return np.array([getattr(getattr(heads[person], group), name) for heads in made.params])


def test_motion_is_smooth_and_lively():
    made = clip(1, 8, 25)
    assert len(made) == 200
    for name, most in (("yaw", 4.0), ("pitch", 2.0), ("roll", 1.5), ("x", 0.05)):
        track = _track(made, "pose", name)
        assert np.abs(np.diff(track)).max() < most
        assert np.ptp(track) > most / 2
    assert _track(made, "expression", "jaw").max() > 0.3
    assert _track(made, "expression", "blink_left").max() > 0.8
    assert np.median(_track(made, "expression", "blink_left")) == 0


def test_other_rates_sample_the_same_motion():
    slow, fast = clip(2, 2, 10), clip(2, 2, 20)
    assert np.allclose(_track(slow, "pose", "yaw"), _track(fast, "pose", "yaw")[::2])


def test_same_seed_same_clip():
    assert clip(3, 1, 12) == clip(3, 1, 12)
    assert clip(3, 1, 12) != clip(4, 1, 12)


def test_cuts():
    made = clip(5, 3, 10, cuts=2)
    assert made.cuts == (10, 20)
    lights = [heads[0].light for heads in made.params]
    assert len(set(lights)) == 3
    assert lights[9] != lights[10]
    assert len({heads[0].identity for heads in made.params}) == 1


def test_people_and_occluder():
    made = clip(6, 4, 5, people=3, occluder="hand", size=(96, 54))
    x = [_track(made, "pose", "x", person).mean() for person in range(3)]
    assert x == sorted(x)
    assert len({heads.identity for heads in made.params[0]}) == 3
    assert _track(made, "scene", "occluder").min() > 1 / 3
    assert _track(made, "scene", "occluder", 1).max() == 0
    drawn = made.frame(0)
    assert drawn.rgb.shape == (54, 96, 3)
    assert len(drawn.faces) == 3


def test_swapped_truth_changes_one_person():
    made = clip(7, 1, 5, people=2, size=(96, 54))
    swapped = made.swapped({1: identity(99)})
    for before, after in zip(made.params, swapped.params, strict=True):
        assert before[0] == after[0]
        assert after[1].identity == identity(99)
        assert after[1].pose == before[1].pose
    with pytest.raises(RecipeError, match="person 2"):
        made.swapped({2: identity(1)})


def test_voice_follows_the_jaw():
    made = clip(8, 4, 25)
    voice = made.voice()
    assert voice.shape == (4 * 48000,)
    assert voice.dtype == np.float32
    loud = np.sqrt((voice.reshape(100, -1) ** 2).mean(1))
    jaw = _track(made, "expression", "jaw")
    # A frame's sound lasts until the next one.
    assert np.corrcoef(loud[:-1], (jaw[1:] + jaw[:-1]) / 2)[0, 1] > 0.9


@pytest.mark.parametrize(
    "wrong",
    [{"seconds": 0}, {"fps": 0}, {"fps": 1000}, {"people": 0}, {"people": 9}, {"cuts": -1},
     {"cuts": 60}, {"occluder": "hat"}],
)  # fmt: skip
def test_impossible(wrong):
    with pytest.raises(RecipeError):
        clip(0, wrong.pop("seconds", 2), wrong.pop("fps", Fraction(25)), **wrong)


def test_poses_stay_in_range():
    for seed in range(5):
        made = clip(seed, 20, 5, cuts=3)
        assert all(abs(h[0].pose.yaw) <= Pose.ranges()["yaw"].high for h in made.params)
