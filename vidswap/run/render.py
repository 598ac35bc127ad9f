"""Pass two: a pure function of (frame, analysis, identity), as a pipeline of three threads.

decode → swap → encode, with bounded queues between them. The swap stage is the calling thread.
Faces of several frames share an engine call; a frame without a face never meets the engine.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from vidswap.compose.paste import paste, waves
from vidswap.engines import Plan, SwapEngine
from vidswap.media.frame import Frame
from vidswap.recipe import RunOptions
from vidswap.run.prefetch import Clock, Sink, consuming, producing
from vidswap.types import Box, Patch, TargetFace, Track, TrackFrame

Observer = Callable[[TargetFace, Patch | None], None]
"""Sees every face before and after, in the order of the frames."""


class Tracked(Protocol):
    """The part of an analysis that ``render`` reads."""

    @property
    def tracks(self) -> Sequence[Track]: ...

    def at(self, track: Track, index: int, /) -> TrackFrame:
        """One row of a track."""
        ...


@dataclass(slots=True)
class Rendered:
    """What a pass did."""

    frames: int = 0
    faces: int = 0
    """Faces handed to the engine."""
    swapped: int = 0
    """Faces the engine changed."""
    calls: int = 0
    """Engine calls."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Busy wall-clock time of each stage; stages overlap."""


@dataclass(slots=True, eq=False)
class _Held:
    """A frame on its way through the swap stage."""

    frame: Frame
    faces: list[tuple[TrackFrame, Box, Plan]]
    waves: deque[list[int]]
    open: int = 0
    """Faces of the current wave that are not pasted yet."""


class FaceBatches:
    """Collects faces across frames into full engine calls and gives frames back in order.

    Args:
        analysis: Where the faces are.
        engine: Swaps them.
        plans: Plan of every track that is to be swapped, by track id; other tracks stay.
        options: ``batch`` faces for each call, about ``queue`` frames held at most.
        observe: Sees every face and its patch.
    """

    def __init__(
        self,
        analysis: Tracked,
        engine: SwapEngine,
        plans: Mapping[int, Plan],
        options: RunOptions,
        observe: Observer | None = None,
    ) -> None:
        self._analysis, self._engine, self._plans = analysis, engine, plans
        self._wanted = deque(
            sorted((t for t in analysis.tracks if t.id in plans), key=lambda t: t.start)
        )
        self._active: list[Track] = []
        self._batch, self._hold = max(options.batch, 1), max(options.queue, options.batch, 1)
        self._observe = observe
        self._held: deque[_Held] = deque()
        self._ready: deque[tuple[_Held, int]] = deque()
        self.done = Rendered()

    def push(self, frame: Frame) -> Iterator[Frame]:
        """Take the next frame; yields the frames that became complete, in order."""
        faces = [
            (at, box, plan)
            for at, plan in self._faces_at(frame.index)
            if (box := self._engine.footprint(at, plan).clip(frame.width, frame.height)).width
            and box.height
        ]
        held = _Held(frame, faces, deque(waves([box for _, box, _ in faces])))
        self._held.append(held)
        self._next_wave(held)
        while len(self._ready) >= self._batch or (self._ready and len(self._held) > self._hold):
            self._swap()
        yield from self._complete()

    def flush(self) -> Iterator[Frame]:
        """Finish every frame that is still held."""
        while self._ready:
            self._swap()
        yield from self._complete()

    def _faces_at(self, index: int) -> list[tuple[TrackFrame, Plan]]:
        while self._wanted and self._wanted[0].start <= index:
            self._active.append(self._wanted.popleft())
        self._active = [t for t in self._active if index < t.stop]
        return [(self._analysis.at(t, index), self._plans[t.id]) for t in self._active]

    def _next_wave(self, held: _Held) -> None:
        if held.waves:
            wave = held.waves.popleft()
            held.open = len(wave)
            self._ready.extend((held, i) for i in wave)

    def _swap(self) -> None:
        count = min(self._batch, len(self._ready))
        jobs = [self._ready.popleft() for _ in range(count)]
        faces, plans = [], []
        for held, i in jobs:
            at, box, plan = held.faces[i]
            # Read only now: an overlapping face of an earlier wave is already in the frame.
            faces.append(TargetFace(held.frame.rgb(box), box, at))
            plans.append(plan)
        patches = self._engine.swap(faces, plans)
        self.done.calls += 1
        self.done.faces += count
        for (held, _), face, patch in zip(jobs, faces, patches, strict=True):
            if patch is not None:
                self.done.swapped += 1
                paste(held.frame, patch, face.box)
            if self._observe is not None:
                self._observe(face, patch)
            held.open -= 1
            if not held.open:
                self._next_wave(held)

    def _complete(self) -> Iterator[Frame]:
        while self._held and not self._held[0].open:
            self.done.frames += 1
            yield self._held.popleft().frame


def render(
    frames: Iterable[Frame],
    batches: FaceBatches,
    sink: Sink[Frame],
    queue: int,
    advance: Callable[[int], None] | None = None,
) -> Rendered:
    """Pull frames through the swap into a sink; decoding and encoding run in threads.

    Whatever stage raises, and on an exception in the calling thread such as an interrupt, all
    stages stop and the sink is aborted before this returns.

    Args:
        frames: Decoded frames in order.
        batches: The swap stage.
        sink: Written to and finished, or aborted, in the encoder's thread.
        queue: Frames in flight between two stages.
        advance: Called with 1 for every frame handed to the sink.

    Returns:
        Counts and seconds.
    """
    decode, swap, encode = Clock(), Clock(), Clock()
    with (
        consuming(sink, queue, name="vidswap-encode", clock=encode) as put,
        producing(frames, queue, name="vidswap-decode", clock=decode) as source,
    ):
        for finished in _swapped(source, batches, swap):
            put(finished)
            if advance is not None:
                advance(1)
    seconds = {"decode": decode.seconds, "swap": swap.seconds, "encode": encode.seconds}
    batches.done.seconds.update({k: round(v, 3) for k, v in seconds.items()})
    return batches.done


def _swapped(source: Iterable[Frame], batches: FaceBatches, clock: Clock) -> Iterator[Frame]:
    for frame in source:
        with clock:
            complete = list(batches.push(frame))
        yield from complete
    with clock:
        complete = list(batches.flush())
    yield from complete
