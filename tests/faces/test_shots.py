"""Cuts: found where the scene changes, not where it flashes, moves or brightens."""

import subprocess
import sys
from functools import cache

import cv2
import numpy as np
import pytest

from vidswap.faces.shots import ShotSplitter
from vidswap.recipe import ShotOptions

pytest.importorskip("skimage")


@cache
def whole(name):
    """One of scikit-image's pictures in grey; reading it costs a hundred times as much as a view of it."""
    import skimage.data

    picture = getattr(skimage.data, name)()
    if picture.ndim == 3:
        picture = cv2.cvtColor(np.ascontiguousarray(picture[..., :3]), cv2.COLOR_RGB2GRAY)
    picture.flags.writeable = False
    return picture


def grey(name, size=(160, 90), zoom=1.0, at=(0.5, 0.5)):
    """A view of one of scikit-image's pictures."""
    picture = whole(name)
    h, w = picture.shape
    side_w, side_h = int(w / zoom), int(min(h, w * 9 / 16) / zoom)
    x, y = int((w - side_w) * at[0]), int((h - side_h) * at[1])
    part = picture[y : y + side_h, x : x + side_w]
    return cv2.resize(part, size, interpolation=cv2.INTER_AREA)


def starts(frames, options=None):
    splitter = ShotSplitter(options or ShotOptions())
    verdicts = []
    for number, frame in enumerate(frames):
        verdicts += splitter.add(frame)
        assert number - len(verdicts) < (options or ShotOptions()).min_frames
    verdicts += splitter.flush()
    assert len(verdicts) == len(frames)
    return [i for i, v in enumerate(verdicts) if v]


A, B, C = "astronaut", "coffee", "camera"


def test_hard_cuts_are_found_on_the_frame():
    clip = [grey(A)] * 12 + [grey(B)] * 9 + [grey(C)] * 14
    assert starts(clip) == [0, 12, 21]


def test_noise_and_exposure_are_no_cuts():
    rng = np.random.default_rng(0)
    base = grey(A).astype(float)
    clip = [
        np.clip(base * (1 + 0.3 * np.sin(i / 8)) + rng.normal(0, 6, base.shape), 0, 255).astype(
            np.uint8
        )
        for i in range(60)
    ]
    assert starts(clip) == [0]


@pytest.mark.parametrize("length", [1, 2, 4])
def test_a_flash_is_no_cut(length):
    white = np.full((90, 160), 250, np.uint8)
    for between in (white, grey(B)):
        assert starts([grey(A)] * 10 + [between] * length + [grey(A)] * 10) == [0]


def test_a_brightened_frame_is_no_cut():
    lit = np.clip(grey(A).astype(int) * 2 + 60, 0, 255).astype(np.uint8)
    assert starts([grey(A)] * 6 + [lit] * 20 + [grey(A)] * 6) == [0]


def test_a_shot_as_short_as_min_frames_is_one():
    clip = [grey(A)] * 8 + [grey(B)] * 5 + [grey(A)] * 8
    assert starts(clip) == [0, 8, 13]
    assert starts(clip, ShotOptions(min_frames=8)) == [0]


@pytest.mark.parametrize("speed", [0.01, 0.04, 0.1])
def test_pans_are_no_cuts(speed):
    path = np.clip(np.arange(0, 1 + speed, speed), 0, 1)
    assert starts([grey(C, zoom=2.0, at=(x, 0.4)) for x in path]) == [0]


def test_zooms_are_no_cuts():
    assert starts([grey(A, zoom=1 + 0.05 * k) for k in range(30)]) == [0]


def test_a_fade_through_black_is_one_cut_in_the_dark():
    down = [(grey(A) * k).astype(np.uint8) for k in np.linspace(1, 0, 12)]
    up = [(grey(B) * k).astype(np.uint8) for k in np.linspace(0, 1, 12)]
    found = starts([grey(A)] * 10 + down + up + [grey(B)] * 10)
    assert len(found) == 2
    assert 20 <= found[1] <= 28


def test_a_fade_out_and_in_of_one_scene_is_no_cut():
    dark = [(grey(A) * abs(k)).astype(np.uint8) for k in np.linspace(-1, 1, 25)]
    assert starts([grey(A)] * 5 + dark + [grey(A)] * 5) == [0]


def test_the_end_of_the_clip_may_be_a_cut():
    assert starts([grey(A)] * 10 + [grey(B)] * 2) == [0, 10]


def test_one_frame_and_none():
    assert starts([grey(A)]) == [0]
    assert starts([]) == []


def test_reverse_shot_with_the_same_histogram_is_a_cut():
    rng = np.random.default_rng(3)
    scene = cv2.GaussianBlur(rng.integers(0, 255, (90, 160), np.uint8), (0, 0), 6)
    scene = cv2.normalize(scene, None, 20, 235, cv2.NORM_MINMAX)
    scene[20:70, 15:60] = 200
    frames = [np.roll(scene, i // 3, 1) for i in range(20)]
    frames += [np.roll(np.ascontiguousarray(scene[:, ::-1]), i // 3, 1) for i in range(20)]
    splitter = ShotSplitter(ShotOptions())
    verdicts = [v for frame in frames for v in splitter.add(frame)] + splitter.flush()
    assert [i for i, starts in enumerate(verdicts) if starts] == [0, 20]


SIGNALLED = """
import signal
import numpy as np
from vidswap.faces.shots import _look, same

class Stop(BaseException):
    pass

def stop(*_):
    raise Stop

signal.signal(signal.SIGALRM, stop)
rng = np.random.default_rng(0)
a, b = (_look(rng.integers(0, 9, (48, 48), np.uint8)) for _ in range(2))
stopped = 0
for wait in rng.uniform(1e-5, 3e-4, 4000):
    try:
        signal.setitimer(signal.ITIMER_REAL, wait)
        while True:
            same(a, b, 0.3)
    except Stop:
        stopped += 1
print(stopped)
"""


def test_a_signal_in_the_middle_of_a_comparison_only_stops_it():
    """OpenCV dies where a handler raises while it chooses between signatures."""
    command = [sys.executable, "-c", SIGNALLED]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == 4000
