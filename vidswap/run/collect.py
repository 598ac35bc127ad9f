"""Spools what tracking finds, track by track, and finishes each track when it ends."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from vidswap.faces.embed import Embedder, five_points
from vidswap.faces.facemesh import FaceMesh
from vidswap.faces.landmarks import Landmarks, eye_distance
from vidswap.faces.pose import PoseFit
from vidswap.faces.track import Picture, eight_bit
from vidswap.ops.geometry import bounds
from vidswap.recipe import Recipe
from vidswap.run.finish import Collected, Collector, Finisher, Growing, Row
from vidswap.run.rows import Spool
from vidswap.types import Box, Need, Shot, VideoInfo

EMBEDDINGS = 8
EMBED_EVERY = 0.4
"""Seconds between the frames a track's identity is taken from."""


class TrackWriter:
    """The sink of the tracker.

    Args:
        folder: Where the files go.
        info: For time stamps.
        recipe: Smoothing and the shortest track kept.
        needs: ``appearance`` collects the rows the mesh engine asks for.
        embedder: Gives tracks an identity, if there is one.
    """

    def __init__(
        self,
        folder: Path,
        info: VideoInfo,
        recipe: Recipe,
        needs: frozenset[Need],
        embedder: Embedder | None = None,
    ) -> None:
        self._folder, self._info, self._recipe = folder, info, recipe
        self._needs, self._embedder = needs, embedder
        self._mesh = FaceMesh.load()
        self._pose = PoseFit(self._mesh)
        self._finisher = Finisher(folder, recipe.smooth, self._mesh)
        self._growing: dict[int, Growing] = {}
        self._finished: list[Collected] = []
        self._cuts: list[int] = []

    def shot_starts(self, index: int) -> None:
        """Note a cut before a frame, or the end of the clip; tracks that end now end there."""
        self._cuts.append(index)

    def row(self, track: int, shot: int, picture: Picture, found: Landmarks | None) -> None:
        """Spool one frame of a track."""
        growing = self._growing.get(track)
        if growing is None:
            growing = self._growing[track] = self._begin(track, shot, picture.index)
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
        """Finish a track, or drop it if it is too short to be one."""
        growing = self._growing.pop(track, None)
        if growing is None:
            return
        stop = growing.start + len(growing.seen)
        if self._counts(growing, stop):
            seconds = np.array([self._info.seconds(i) for i in range(growing.start, stop)])
            shot = self._shot_of(growing.start)
            self._finished.append(self._finisher.finish(growing, seconds, shot))
        else:
            growing.meshes.drop()
            for spool in growing.spools.values():
                spool.drop()

    def tracks(self) -> list[Collected]:
        """All tracks, ordered by first frame, then from left to right."""
        return sorted(self._finished, key=lambda t: (t.start, t.left))

    # --- while a track grows

    def _begin(self, track: int, shot: int, start: int) -> Growing:
        name = f"track-{track:05d}"
        collector: Collector | None = None
        if "appearance" in self._needs:
            from vidswap.faces.appearance import AppearanceCollector

            collector = AppearanceCollector()
        return Growing(name, shot, start, Spool(self._folder / f"{name}.raw"), collector)

    def _measure(self, growing: Growing, picture: Picture, found: Landmarks) -> Mapping[str, Row]:
        seconds = self._info.seconds(picture.index)
        self._identify(growing, picture, found, seconds)
        if growing.collector is None:
            return {}
        box = growing.collector.footprint(found.mesh).clip(picture.width, picture.height)
        if min(box.width, box.height) < 2:
            return growing.last and {n: r for n, r in growing.last.items() if n != "mesh"}
        trust = found.score * float(np.clip((0.1 - found.spread) / 0.05, 0, 1))
        pixels = picture.rgb(box)
        rows = dict(growing.collector.add(seconds, pixels, box, found.mesh, trust))
        rows["flow"] = growing.flow.step(picture.index, pixels, box, found.mesh)
        return rows

    def _identify(
        self, growing: Growing, picture: Picture, found: Landmarks, seconds: float
    ) -> None:
        due = seconds - growing.embedded_at >= EMBED_EVERY and len(growing.vectors) < EMBEDDINGS
        if self._embedder is None or not due or found.score < 0.9:
            return
        if abs(float(self._pose.angles(found.mesh)[0])) > 35:
            return
        left, top, right, bottom = bounds(found.mesh[:468])
        room = 0.5 * eye_distance(found.mesh)
        box = Box(int(left - room), int(top - room), int(right + room), int(bottom + room))
        box = box.clip(picture.width, picture.height)
        points = five_points(found.mesh) - np.array([box.left, box.top], np.float32)
        growing.vectors.append(self._embedder.embed(eight_bit(picture.rgb(box)), points))
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
            if name == "mesh":
                growing.meshes.append(row[None])
                continue
            if name not in growing.spools:
                path = self._folder / f"{growing.name}.{name}.raw"
                growing.spools[name] = Spool(path)
            growing.spools[name].append(row[None])

    def _shot_of(self, start: int) -> Shot:
        after = [c for c in self._cuts if c > start]
        return Shot(max(c for c in self._cuts if c <= start), min(after, default=1 << 62))

    def _counts(self, growing: Growing, stop: int) -> bool:
        """Whether there is enough evidence for a face."""
        shot = self._shot_of(growing.start)
        seen = sum(growing.seen)
        if shot.stop - shot.start == 1 or self._info.frames == 1:
            return seen == 1
        seconds = self._info.seconds(stop - 1) - self._info.seconds(growing.start)
        whole = growing.start == shot.start and stop == shot.stop
        # n frames last n intervals, though the first and the last lie n - 1 apart.
        count = stop - growing.start
        lasts = seconds * count / max(count - 1, 1)
        return seen >= 2 and (whole or lasts >= self._recipe.track.min_length - 1e-6)


def _between(a: Row, b: Row, share: float) -> Row:
    mixed = np.asarray(a, np.float64) * (1 - share) + np.asarray(b, np.float64) * share
    exact = np.issubdtype(b.dtype, np.integer)
    return (np.rint(mixed) if exact else mixed).astype(b.dtype)
