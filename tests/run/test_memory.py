"""Memory of the render pass does not grow with the clip.

Half of it is x264's: at 1080p each frame it looks ahead costs 7 MB, and slower presets look farther.
"""

import json
import subprocess
import sys
from itertools import cycle, islice
from pathlib import Path

import pytest

from vidswap.media.pictures import write_pictures

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="needs Linux's /proc"),
]

RATE = 25
SHORT, LONG = 10, 60
"""Seconds."""
LIMIT = 600
"""Megabytes. Measured: 590 to 606, of which 170 are x264's at this preset."""
CHILD = """
import json, sys
from vidswap.cli import cli
from vidswap.cli.outcome import run_command
code = run_command(cli, sys.argv[1:])
# Not ru_maxrss: that starts from the process that forked this one.
peak = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps({"code": code, "megabytes": int(peak) / 1024}))
"""


@pytest.fixture(scope="module")
def portrait():
    """A public-domain portrait and its mesh."""
    pytest.importorskip("mediapipe")
    data = pytest.importorskip("skimage.data")
    from vidswap.faces.photo_faces import source_face

    return source_face(data.astronaut(), "astronaut")


@pytest.fixture(scope="module")
def clip(portrait, tmp_path_factory):
    """A talking head in 1080p that repeats itself every four seconds."""
    from vidswap.faces.puppet import Puppet, talk

    puppet = Puppet(portrait.rgb, portrait.mesh, (1920, 1080))
    there = [puppet.frame(talk(i / RATE))[0] for i in range(2 * RATE)]
    path = tmp_path_factory.mktemp("memory") / "talk.mp4"
    pictures = islice(cycle(there + there[::-1]), LONG * RATE)
    write_pictures(path, pictures, options={"preset": "ultrafast", "crf": "16", "threads": "2"})
    return path


@pytest.fixture(scope="module")
def photo(portrait, tmp_path_factory):
    from PIL import Image

    path = tmp_path_factory.mktemp("photo") / "photo.png"
    Image.fromarray(portrait.rgb).save(path)
    return path


def peak(*arguments):
    """Peak resident megabytes of one command in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD, *map(str, arguments), "--quiet"],
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["code"] == 0, done.stderr
    return found["megabytes"]


def test_rendering_a_minute_needs_no_more_memory_than_ten_seconds(
    clip, photo, tmp_path, record_testsuite_property
):
    peaks = {}
    for seconds in (SHORT, LONG):
        work, output = tmp_path / f"work{seconds}", tmp_path / f"{seconds}.mp4"
        # As many threads everywhere: each one of a codec holds frames.
        common = ("--work", work, "--end", seconds, "--set", "decode.threads=2")
        analyse = peak("analyse", clip, *common, "--set", "track.samples=1")
        render = peak(
            *("render", clip, *common, "--set", "track.samples=1", "--set", "encode.threads=2"),
            *("-s", photo, "-o", output, "--preset", "veryfast"),
        )
        peaks[seconds] = {"analyse": analyse, "render": render}
        record_testsuite_property(f"megabytes_{seconds}s", peaks[seconds])
    assert peaks[LONG]["render"] <= 1.05 * peaks[SHORT]["render"], peaks
    assert peaks[LONG]["render"] <= LIMIT, peaks
