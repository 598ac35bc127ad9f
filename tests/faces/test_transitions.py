"""Dissolves are found where they are, and nothing else is taken for one."""

from itertools import pairwise

import cv2
import numpy as np
import pytest

from tests.faces.test_shots import grey
from vidswap.faces.transitions import HOLD, MEMORY, Transitions
from vidswap.recipe import ShotOptions

REST = 20
SCENES = ("astronaut", "coffee", "camera", "chelsea")


def judged(frames, size=0, start=0):
    judge, out, since = Transitions(ShotOptions(), size, start), [], None
    for number, frame in enumerate(frames):
        out += judge.add(frame)
        assert number + 1 - len(out) <= HOLD + ShotOptions().min_frames
        if since is None and judge.settled:
            since = start + len(out)
    out += judge.flush()
    assert len(out) == len(frames)
    return dict(enumerate(out, start)), since


def starts(frames):
    return [i for i, v in judged(frames)[0].items() if v.cut]


def shaken(name, count, seed, zoom=1.3, drift=0.0):
    """A scene with noise, slightly moving, that keeps its place or drifts."""
    rng = np.random.default_rng(seed)
    at = 0.5 + 0.004 * rng.standard_normal((count, 2)) + drift * np.arange(count)[:, None]
    pictures = [grey(name, zoom=zoom, at=(x, y)) for x, y in np.clip(at, 0, 1)]
    return [p + rng.normal(0, 2, p.shape) for p in pictures]


def dissolve(before, after, length, drift=0.0):
    a, b = (shaken(n, REST + length, k, drift=drift) for k, n in enumerate((before, after)))
    shares = (np.arange(length) + 1) / (length + 1)
    mixed = [(1 - s) * a[REST + k] + s * b[k] for k, s in enumerate(shares)]
    return [np.clip(p, 0, 255).astype(np.uint8) for p in [*a[:REST], *mixed, *b[length:]]]


@pytest.mark.parametrize(
    ("length", "drift"), [(8, 0.0), (12, 0.003), (18, 0.0), (25, 0.003), (40, 0.0)]
)
def test_a_dissolve_starts_a_shot_in_its_middle(length, drift):
    for before, after in pairwise(SCENES):
        found, _ = judged(dissolve(before, after, length, drift))
        first, middle = (i for i, v in found.items() if v.cut)
        assert first == 0
        assert abs(middle - (REST + length / 2)) <= max(2, length / 8), (before, after)
        place = found[middle].dissolve
        assert place.middle == middle
        assert abs(place.start - REST) <= max(2, length / 8)
        assert abs(place.stop - (REST + length)) <= max(2, length / 8)
        mixed = [i for i, v in found.items() if v.mixed]
        assert set(range(middle, place.stop)) <= set(mixed) <= set(range(place.start, place.stop))
        shares = [place.share(i) for i in range(place.start - 1, place.stop + 1)]
        assert shares[0] == shares[-1] == 0
        assert abs(int(np.argmax(shares)) - (middle - place.start + 1)) <= 1
        assert 0.35 < max(shares) <= 0.5


def test_frames_too_large_to_wait_give_a_later_cut_but_a_cut():
    found, _ = judged(dissolve("astronaut", "coffee", 24), size=40 << 20)
    _, middle = (i for i, v in found.items() if v.cut)
    assert REST + 12 < middle <= REST + 24
    assert found[middle].dissolve.middle == middle


@pytest.mark.parametrize("name", SCENES)
@pytest.mark.parametrize("frames", [8, 40])
def test_other_light_is_no_dissolve(name, frames):
    rng = np.random.default_rng(1)
    base = grey(name).astype(float)
    x = np.linspace(0, 1, base.shape[1])[None]
    ways = [
        lambda r: base * (1 - 0.8 * r),
        lambda r: base * (1 + 1.2 * r),
        lambda r: base * (0.3 + 0.7 * (1 - r) * (1 - x) + 0.7 * r * x),
        lambda r: base + 80 * r,
        lambda r: base * (1 - 0.7 * r) + 200 * 0.7 * r,
    ]
    ramp = np.r_[np.zeros(REST), np.linspace(0, 1, frames), np.ones(REST)]
    for light in ways:
        lit = [np.clip(light(r) + rng.normal(0, 2, base.shape), 0, 255) for r in ramp]
        assert starts([p.astype(np.uint8) for p in lit]) == [0]


@pytest.mark.parametrize("name", SCENES[:2])
def test_camera_moves_and_what_passes_by_are_no_dissolve(name):
    for speed in (0.01, 0.04):
        path = np.clip(np.arange(0, 1 + speed, speed), 0, 1)
        assert starts([grey(name, zoom=2.0, at=(x, 0.4)) for x in path]) == [0]
        assert starts([grey(name, zoom=1 + 2 * x) for x in path]) == [0]
    other = cv2.flip(grey(SCENES[0] if name != SCENES[0] else SCENES[1]), 1)
    passing = []
    for i in range(100):
        picture = grey(name).copy()
        edge = int(np.clip(3 * (i - 20), 0, 160))
        picture[:, :edge] = other[:, 160 - edge :]
        passing.append(picture)
    assert not any(v.dissolve for v in judged(passing)[0].values())


def test_a_flash_that_glows_is_no_dissolve():
    for name in SCENES:
        base = grey(name).astype(int)
        for length in (3, 6, 9):
            glow = np.r_[np.linspace(0, 230, length), np.linspace(230, 0, length)].astype(int)
            lit = [np.clip(base + g, 0, 255) for g in [*[0] * REST, *glow, *[0] * REST]]
            assert not any(
                v.dissolve for v in judged([p.astype(np.uint8) for p in lit])[0].values()
            )


def test_it_forgets_where_it_began():
    """Spans start anywhere: from where they are settled on, they judge as the whole would."""
    rng = np.random.default_rng(5)
    film = []
    for k in range(7):
        before, after = SCENES[k % 4], SCENES[(k + 1) % 4]
        film += dissolve(before, after, int(rng.integers(6, 30)))[: REST + 30]
        film += [film[-1]] * int(rng.integers(10, 40))
    truth, _ = judged(film)
    assert sum(v.dissolve is not None for v in truth.values()) >= 4
    compared = 0
    for start in (10, 57, 120):
        found, since = judged(film[start:], start=start)
        if since is not None and since < len(film) - 50:
            compared += 1
            assert since >= start + MEMORY - HOLD - 5
            assert all(found[i] == truth[i] for i in range(since, len(film))), (start, since)
    assert compared >= 2
