"""The benchmark of networks: what it counts, what it compares, what it prints."""

import json
import subprocess

import pytest

from tests.cli.conftest import call  # noqa: F401 - the fixture
from vidswap.bench.generator import FORMS, Plan, goals, measure, table
from vidswap.bench.generator_work import _per_peak, work
from vidswap.bench.peak import bf16_units
from vidswap.errors import VidswapError


@pytest.mark.parametrize(("size", "gflop"), [(256, 90.2), (512, 119.3), (1024, 148.5)])
def test_operations_are_the_published_networks(size, gflop):
    assert work(size) / 1e9 == pytest.approx(gflop, abs=0.05)


def test_plan_names_every_case_once():
    cases = list(Plan().cases())
    assert len(cases) == len({tuple(c.values()) for c in cases}) == 2 * (3 + 2) + 3
    assert [c["what"] for c in cases if c["allocator"] == "stock"] == ["256", "512", "1024"]


@pytest.fixture(scope="module")
def small():
    """A real run at the smallest size, nothing compiled."""
    told = []
    plan = Plan((16,), (2,), (), rounds=2, compiled=False, stock=False)
    return measure(plan, lambda *s: told.append(s)), told


def test_ours_equals_the_reference(small):
    result, told = small
    (row,) = result["cases"]
    assert row["equal"]
    assert row["errors"]["eager"]["max"] < 1e-4
    assert 1e-4 < row["errors"]["bf16"]["rms"] < 0.1  # a lower precision that really was used
    assert row["ours"] in {"eager", "winograd"}  # too small for minimal filtering: the same twice
    assert "compiled" not in row["seconds"]
    assert row["gflop"] == pytest.approx(work(16) / 1e9, abs=0.05)
    assert 0 < row["share"] < 1.2
    assert any("not asked for" in remark for remark in row["remarks"])
    assert row["bf16_units"] is bf16_units()
    assert told == [("bench", 0, 1), ("bench", 1, 1)]
    json.dumps(result)


def test_table_shows_every_figure(small):
    text = table(small[0])
    for word in (
        *("published", "eager", "compiled", "winograd", "bf16"),
        "GFLOP/s",
        "peak",
        "1 thread"[2:],
    ):
        assert word in text
    assert "not asked for" in text


def test_shares_are_of_the_peak_of_the_same_round():
    """A clock that halves between rounds changes neither."""
    speeds = {"product": [8.0, 16.0], "loop": [10.0, 20.0]}
    assert _per_peak([0.4, 0.2], speeds) == pytest.approx([0.25, 0.25])


def test_goals():
    row = {
        "kind": "generator", "what": "256", "batch": 1, "allocator": "kept", "ours": "compiled",
        "times": {"compiled": 1.31}, "share": 0.7, "bf16_times_own_fp32": 2.0,
        "bf16_units": True,
    }  # fmt: skip
    found = goals([row, {**row, "batch": 4}, {**row, "allocator": "stock"}])
    assert [(g["wanted"], g["met"]) for g in found] == [(1.3, True), (0.75, False), (1.9, True)]
    encoder = {**row, "kind": "encoder", "what": "e4e"}
    assert [g["wanted"] for g in goals([encoder])] == [1.4, 1.9]
    assert not goals([{**row, "what": "16"}])
    # Where bf16 is emulated, being slow at it is no failure.
    last = goals([{**row, "bf16_units": False, "bf16_times_own_fp32": 0.4}])[-1]
    assert (last["reached"], last["met"]) == (0.4, None)
    assert set(FORMS) == {"reference", "eager", "compiled", "winograd", "bf16"}


@pytest.mark.parametrize(
    ("lines", "has"),
    [
        ("flags\t\t: fpu avx512f avx512_bf16 avx512_vnni\n", True),
        ("flags : fpu amx_bf16\n", True),
        ("Features\t: fp asimd bf16\n", True),
        ("model name : bf16 lookalike\nflags : fpu avx512f avx512_vnni\n", False),
        ("processor : 0\n", True),
    ],
)
def test_bf16_units(tmp_path, lines, has):
    file = tmp_path / "cpuinfo"
    file.write_text(lines)
    assert bf16_units(file) is has
    assert bf16_units(tmp_path / "absent")


def test_a_case_that_fails_says_which(monkeypatch):
    def run(command, **_):
        return subprocess.CompletedProcess(command, 1, "", "trace\nMemoryError: too large")

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(VidswapError, match="generator 64, batch 1 failed: MemoryError: too large"):
        measure(Plan((64,), (1,), (), rounds=1, stock=False), lambda *_: None)


@pytest.mark.parametrize("options", [["--sizes", "200"], ["--batches", "0"], ["--batches", "a,b"]])
def test_wrong_options(call, options):  # noqa: F811
    done = call("bench", "generator", *options)
    assert done.code == 2
    assert f"{options[0]} {options[1]}: expected" in done.err
