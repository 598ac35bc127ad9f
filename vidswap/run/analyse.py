"""Pass one: one look at every frame, span by span, then everything that couples frames.

Spans are followed on their own and stored; their tracks are joined where neighbours overlap, and
each track is smoothed as a whole when its last span is known. Memory does not grow with the clip.
"""

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import numpy as np

from vidswap.allocator import give_back
from vidswap.errors import StateError
from vidswap.faces.facemesh import FaceMesh
from vidswap.recipe import Recipe
from vidswap.run.analyse_join import Chain, matches, seeds
from vidswap.run.analyse_span import Seed, analyse_span, digest_of
from vidswap.run.analyse_workers import analyse_spans
from vidswap.run.analysis import Analysis
from vidswap.run.collect import collector_for
from vidswap.run.finish import Collected, Finisher
from vidswap.run.spans import (
    PREFIX,
    Span,
    SpanResult,
    SpanTask,
    discard,
    pending,
    read_span,
    storing,
)
from vidswap.run.store import Store
from vidswap.types import F64, Dissolve, Need, Shot, VideoInfo

Progress = Callable[[int, int], None]
"""Called with the frames done and the frames in all."""
Note = Callable[[str], None]
APART = 500_000_000
"""Pixels of all frames from which on spans are done in another process: ten seconds of 1080p, a minute of SD."""


def analyse(
    info: VideoInfo,
    recipe: Recipe,
    folder: Path,
    needs: frozenset[Need],
    frames: tuple[int, int] | None = None,
    progress: Progress | None = None,
    note: Note | None = None,
) -> Analysis:
    """Find, follow and smooth every face of a clip, and store what engines need.

    Spans that an earlier run has finished are not done again. A clip without any face gives an
    analysis without tracks. An analysis that is in the folder is replaced once the new one is
    whole; a crash or an interrupt leaves the old one.

    Args:
        info: The clip's index.
        recipe: Its ``decode``, ``shots``, ``detect``, ``track`` and ``smooth`` parts are read, and
            how many workers there are.
        folder: Where the analysis is stored; made if it does not exist.
        needs: What the engine asks for.
        frames: Range of frames, the whole clip for None.
        progress: Told after every frame.
        note: Told where an earlier run is taken up.

    Raises:
        WeightsError: No detector is installed.
        MediaError: A frame cannot be read.
        StateError: The folder cannot be written to.
    """
    task = SpanTask.of(info, recipe, folder, needs, frames)
    try:
        tidy(task)
        todo = pending(task)
        if note and len(todo) < len(task.spans):
            note(f"resuming: {len(task.spans) - len(todo)} of {len(task.spans)} spans are analysed")
        _follow(task, todo, progress)
        return merge(task)
    finally:
        # What an interrupt leaves is worth keeping only if a span is whole.
        for empty in (task.folder, folder):
            with suppress(OSError):
                empty.rmdir()


def _follow(task: SpanTask, todo: Sequence[Span], progress: Progress | None) -> None:
    total = task.stop - task.start
    done = total - sum(span.stop - span.start for span in todo)

    def tell(frames: int) -> None:
        if progress:
            progress(done + frames, total)

    workers = min(task.recipe.run.workers, len(todo))
    # What an analysis leaves in a process would stay there while it renders: 50 MB at 1080p.
    frames = sum(span.stop - span.start for span in todo)
    apart = frames * task.info.width * task.info.height >= APART
    if workers > 1 or apart:
        analyse_spans(task, todo, workers, tell)
        return
    for span in todo:
        analyse_span(task, span, tell)
        give_back()
        done += span.stop - span.start


def merge(task: SpanTask) -> Analysis:
    """Join, smooth and store what the spans gave; the same whoever did them, in whatever order.

    A span that is missing or damaged is done here. So is, once more, one that did not find a face
    which the span before was following: told where it is, it looks again.

    Raises:
        WeightsError: No detector is installed.
        MediaError: A frame cannot be read.
        StateError: The folder cannot be written to.
    """
    with storing(task.work), Store(task.work, task.digest) as store:
        merger = _Merger(task, store.data)
        for span in task.spans:
            merger.add(span)
        shots, tracks = merger.end()
        task.guard.check()
        store.commit(task.info, task.key, (task.start, task.stop), shots, tracks)
        discard([task.folder])
    return Analysis(task.work)


def tidy(task: SpanTask) -> None:
    """Remove what dead runs left. Only for whoever holds the lock of the work folder."""
    stale = [path for path in task.work.glob(f"{PREFIX}*") if path != task.folder]
    discard([*stale, *task.folder.glob(".*.part")])


class _Merger:
    """Takes spans in order; a track is finished as soon as no later span can go on with it.

    Args:
        task: The analysis.
        folder: Where finished tracks go.
    """

    def __init__(self, task: SpanTask, folder: Path) -> None:
        self._task = task
        self._finisher = Finisher(folder, task.recipe.smooth, FaceMesh.load())
        new = collector_for(task.needs)
        self._joiner = None if new is None else new()
        self._open: list[Chain] = []
        self._cuts: list[int] = []
        self._dissolves: list[Dissolve] = []
        self._finished: list[Collected] = []
        self._count = 0

    def add(self, span: Span) -> None:
        """Go on with the next span."""
        result = self._read(span)
        pairs = matches(self._open, result)
        if known := self._lost(result, pairs):
            result = self._read(span, known)
            pairs = matches(self._open, result)
        self._cuts += result.cuts
        self._dissolves += result.dissolves
        going, fresh = set(), []
        for part in result.parts:
            at = pairs.get(part.number)
            if at is not None:
                self._open[at].add(part, self._task.info, self._joiner)
                going.add(at)
            elif part.stop > span.start:
                # What is seen in the lead-in alone is for the span before to tell.
                fresh.append(Chain())
                fresh[-1].add(part, self._task.info, self._joiner)
        for at, chain in enumerate(self._open):
            if at not in going or chain.stop <= span.start:
                self._finish(chain)
        later = [chain for at, chain in enumerate(self._open) if at in going]
        self._open = [chain for chain in later if chain.stop > span.start] + fresh

    def end(self) -> tuple[tuple[Shot, ...], list[Collected]]:
        """Shots, and tracks ordered by first frame, then from left to right."""
        self._cuts.append(self._task.stop)
        for chain in self._open:
            self._finish(chain)
        shots = tuple(Shot(a, b) for a, b in pairwise(self._cuts))
        return shots, sorted(self._finished, key=lambda t: (t.start, t.left))

    def _read(self, span: Span, known: tuple[Seed, ...] = ()) -> SpanResult:
        place = self._task.place(span, digest_of(known))
        for _ in range(2):
            if (result := read_span(place, self._task)) is not None:
                return result
            analyse_span(self._task, span, seeds=known)
        raise StateError("cannot be read back", path=place, stage="analyse")

    def _lost(self, result: SpanResult, pairs: Mapping[int, int]) -> tuple[Seed, ...]:
        """Faces that were followed up to the border, that no cut ends, and that nobody goes on with."""
        if result.span.start in result.cuts:
            return ()
        going = {
            pairs[part.number]
            for part in result.parts
            if part.number in pairs and part.stop > result.span.start
        }
        chains = [c for at, c in enumerate(self._open) if at not in going and c.last.alive]
        return tuple(seed for chain in chains for seed in seeds(chain, result.lead))

    def _finish(self, chain: Chain) -> None:
        number = bisect_right(self._cuts, chain.start) - 1
        end = self._cuts[number + 1] if number + 1 < len(self._cuts) else 1 << 62
        shot = Shot(self._cuts[number], end)
        if not self._counts(chain, shot):
            return
        info = self._task.info
        seconds = np.array([info.seconds(i) for i in range(chain.start, chain.stop)])
        whole = chain.whole(f"track-{self._count:05d}", number, self._joiner)
        self._count += 1
        self._finished.append(self._finisher.finish(whole, seconds, shot, self._mixed(chain)))

    def _mixed(self, chain: Chain) -> F64:
        """(T,) how much of each frame another shot takes."""
        frames = range(chain.start, chain.stop)
        near = [d for d in self._dissolves if d.start < chain.stop and d.stop > chain.start]
        return np.array([max((d.share(i) for d in near), default=0.0) for i in frames])

    def _counts(self, chain: Chain, shot: Shot) -> bool:
        """Whether there is enough evidence for a face."""
        info, seen = self._task.info, int(chain.column("seen").sum())
        if shot.stop - shot.start == 1 or info.frames == 1:
            return seen == 1
        seconds = info.seconds(chain.stop - 1) - info.seconds(chain.start)
        whole = chain.start == shot.start and chain.stop == shot.stop
        # n frames last n intervals, though the first and the last lie n - 1 apart.
        count = chain.stop - chain.start
        lasts = seconds * count / max(count - 1, 1)
        return seen >= 2 and (whole or lasts >= self._task.recipe.track.min_length - 1e-6)
