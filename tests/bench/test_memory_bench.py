"""Memory of whole runs: clips that repeat, processes that are watched, and the figures."""

import subprocess
import sys
import time
from pathlib import Path

import av
import numpy as np
import pytest

from vidswap.bench import memory
from vidswap.errors import MediaError
from vidswap.media.pictures import repeat, write_pictures

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/status").is_file(), reason="needs Linux's /proc"
)


def test_a_repeated_clip_shows_its_pictures_again_at_a_constant_rate(tmp_path):
    rng = np.random.default_rng(0)
    pictures = [np.full((48, 64, 3), v, np.uint8) for v in (20, 90, 160, 230)]
    pictures[1][:24] = rng.integers(0, 255, (24, 64, 3))
    write_pictures(tmp_path / "short.mp4", pictures, options={"preset": "medium", "crf": "4"})
    assert repeat(tmp_path / "short.mp4", tmp_path / "long.mp4", 11) == 12
    with av.open(str(tmp_path / "long.mp4")) as file:
        stream = file.streams.video[0]
        shown = [(f.pts * stream.time_base, f.to_ndarray(format="rgb24")) for f in file.decode(0)]
    assert [float(at) for at, _ in shown] == pytest.approx([k / 25 for k in range(12)])
    for k, (_, picture) in enumerate(shown):
        np.testing.assert_array_equal(picture, shown[k % 4][1])
    assert np.abs(shown[2][1].astype(int) - 160).max() < 8


def test_a_clip_that_is_none_cannot_be_repeated(tmp_path):
    (tmp_path / "none.mp4").write_bytes(b"nothing")
    with pytest.raises(MediaError, match="cannot be repeated"):
        repeat(tmp_path / "none.mp4", tmp_path / "out.mp4", 5)


def test_peak_and_children_of_a_process_are_seen():
    child = "import time; a = bytearray(120 << 20); del a; print(1, flush=True); time.sleep(60)"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        try:
            process.stdout.readline()
            time.sleep(0.05)
            family = list(memory._family(process.pid))
            found = [memory._status(pid) for pid in family]
        finally:
            for pid in reversed(family):
                subprocess.run(["kill", str(pid)], check=True)
    assert len(found) == 2
    (_, parent), (peak, now) = found
    assert 120 < peak < 200
    assert now < peak - 60
    assert 1 < parent < 120
    assert memory._status(2**22 + 5) == (0.0, 0.0)


def test_the_table_tells_growth():
    runs = [
        {"seconds": s, "frames": 25 * s, "largest_mb": m, "together_mb": m + 99}
        for s, m in ((10, 500.0), (600, 515.0))
    ]
    result = {"clip": "made", "settings": "x", "runs": runs, "growth": 1.03, "limit_mb": 600.0}
    text = memory.table(result)
    for words in ("600", "515", "614", "1.030", "≤ 1.05"):
        assert words in text


@pytest.mark.slow
def test_a_longer_clip_takes_no_more():
    pytest.importorskip("skimage")
    pytest.importorskip("mediapipe")
    found = memory.measure((8, 24), 10, "veryfast")
    assert found["growth"] < 1.05
    assert all(200 < run["largest_mb"] < 600 for run in found["runs"])
