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
        One figure for each of ``STAGES``.
    """
    clock = StageClock()

    @contextmanager
    def batched(info: VideoInfo, options: DecodeOptions) -> Iterator[Any]:
        with open_reader(info, options) as reader:
            yield _Batches(reader, clock)

    with ExitStack() as stack:
        _put(stack, one_span, "open_reader", batched)
        for owner, method, stage in _POINTS:
            _put(stack, owner, method, clock.timed(getattr(owner, method), stage))
        with clock.stage("other"):
            pass_one.analyse(info, recipe, folder, needs, (0, frames))
    return {name: 1000 * spent / frames for name, spent in clock.seconds.items()}


def _put(stack: ExitStack, owner: Any, name: str, new: object) -> None:
    """Replace an attribute until the stack unwinds."""
    stack.callback(setattr, owner, name, getattr(owner, name))
    setattr(owner, name, new)


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
