"""Spools what tracking finds in one span of a clip, track by track, before anything is smoothed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vidswap.faces.embed import Embedder, five_points
from vidswap.faces.facemesh import FaceMesh
from vidswap.faces.flow import FlowMeter, Step
from vidswap.faces.landmarks import Landmarks, eye_distance
from vidswap.faces.pose import PoseFit
from vidswap.faces.track import Picture, eight_bit
from vidswap.ops.geometry import bounds
from vidswap.run.rows import RowFile, Spool
from vidswap.types import F32, U8, U16, Box, Need, VideoInfo

EMBEDDINGS = 8
EMBED_EVERY = 0.4
"""Seconds between the frames a track's identity is taken from."""

Row = NDArray[np.generic]


class Collector(Protocol):
    """Measures one track while its frames pass by; ``AppearanceCollector`` is one."""

    cutoffs: Mapping[str, float]

    def footprint(self, mesh: F32) -> Box: ...

    def add(
        self, seconds: float, rgb: U8 | U16, box: Box, mesh: F32, weight: float, frame: int
    ) -> Mapping[str, Row]: ...

    def gather(self) -> Mapping[str, Row]:
        """What it keeps for the whole track."""
        ...

    @staticmethod
    def join(a: Mapping[str, Row], b: Mapping[str, Row], start: int) -> Mapping[str, Row]:
        """What it would keep of two parts of a track, the second one from ``start`` on."""
        ...

    @staticmethod
    def combine(kept: Mapping[str, Row]) -> Mapping[str, Row]:
        """Static arrays from what was kept of the whole track."""
        ...


def collector_for(needs: frozenset[Need]) -> Callable[[], Collector] | None:
    """Makes what measures a track for these needs; None where landmarks are all."""
    if "appearance" not in needs:
        return None
    from vidswap.faces.appearance import AppearanceCollector

    return AppearanceCollector


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One track in one span."""

    number: int
    start: int
    rows: dict[str, RowFile]
    """Per-frame rows by name, ``mesh`` among them."""
    arrays: dict[str, Row]
    """``score``, ``spread`` and ``seen`` by frame; identity ``vectors`` and the frames they are
    ``taken`` from; what the collector keeps, its names after ``kept.``."""
    alive: bool
    """Whether it was still followed, or looked for, where the span ends."""

    @property
    def stop(self) -> int:
        """Frame after its last."""
        return self.start + len(self.arrays["seen"])


@dataclass(slots=True, eq=False)
class Growing:
    """A track while it grows."""

    name: str
    start: int
    collector: Collector | None
    flow: FlowMeter = field(default_factory=FlowMeter)
    scores: list[float] = field(default_factory=list)
    spreads: list[float] = field(default_factory=list)
    seen: list[bool] = field(default_factory=list)
    spools: dict[str, Spool] = field(default_factory=dict)
    last: dict[str, Row] = field(default_factory=dict)
    """Last rows that were seen, by name, the mesh among them."""
    unseen: int = 0
    """Frames since then, not spooled yet."""
    vectors: list[F32] = field(default_factory=list)
    taken: list[int] = field(default_factory=list)
    embedded_at: float = -np.inf


class TrackWriter:
    """The sink of the tracker.

    Args:
        folder: Where the files go.
        info: For time stamps.
        needs: ``appearance`` collects the rows the mesh engine asks for.
        embedder: Gives tracks an identity, if there is one.
    """

    def __init__(
        self,
        folder: Path,
        info: VideoInfo,
        needs: frozenset[Need],
        embedder: Embedder | None = None,
    ) -> None:
        self._folder, self._info, self._embedder = folder, info, embedder
        self._new_collector = collector_for(needs)
        self._pose = PoseFit(FaceMesh.load())
        self._growing: dict[int, Growing] = {}
        self._parts: list[Part] = []
        self._over = False
        self.mixed = False
        """Whether the frame that is tracked shows two shots at once: nobody's looks are taken from it."""

    def row(self, track: int, shot: int, picture: Picture, found: Landmarks | None) -> None:
        """Spool one frame of a track."""
        growing = self._growing.get(track)
        if growing is None:
            growing = self._growing[track] = self._begin(track, picture.index)
        if found is None:
            growing.unseen += 1
            return
        rows = {"mesh": found.mesh.astype(np.float32), **self._measure(growing, picture, found)}
        self._bridge(growing, rows)
        self._append(growing, rows)
        growing.scores.append(found.score)
        growing.spreads.append(found.spread)
        growing.seen.append(True)
        growing.last = dict(rows)

    def close(self, track: int) -> None:
        """The track ends with the last frame in which it was seen."""
        growing = self._growing.pop(track, None)
        if growing is None:
            return
        arrays: dict[str, Row] = {
            "score": np.array(growing.scores),
            "spread": np.array(growing.spreads),
            "seen": np.array(growing.seen),
            "vectors": np.array(growing.vectors, np.float32),
            "taken": np.array(growing.taken, np.int64),
        }
        if growing.collector is not None:
            kept = growing.collector.gather()
            arrays |= {f"kept.{name}": np.asarray(array) for name, array in kept.items()}
        rows = {name: spool.close() for name, spool in growing.spools.items()}
        self._parts.append(Part(track, growing.start, rows, arrays, alive=self._over))

    def end(self) -> None:
        """The span is over: tracks that close from now on have not ended by themselves."""
        self._over = True

    def parts(self) -> list[Part]:
        """All tracks, in the order in which they were found."""
        return sorted(self._parts, key=lambda part: part.number)

    # --- while a track grows

    def _begin(self, track: int, start: int) -> Growing:
        collector = None if self._new_collector is None else self._new_collector()
        return Growing(f"track-{track:05d}", start, collector)

    def _measure(self, growing: Growing, picture: Picture, found: Landmarks) -> Mapping[str, Row]:
        seconds = self._info.seconds(picture.index)
        self._identify(growing, picture, found, seconds)
        if growing.collector is None:
            return {"change": self._change(growing, picture, found.mesh)}
        box = growing.collector.footprint(found.mesh).clip(picture.width, picture.height)
        if min(box.width, box.height) < 2:
            return growing.last and {n: r for n, r in growing.last.items() if n != "mesh"}
        trust = (
            0.0 if self.mixed else found.score * float(np.clip((0.1 - found.spread) / 0.05, 0, 1))
        )
        pixels = picture.rgb(box)
        rows: dict[str, Any] = dict(
            growing.collector.add(seconds, pixels, box, found.mesh, trust, picture.index)
        )
        step = growing.flow.step(picture.index, pixels, box, found.mesh)
        rows |= {"flow": step.flow, "change": step.change}
        return rows

    def _change(self, growing: Growing, picture: Picture, mesh: F32) -> F32:
        """What tells a repeated picture, where nothing else is asked for."""
        left, top, right, bottom = bounds(mesh[:468])
        # More than the meter looks at: its window must not leave the box, which trembles as landmarks do.
        room = 0.5 * eye_distance(mesh)
        box = Box(int(left - room), int(top - room), int(right + room) + 1, int(bottom + room) + 1)
        box = box.clip(picture.width, picture.height)
        if min(box.width, box.height) < 2:
            return Step.unknown().change
        return growing.flow.step(picture.index, picture.rgb(box), box, mesh).change

    def _identify(
        self, growing: Growing, picture: Picture, found: Landmarks, seconds: float
    ) -> None:
        due = seconds - growing.embedded_at >= EMBED_EVERY and len(growing.vectors) < EMBEDDINGS
        if self._embedder is None or not due or self.mixed or found.score < 0.9:
            return
        if abs(float(self._pose.angles(found.mesh)[0])) > 35:
            return
        left, top, right, bottom = bounds(found.mesh[:468])
        room = 0.5 * eye_distance(found.mesh)
        box = Box(int(left - room), int(top - room), int(right + room), int(bottom + room))
        box = box.clip(picture.width, picture.height)
        points = five_points(found.mesh) - np.array([box.left, box.top], np.float32)
        growing.vectors.append(self._embedder.embed(eight_bit(picture.rgb(box)), points))
        growing.taken.append(picture.index)
        growing.embedded_at = seconds

    def _bridge(self, growing: Growing, rows: Mapping[str, Row]) -> None:
        """Interpolate the frames between the last rows and these."""
        count, growing.unseen = growing.unseen, 0
        for k in range(count):
            share = (k + 1) / (count + 1)
            self._append(growing, {n: _between(growing.last[n], r, share) for n, r in rows.items()})
            growing.scores.append(0.0)
            growing.spreads.append(0.0)
            growing.seen.append(False)

    def _append(self, growing: Growing, rows: Mapping[str, Row]) -> None:
        for name, row in rows.items():
            if name not in growing.spools:
                growing.spools[name] = Spool(self._folder / f"{growing.name}.{name}.raw")
            growing.spools[name].append(row[None])


def _between(a: Row, b: Row, share: float) -> Row:
    mixed = np.asarray(a, np.float64) * (1 - share) + np.asarray(b, np.float64) * share
    exact = np.issubdtype(b.dtype, np.integer)
    return (np.rint(mixed) if exact else mixed).astype(b.dtype)
