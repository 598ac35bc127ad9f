"""Minutes: several processes, and that every method learns."""

import itertools
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from vidswap import paths, zoo
from vidswap.train import checkpoint, evaluate
from vidswap.train.logs import read_log
from vidswap.train.loop import train
from vidswap.train.options import load
from vidswap.weights import formats

pytestmark = pytest.mark.slow


def mean(rows, name, part):
    return float(np.mean([float(row[name]) for row in rows[part] if row[name]]))


def test_two_processes_train_one_network(tiny_overrides, tmp_path):
    changes = tiny_overrides("stylegan2", "loop.steps=6", "loop.checkpoint_every=3")
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2",
        "-m", "vidswap", "train", "stylegan2", "-o", str(tmp_path), *changes,
    ]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    rows = read_log(tmp_path)
    assert [int(row["pictures"]) for row in rows] == [8, 16, 24, 32, 40, 48]
    assert [step for step, _ in checkpoint.existing(tmp_path)] == [6, 3]
    state, _ = formats.read_safetensors(checkpoint.existing(tmp_path)[0][1])
    assert all(bool(torch.isfinite(t).all()) for t in state.values() if t.is_floating_point())


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


def test_mixer_learns_to_swap(tmp_path):
    """LatentSwap's proof: identity loss below half of an untrained mixer's, λ moves monotonically."""
    names = {role: _ours(f"vidswap-{role}-64") for role in ("stylegan2", "identity", "landmarks")}
    recipe = load(
        "latentswap-64",
        [
            f"method.generator='{names['stylegan2']}'",
            f"method.embedder='{names['identity']}'",
            f"method.landmarks='{names['landmarks']}'",
            "loop.steps=500", "loop.cooldown=200", "loop.threads=2", "loop.average=1000.0",
        ],
    )  # fmt: skip
    outcome = train(recipe, tmp_path)
    rows = read_log(tmp_path)
    assert mean(rows, "identity", slice(-3, None)) < 0.5 * float(rows[0]["identity"])
    mixer = zoo.load_file(outcome.exports[0])
    generator = zoo.load_named("vidswap-stylegan2-64")
    embedder = zoo.load_named("vidswap-identity-64")
    z = torch.randn(2, 60, generator.z_dim, generator=torch.Generator().manual_seed(1))
    source, target = (generator.mapping(one) for one in z)
    steps = evaluate.similarity_steps(mixer, generator, embedder, source, target)
    assert all(a < b for a, b in itertools.pairwise(steps)), steps
