"""Kills of a run that makes latent codes: in every phase of one run, one after the other."""

import json
import random
import signal

import cv2
import numpy as np
import pytest

from tests.run.test_kills import at_call
from tests.tiny_networks import SETTINGS, random_weights
from vidswap.media.pictures import write_pictures
from vidswap.media.segment import digest_of

FRAMES = 12
PHASES = ("analyse", "invert", "render", "join", "verify", "rename")
PIVOTAL = ('invert.method="pivotal"', "invert.steps=2", "invert.tune_frames=3")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Weights, a photograph, and a clip of it swaying."""
    pytest.importorskip("mediapipe")
    portrait = pytest.importorskip("skimage.data").astronaut()[:256, 96:352]
    folder = tmp_path_factory.mktemp("invert")
    cv2.imwrite(str(folder / "photo.png"), portrait[..., ::-1])

    def picture(index):
        matrix = np.float32([[1, 0, 6 * np.sin(index / 3)], [0, 1, 0]])
        return cv2.warpAffine(portrait, matrix, (256, 256), borderMode=cv2.BORDER_REPLICATE)

    write_pictures(folder / "clip.mkv", map(picture, range(FRAMES)), encoder="ffv1")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VIDSWAP_WEIGHTS", str(random_weights(folder / "weights")))
        yield folder


def codes(output):
    """What the stage keeps: names, and the bytes of all but the weights, whose header has no order."""
    files = sorted((output.parent / f"{output.name}.vidswap" / "latents").iterdir())
    return [(p.name, None if p.suffix == ".safetensors" else p.read_bytes()) for p in files]


@pytest.mark.parametrize("settings", [(), PIVOTAL], ids=["encoder", "pivotal"])
def test_a_run_that_is_killed_in_every_phase(folder, tmp_path, settings):
    given = ("track.samples=1", "track.span=8", "run.chunk=4", *SETTINGS, *settings)
    sets = [word for setting in given for word in ("--set", setting)]
    counting = tmp_path / "count"

    def command(output):
        output.parent.mkdir(exist_ok=True)
        clip, photo = str(folder / "clip.mkv"), str(folder / "photo.png")
        words = ("run", clip, "-s", photo, "-p", "latentswap", "-o", str(output), "--quiet")
        return [*words, "--codec", "ffv1", *sets]

    whole = tmp_path / "whole" / "out.mkv"
    assert at_call(0, command(whole), counting) == 0
    counts = json.loads(counting.read_text())
    assert set(counts) >= set(PHASES)
    assert counts["invert"] >= 12  # batches, checkpoints, the files of the track
    rng, kills = random.Random(len(settings)), 0
    for trial in range(2):
        output = tmp_path / f"{trial}" / "out.mkv"
        for phase in PHASES:
            # Twice, as what a resumed run finds decides what it does next.
            for _ in range(2 if phase == "invert" else 1):
                number = rng.randint(1, max(counts[phase] // 2, 1))
                status = at_call(number, command(output), counting, phase)
                assert status == -signal.SIGKILL, (trial, phase, number)
                kills += 1
                assert not output.exists() or phase == "rename"
        assert at_call(0, command(output), counting) == 0
        assert digest_of(output) == digest_of(whole)
        assert sorted(p.name for p in output.parent.iterdir()) == ["out.mkv", "out.mkv.vidswap"]
        assert [p.name for p in (output.parent / "out.mkv.vidswap").glob(".*")] == []
        assert codes(output) == codes(whole)
    assert kills == 14
