"""Times on the command line, against clips with any timestamps."""

from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest

from vidswap.errors import RecipeError
from vidswap.run.trim import Moment, frame_range, parse


def clip(pts, base=Fraction(1, 1000)):
    pts = np.array(pts, np.int64)
    return SimpleNamespace(
        path="clip.mp4",
        pts=pts,
        time_base=base,
        frames=len(pts),
        duration=int(pts[-1] - pts[0]) + 40,
    )


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("250f", Moment(frame=250)),
        ("0", Moment(seconds=0.0)),
        ("12.5", Moment(seconds=12.5)),
        (".5s", Moment(seconds=0.5)),
        ("1:02.5", Moment(seconds=62.5)),
        ("00:01:02.5", Moment(seconds=62.5)),
        ("10:00:00", Moment(seconds=36000.0)),
    ],
)
def test_written_times(text, moment):
    assert parse(text) == moment


@pytest.mark.parametrize("text", ["", "x", "-1", "1:75", "1:2:3:4", "5ff", "nan", "1:90:00"])
def test_what_is_no_time(text):
    with pytest.raises(RecipeError, match="no time"):
        parse(text)


def test_seconds_count_from_the_first_frame_and_are_exact():
    info = clip(np.arange(10) * 40 + 1400)
    assert frame_range(info, None, None) == (0, 10)
    assert frame_range(info, Moment(seconds=0.12), Moment(seconds=0.2)) == (3, 5)
    assert frame_range(info, Moment(seconds=0.121), None) == (4, 10)
    assert frame_range(info, Moment(frame=2), Moment(frame=99)) == (2, 10)


def test_thirds_of_a_tick_do_not_lose_a_frame():
    info = clip(np.arange(300) * 1001, Fraction(1, 30000))
    for n in (1, 7, 100, 299):
        assert frame_range(info, Moment(seconds=n * 1001 / 30000), None)[0] == n


def test_variable_rate():
    info = clip([0, 10, 500, 510, 2000])
    assert frame_range(info, Moment(seconds=0.4), Moment(seconds=1.0)) == (2, 4)


@pytest.mark.parametrize(("start", "end"), [("5", None), ("0.2", "0.1"), ("3f", "3f"), (None, "0")])
def test_an_empty_range_is_an_error_that_says_how_long_the_clip_is(start, end):
    info = clip(np.arange(10) * 40)
    with pytest.raises(RecipeError, match=r"10 frames in 0.400 s"):
        frame_range(info, start and parse(start), end and parse(end))
