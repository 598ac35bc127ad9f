"""Clips and a way to call the command line in this process."""

import json
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from vidswap.cli import cli
from vidswap.cli.outcome import run_command
from vidswap.media.pictures import write_pictures
from vidswap.testing import Clip, write_clip

IDENTITY = 'summary = "Test."\n[engine]\nname = "identity"\n[track]\nsamples = 1\n[detect]\nmin_face = 100\n'


@pytest.fixture
def call(capsys):
    """Run a command: its exit code, stdout, stderr, and the JSON on either."""

    def run(*arguments):
        capsys.readouterr()
        code = run_command(cli, [str(a) for a in arguments])
        out, err = capsys.readouterr()
        result = json.loads(out) if out.startswith("{") else None
        return SimpleNamespace(code=code, out=out, err=err, result=result)

    return run


@pytest.fixture(scope="session")
def media(tmp_path_factory):
    return tmp_path_factory.mktemp("media")


@pytest.fixture(scope="session")
def recipe(media):
    """The identity pipeline as a file."""
    path = media / "identity.toml"
    path.write_text(IDENTITY)
    return path


@pytest.fixture(scope="session")
def empty_clip(media):
    """A clip without a face."""
    return write_clip(media / "empty.mp4", Clip(frames=12))


@pytest.fixture(scope="session")
def portrait():
    data = pytest.importorskip("skimage.data")
    return np.ascontiguousarray(data.astronaut()[:256, 96:352])


@pytest.fixture(scope="session")
def face_clip(media, portrait):
    """Sixteen frames of one face that sways."""

    def picture(index):
        matrix = np.float32([[1, 0, 6 * np.sin(index / 3)], [0, 1, 0]])
        return cv2.warpAffine(portrait, matrix, (256, 256), borderMode=cv2.BORDER_REPLICATE)

    path = media / "face.mp4"
    write_pictures(path, map(picture, range(16)), options={"crf": "12"})
    return path


@pytest.fixture(scope="session")
def photo(media, portrait):
    path = media / "photo.png"
    cv2.imwrite(str(path), portrait[..., ::-1])
    return path
