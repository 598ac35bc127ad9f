"""CPU time of pass one, stage by stage."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from vidswap.faces.appearance import AppearanceCollector
from vidswap.faces.flow import FlowMeter
from vidswap.faces.graph import Graph
from vidswap.faces.track import Tracker
from vidswap.faces.transitions import Transitions
from vidswap.media.decode import open_reader
from vidswap.media.frame import Frame
from vidswap.recipe import DecodeOptions, Recipe
from vidswap.run import analyse as pass_one
from vidswap.run import analyse_span as one_span
from vidswap.run.collect import TrackWriter
from vidswap.run.finish import Finisher
from vidswap.types import Need, VideoInfo

STAGES = (
    "decode", "shots", "search", "landmarks", "rgb", "appearance", "flow", "finish", "start", "other",
)  # fmt: skip
_POINTS: tuple[tuple[type, str, str], ...] = (
    (Frame, "luma", "shots"),
    (Transitions, "add", "shots"),
    (Tracker, "_search", "search"),
    (Tracker, "_glance", "search"),
    (Tracker, "_points", "landmarks"),
    (Frame, "rgb", "rgb"),
    (Graph, "__init__", "start"),
    (AppearanceCollector, "__post_init__", "start"),
    (AppearanceCollector, "footprint", "appearance"),
    (AppearanceCollector, "add", "appearance"),
    (FlowMeter, "step", "flow"),
    (TrackWriter, "close", "finish"),
    (Finisher, "finish", "finish"),
)
TRACKED = 1.0
"""Seconds after which a face is tracked: the first search is over, and the clip's start as well."""
_AHEAD = 24
"""Frames decoded before they are analysed, so that the decoder's threads do not work meanwhile."""


class StageClock:
    """CPU time of this process and all its threads, by stage; inner stages do not count outside."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(STAGES, 0.0)
        self._inner = ["other"]
        self._since = time.process_time()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count what happens inside as this stage."""
        self._turn()
        self._inner.append(name)
        try:
            yield
        finally:
            self._turn()
            self._inner.pop()

    def _turn(self) -> None:
        now = time.process_time()
        self.seconds[self._inner[-1]] += now - self._since
        self._since = now

    def timed(self, what: Callable[..., Any], name: str) -> Callable[..., Any]:
        """A method that counts as a stage."""

        def call(*args: Any, **more: Any) -> Any:
            with self.stage(name):
                return what(*args, **more)

        return call


def stages(
    info: VideoInfo, recipe: Recipe, needs: frozenset[Need], frames: int, folder: Path
) -> dict[str, float]:
    """Analyse a clip's first frames and measure every stage, milliseconds of CPU per frame.

    Decoding happens in batches between the other stages, so its cost is a little higher than in a
    stream of frames.

    Args:
        info: The clip.
        recipe: As for ``analyse``.
        needs: What is collected.
        frames: Number of frames.
        folder: Where the analysis goes.

    Returns:
        One figure for each of ``STAGES``, and ``tracked`` for detection and landmarks together, what
        they convert included, from the second second on (0 for clips that end before).
    """
    clock = StageClock()
    late = _Late(clock)

    @contextmanager
    def batched(info: VideoInfo, options: DecodeOptions) -> Iterator[Any]:
        with open_reader(info, options) as reader:
            yield _Batches(reader, clock)

    with ExitStack() as stack:
        _put(stack, one_span, "open_reader", batched)
        for owner, method, stage in _POINTS:
            _put(stack, owner, method, clock.timed(getattr(owner, method), stage))
        _put(stack, Tracker, "add", late.watching(Tracker.add))
        with clock.stage("other"):
            pass_one.analyse(info, recipe, folder, needs, (0, frames))
    each = {name: 1000 * spent / frames for name, spent in clock.seconds.items()}
    return {**each, "tracked": late.spent()}


def _put(stack: ExitStack, owner: Any, name: str, new: object) -> None:
    """Replace an attribute until the stack unwinds."""
    stack.callback(setattr, owner, name, getattr(owner, name))
    setattr(owner, name, new)


class _Late:
    """What detection and landmarks take once a face is tracked."""

    def __init__(self, clock: StageClock) -> None:
        self._clock, self._before, self._frames = clock, 0.0, 0

    def watching(self, add: Callable[..., Any]) -> Callable[..., Any]:
        """``Tracker.add``, with the time of each frame noted."""

        def call(tracker: Tracker, picture: Frame, seconds: float, **more: Any) -> None:
            if seconds >= TRACKED:
                if not self._frames:
                    self._before = self._both()
                self._frames += 1
            add(tracker, picture, seconds, **more)

        return call

    def spent(self) -> float:
        """Milliseconds for each frame."""
        return 1000 * (self._both() - self._before) / self._frames if self._frames else 0.0

    def _both(self) -> float:
        return self._clock.seconds["search"] + self._clock.seconds["landmarks"]


class _Batches:
    def __init__(self, reader: Any, clock: StageClock) -> None:
        self._reader, self._clock = reader, clock

    def frames(self, start: int, stop: int) -> Iterator[Frame]:
        source = self._reader.frames(start, stop)
        while True:
            with self._clock.stage("decode"):
                batch = list(islice(source, _AHEAD))
            if not batch:
                return
            yield from batch
