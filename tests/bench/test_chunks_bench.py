"""``bench chunks`` measures what it says, on a few frames."""

import pytest

from vidswap.bench.chunks import CHUNK, WORK_CHUNK, measure, table


@pytest.mark.slow
def test_every_figure_is_there_and_a_kill_repeats_one_chunk_at_most():
    pytest.importorskip("skimage.data")
    found = measure(None, frames=CHUNK // 2, rounds=1, watch=lambda *_: None)
    assert found["chunks"]["count"] == 1
    assert found["chunks"]["bytes_ratio"] == pytest.approx(1, abs=0.01)  # one encoder either way
    assert found["chunks"]["join_ratio"] > 1
    assert found["workers"]["speed_up"] > 0
    assert found["kill"]["whole"]
    # Beside its chunk, the frames of the next one that had left for the encoder.
    assert found["kill"]["repeated"] <= WORK_CHUNK + 8
    text = table(found)
    assert "two workers against one" in text
    assert "rendered twice" in text
