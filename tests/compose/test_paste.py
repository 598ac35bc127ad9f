"""The order of overlapping faces, and the contract between engines and frames."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidswap.compose.paste import overlap, paste, waves
from vidswap.errors import ShapeError
from vidswap.types import Box, Patch

boxes = st.lists(
    st.builds(
        lambda x, y, w, h: Box(x, y, x + w, y + h),
        st.integers(0, 40),
        st.integers(0, 40),
        st.integers(1, 30),
        st.integers(1, 30),
    ),
    max_size=7,
)


@given(boxes)
def test_waves_cover_every_face_once_and_never_overlap_within_a_wave(found):
    groups = waves(found)
    assert sorted(i for group in groups for i in group) == list(range(len(found)))
    for group in groups:
        assert not any(overlap(found[a], found[b]) for a in group for b in group if a != b)


@given(boxes)
def test_a_larger_overlapping_face_always_comes_later(found):
    wave = {i: n for n, group in enumerate(waves(found)) for i in group}
    area = [b.width * b.height for b in found]
    for a in wave:
        for b in wave:
            if area[a] < area[b] and overlap(found[a], found[b]):
                assert wave[a] < wave[b]


def test_faces_apart_share_one_wave():
    assert waves([Box(0, 0, 9, 9), Box(9, 0, 12, 9), Box(0, 9, 9, 12)]) == [[2, 1, 0]]
    assert waves([]) == []


def frame():
    calls = []
    return SimpleNamespace(width=20, height=10, calls=calls, paste=lambda *a: calls.append(a))


def test_patches_reach_the_frame():
    target, box = frame(), Box(2, 3, 6, 8)
    paste(target, Patch(np.zeros((5, 4, 3), np.uint8), box), Box(0, 0, 10, 10))
    assert target.calls[0][0] == box


@pytest.mark.parametrize(
    ("box", "shape"),
    [
        (Box(2, 3, 6, 8), (4, 5, 3)),
        (Box(2, 3, 6, 8), (5, 4)),
        (Box(0, 3, 6, 8), (5, 6, 3)),
        (Box(2, 3, 21, 8), (5, 19, 3)),
    ],
)
def test_a_patch_that_breaks_its_contract_is_a_bug(box, shape):
    with pytest.raises(ShapeError):
        paste(frame(), Patch(np.zeros(shape, np.uint8), box), Box(1, 1, 30, 10))


def test_an_empty_patch_changes_nothing():
    target = frame()
    paste(target, Patch(np.zeros((0, 4, 3), np.uint8), Box(2, 3, 6, 3)), Box(0, 0, 10, 10))
    assert not target.calls
