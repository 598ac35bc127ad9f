"""Clock of a trimmed output."""

from fractions import Fraction

import pytest

from vidswap.media.probe import probe
from vidswap.media.timeline import later_timecode, output_pts, timeline
from vidswap.testing import Audio


@pytest.mark.parametrize(
    ("code", "frames", "rate", "wanted"),
    [
        ("01:02:03:04", 0, Fraction(25), "01:02:03:04"),
        ("01:02:03:04", 21, Fraction(25), "01:02:04:00"),
        ("23:59:59:24", 1, Fraction(25), "00:00:00:00"),
        ("00:00:59;29", 1, Fraction(30000, 1001), "00:01:00;02"),
        ("00:09:59;29", 1, Fraction(30000, 1001), "00:10:00;00"),
        ("00:00:00;00", 17982, Fraction(30000, 1001), "00:10:00;00"),
        ("00:00:00;00", 107892, Fraction(30000, 1001), "01:00:00;00"),
        ("00:00:59;59", 1, Fraction(60000, 1001), "00:01:00;04"),
        ("no code", 5, Fraction(25), "no code"),
    ],
)
def test_timecode(code, frames, rate, wanted):
    assert later_timecode(code, frames, rate) == wanted


def test_whole_clip_keeps_its_clock(make):
    info = probe(make(".mp4", pts=tuple(range(45, 75)), audio=(Audio(),)))
    line = timeline(info, 0, 30)
    assert (line.shift, line.begin, line.end) == (0, None, None)
    assert output_pts(info, line, 0, 30).tolist() == info.pts.tolist()


def test_trimmed_clip_starts_at_zero(make):
    info = probe(make(".mp4", frames=60))
    line = timeline(info, 15, 45)
    assert (line.begin, line.end) == (Fraction(1, 2), Fraction(3, 2))
    assert output_pts(info, line, 15, 45)[0] == 0
    assert [line.holds(Fraction(t, 10)) for t in (4, 5, 14, 15)] == [False, True, True, False]


def test_broadcast_clock_starts_at_the_earliest_stream(make):
    info = probe(make(".ts", audio=(Audio(),)))
    line = timeline(info, 0, 30)
    assert 0 <= output_pts(info, line, 0, 30)[0] * info.time_base < Fraction(1, 20)
