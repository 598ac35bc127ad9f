"""Pass one: one look at every frame, in order, then everything that couples frames.

Frames stream through cut detection and tracking; what a track needs is spooled to disk as it grows
and smoothed when it ends, in windows. Memory does not grow with the clip.
"""

from collections import deque
from collections.abc import Callable
from contextlib import ExitStack, closing
from itertools import pairwise
from pathlib import Path

from vidswap.errors import StateError, VidswapError
from vidswap.faces.detect import open_detector
from vidswap.faces.embed import open_embedder
from vidswap.faces.landmarks import Landmarker
from vidswap.faces.shots import SIDE, ShotSplitter
from vidswap.faces.track import Tracker
from vidswap.media.decode import open_reader
from vidswap.media.frame import Frame
from vidswap.recipe import Recipe
from vidswap.run.analysis import Analysis, analysis_key
from vidswap.run.collect import TrackWriter
from vidswap.run.store import Store
from vidswap.types import Need, Shot, VideoInfo

Progress = Callable[[int, int], None]
"""Called with the frames done and the frames in all."""


def analyse(
    info: VideoInfo,
    recipe: Recipe,
    folder: Path,
    needs: frozenset[Need],
    frames: tuple[int, int] | None = None,
    progress: Progress | None = None,
) -> Analysis:
    """Find, follow and smooth every face of a clip, and store what engines need.

    A clip without any face gives an analysis without tracks. An analysis that is in the folder is
    replaced once the new one is whole; a crash or an interrupt leaves the old one.

    Args:
        info: The clip's index.
        recipe: Its ``decode``, ``shots``, ``detect``, ``track`` and ``smooth`` parts are read.
        folder: Where the analysis is stored; made if it does not exist.
        needs: What the engine asks for.
        frames: Range of frames, the whole clip for None.
        progress: Told after every frame.

    Raises:
        WeightsError: No detector is installed.
        MediaError: A frame cannot be read.
        StateError: The folder cannot be written to.
    """
    start, stop = frames or (0, info.frames)
    key = analysis_key(info, recipe, needs, (start, stop))
    try:
        with Store(folder) as store:
            writer = TrackWriter(store.data, info, recipe, needs, open_embedder())
            shots = _stream(info, recipe, (start, stop), writer, progress)
            store.commit(info, key, (start, stop), shots, writer.tracks())
    except OSError as error:
        if isinstance(error, VidswapError):
            raise
        message = f"cannot store the analysis: {error.strerror or error}"
        raise StateError(message, path=folder, stage="analyse") from error
    return Analysis(folder)


def _stream(
    info: VideoInfo,
    recipe: Recipe,
    frames: tuple[int, int],
    writer: TrackWriter,
    progress: Progress | None,
) -> tuple[Shot, ...]:
    """Send every frame through cut detection and tracking; returns the shots."""
    start, stop = frames
    cuts: list[int] = []
    with ExitStack() as stack:
        detector = stack.enter_context(closing(open_detector(recipe.detect)))
        landmarker = stack.enter_context(closing(Landmarker()))
        tracker = Tracker(detector, landmarker, recipe.track, recipe.detect, writer)
        splitter = ShotSplitter(recipe.shots)
        reader = stack.enter_context(open_reader(info, recipe.decode))
        waiting: deque[Frame] = deque()

        def take(verdicts: list[bool]) -> None:
            for starts in verdicts:
                frame = waiting.popleft()
                if starts:
                    cuts.append(frame.index)
                    writer.shot_starts(frame.index)
                tracker.add(frame, info.seconds(frame.index), starts_shot=starts)
                if progress:
                    progress(frame.index + 1 - start, stop - start)

        for frame in reader.frames(start, stop):
            waiting.append(frame)
            take(splitter.add(frame.luma(SIDE)))
        take(splitter.flush())
        writer.shot_starts(stop)
        tracker.finish()
    edges = [*cuts, stop]
    return tuple(Shot(a, b) for a, b in pairwise(edges))
