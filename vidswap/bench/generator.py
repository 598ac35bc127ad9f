"""``vidswap bench generator``: our networks against the published formulation, CPU, one thread."""

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vidswap.allocator import STOCK
from vidswap.errors import VidswapError

Watch = Callable[[str, int, int], None]
GOALS = {256: 1.3, 512: 1.5, 1024: 3.0}
"""Speed at fp32 relative to the published formulation under the same allocator."""
SHARES = {256: 0.75, 512: 0.75, 1024: 0.65}
"""Of the measured peak."""
ENCODER_GOAL, BF16_GOAL = 1.4, 1.9
EQUAL = 1e-3
"""Largest difference of fp32 forms, in standard deviations of the output."""
FORMS = ("reference", "eager", "compiled", "winograd", "bf16")
FP32 = ("eager", "compiled", "winograd")
ENCODERS = ("e4e", "irse50")
SIGNS = {True: "met", False: "MISSED", None: "no bf16 units: goal not applicable"}


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured."""

    sizes: tuple[int, ...] = (256, 512, 1024)
    batches: tuple[int, ...] = (1, 4)
    encoders: tuple[str, ...] = ENCODERS
    rounds: int = 5
    compiled: bool = True
    stock: bool = True
    """Measure once more with the C library's own allocator, batch 1, not compiled."""

    def cases(self) -> Iterator[dict[str, Any]]:
        """Arguments of every process."""
        batches = [("generator", str(s), b) for b in self.batches for s in self.sizes]
        batches += [("encoder", name, b) for b in self.batches for name in self.encoders]
        for kind, what, batch in batches:
            yield {"kind": kind, "what": what, "batch": batch, "allocator": "kept"}
        if self.stock:
            for size in self.sizes:
                yield {"kind": "generator", "what": str(size), "batch": 1, "allocator": "stock"}


def measure(plan: Plan, watch: Watch) -> dict[str, Any]:
    """Run every case in a process of its own.

    Args:
        plan: What to measure.
        watch: Told (stage, done, total).

    Returns:
        ``cases`` with their figures and ``goals`` with what was reached, ready for JSON.

    Raises:
        VidswapError: A case failed, such as for lack of memory; says which.
    """
    cases = list(plan.cases())
    rows = []
    watch("bench", 0, len(cases))
    for done, case in enumerate(cases):
        rows.append({**case, **_figures(case, _work(case, plan))})
        watch("bench", done + 1, len(cases))
    return {
        "unit": "CPU seconds per picture, one thread, fp32",
        "rounds": plan.rounds,
        "cases": rows,
        "goals": goals(rows),
    }


def _work(case: Mapping[str, Any], plan: Plan) -> dict[str, Any]:
    stock = case["allocator"] == "stock"
    compiled = plan.compiled and not stock
    arguments = [
        case["kind"],
        case["what"],
        case["batch"],
        plan.rounds,
        int(compiled),
        int(not stock),
    ]
    command = [sys.executable, "-m", "vidswap.bench.generator_work", *map(str, arguments)]
    environment = {k: v for k, v in os.environ.items() if k != STOCK or stock}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"ended with {done.returncode}"]
        what = f"{case['kind']} {case['what']}, batch {case['batch']}"
        raise VidswapError(f"{what} failed: {lines[-1]}", stage="bench")
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def _figures(case: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """Per picture, with the best of our fp32 forms picked out."""
    batch = int(case["batch"])
    seconds = {name: round(s / batch, 4) for name, s in found["seconds"].items()}
    ours = min((n for n in FP32 if n in seconds), key=lambda n: seconds[n])
    speed = found["operations"] / batch / seconds[ours]
    own = found["seconds"]
    return {
        "seconds": seconds,
        "ours": ours,
        "times": {n: round(r, 3) for n, r in found["ratios"].items()},
        "bf16_times_own_fp32": round(own[ours] / own["bf16"], 3) if "bf16" in own else None,
        "gflop": round(found["operations"] / batch / 1e9, 1),
        "gflops": round(speed / 1e9, 1),
        "peak_gflops": {n: round(v / 1e9, 1) for n, v in found["peak"].items()},
        "share": round(found["operations"] * found["share"][ours], 3),
        "errors": found["errors"],
        "equal": all(found["errors"][n]["max"] <= EQUAL for n in FP32 if n in own),
        "kept": found["kept"],
        "bf16_units": found["bf16_units"],
        "remarks": found["remarks"],
        "rss_mb": found["rss_mb"],
    }


def goals(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What is asked of each case at batch 1, and what was reached; other sizes have no goal.

    ``met`` is None where the processor has no units for what is asked.
    """
    found = []

    def add(name: str, reached: float | None, wanted: float, *, able: bool = True) -> None:
        if reached is not None:
            met = reached >= wanted if able else None
            found.append({"goal": name, "reached": reached, "wanted": wanted, "met": met})

    for row in rows:
        if row["allocator"] == "stock" or row["batch"] != 1:
            continue
        what, times = row["what"], row["times"][row["ours"]]
        if row["kind"] == "generator":
            size = int(what)
            if size not in GOALS:
                continue
            add(f"fp32 at {size} px, times the published form", times, GOALS[size])
            add(f"fp32 at {size} px, share of the peak", row["share"], SHARES[size])
        else:
            add(f"{what}, times its eager form", times, ENCODER_GOAL)
        bf16 = row["bf16_times_own_fp32"]
        add(f"{what}, bf16 times own fp32", bf16, BF16_GOAL, able=row["bf16_units"])
    return found


def table(result: Mapping[str, Any]) -> str:
    """The result for eyes."""
    lines = [
        f"{result['unit']}; medians of {result['rounds']} interleaved rounds",
        f"{'':10}{'batch':>6}{'allocator':>10}{'published':>11}{'eager':>9}{'compiled':>10}"
        f"{'winograd':>10}{'×':>7}"
        f"{'bf16':>9}{'×':>7}{'GFLOP':>8}{'GFLOP/s':>9}{'of peak':>9}{'error':>10}{'RSS MB':>8}",
    ]
    for row in result["cases"]:
        seconds = row["seconds"]
        shown = {n: f"{seconds[n]:.3f}" if n in seconds else "-" for n in FORMS}
        allocator = row["allocator"] if row["kept"] or row["allocator"] == "stock" else "unchanged"
        bf16 = row["bf16_times_own_fp32"]
        lines.append(
            f"{row['what']:10}{row['batch']:6}{allocator:>10}{shown['reference']:>11}"
            f"{shown['eager']:>9}{shown['compiled']:>10}"
            f"{shown['winograd']:>10}{row['times'][row['ours']]:7.2f}"
            f"{shown['bf16']:>9}{bf16 or math.nan:7.2f}{row['gflop']:8.1f}{row['gflops']:9.1f}"
            f"{row['share']:9.0%}{row['errors'][row['ours']]['max']:10.1e}{row['rss_mb']:8}"
        )
    last = result["cases"][-1]["peak_gflops"]
    peaks = ", ".join(f"{name} {value:g}" for name, value in last.items())
    lines.append(f"peak, GFLOP/s: {peaks}; shares are of the largest")
    lines.append(
        "GFLOP are those of the plain convolutions; minimal filtering (winograd) does fewer"
    )
    lines += sorted({remark for row in result["cases"] for remark in row["remarks"]})
    for goal in result["goals"]:
        sign = SIGNS[goal["met"]]
        lines.append(f"{goal['goal']}: {goal['reached']:.2f} (goal ≥ {goal['wanted']:g}) {sign}")
    return "\n".join(lines)
