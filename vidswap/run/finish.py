"""Finishes a track: everything that couples its frames, in windows, from spool to stored rows."""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidswap.faces.facemesh import FaceMesh
from vidswap.faces.flow import carry
from vidswap.faces.pose import PoseFit
from vidswap.faces.repeats import pictures, repeated
from vidswap.faces.steady import Steadier, confidence
from vidswap.ops.geometry import bounds
from vidswap.ops.smooth import fill, interval, settling, smooth
from vidswap.recipe import SmoothOptions
from vidswap.run.rows import PickedRows, RowFile, Rows, Spool
from vidswap.types import F32, F64, I64, Bool, Shot

FUSE = 3.0
"""Hz above which the optical flow tells how skin moves even before smoothing."""
WINDOW = 240
"""Frames smoothed at once."""

FADE = ((0.1, 0.2, 0.5), (1.0, 0.35, 0.08))
"""How sure a face is at most where another shot takes a share of the frame: engines fade between .35
and .05, so that the swap goes as the face itself does."""

_JOINED = ("mesh", "flow", "change")
"""Rows that go into the meshes."""

Row = NDArray[np.generic]


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


@dataclass(frozen=True, slots=True, eq=False)
class Whole:
    """A track from its first frame to its last, before smoothing."""

    name: str
    shot: int
    start: int
    rows: Mapping[str, Rows]
    """By name; ``mesh`` and, where flow was measured, ``flow`` and ``change`` among them."""
    score: F64
    """(T,) presence in [0, 1]."""
    spread: F64
    """(T,) disagreement between landmark passes, in eye distances."""
    seen: Bool
    """(T,)"""
    vectors: F32
    """(n, 512) identities, n may be 0."""
    static: Mapping[str, Row] | None
    """Arrays of the track as a whole."""
    cutoffs: Mapping[str, float]
    """Hz at which rows are smoothed, by name."""

    @property
    def stop(self) -> int:
        """Frame after its last."""
        return self.start + len(self.seen)


@dataclass(frozen=True, slots=True, eq=False)
class Distinct:
    """A track's distinct pictures: all smoothing sees these, and frames that repeat one take its result."""

    rows: Mapping[str, Rows]
    """One row per picture."""
    seconds: F64
    """(n,) time of each."""
    weights: F64
    """(n,) trust in each."""
    shown: I64
    """(T,) picture that each frame of the track shows."""

    @classmethod
    def of(cls, track: Whole, seconds: F64, weights: F64) -> "Distinct":
        """The pictures of a track; all frames are distinct where changes were not measured."""
        count = len(seconds)
        same = repeated(track.rows["change"][0:count]) if "change" in track.rows else None
        first, shown = pictures(np.zeros(count, np.bool_) if same is None else same)
        rows = {name: PickedRows(rows, first) for name, rows in track.rows.items()}
        return cls(rows, seconds[first], weights[first], shown)

    def frames(self, block: NDArray[Any], first: int) -> NDArray[Any]:
        """Rows of all frames that show a block of consecutive pictures, from the ``first`` one on."""
        low, high = np.searchsorted(self.shown, (first, first + len(block)))
        return np.asarray(block[self.shown[low:high] - first])

    def start(self, picture: int) -> int:
        """Row of the first frame that shows a picture."""
        return int(np.searchsorted(self.shown, picture))


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

    def finish(self, track: Whole, seconds: F64, shot: Shot, mixed: F64) -> Collected:
        """Smooth a track and store it.

        Args:
            track: The track.
            seconds: (T,) time of its frames.
            shot: The shot it lies in, for fading where it enters or leaves inside it.
            mixed: (T,) how much of each frame another shot takes, [0, 0.5], where it dissolves.
        """
        score, spread, seen = track.score, track.spread, track.seen
        # Landmarks of a face with another one through it are as good as it is clear.
        clear = np.maximum(1 - 2 * mixed, 0.1) ** 2
        weights = np.where(seen, np.clip(score, 0.05, 1) * clear, 0.0)
        doubt = float(np.median(spread[seen]))
        distinct = Distinct.of(track, seconds, weights)
        mesh, pose, boxes = self._store_meshes(track, distinct, doubt)
        sure = confidence(
            score, spread, seen, seconds,
            enters=track.start > shot.start, leaves=track.stop < shot.stop,
        )  # fmt: skip
        sure = np.minimum(sure, np.interp(mixed, *FADE)).astype(np.float32)
        arrays: dict[str, Row] = {"seen": seen, "confidence": sure, "pose": pose, "boxes": boxes}
        if len(track.vectors):
            mean = np.mean(track.vectors, 0)
            arrays["embedding"] = (mean / max(np.linalg.norm(mean), 1e-9)).astype(np.float32)
        rows = self._store_rows(track, distinct)
        left = float(boxes[0, 0] + boxes[0, 2]) / 2
        return Collected(
            track.name, track.shot, track.start, track.stop, left,
            arrays, mesh | rows, self._store_static(track),
        )  # fmt: skip

    def _store_meshes(
        self, track: Whole, distinct: Distinct, doubt: float
    ) -> tuple[dict[str, RowFile], F32, F32]:
        raw, (seconds, weights) = track.rows["mesh"], (distinct.seconds, distinct.weights)
        meshes, flow = distinct.rows["mesh"], distinct.rows.get("flow")
        # What trembles faster than any flow drifts is no motion: taken out before the smoothing asks
        # how far to open for it, one landmark pass a frame is as good as two.
        fused = self._spooled(track, "fused", self._carried(meshes, flow, seconds, FUSE))
        steadier = Steadier(fused, seconds, weights, self._options, doubt, self._mesh)
        steady = self._spooled(track, "steady", steadier.run(WINDOW))
        smoothed = Spool(self._folder / f"{track.name}.mesh.bin")
        unsteady = Spool(self._folder / f"{track.name}.unsteady.bin")
        poses, boxes = [], []
        for first, part in self._carried(steady, flow, seconds, self._options.drift):
            begin, part = distinct.start(first), distinct.frames(part, first)
            smoothed.append(part)
            unsteady.append((raw[begin : begin + len(part)] - part).astype(np.float16))
            poses.append(self._pose.angles(part))
            boxes.append(bounds(part[:, :468]))
        for passing in (fused, steady):
            passing.path.unlink()
        files = {"mesh": smoothed.close(), "unsteady": unsteady.close()}
        return files, np.concatenate(poses), np.concatenate(boxes)

    def _spooled(self, track: Whole, name: str, parts: Iterable[tuple[int, F32]]) -> RowFile:
        """Rows in a file that is read in windows and then removed."""
        spool = Spool(self._folder / f"{track.name}.{name}.raw")
        for _, part in parts:
            spool.append(part)
        return spool.close()

    def _carried(
        self, meshes: Rows, flow: Rows | None, seconds: F64, drift: float
    ) -> Iterator[tuple[int, F32]]:
        """Meshes joined with the flow above ``drift`` Hz, in windows."""
        count, options = len(meshes), self._options
        uses = flow is not None and options.drift > 0 and options.method == "whittaker"
        margin = int(np.ceil(settling(drift) / interval(seconds))) + 2 if uses else 0
        for start in range(0, count, WINDOW):
            stop = min(start + WINDOW, count)
            low, high = max(start - margin, 0), min(stop + margin, count)
            part = np.asarray(meshes[low:high], np.float32)
            if uses and flow is not None:
                part = carry(part, flow[low:high], seconds[low:high], drift, self._mesh)
            yield start, part[start - low : stop - low]

    def _store_rows(self, track: Whole, distinct: Distinct) -> dict[str, RowFile]:
        files: dict[str, RowFile] = {}
        seconds, weights = distinct.seconds, distinct.weights
        for name, raw in distinct.rows.items():
            if name in _JOINED:
                continue
            out = Spool(self._folder / f"{track.name}.{name}.bin")
            cutoff = track.cutoffs.get(name, 0.0)
            first = 0
            for block in smoothed_rows(raw, seconds, weights, cutoff, self._options):
                out.append(distinct.frames(block, first))
                first += len(block)
            files[name] = out.close()
        return files

    def _store_static(self, track: Whole) -> str | None:
        if track.static is None:
            return None
        name = f"{track.name}.static.npz"
        with (self._folder / name).open("wb") as file:
            np.savez(file, **{n: np.asarray(a) for n, a in track.static.items()})
            file.flush()
            os.fsync(file.fileno())
        return name


def smoothed_rows(
    raw: Rows, seconds: F64, weights: F64, cutoff: float, options: SmoothOptions
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
