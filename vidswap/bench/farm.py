"""``vidswap bench farm``: what the queue costs here, and what a farm of any size would make of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from vidswap.farm.bench import measure_queue
from vidswap.farm.bench import table as queue_table
from vidswap.farm.simulate import Costs, Farm, Outcome, Site, most_workers, simulate

WORKERS = (10, 100, 1_000, 10_000)
CHUNKS = (60, 120, 240, 480, 960, 1920)
FAILURES = (0.0, 0.05, 0.5, 5.0)
TIE = 0.01
"""Hours that differ by less are the same: the length nearest to the default is recommended."""
ENDED = 500
"""Items that are claimed and committed: each commit waits for the disk."""

Watch = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured and simulated."""

    workers: Sequence[int] = WORKERS
    chunks: Sequence[int] = CHUNKS
    failures: Sequence[float] = FAILURES
    """Deaths of a worker in an hour."""
    minutes: float = 1_000_000.0
    seed: int = 0
    items: int = 10_000
    """Queued for the measurement; 0 leaves it out."""
    folder: Path | None = None
    """Where the queue is measured."""
    costs: Costs = field(default_factory=Costs)
    site: Site = field(default_factory=Site)


def measure(plan: Plan, watch: Watch) -> dict[str, Any]:
    """Measure the queue, then simulate every farm.

    Args:
        plan: What.
        watch: Told (stage, done, total).

    Returns:
        ``queue``, ``costs``, ``site``, ``lengths``, ``deaths``, ``carries`` and ``recommended``,
        ready for JSON.
    """
    usual = plan.failures[min(1, len(plan.failures) - 1)]
    default = Farm(1).chunk
    wanted = [Farm(w, c, usual, plan.minutes) for w in plan.workers for c in plan.chunks]
    deaths = [Farm(w, default, f, plan.minutes) for w in plan.workers for f in plan.failures]
    queue = (
        measure_queue(plan.folder, plan.items, watch, min(plan.items, ENDED))
        if plan.items
        else None
    )
    found = {}
    for number, farm in enumerate([*wanted, *deaths], 1):
        found[farm] = simulate(farm, plan.costs, plan.site, plan.seed)
        watch("simulate", number, len(wanted) + len(deaths))
    lengths = [found[farm] for farm in wanted]
    return {
        "queue": queue,
        "costs": asdict(plan.costs),
        "site": asdict(plan.site),
        "minutes": plan.minutes,
        "failures": usual,
        "lengths": [_describe(one) for one in lengths],
        "deaths": [_describe(found[farm]) for farm in deaths],
        "recommended": {str(w): _best([o for o in lengths if o.farm.workers == w])
                        for w in plan.workers},
        "carries": {str(c): most_workers(Farm(1, c), plan.costs, plan.site) for c in plan.chunks},
    }  # fmt: skip


def _best(outcomes: Sequence[Outcome]) -> int:
    """Chunk length of the shortest run; of those that are as good, the one nearest to the default."""
    least = min(one.hours for one in outcomes)
    good = [one.farm.chunk for one in outcomes if one.hours <= least * (1 + TIE)]
    return min(good, key=lambda chunk: abs(chunk - Farm(1).chunk))


def _describe(one: Outcome) -> dict[str, Any]:
    table = asdict(one)
    farm = table.pop("farm")
    numbers = {k: round(v, 4) if isinstance(v, float) else v for k, v in table.items()}
    return {
        "workers": farm["workers"],
        "chunk": farm["chunk"],
        "failures": farm["failures"],
    } | numbers


def table(result: Mapping[str, Any]) -> str:
    """The result for eyes."""
    lines = [] if result["queue"] is None else [queue_table(result["queue"]), ""]
    costs, site = result["costs"], result["site"]
    lines += ["measured: " + _pairs(costs), "assumed:  " + _pairs(site), ""]
    lines.append(
        f"{result['minutes']:,.0f} minutes of video, {result['failures']:g} deaths per worker-hour"
    )
    lines += _rows(result["lengths"], "chunk")
    for workers, chunk in result["recommended"].items():
        lines.append(f"recommended for {int(workers):,} workers: chunks of {chunk} frames")
    lines += ["", f"chunks of {Farm(1).chunk} frames, other rates of death"]
    lines += _rows(result["deaths"], "failures")
    lines += ["", "workers that one folder carries, by what its server runs out of"]
    for chunk, most in result["carries"].items():
        lines.append(
            f"  chunk {chunk:>5}: operations {most['operations']:>7,}   "
            f"bandwidth {most['bandwidth']:>7,}"
        )
    return "\n".join(lines)


def _rows(rows: Sequence[Mapping[str, Any]], by: str) -> list[str]:
    lines = [
        f"  {'workers':>7} {by:>8} {'hours':>9} {'min/h each':>10} {'useful':>7} {'wasted':>7} "
        f"{'tail min':>8} {'server':>7} {'line':>6}  held up by"
    ]
    lines += [
        f"  {row['workers']:>7,} {row[by]:>8g} {row['hours']:>9,.1f} {row['per_worker']:>10.2f} "
        f"{row['efficiency']:>7.1%} {row['wasted']:>7.2%} {row['tail_minutes']:>8.1f} "
        f"{row['server']:>7.2f} {row['line']:>6.2f}  {row['limit']}"
        for row in rows
    ]
    return lines


def _pairs(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in values.items())
