import json

import numpy as np
import pytest

from vidswap.cli import cli
from vidswap.cli.outcome import run_command


@pytest.fixture
def call(capsys):
    def run(*arguments):
        capsys.readouterr()
        code = run_command(cli, [str(a) for a in ("synth", *arguments)])
        out, err = capsys.readouterr()
        return code, out, err

    return run


def test_faces_and_going_on(call, tmp_path):
    arguments = ("faces", tmp_path / "f", "-n", 2, "--size", 24, "-j", 1, "--json")
    code, out, err = call(*arguments)
    assert code == 0
    found = json.loads(out)
    assert (found["shards_drawn"], found["images_drawn"]) == (1, 2)
    assert "2 images in" in err
    assert f"{2 / found['seconds']:.1f} images/s" in err
    code, out, err = call(*arguments)
    assert (json.loads(out)["shards_drawn"], json.loads(out)["images_drawn"]) == (0, 0)
    assert "images/s" not in err
    code, out, _ = call("pairs", tmp_path / "p", "-n", 1, "--size", 24, "-j", 1, "--json")
    assert json.loads(out)["images_drawn"] == 3
    assert np.load(tmp_path / "f" / "00000_images.npy").shape == (2, 24, 24, 3)


def test_clip_with_true_swap(call, tmp_path):
    code, out, err = call(
        "clip", tmp_path / "a.mp4", "--seconds", 0.5, "--fps", "30000/7507", "--size", "64x48",
        "--swap", 5, "-j", 1,
    )  # fmt: skip
    assert (code, out.strip()) == (0, str(tmp_path / "a.mp4"))
    assert '"progress"' in err
    assert {p.name for p in tmp_path.iterdir()} == {
        "a.mp4", "a.truth.npz", "a.swapped.mp4", "a.swapped.truth.npz", "a.source.png",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("faces", "{}/x", "--size", 3), 2, "16 … 4096"),
        (("pairs", "{}/x", "-n", 0), 2, "count: expected"),
        (("faces", "{}/here"), 3, "cannot be written"),
        (("clip", "{}/x"), 2, "suffix"),
        (("clip", "{}/x.mp4", "--people", 7), 2, "people: expected"),
        (("clip", "{}/x.mp4", "--size", "big"), 2, "WIDTHxHEIGHT"),
        (("clip", "{}/x.mp4", "--fps", "1/0"), 2, "fraction"),
        (("clip", "{}/x.mp4", "--size", "31x48"), 3, "even"),
        (("clip", "{}/here/x.mp4", "--size", "32x32", "--seconds", 0.1), 3, "cannot be written"),
    ],
)
def test_bad_input_is_one_clear_error(call, tmp_path, arguments, code, words):
    (tmp_path / "here").write_text("a file")
    got, out, err = call(*[str(a).format(tmp_path) for a in arguments])
    assert (got, out) == (code, "")
    assert words in err
    assert "Traceback" not in err
