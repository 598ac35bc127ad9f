"""A clip in chunks that several modules interrupt."""

import shutil

import pytest

from tests.run.chunked import FRAMES, SIZE, ask
from vidswap.media.segment import digest_of
from vidswap.run.swap import swap
from vidswap.testing import Audio, Clip, write_clip


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("chunks")


@pytest.fixture(scope="session")
def clip(folder):
    return write_clip(folder / "clip.mp4", Clip(frames=FRAMES, audio=(Audio(seconds=1.3),)))


@pytest.fixture(scope="session")
def undisturbed(folder, clip):
    """A work folder with the analysis, and the digest of an undisturbed run's output."""
    output = folder / "undisturbed.mp4"
    found = swap(ask(clip, output, folder / "work"))
    assert found["chunks"] == {"all": FRAMES // SIZE, "kept": 0}
    assert found["sha256"] == digest_of(output)
    return folder / "work", found["sha256"]


@pytest.fixture
def analysed(undisturbed, tmp_path_factory):
    """The same with a work folder of the test's own."""
    work = tmp_path_factory.mktemp("job") / "work"
    shutil.copytree(undisturbed[0], work, ignore=shutil.ignore_patterns("render-*"))
    return work, undisturbed[1]
