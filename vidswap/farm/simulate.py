"""A farm on paper: many workers, one queue on one file server, clips in parts, machines that die.

As long as work abounds, parts are exchangeable: workers differ in nothing but luck, so that time is
drawn as sums (of gamma and Poisson variates) and not part by part. The end, when clips run out and
what waits for what begins to matter, is played event by event: spans, then the merge, then chunks,
then the join of each clip, lanes as in the queue, workers that look for work now and then, owners that
die and are found out after the lease.
"""

import heapq
import math
from collections import deque
from dataclasses import dataclass, replace

import numpy as np

from vidswap.farm.sweep import LEASE_SECONDS, share_of
from vidswap.farm.worker import IDLE_MOST
from vidswap.recipe import RunOptions, TrackOptions

TAIL = 6
"""Parts for each worker that are played event by event."""
NOISE = 0.25
"""Coefficient of variation of a part's seconds: faces come and go."""
NAMES = 100
"""Names of a folder that one operation lists: NFS answers in pieces of some ten kilobytes."""
SWEEP_SECONDS = 5.0
"""Between two looks of a worker at the heartbeats of the others, at least."""
EARLY = ("cut", "span", "merge")


@dataclass(frozen=True, slots=True)
class Costs:
    """What things cost one worker, and the file server.

    The defaults were measured by ``vidswap bench farm --measure`` on one core, mesh engine, 1080p,
    one face.
    """

    analyse_ms: float = 35.0
    """Of a worker, for each frame."""
    render_ms: float = 76.0
    join_ms: float = 10.0
    """With verification."""
    merge_ms: float = 3.7
    """Smoothing and storing what spans have found, for each frame."""
    part_s: float = 0.3
    """Of a span or chunk, whatever its length: seek, encoder, digest."""
    start_s: float = 3.0
    """From the start of a process to its first frame."""
    claim_ops: float = 18.0
    """File operations on the server for each part, claim and commit together."""
    watch_ops: float = 1.1
    """For each heartbeat that is looked at."""
    wait_ops: float = 1.1
    """For each clip that waits for its parts and is looked at."""


@dataclass(frozen=True, slots=True)
class Site:
    """What is assumed of a place: nothing of it can be measured on one machine."""

    ops: float = 20_000.0
    """File operations per second of the server."""
    op_ms: float = 0.5
    """One of them, seen from a worker."""
    megabytes: float = 1_250.0
    """Per second of the server: one 10 Gbit/s link."""
    frame_kb: float = 160.0
    """Moved for each frame: source read twice, chunk written and read, output written."""
    rate: float = 25.0
    """Frames per second of the video."""
    clip_minutes: float = 10.0
    back_s: float = 60.0
    """Until a machine that died is replaced."""
    lease_s: float = LEASE_SECONDS


@dataclass(frozen=True, slots=True)
class Farm:
    """One thing to simulate."""

    workers: int
    chunk: int = RunOptions().chunk
    failures: float = 0.05
    """Deaths of a worker in an hour of work."""
    minutes: float = 1_000_000.0
    """Of video."""
    span: int = TrackOptions().span


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of it."""

    farm: Farm
    hours: float
    """Until the last clip is done."""
    per_worker: float
    """Minutes of video in an hour."""
    efficiency: float
    """Share of the workers' time that became video: frames' own cost over all of it."""
    wasted: float
    """Share that was lost to deaths: work done twice, and starting again."""
    tail_minutes: float
    """From the first worker that finds nothing to do, to the end."""
    limit: str
    """What holds it up: ``workers``, ``operations`` or ``bandwidth``."""
    server: float
    """Load of the server's operations, 1 is all it can."""
    line: float
    """Load of its line."""


@dataclass(frozen=True, slots=True)
class _Parts:
    """Seconds of each kind of part of a clip, and how many there are."""

    seconds: dict[str, float]
    counts: dict[str, int]

    @property
    def total(self) -> float:
        """Seconds of a clip."""
        return sum(self.seconds[kind] * count for kind, count in self.counts.items())

    @property
    def number(self) -> int:
        """Parts of a clip."""
        return sum(self.counts.values())


def simulate(farm: Farm, costs: Costs, site: Site, seed: int = 0) -> Outcome:
    """Play one farm; the same numbers for the same seed.

    Args:
        farm: What is simulated.
        costs: Measured.
        site: Assumed.
        seed: Of all that is drawn.
    """
    rng = np.random.default_rng([seed, farm.workers, farm.chunk, round(farm.failures * 1e4)])
    pure = _parts(farm, costs, site)
    line = _line(farm, site, pure)
    stretch = max(line, 1.0)
    latency, load = _server(farm, costs, site, _parts(farm, costs, site, 0.0, stretch))
    parts = _parts(farm, costs, site, latency, stretch)
    clips = max(round(farm.minutes / site.clip_minutes), 1)
    late = min(clips, math.ceil(TAIL * farm.workers / parts.number))
    begun = (late + 1) // 2  # are found in mid-work: their analysis belongs to the time before
    early = sum(parts.seconds[k] * parts.counts[k] for k in EARLY)
    work = (clips - late) * parts.total + begun * early
    bulk, lost = _bulk(farm, costs, site, parts, work, rng)
    end = _Tail(farm, costs, site, parts, rng).play(begun, late - begun)
    seconds = bulk + end.seconds
    own = clips * (pure.total - pure.number * costs.part_s)
    spent = seconds * farm.workers
    limits = {"bandwidth": line, "operations": load}
    worst = max(limits, key=lambda name: limits[name])
    return Outcome(
        farm,
        hours=seconds / 3600,
        per_worker=farm.minutes / (spent / 3600),
        efficiency=own / spent,
        wasted=(lost + end.wasted) / spent,
        tail_minutes=end.tail / 60,
        limit=worst if limits[worst] > 1 else "workers",
        server=load,
        line=line,
    )


def most_workers(farm: Farm, costs: Costs, site: Site) -> dict[str, int]:
    """How many workers one folder carries, by what its server runs out of first."""
    pure = _parts(farm, costs, site)

    def load(workers: int, what: str) -> float:
        other = replace(farm, workers=workers)
        if what == "bandwidth":
            return _line(other, site, pure)
        return _server(other, costs, site, pure)[1]

    found = {}
    for what in ("operations", "bandwidth"):
        low, high = 1, 1 << 24
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if load(middle, what) <= 1 else (low, middle)
        found[what] = low
    return found


def _parts(
    farm: Farm, costs: Costs, site: Site, latency: float = 0.0, stretch: float = 1.0
) -> _Parts:
    """A clip in parts.

    Args:
        farm: Grids.
        costs: For each frame.
        site: Length of a clip.
        latency: Seconds of claim and commit.
        stretch: What a full line makes of the seconds of a frame.
    """
    frames = max(round(site.clip_minutes * 60 * site.rate), 1)
    spans, chunks = math.ceil(frames / farm.span), max(round(frames / farm.chunk), 1)
    counts = {"cut": 1, "span": spans, "merge": 1, "chunk": chunks, "join": 1}
    each = {
        "cut": 0.0,
        "span": costs.analyse_ms * frames / spans,
        "merge": costs.merge_ms * frames,
        "chunk": costs.render_ms * frames / chunks,
        "join": costs.join_ms * frames,
    }
    return _Parts(
        {k: ms * stretch / 1e3 + costs.part_s + latency for k, ms in each.items()}, counts
    )


def _server(farm: Farm, costs: Costs, site: Site, parts: _Parts) -> tuple[float, float]:
    """Seconds that claim and commit of a part take, and the load of the server.

    Asymptotic bounds of a closed queueing network: each worker alternates between work and
    operations, the server does so many a second. Before it takes a part a worker lists the
    heartbeats of all and looks at some, at most every five seconds, and at some clips that wait.
    """
    mean = parts.total / parts.number
    often = min(1.0, mean / SWEEP_SECONDS)
    waiting = max(farm.workers / parts.counts["chunk"], 1.0)
    listed = (farm.workers * often + waiting) / NAMES
    watched = farm.workers / share_of(farm.workers) * costs.watch_ops * often
    waited = waiting / share_of(int(waiting)) * costs.wait_ops
    each = costs.claim_ops + listed + watched + waited
    alone = each * site.op_ms / 1e3
    load = farm.workers / (mean + alone) * each / site.ops
    return (alone if load <= 1 else farm.workers * each / site.ops - mean), load


def _line(farm: Farm, site: Site, parts: _Parts) -> float:
    """Load of the server's line."""
    frames = site.clip_minutes * 60 * site.rate / parts.total
    return farm.workers * frames * site.frame_kb / 1e3 / site.megabytes


def _bulk(
    farm: Farm, costs: Costs, site: Site, parts: _Parts, work: float, rng: np.random.Generator
) -> tuple[float, float]:
    """Seconds in which all workers are busy, and worker-seconds lost to deaths.

    Args:
        farm: Workers and failures.
        costs: Of a start.
        site: Of a replacement.
        parts: Of a clip.
        work: Worker-seconds without deaths.
        rng: Draws.
    """
    clips = work / parts.total
    spread = math.sqrt(
        clips * sum(n * (NOISE * parts.seconds[k]) ** 2 for k, n in parts.counts.items())
    )
    work = max(work + spread * float(rng.standard_normal()), 0.0)
    weight = {k: parts.seconds[k] * n / parts.total for k, n in parts.counts.items()}
    halves = sum(weight[k] * parts.seconds[k] / 2 for k in weight)
    rate = farm.failures / 3600
    outage = site.back_s + costs.start_s
    expected = work * rate / max(1 - rate * (halves + outage), 1e-3)
    deaths = int(rng.poisson(expected))
    # A death hits a part in proportion to its length, anywhere in it.
    hits = rng.multinomial(deaths, list(weight.values()))
    lost = sum(
        float(rng.random(int(n)).sum()) * parts.seconds[k]
        for k, n in zip(weight, hits, strict=True)
    )
    lost += deaths * outage
    return (work + lost) / farm.workers, lost


class _Tail:
    """The end, event by event."""

    def __init__(
        self, farm: Farm, costs: Costs, site: Site, parts: _Parts, rng: np.random.Generator
    ) -> None:
        self._farm, self._site, self._parts, self._rng = farm, site, parts, rng
        self._outage = site.back_s + costs.start_s
        self._ready: dict[int, deque[tuple[str, int]]] = {0: deque(), 1: deque(), 2: deque()}
        self._left: dict[int, int] = {}
        self._events: list[tuple[float, int, str, int, tuple[str, int]]] = []
        self._idle: list[int] = []
        self._sequence, self._open = 0, 0
        self._idle_since = 0.0
        self._wasted = 0.0

    def play(self, begun: int, new: int) -> "_End":
        """Until the last clip is done.

        Args:
            begun: Clips whose chunks are all to be rendered.
            new: Clips that nobody has looked at.
        """
        self._open = begun + new
        for clip in range(begun):
            self._offer_all("chunk", clip)
        self._ready[2].extend(("cut", clip) for clip in range(begun, begun + new))
        longest = self._parts.seconds["chunk"]
        for worker, moment in enumerate(self._rng.random(self._farm.workers) * longest):
            self._at(float(moment), "free", worker)
        now = 0.0
        while self._open:
            now, _, what, worker, part = heapq.heappop(self._events)
            if what == "done":
                self._finish(part, now)
            if what == "again":
                self._offer([part], now)
            else:
                self._next(worker, now)
        return _End(now, now - min(self._idle_since, now) if self._idle else 0.0, self._wasted)

    def _next(self, worker: int, now: float) -> None:
        lane = next((lane for lane in self._ready.values() if lane), None)
        if lane is None:
            if not self._idle:
                self._idle_since = now
            self._idle.append(worker)
            return
        part = lane.popleft()
        shape = 1 / NOISE**2
        seconds = self._parts.seconds[part[0]] * self._rng.gamma(shape) / shape
        rate = self._farm.failures / 3600
        until = self._rng.exponential(1 / rate) if rate else math.inf
        if until >= seconds:
            self._at(now + seconds, "done", worker, part)
            return
        self._wasted += until + self._outage
        self._at(now + until + self._site.lease_s, "again", worker, part)
        self._at(now + until + self._outage, "free", worker)

    def _finish(self, part: tuple[str, int], now: float) -> None:
        kind, clip = part
        if kind == "join":
            self._open -= 1
        elif kind == "merge":
            self._offer_all("chunk", clip, now)
        elif kind == "cut":
            self._offer_all("span", clip, now)
        else:
            self._left[clip] -= 1
            if not self._left[clip]:
                self._offer([("merge" if kind == "span" else "join", clip)], now)

    def _offer_all(self, kind: str, clip: int, now: float = 0.0) -> None:
        count = self._left[clip] = self._parts.counts[kind]
        self._offer([(kind, clip)] * count, now)

    def _offer(self, parts: list[tuple[str, int]], now: float) -> None:
        lane = 1 if parts[0][0] in ("span", "chunk") else 0
        self._ready[lane].extend(parts)
        # Idle workers look for work by themselves, at a moment of their own.
        woken, self._idle = self._idle[: len(parts)], self._idle[len(parts) :]
        for worker in woken:
            self._at(now + self._rng.random() * IDLE_MOST, "free", worker)

    def _at(self, moment: float, what: str, worker: int, part: tuple[str, int] = ("", 0)) -> None:
        self._sequence += 1
        heapq.heappush(self._events, (moment, self._sequence, what, worker, part))


@dataclass(frozen=True, slots=True)
class _End:
    """How the last clips went."""

    seconds: float
    tail: float
    """Seconds from the moment from which some worker was idle to the end."""
    wasted: float
    """Worker-seconds lost to deaths."""
