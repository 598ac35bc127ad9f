"""Joins the tracks of neighbouring spans where they follow one face in the frames both have seen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from vidswap.faces.embed import five_points
from vidswap.ops.geometry import bounds, iou
from vidswap.run.analyse_span import Seed
from vidswap.run.collect import EMBED_EVERY, EMBEDDINGS, Collector, Part, Row
from vidswap.run.finish import Whole
from vidswap.run.rows import JoinedRows
from vidswap.run.spans import SpanResult
from vidswap.types import F32, F64, Face, VideoInfo

SAME = 0.5
"""Overlap of two boxes in one frame from which they are one face."""
FOLLOWED = 5
"""Frames for which a face was followed to be worth a second look."""

_FRAMES = ("score", "spread", "seen")


@dataclass(slots=True, eq=False)
class Chain:
    """A track in pieces: parts of consecutive spans, each with the frames taken from it."""

    pieces: list[tuple[Part, int, int]] = field(default_factory=list)
    frames: dict[str, list[Row]] = field(default_factory=lambda: {n: [] for n in _FRAMES})
    vectors: list[F32] = field(default_factory=list)
    embedded_at: float = -np.inf
    kept: Mapping[str, Row] = field(default_factory=dict)

    @property
    def start(self) -> int:
        """First frame."""
        return self.pieces[0][1]

    @property
    def stop(self) -> int:
        """Frame after the last."""
        return self.pieces[-1][2]

    @property
    def last(self) -> Part:
        """The part it ends with."""
        return self.pieces[-1][0]

    def add(self, part: Part, info: VideoInfo, joiner: Collector | None) -> None:
        """Go on with a part, from where the chain ends."""
        first = self.stop if self.pieces else part.start
        if first >= part.stop:
            return
        self.pieces.append((part, first, part.stop))
        for name, pieces in self.frames.items():
            pieces.append(part.arrays[name][first - part.start :])
        for frame, vector in zip(part.arrays["taken"], part.arrays["vectors"], strict=True):
            seconds = info.seconds(int(frame))
            due = seconds - self.embedded_at >= EMBED_EVERY and len(self.vectors) < EMBEDDINGS
            if frame >= first and due:
                self.vectors.append(np.asarray(vector, np.float32))
                self.embedded_at = seconds
        if joiner is not None:
            kept = {n[5:]: a for n, a in part.arrays.items() if n.startswith("kept.")}
            self.kept = joiner.join(self.kept, kept, first)

    def whole(self, name: str, shot: int, joiner: Collector | None) -> Whole:
        """The track, its rows still where they are."""
        common = set.intersection(*(set(part.rows) for part, _, _ in self.pieces))
        rows = {
            row: JoinedRows(
                [(part.rows[row], a - part.start, b - part.start) for part, a, b in self.pieces]
            )
            for row in self.pieces[0][0].rows
            if row in common
        }
        return Whole(
            name,
            shot,
            self.start,
            rows,
            self.column("score"),
            self.column("spread"),
            self.column("seen").astype(np.bool_),
            np.array(self.vectors, np.float32),
            None if joiner is None else joiner.combine(self.kept),
            {} if joiner is None else joiner.cutoffs,
        )

    def column(self, name: str) -> F64:
        """(T,) ``score``, ``spread`` or ``seen``."""
        return np.concatenate(self.frames[name]).astype(np.float64)


def matches(chains: Sequence[Chain], result: SpanResult) -> dict[int, int]:
    """Which chain each part of the next span goes on with.

    A part goes on with the chain that it shares the latest frame with; of several, with the one it
    shares most frames with.

    Args:
        chains: Tracks that reach into the span's lead-in.
        result: The span.

    Returns:
        Number of the part → index of the chain.
    """
    found: list[tuple[tuple[int, int, float], int, int]] = []
    for index, chain in enumerate(chains):
        ours = boxes(chain.last, result.lead, chain.stop)
        for part in result.parts:
            theirs = boxes(part, result.lead, result.span.start)
            shared = sorted(ours.keys() & theirs.keys())
            overlaps = [float(iou(ours[at], theirs[at])) for at in shared]
            agree = [at for at, share in zip(shared, overlaps, strict=True) if share > SAME]
            if agree:
                rank = (agree[-1], len(agree), sum(overlaps))
                found.append((rank, index, part.number))
    pairs: dict[int, int] = {}
    for _, index, number in sorted(found, key=lambda f: (*(-v for v in f[0]), f[1], f[2])):
        if number not in pairs and index not in pairs.values():
            pairs[number] = index
    return pairs


def boxes(part: Part, start: int, stop: int) -> dict[int, F32]:
    """(4,) box of a part in each frame of a range that it covers."""
    first = max(start - part.start, 0)
    last = min(stop, part.stop) - part.start
    if first >= last:
        return {}
    found = bounds(part.rows["mesh"][first:last][:, :468])
    return {part.start + first + k: box for k, box in enumerate(found)}


def seeds(chain: Chain, lead: int) -> list[Seed]:
    """Where a track is seen, from a frame on; none where it is not worth a second look."""
    part, _, stop = chain.pieces[-1]
    first = max(lead, part.start) - part.start
    if chain.stop - chain.start < FOLLOWED:
        return []
    meshes = part.rows["mesh"][first : stop - part.start]
    found = []
    for row, mesh in enumerate(meshes, first):
        if part.arrays["seen"][row]:
            face = Face(bounds(mesh[:468]), five_points(mesh), float(part.arrays["score"][row]))
            found.append(Seed(part.start + row, face))
    return found
