"""A farm on paper: the arithmetic holds, the draws agree with playing every event, documents too."""

import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from tests.farm.test_slurm import shellcheck
from vidswap.bench.farm import Plan, measure, table
from vidswap.bench.farm_costs import count_operations
from vidswap.farm import simulate as module
from vidswap.farm.simulate import Costs, Farm, Site, most_workers, simulate
from vidswap.farm.sweep import share_of

ROOT = Path(__file__).parents[2]
COSTS, SITE = Costs(), Site()


def silent(*_):
    pass


def test_the_same_seed_gives_the_same_numbers():
    farm = Farm(30, 240, 0.5, 3_000)
    assert simulate(farm, COSTS, SITE, 4) == simulate(farm, COSTS, SITE, 4)
    assert simulate(farm, COSTS, SITE, 4) != simulate(farm, COSTS, SITE, 5)


def test_without_deaths_and_noise_time_is_work_over_workers(monkeypatch):
    monkeypatch.setattr(module, "NOISE", 1e-4)
    farm = Farm(8, 240, 0.0, 8_000)
    found = simulate(farm, COSTS, replace(SITE, op_ms=0.0))
    frames = 8_000 * 60 * 25
    own = frames * (COSTS.analyse_ms + COSTS.render_ms + COSTS.join_ms + COSTS.merge_ms) / 1e3
    clips = 800
    parts = clips * (10 + 62 + 3)
    assert found.hours == pytest.approx((own + parts * COSTS.part_s) / 8 / 3600, rel=0.01)
    assert found.wasted == 0
    assert found.efficiency == pytest.approx(own / (own + parts * COSTS.part_s), rel=0.01)


def test_sums_agree_with_playing_every_event(monkeypatch):
    """The time in which work abounds is drawn; here all of it is played instead."""
    farms = [Farm(12, 240, rate, 4_000) for rate in (0.0, 0.5, 5.0)]
    drawn = [simulate(farm, COSTS, SITE) for farm in farms]
    monkeypatch.setattr(module, "TAIL", 10_000)
    for farm, expected in zip(farms, drawn, strict=True):
        # Half of the clips that are played have their analysis behind them, which is drawn.
        played = simulate(farm, COSTS, SITE)
        assert played.hours == pytest.approx(expected.hours, rel=0.03)
        assert played.wasted == pytest.approx(expected.wasted, rel=0.2, abs=0.002)


def test_deaths_waste_and_more_of_them_waste_more():
    found = [simulate(Farm(100, 240, rate, 100_000), COSTS, SITE) for rate in (0, 0.05, 0.5, 5)]
    assert [f.wasted for f in found] == sorted(f.wasted for f in found)
    assert [f.hours for f in found] == sorted(f.hours for f in found)
    # One death costs half a part, the time until the machine is back, and a start.
    loss = 0.5 / 3600 * (SITE.back_s + COSTS.start_s + 240 * COSTS.render_ms / 2e3)
    assert found[2].wasted == pytest.approx(loss, rel=0.35)


def test_a_server_that_is_full_bounds_the_farm():
    narrow = replace(SITE, megabytes=10.0)
    found = simulate(Farm(1_000, 240, 0.0, 100_000), COSTS, narrow)
    assert found.limit == "bandwidth"
    seconds = 100_000 * 60 * 25 * SITE.frame_kb / 1e3 / 10.0
    assert found.hours == pytest.approx(seconds / 3600, rel=0.15)
    slow = replace(SITE, megabytes=1e9, ops=100.0)
    assert simulate(Farm(1_000, 240, 0.0, 100_000), COSTS, slow).limit == "operations"
    most = most_workers(Farm(1), COSTS, SITE)
    for name, count in most.items():
        free = {"operations": {"megabytes": 1e9}, "bandwidth": {"ops": 1e9}}[name]
        for workers, limit in ((round(count * 0.9), "workers"), (round(count * 1.1), name)):
            farm = Farm(workers, minutes=100_000)
            assert simulate(farm, COSTS, replace(SITE, **free)).limit == limit


def test_a_watcher_looks_at_a_bounded_number():
    assert [share_of(n) for n in (0, 1, 31)] == [1, 1, 1]
    assert all(n / share_of(n) < 32 for n in range(32, 50_000, 7))


def test_operations_of_the_queue_are_those_of_the_model(tmp_path):
    counted = count_operations(tmp_path / "queue")
    assert counted["claim_ops"] == pytest.approx(COSTS.claim_ops, abs=3)
    assert counted["watch_ops"] == pytest.approx(COSTS.watch_ops, abs=0.5)
    assert counted["wait_ops"] == pytest.approx(COSTS.wait_ops, abs=1.0)


def test_the_command_prints_every_farm(call):
    done = call(
        *("bench", "farm", "--workers", "5,50", "--chunks", "120,240", "--minutes", "3000"),
        *("--items", "30", "--json"),
    )
    assert done.code == 0, done.err
    result = done.result
    assert [(r["workers"], r["chunk"]) for r in result["lengths"]] == [
        (5, 120), (5, 240), (50, 120), (50, 240),
    ]  # fmt: skip
    assert len(result["deaths"]) == 8
    assert set(result["recommended"]) == {"5", "50"}
    assert result["queue"]["items"] == 30
    assert "memory grew by" in call("bench", "farm", "--workers", "5", "--items", "5").out
    assert call("bench", "farm", "--workers", "none").code == 2


def blocks():
    text = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
    return [line for b in re.findall(r"```text\n(.*?)```", text, re.S) for line in b.splitlines()]


@pytest.mark.slow
def test_every_number_of_the_document_is_printed_by_the_command():
    wide = replace(SITE, megabytes=20_000.0)
    printed = set()
    for site in (SITE, wide):
        printed |= set(table(measure(Plan(items=0, site=site), silent)).splitlines())
    assert not [line for line in blocks() if line not in printed]


def test_rows_of_small_farms_in_the_document_are_current():
    result = measure(Plan(workers=(10, 100), items=0), silent)
    printed = set(table(result).splitlines())
    rows = [line for line in blocks() if line.split()[:1] in (["10"], ["100"])]
    assert len(rows) >= 8
    assert not [line for line in rows if line not in printed]


def test_files_for_farms_are_clean():
    for path in sorted((ROOT / "docs" / "farm").glob("*.sh")):
        done = subprocess.run([shellcheck(), str(path)], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    kinds = {}
    for path in (ROOT / "docs" / "farm").glob("*.yaml"):
        table = yaml.safe_load(path.read_text(encoding="utf-8"))
        kinds[path.stem] = table["kind"]
    assert kinds == {"kuberay": "RayJob", "kubernetes-queue": "Job"}
