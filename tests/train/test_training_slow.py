"""Minutes: several processes, and that every method learns."""

import itertools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from vidswap import paths, zoo
from vidswap.models.latentswap import LatentMixer
from vidswap.train import checkpoint, evaluate
from vidswap.train.logs import read_log
from vidswap.train.loop import train
from vidswap.train.options import load
from vidswap.weights import formats

pytestmark = pytest.mark.slow


def mean(rows, name, part):
    return float(np.mean([float(row[name]) for row in rows[part] if row[name]]))


ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


def two_processes(out, changes):
    return [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2",
        "-m", "vidswap", "train", "stylegan2", "-o", str(out), *changes,
    ]  # fmt: skip


def trained(out, changes):
    done = subprocess.run(
        two_processes(out, changes), env=ENVIRONMENT, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stderr


def test_two_processes_train_one_network(tiny_overrides, tmp_path):
    changes = tiny_overrides("stylegan2", "loop.steps=6", "loop.checkpoint_every=3")
    trained(tmp_path, changes)
    rows = read_log(tmp_path)
    assert [int(row["pictures"]) for row in rows] == [8, 16, 24, 32, 40, 48]
    assert [step for step, _ in checkpoint.existing(tmp_path)] == [6, 3]
    state, _ = formats.read_safetensors(checkpoint.existing(tmp_path)[0][1])
    assert all(bool(torch.isfinite(t).all()) for t in state.values() if t.is_floating_point())


def test_two_processes_that_are_stopped_go_on(tiny_overrides, tmp_path):
    changes = tiny_overrides("stylegan2", "loop.checkpoint_every=100000")
    endless = two_processes(tmp_path, [*changes, "--set=loop.steps=100000"])
    with subprocess.Popen(endless, stderr=subprocess.PIPE, env=ENVIRONMENT, text=True) as launcher:
        deadline = time.monotonic() + 240
        while len(read_log(tmp_path)) < 3 and time.monotonic() < deadline:
            time.sleep(0.02)
        launcher.send_signal(signal.SIGTERM)
        _, remarks = launcher.communicate(timeout=240)
    ((step, _),) = checkpoint.existing(tmp_path)
    assert step == len(read_log(tmp_path)) >= 3
    assert remarks.count(f"stopped after step {step}") == 1
    remarks = trained(tmp_path, [*changes, f"--set=loop.steps={step + 2}"])
    assert remarks.count(f"going on from step {step}") == 1
    assert [int(row["step"]) for row in read_log(tmp_path)] == list(range(1, step + 3))


def test_damaged_data_end_two_processes_with_one_message(tiny_overrides, photos, tmp_path):
    (photos / "07.png").write_bytes((photos / "07.png").read_bytes()[:90])
    changes = [*tiny_overrides("stylegan2", "loop.steps=2"), "--data", str(photos)]
    command = two_processes(tmp_path / "out", changes)
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=240)
    assert done.returncode == 1
    assert done.stderr.count("07.png: photo: the photo is damaged") == 1
    assert "bug in vidswap" not in done.stderr


@pytest.mark.parametrize(
    ("method", "steps", "figure", "rises"),
    [
        ("identity", 150, "accuracy", True),
        ("parser", 60, "iou", True),
        ("landmarks", 150, "error", False),
        ("stylegan2", 150, "picture", False),
    ],
)
def test_methods_learn(tiny, tmp_path, method, steps, figure, rises):
    changes = [f"loop.steps={steps}", "loop.batch=16", "loop.checkpoint_every=1000"]
    if method == "stylegan2":
        changes += ["method.supervised_steps=1000", "method.supervised_rate=4.0"]
        changes += ["method.mapping_rate=30.0", "method.mixing=0.0"]
    if method == "identity":
        changes += ["method.margin_steps=100", "method.augment=0.0", "method.learning_rate=0.002"]
    train(tiny(method, *changes), tmp_path)
    rows = read_log(tmp_path)
    before, after = mean(rows, figure, slice(0, 10)), mean(rows, figure, slice(-10, None))
    assert after > before * 1.3 if rises else after < before * 0.7


def _ours(name):
    path = paths.data("weights") / f"{name}.safetensors"
    if not path.is_file():
        pytest.skip(f"{name} does not come with this version")
    return str(path)


def test_encoder_learns(tmp_path):
    """Pictures of 100 drawn people through a small encoder and the shipped generator."""
    recipe = load(
        "encoder-64",
        [
            f"method.generator='{_ours('vidswap-stylegan2-64')}'",
            f"method.embedder='{_ours('vidswap-identity-64')}'",
            "data.count=400", "loop.steps=60", "loop.batch=8", "loop.precision='fp32'",
            "loop.warmup=5", "loop.cooldown=20", "loop.log_every=2", "loop.sample_every=1000",
            "loop.checkpoint_every=1000", "method.widths=[16,16,32,32]", "method.depths=[1,1,1,1]",
            "method.progressive_start=1000",
        ],
    )  # fmt: skip
    train(recipe, tmp_path)
    rows = read_log(tmp_path)
    assert mean(rows, "l2", slice(-5, None)) < 0.7 * mean(rows, "l2", slice(0, 2))


def test_mixer_learns_to_swap(tmp_path):
    """LatentSwap's proof: identity loss below half of an untrained mixer's, λ moves monotonically.

    Codes drawn at random, as published; less than the recipe's network sees in a tenth of its training.
    """
    names = {role: _ours(f"vidswap-{role}-64") for role in ("stylegan2", "identity")}
    recipe = load(
        "latentswap-64",
        [
            f"method.generator='{names['stylegan2']}'",
            f"method.embedder='{names['identity']}'",
            "method.encoder=''", "method.landmarks=''", "method.learning_rate=0.001",
            "loop.steps=160", "loop.cooldown=60", "loop.average=1000.0", "loop.precision='fp32'",
            "loop.sample_every=1000", "loop.checkpoint_every=1000",
        ],
    )  # fmt: skip
    (path,) = train(recipe, tmp_path).exports
    generator, embedder = (zoo.load_file(Path(path)) for path in names.values())
    z = torch.randn(2, 60, generator.z_dim, generator=torch.Generator().manual_seed(1))
    source, target = (generator.mapping(one) for one in z)

    def cosines(mixer):
        return evaluate.similarity_steps(mixer, generator, embedder, source, target)

    trained_mixer = zoo.load_file(path)
    torch.manual_seed(0)
    steps, before = cosines(trained_mixer), cosines(LatentMixer(trained_mixer.config).eval())
    assert 1 - steps[-1] < 0.5 * (1 - before[-1])
    assert all(a < b for a, b in itertools.pairwise(steps)), steps
