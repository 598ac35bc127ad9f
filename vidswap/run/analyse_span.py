"""One span of pass one: every frame looked at once, tracks spooled as they were found.

A span knows nothing of its neighbours. It starts a little before its first frame, so that cut
detection and tracking have settled there, and what is known of a face no longer depends on where it
was found.
"""

import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vidswap.faces.detect import open_detector
from vidswap.faces.embed import open_embedder
from vidswap.faces.landmarks import Landmarker
from vidswap.faces.shots import SIDE
from vidswap.faces.track import Tracker
from vidswap.faces.transitions import MEMORY, Transitions, Verdict
from vidswap.media.decode import open_reader
from vidswap.media.frame import Frame
from vidswap.run.collect import TrackWriter
from vidswap.run.spans import Draft, Span, SpanResult, SpanTask, storing
from vidswap.types import Dissolve, Face

LEAD = 2.0
"""Seconds followed before a span."""
LEAST_LEAD = 24
"""Frames followed before a span, however long they last."""

Progress = Callable[[int], None]
"""Called with the frames of the span that are done."""


@dataclass(frozen=True, slots=True, eq=False)
class Seed:
    """A face that the span before followed, and this one did not find."""

    frame: int
    face: Face


class _UnsettledError(Exception):
    """What came before decides where the first shot of the span starts."""


def analyse_span(
    task: SpanTask, span: Span, progress: Progress | None = None, seeds: Sequence[Seed] = ()
) -> None:
    """Do one span and store it. Depends on nothing but its arguments and the clip.

    Args:
        task: The analysis.
        span: One of its spans.
        progress: Told after every frame.
        seeds: Faces it is told of, for a second look.

    Raises:
        WeightsError: No detector is installed.
        MediaError: A frame cannot be read.
        StateError: The work folder cannot be written to.
    """
    place = task.place(span, digest_of(seeds))
    with storing(task.work):
        for extra in (0, task.recipe.track.span):
            with Draft(place) as draft:
                try:
                    result = _Look(task, span, draft.folder, seeds, progress).run(extra)
                except _UnsettledError:
                    continue
                task.guard.check()
                draft.commit(task.digest, result)
                return


def digest_of(seeds: Sequence[Seed]) -> str:
    """Empty for none."""
    total = hashlib.sha256()
    for seed in seeds:
        total.update(f"{seed.frame} ".encode() + seed.face.box.tobytes())
    return total.hexdigest() if seeds else ""


def lead_in(task: SpanTask, span: Span) -> int:
    """First frame that is followed for a span."""
    if span.start == task.start:
        return task.start
    pts = task.info.pts
    since = int(pts[span.start]) - round(LEAD / task.info.time_base)
    first = min(int(np.searchsorted(pts, since)), span.start - LEAST_LEAD)
    return max(first, task.start)


class _Look:
    """One passage over the frames of a span.

    Args:
        task: The analysis.
        span: One of its spans.
        folder: Where rows go.
        seeds: Faces it is told of.
        progress: Told after every frame.
    """

    def __init__(
        self,
        task: SpanTask,
        span: Span,
        folder: Path,
        seeds: Sequence[Seed],
        progress: Progress | None,
    ) -> None:
        self._task, self._span, self._progress = task, span, progress
        self._seeds = seeds
        self._lead = lead_in(task, span)
        self._writer = TrackWriter(folder, task.info, task.needs, open_embedder())
        self._cuts: list[int] = []
        self._dissolves: list[Dissolve] = []

    def run(self, extra: int) -> SpanResult:
        """Follow all faces.

        Args:
            extra: Frames before the lead-in that cut detection sees, too.

        Raises:
            _UnsettledError: They were too few.
        """
        recipe = self._task.recipe
        first = max(min(self._lead, self._span.start - MEMORY) - extra, self._task.start)
        info = self._task.info
        # 4:2:0 has one and a half samples for each pixel.
        size = int(info.width * info.height * 1.5 * (2 if info.colour.bits > 8 else 1))
        judge = Transitions(recipe.shots, size, first)
        sure = first == self._task.start or extra > 0
        with ExitStack() as stack:
            detector = stack.enter_context(closing(open_detector(recipe.detect)))
            landmarker = stack.enter_context(closing(Landmarker()))
            tracker = Tracker(detector, landmarker, recipe.track, recipe.detect, self._writer)
            reader = stack.enter_context(open_reader(self._task.info, recipe.decode))
            for frame, found in self._judged(reader.frames(first, self._task.stop), judge):
                if frame.index >= self._span.stop:
                    break
                if frame.index == self._span.start and not (sure or judge.settled):
                    raise _UnsettledError
                if frame.index >= self._lead:
                    self._follow(tracker, frame, found)
            self._writer.end()
            tracker.finish()
        parts = tuple(self._writer.parts())
        return SpanResult(self._span, self._lead, tuple(self._cuts), parts, tuple(self._dissolves))

    def _judged(
        self, frames: Iterator[Frame], judge: Transitions
    ) -> Iterator[tuple[Frame, Verdict]]:
        """Frames, each with whether it starts a shot; those in doubt wait for later ones."""
        waiting: deque[Frame] = deque()
        for frame in frames:
            waiting.append(frame)
            for found in judge.add(frame.luma(SIDE)):
                yield waiting.popleft(), found
            if waiting and waiting[0].index >= self._span.stop:
                return
        for found in judge.flush():
            yield waiting.popleft(), found

    def _follow(self, tracker: Tracker, frame: Frame, found: Verdict) -> None:
        span, index = self._span, frame.index
        faces = [seed.face for seed in self._seeds if seed.frame == index]
        self._writer.mixed = found.mixed
        tracker.add(
            frame,
            self._task.info.seconds(index),
            starts_shot=found.cut or index == self._lead,
            faces=faces,
            mixed=found.mixed,
        )
        if index < span.start:
            return
        if found.cut:
            self._cuts.append(index)
        if found.dissolve is not None:
            self._dissolves.append(found.dissolve)
        if self._progress:
            self._progress(index + 1 - span.start)
