"""Finishes a track: everything that couples its frames, in windows, from spool to stored rows."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vidswap.faces.facemesh import FaceMesh
from vidswap.faces.flow import FlowMeter, carry
from vidswap.faces.pose import PoseFit
from vidswap.faces.steady import Steadier, confidence
from vidswap.ops.geometry import bounds
from vidswap.ops.smooth import fill, interval, settling, smooth
from vidswap.recipe import SmoothOptions
from vidswap.run.rows import RowFile, Spool
from vidswap.types import F32, F64, U8, U16, Box, Shot

WINDOW = 600
"""Frames smoothed at once."""

Row = NDArray[np.generic]


class Collector(Protocol):
    """Measures one track while its frames pass by; ``AppearanceCollector`` is one."""

    cutoffs: Mapping[str, float]

    def footprint(self, mesh: F32) -> Box: ...

    def add(
        self, seconds: float, rgb: U8 | U16, box: Box, mesh: F32, weight: float
    ) -> Mapping[str, Row]: ...

    def finish(self) -> Mapping[str, Row]: ...


@dataclass(slots=True, eq=False)
class Collected:
    """A finished track, its large arrays on disk."""

    name: str
    shot: int
    start: int
    stop: int
    left: float
    """Horizontal middle of its first box, for numbering."""
    arrays: dict[str, Row]
    """Per-frame arrays that are small enough to be kept in memory."""
    rows: dict[str, RowFile]
    static: str | None

    def describe(self, number: int) -> dict[str, Any]:
        """Its entry in ``analysis.json``."""
        return {
            "id": number, "name": self.name, "shot": self.shot, "start": self.start,
            "stop": self.stop, "embedding": "embedding" in self.arrays, "person": None,
            "rows": {n: r.describe() for n, r in self.rows.items()}, "static": self.static,
        }  # fmt: skip


@dataclass(slots=True, eq=False)
class Growing:
    """A track while it grows."""

    name: str
    shot: int
    start: int
    meshes: Spool
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
    embedded_at: float = -np.inf


class Finisher:
    """Smooths and stores tracks that have ended.

    Args:
        folder: Where the files go.
        options: Smoothing.
        mesh: The face's geometry.
    """

    def __init__(self, folder: Path, options: SmoothOptions, mesh: FaceMesh) -> None:
        self._folder, self._options, self._mesh = folder, options, mesh
        self._pose = PoseFit(mesh)

    def finish(self, growing: Growing, seconds: F64, shot: Shot) -> Collected:
        """Smooth a track and store it.

        Args:
            growing: The track; its spools are closed and removed.
            seconds: (T,) time of its frames.
            shot: The shot it lies in, for fading where it enters or leaves inside it.
        """
        stop = growing.start + len(seconds)
        seen = np.array(growing.seen)
        score, spread = np.array(growing.scores), np.array(growing.spreads)
        weights = np.where(seen, np.clip(score, 0.05, 1), 0.0)
        raw = growing.meshes.close()
        steadier = Steadier(
            raw, seconds, weights, self._options, float(np.median(spread[seen])), self._mesh
        )
        flow = growing.spools.pop("flow", None)
        mesh, pose, boxes = self._store_meshes(growing.name, raw, steadier, flow, seconds)
        sure = confidence(
            score, spread, seen, seconds,
            enters=growing.start > shot.start, leaves=stop < shot.stop,
        )  # fmt: skip
        arrays: dict[str, Row] = {"seen": seen, "confidence": sure, "pose": pose, "boxes": boxes}
        if growing.vectors:
            mean = np.mean(growing.vectors, 0)
            arrays["embedding"] = (mean / max(np.linalg.norm(mean), 1e-9)).astype(np.float32)
        rows, static = self._store_appearance(growing, seconds, weights)
        left = float(boxes[0, 0] + boxes[0, 2]) / 2
        return Collected(
            growing.name, growing.shot, growing.start, stop, left, arrays, mesh | rows, static
        )

    def _store_meshes(
        self, name: str, raw: RowFile, steadier: Steadier, flow: Spool | None, seconds: F64
    ) -> tuple[dict[str, RowFile], F32, F32]:
        steady = Spool(self._folder / f"{name}.steady.raw")
        for _, part in steadier.run(WINDOW):
            steady.append(part)
        smoothed = Spool(self._folder / f"{name}.mesh.bin")
        unsteady = Spool(self._folder / f"{name}.unsteady.bin")
        poses, boxes = [], []
        for first, part in self._carried(steady.close(), flow, seconds):
            smoothed.append(part)
            unsteady.append((raw[first : first + len(part)] - part).astype(np.float16))
            poses.append(self._pose.angles(part))
            boxes.append(bounds(part[:, :468]))
        files = {"mesh": smoothed.close(), "unsteady": unsteady.close()}
        raw.path.unlink()
        return files, np.concatenate(poses), np.concatenate(boxes)

    def _carried(
        self, steady: RowFile, spool: Spool | None, seconds: F64
    ) -> Iterator[tuple[int, F32]]:
        """Smoothed meshes joined with the flow, in windows; the input files are removed."""
        drift, count = self._options.drift, len(steady)
        flow = spool.close() if spool else None
        uses = flow is not None and drift > 0 and self._options.method == "whittaker"
        margin = int(np.ceil(settling(drift) / interval(seconds))) + 2 if uses else 0
        for start in range(0, count, WINDOW):
            stop = min(start + WINDOW, count)
            low, high = max(start - margin, 0), min(stop + margin, count)
            part = steady[low:high]
            if uses and flow is not None:
                part = carry(part, flow[low:high], seconds[low:high], drift, self._mesh)
            yield start, part[start - low : stop - low]
        for file in (steady, flow):
            if file is not None:
                file.path.unlink()

    def _store_appearance(
        self, growing: Growing, seconds: F64, weights: F64
    ) -> tuple[dict[str, RowFile], str | None]:
        files: dict[str, RowFile] = {}
        if growing.collector is None:
            return files, None
        for name, spool in growing.spools.items():
            raw = spool.close()
            cutoff = growing.collector.cutoffs.get(name, 0.0)
            out = Spool(self._folder / f"{growing.name}.{name}.bin")
            for block in smoothed_rows(raw, seconds, weights, cutoff, self._options):
                out.append(block)
            files[name] = out.close()
            raw.path.unlink()
        static = f"{growing.name}.static.npz"
        with (self._folder / static).open("wb") as file:
            np.savez(file, **{n: np.asarray(a) for n, a in growing.collector.finish().items()})
        return files, static


def smoothed_rows(
    raw: RowFile, seconds: F64, weights: F64, cutoff: float, options: SmoothOptions
) -> Iterator[NDArray[Any]]:
    """Blocks of rows smoothed in time, in windows; a cut-off of 0 only fills unseen rows."""
    dtype, count = raw.dtype, len(raw)
    still = cutoff <= 0 or options.method == "none"
    margin = 64 if still else int(np.ceil(settling(cutoff) / interval(seconds))) + 2
    for start in range(0, count, WINDOW):
        stop = min(start + WINDOW, count)
        low, high = max(start - margin, 0), min(stop + margin, count)
        block, time, weight = raw[low:high].astype(np.float64), seconds[low:high], weights[low:high]
        if still:
            out = fill(block, time, weight)
        else:
            out = smooth(block, time, cutoff, weight, options.method)
        out = out[start - low : stop - low]
        yield (np.rint(out) if np.issubdtype(dtype, np.integer) else out).astype(dtype)
