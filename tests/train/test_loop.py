"""A training that is killed goes on as if nothing had happened, and bad ends lose nothing."""

import errno
import os
import resource
import signal
import subprocess
import sys
import time
import tomllib
from contextlib import contextmanager

import pytest
import torch
from PIL import Image
from torch import distributed

from vidswap import zoo
from vidswap.cli import cli
from vidswap.cli.outcome import run_command
from vidswap.errors import MediaError, RecipeError, StateError
from vidswap.train import checkpoint, loop
from vidswap.train.logs import read_log
from vidswap.train.loop import Watch, rate_scale, train
from vidswap.train.options import LoopOptions
from vidswap.train.processes import Processes
from vidswap.weights import formats, importing, manifest
from vidswap.weights.cache import Store, hash_file

FULL = ("method.path_every=2", "method.r1_every=3")


def losses(out):
    rows = read_log(out)
    for row in rows:
        del row["seconds"]
    return rows


class StopAfter:
    """Asks to stop after so many steps."""

    def __init__(self, steps):
        self.left = steps

    def __call__(self):
        self.left -= 1
        return self.left <= 0


@pytest.fixture(scope="module")
def whole(tiny, tmp_path_factory):
    """Six steps without interruption, every loss of the method among them."""
    out = tmp_path_factory.mktemp("whole")
    return train(tiny("stylegan2", "loop.steps=6", *FULL), out)


@pytest.mark.parametrize("stop", [1, 3, 5])
def test_stopped_training_goes_on_bit_for_bit(whole, tiny, tmp_path, stop):
    recipe = tiny("stylegan2", "loop.steps=6", *FULL)
    first = train(recipe, tmp_path, watch=Watch(stop=StopAfter(stop)))
    assert (first.steps, first.finished) == (stop, False)
    second = train(recipe, tmp_path)
    assert second.finished
    assert losses(tmp_path) == losses(whole.out)
    ours, _ = formats.read_safetensors(second.checkpoint)
    theirs, _ = formats.read_safetensors(whole.checkpoint)
    assert ours.keys() == theirs.keys()
    for name, tensor in theirs.items():
        assert torch.equal(ours[name], tensor), name


def test_rows_after_the_checkpoint_are_replaced(whole, tiny, tmp_path):
    """Killed at step 5, last checkpoint at 4: row 5 is made again, not doubled."""
    recipe = tiny("stylegan2", "loop.steps=6", *FULL)
    with pytest.raises(ZeroDivisionError):
        train(recipe, tmp_path, watch=Watch(progress=lambda _, done, __: 1 // (5 - done)))
    assert [row["step"] for row in losses(tmp_path)] == list("12345")
    train(recipe, tmp_path)
    assert losses(tmp_path) == losses(whole.out)


def test_export_is_read_by_name(whole, tmp_path):
    (path,) = whole.exports
    importing.add(path, Store(tmp_path), "mine")
    network = zoo.load_named("mine", Store(tmp_path))
    assert network.size == 16
    assert float(network.mapping.w_avg.abs().sum()) > 0
    own = manifest.decode(tomllib.loads(path.with_suffix(".toml").read_text()), "x")
    assert own.sha256 == hash_file(path)[0]
    assert "loop" in path.with_suffix(".md").read_text()
    assert (whole.out / "samples" / "step-000000006.png").is_file()


def test_only_the_newest_checkpoints_stay(whole):
    assert [step for step, _ in checkpoint.existing(whole.out)] == [6, 4]


def test_full_disk_keeps_the_last_checkpoint(tiny, tmp_path, monkeypatch):
    real, calls = formats.save_file, []

    def full(tensors, path, metadata):
        calls.append(path)
        if len(calls) > 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(tensors, path, metadata)

    monkeypatch.setattr(formats, "save_file", full)
    with pytest.raises(StateError, match="No space left") as caught:
        train(tiny("stylegan2", "loop.steps=6"), tmp_path)
    assert "step-000000002" in caught.value.hint
    assert [path.name for path in checkpoint.folder(tmp_path).iterdir()] == [
        "step-000000002.safetensors"
    ]


def test_write_that_the_system_refuses_keeps_checkpoint_and_log(tiny, tmp_path):
    recipe, usual = tiny("stylegan2", "loop.steps=6"), resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit(_, done, __):
        if done == 3:
            resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, usual[1]))

    try:
        with pytest.raises(StateError, match="too large") as caught:
            train(recipe, tmp_path, watch=Watch(progress=limit))
        assert "step-000000002" in caught.value.hint
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, usual[1]))
        with pytest.raises(StateError, match="too large"):
            train(recipe, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    assert [step for step, _ in checkpoint.existing(tmp_path)] == [2]
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith(".")]
    assert len(read_log(tmp_path)) == 4
    train(recipe, tmp_path)
    assert [row["step"] for row in read_log(tmp_path)] == list("123456")


def test_torn_row_of_a_full_disk_is_left_out(tiny, tmp_path):
    recipe = tiny("stylegan2", "loop.steps=4")
    train(recipe, tmp_path, watch=Watch(stop=StopAfter(2)))
    with (tmp_path / "log.csv").open("a") as file:
        file.write("1")  # of step 10
    train(recipe, tmp_path)
    assert [row["step"] for row in read_log(tmp_path)] == list("1234")


def test_only_the_first_of_several_processes_writes_and_speaks(tiny, tmp_path, monkeypatch):
    @contextmanager
    def second(_):
        yield Processes(rank=1, local=1), torch.device("cpu")

    monkeypatch.setattr(loop, "joined", second)
    said = []
    watch = Watch(progress=lambda *a: said.append(a), note=said.append)
    outcome = train(tiny("stylegan2", "loop.steps=2"), tmp_path, watch=watch)
    assert (outcome.steps, outcome.first, outcome.exports) == (2, False, ())
    assert not said
    assert not list(tmp_path.iterdir())


def test_another_process_that_is_told_to_stop_stops_this_one(tiny_overrides, tmp_path, monkeypatch):
    monkeypatch.setattr(Processes, "any", lambda *_: True)
    arguments = ["train", "stylegan2", "-o", str(tmp_path), *tiny_overrides("stylegan2")]
    assert run_command(cli, [*arguments, "--set=loop.steps=5"]) == 143
    assert [step for step, _ in checkpoint.existing(tmp_path)] == [1]


def test_another_process_that_is_gone_is_no_bug(monkeypatch):
    def closed(*_):
        raise RuntimeError("Connection closed by peer")

    monkeypatch.setattr(distributed, "barrier", closed)
    monkeypatch.setattr(distributed, "all_reduce", closed)
    monkeypatch.setattr(distributed, "get_backend", lambda: "gloo")
    several = Processes(0, 2)
    with pytest.raises(StateError, match="another process"):
        several.wait()
    with pytest.raises(StateError, match="another process"):
        several.any(True)
    with pytest.raises(StateError, match="another process"):
        several.average([torch.zeros(2)])


def test_damaged_checkpoint_falls_back(whole, tiny, tmp_path):
    recipe = tiny("stylegan2", "loop.steps=6", *FULL)
    train(recipe, tmp_path, watch=Watch(stop=StopAfter(5)))
    newest = checkpoint.existing(tmp_path)[0][1]
    newest.write_bytes(newest.read_bytes()[:1000])
    notes = []
    train(recipe, tmp_path, watch=Watch(note=notes.append))
    assert any("damaged" in note for note in notes)
    assert losses(tmp_path) == losses(whole.out)


def test_another_recipe_does_not_go_on(tiny, tmp_path):
    train(tiny("stylegan2", "loop.steps=2"), tmp_path)
    with pytest.raises(StateError, match=r"method\.r1"):
        train(tiny("stylegan2", "loop.steps=4", "method.r1=3.0"), tmp_path)
    longer = train(tiny("stylegan2", "loop.steps=4"), tmp_path)
    assert longer.steps == 4
    assert (
        train(tiny("stylegan2", "loop.steps=2", "method.r1=3.0"), tmp_path, fresh=True).steps == 2
    )


def test_loss_that_is_no_number_stops(tiny, tmp_path):
    with pytest.raises(StateError, match="nan"):
        train(tiny("stylegan2", "loop.steps=60", "method.learning_rate=1e30"), tmp_path)


def test_rates():
    loop = LoopOptions(steps=100, warmup=10, cooldown=50)
    assert rate_scale(loop, 0) == pytest.approx(0.1)
    assert rate_scale(loop, 30) == 1.0
    assert rate_scale(loop, 75) == pytest.approx(0.5)
    assert rate_scale(loop, 99) < 0.002


def test_supervised_start_learns_the_pictures(tiny, tmp_path):
    """The generator draws what parameters say, also for its average, then meets the adversary."""
    recipe = tiny(
        "stylegan2", "loop.steps=61", "method.supervised_steps=60", "loop.batch=16",
        "method.mapping_rate=30.0", "method.supervised=1.0", "method.features=1.0",
        "method.channel_max=16", "method.channel_multiplier=0.02", "method.mixing=0.0",
    )  # fmt: skip
    train(recipe, tmp_path)
    rows = read_log(tmp_path)
    assert float(rows[59]["picture"]) < 0.6 * float(rows[0]["picture"])
    assert rows[59]["discriminator"] == ""
    assert float(rows[60]["discriminator"]) > 0


def test_supervised_start_needs_parameters(tiny, photos, tmp_path):
    with pytest.raises(RecipeError, match="parameters"):
        train(tiny("stylegan2", "method.supervised_steps=5", path=photos), tmp_path)


def test_folder_of_photos(tiny, photos, tmp_path):
    outcome = train(tiny("stylegan2", "loop.steps=2", "data.mirror=true", path=photos), tmp_path)
    assert outcome.finished
    (photos / "07.png").write_bytes((photos / "07.png").read_bytes()[:90])
    with pytest.raises(MediaError, match=r"07\.png"):
        train(tiny("stylegan2", "loop.steps=4", path=photos), tmp_path / "again")


@pytest.mark.parametrize(
    ("name", "content", "code", "words"),
    [
        (None, None, 3, "photos: train: holds neither pictures nor videos"),
        ("a.png", b"\x89PNG\r\n\x1a\n cut off", 3, "a.png: photo: "),
        ("a.png", (3, 3), 3, "3x3 is too small; at least 32 pixels"),
        ("a.png", (40, 40), 6, "cannot be made: Not a directory"),
    ],
)
def test_bad_input_is_one_line_and_a_code(
    tiny_overrides, tmp_path, capsys, name, content, code, words
):
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    if isinstance(content, bytes):
        (photos / name).write_bytes(content)
    elif content:
        Image.new("RGB", content).save(photos / name)
    if code == 6:
        out.touch()
        out /= "deeper"
    arguments = ["train", "stylegan2", "-o", out, "--data", photos, *tiny_overrides("stylegan2")]
    assert run_command(cli, [*map(str, arguments), "--log-format", "text"]) == code
    (line,) = (e for e in capsys.readouterr().err.splitlines() if e.startswith("error: "))
    assert words in line
    assert not list(out.rglob("*.safetensors"))


def test_sigterm_checkpoints_and_exits_143(tiny_overrides, whole, tmp_path):
    changes = tiny_overrides("stylegan2", *FULL)
    command = [sys.executable, "-m", "vidswap", "train", "stylegan2", "-o", str(tmp_path), *changes]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    endless = [*command, "--set=loop.steps=100000"]
    with subprocess.Popen(endless, stderr=subprocess.PIPE, env=environment, text=True) as process:
        deadline = time.monotonic() + 300  # of a machine that is busy
        while len(read_log(tmp_path)) < 3 and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        _, remarks = process.communicate(timeout=300)
    assert process.returncode == 143, remarks
    steps, _ = checkpoint.existing(tmp_path)[0]
    assert f"stopped after step {steps}" in remarks
    assert losses(tmp_path)[:3] == losses(whole.out)[:3]
