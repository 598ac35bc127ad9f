"""Latent codes of the tracks that are swapped: the last part of pass one, on its own.

Frames of chosen tracks are decoded once more, cropped with windows that are smooth in time, encoded,
and the codes smoothed. What is done is kept in the work folder beside the analysis and never made
again for the same encoder and recipe; an interrupted run goes on where it stopped. Frames that repeat
a picture have its code: encoded and smoothed are the distinct pictures only, as the analysis does it.
"""

import hashlib
import json
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np

from vidswap.engines import SwapEngine
from vidswap.engines.crops import quad_of, tones
from vidswap.errors import ShapeError
from vidswap.faces.repeats import pictures
from vidswap.faces.track import eight_bit
from vidswap.media.decode import open_reader
from vidswap.media.frame import Frame
from vidswap.ops import ffhq
from vidswap.ops.ffhq import Window
from vidswap.run.analysis import Analysis
from vidswap.run.job import writing
from vidswap.run.latents_smooth import (
    SPAN,
    fine_layer,
    following_light,
    held,
    measures,
    smoothed_codes,
    smoothed_colours,
    steady,
)
from vidswap.run.latents_store import LatentStore
from vidswap.run.lock import locked
from vidswap.run.pick import pick
from vidswap.run.prepare import Target
from vidswap.run.request import Request
from vidswap.types import F32, F64, I64, U8, Box, Track

if TYPE_CHECKING:  # torch, which the mesh engine does without
    from vidswap.engines.latentswap.inversion import Inversion
    from vidswap.latents.cost import Cost

FOLDER = "latents"
TUNED = "generator.safetensors"
"""Ending of the file that holds a track's own generator."""
BATCH = 8
"""Crops encoded at once, from any tracks."""
CHECKPOINT = 64
"""Frames after which what was encoded is made to last."""
GREY = 128
"""What a crop shows that lies wholly outside the frame; its code counts nothing."""


class LatentEngine(Protocol):
    """What this stage asks of an engine that needs latents."""

    inversion: "Inversion"

    @property
    def size(self) -> int:
        """Side of the crops that are generated, pixels."""
        ...

    def encode(self, pictures: U8, /) -> F32:
        """(B, S, S, 3) → (B, L, D)."""
        ...


@dataclass(slots=True, eq=False)
class _Wanted:
    """A track whose codes are to be made."""

    track: Track
    matrices: F64
    """(T, 2, 3) frame pixels → unit square."""
    moves: F64
    """(n, k) of each picture."""
    first: I64
    """(n,) row of the first frame of each distinct picture."""
    shown: I64
    """(T,) picture that each frame shows."""
    rows: int
    """Pictures whose codes are there already."""

    @property
    def next(self) -> int:
        """First frame whose code is missing."""
        track = self.track
        return track.start + int(self.first[self.rows]) if self.missing else track.stop

    @property
    def missing(self) -> int:
        """Pictures without a code."""
        return len(self.first) - self.rows

    def repeats(self, index: int) -> bool:
        """Whether a frame shows the picture of the frame before."""
        row = index - self.track.start
        return int(self.first[self.shown[row]]) != row


def prepare_latents(
    request: Request,
    target: Target,
    analysis: Analysis,
    engine: SwapEngine,
    chosen: Iterable[int] | None = None,
) -> None:
    """Give an analysis the rows that a latent engine asks for; does nothing for other engines.

    Args:
        request: Recipe and watch.
        target: The clip.
        analysis: Gets the rows ``latents`` (L, D), ``window`` (2, 3) and ``tones`` (2, 3).
        engine: Encodes.
        chosen: Ids of the tracks; None is all of them.

    Raises:
        MediaError: A frame cannot be read, or the disk is full.
        StateError: Another run is writing to the work folder, or the clip has changed.
        WeightsError: The encoder is damaged.
    """
    if "latents" not in engine.needs:
        return
    encoder = cast("LatentEngine", engine)
    ids = {track.id for track in analysis.tracks} if chosen is None else set(chosen)
    wanted = [track for track in analysis.tracks if track.id in ids]
    folder = target.work / FOLDER
    store, missing = _look(folder, analysis, encoder, wanted)
    if missing:
        with writing(folder), locked(target.work):
            # Only now nobody else writes here; another run may have made some of them meanwhile.
            store, missing = _look(folder, analysis, encoder, wanted)
            if missing:
                stage = _Stage(request, target, analysis, encoder, store)
                stage.encode([track for track in missing if store.files(track.id) is None])
                stage.tune([t for t in wanted if not _tuned(store, encoder, t)])
    for track in wanted:
        path = store.beside(track.id, TUNED)
        static = {"generator": np.array(str(path))} if encoder.inversion.tunes else {}
        analysis.attach(track, store.files(track.id) or {}, static)


def _look(
    folder: Path, analysis: Analysis, engine: LatentEngine, wanted: Sequence[Track]
) -> tuple[LatentStore, list[Track]]:
    """What is there, and the tracks that still lack something."""
    store = LatentStore(folder, latent_key(analysis, engine))
    missing = [t for t in wanted if store.files(t.id) is None or not _tuned(store, engine, t)]
    return store, missing


def _tuned(store: LatentStore, engine: LatentEngine, track: Track) -> bool:
    return not engine.inversion.tunes or store.beside(track.id, TUNED).is_file()


def latent_key(analysis: Analysis, engine: LatentEngine) -> str:
    """Digest of everything that codes depend on: the analysis, the encoder and how it reads."""
    parts = {
        "analysis": dict(analysis.key),
        "codes": engine.inversion.digest,
        "size": engine.inversion.input_size,
        "fine": fine_layer(engine.size),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


class _Stage:
    """One pass over what is missing."""

    def __init__(
        self,
        request: Request,
        target: Target,
        analysis: Analysis,
        engine: LatentEngine,
        store: LatentStore,
    ) -> None:
        self._request, self._target, self._analysis = request, target, analysis
        self._engine, self._store, self._options = engine, store, request.recipe.smooth

    def encode(self, tracks: Sequence[Track]) -> None:
        """Make and smooth the codes of tracks."""
        store, fine = self._store, fine_layer(self._engine.size)
        store.begin(track.id for track in tracks)
        jobs = [self._begin(track, store.rows(track.id)) for track in tracks]
        try:
            self._encode_frames(jobs)
            for job in jobs:
                store.finish(job.track.id, self._finished(job, fine))
        finally:
            store.close()

    def tune(self, tracks: Sequence[Track]) -> None:
        """Bend the generator to each of some tracks, whose codes are there."""
        for track in tracks:
            rows = self._store.files(track.id)
            if rows is not None and self._engine.inversion.tunes:
                self._tune(track, rows["latents"][0 : track.frames])

    def _tune(self, track: Track, codes: F32) -> None:
        job = self._begin(track, 0)

        def crops(rows: I64) -> U8:
            with open_reader(self._target.info, self._request.recipe.decode) as reader:
                frames = pick(reader, (rows + track.start).tolist())
                found = [_crop(f, job, self._analysis, self._engine.size)[0] for f in frames]
            return np.stack(found)

        def announce(cost: "Cost") -> None:
            self._note(f"track {track.id}", cost)

        trust = np.where(track.seen, track.confidence, 0.0).astype(np.float64)
        target = self._store.beside(track.id, TUNED)
        watch = self._request.watch.progress
        self._engine.inversion.tune(codes, crops, trust, target, watch, announce)

    def _note(self, what: str, cost: "Cost") -> None:
        self._request.watch.note(f"{what}: {cost}")

    def _begin(self, track: Track, rows: int) -> _Wanted:
        def meshes(start: int, stop: int) -> F32:
            return self._analysis.meshes(track, track.start + start, track.start + stop)

        windows, moves = measures(meshes, track.frames)
        first, shown = pictures(held(track.pose))
        seen = np.asarray(track.seen, np.float64)[first]
        windows = Window(*(part[first] for part in windows))
        matrices = steady(windows, self._seconds(track, first), seen, self._options)
        return _Wanted(track, matrices[shown], moves[first], first, shown, rows)

    def _seconds(self, track: Track, rows: I64) -> F64:
        return np.array([self._target.info.seconds(i) for i in (rows + track.start).tolist()])

    def _encode_frames(self, jobs: Sequence[_Wanted]) -> None:
        """Decode what is missing, in order, and append codes and colours track by track."""
        needed = _ranges([(j.next, j.track.stop) for j in jobs])
        total, done = sum(b - a for a, b in needed), 0
        size, waiting = self._engine.inversion.input_size, _Waiting(self._engine, self._store)
        faces = sum(job.missing for job in jobs)
        coming, active = deque(sorted(jobs, key=lambda job: job.next)), list[_Wanted]()
        with open_reader(self._target.info, self._request.recipe.decode) as reader:
            for frame in chain.from_iterable(reader.frames(a, b) for a, b in needed):
                while coming and coming[0].next <= frame.index:
                    active.append(coming.popleft())
                active = [job for job in active if frame.index < job.track.stop]
                for job in active:
                    if job.repeats(frame.index):
                        continue
                    crop, colours = _crop(frame, job, self._analysis, size)
                    if not done and (cost := self._engine.inversion.cost(crop, faces)):
                        self._note("codes", cost)
                    waiting.add(job, crop, colours)
                done += 1
                if done % CHECKPOINT == 0:
                    self._checkpoint(waiting)
                self._request.watch.progress("latents", done, total)
        self._checkpoint(waiting)

    def _checkpoint(self, waiting: "_Waiting") -> None:
        waiting.flush()
        self._target.guard.check()  # codes of another clip must not outlive this run
        self._store.checkpoint()

    def _finished(self, job: _Wanted, fine: int) -> Iterator[dict[str, Any]]:
        """Final rows of a track, in blocks."""
        raw, track, shown = self._store.raw(job.track.id), job.track, job.shown
        codes, colours = raw["codes"], raw["colours"][0 : len(job.first)]
        seconds, options = self._seconds(track, job.first), self._options
        trust = np.where(track.seen, track.confidence, 0.0)[job.first]
        trust = np.where(colours.any((1, 2)), trust, 0.0).astype(np.float64)
        options = following_light(options, colours, trust)
        skin = smoothed_colours(colours, trust, seconds, options)
        first = 0
        for block in smoothed_codes(
            lambda a, b: codes[a:b], job.moves, trust, seconds, options, fine
        ):
            low, high = np.searchsorted(shown, (first, first + len(block))).tolist()
            # Held pictures make many frames of a block.
            for start in range(low, high, SPAN):
                part = slice(start, min(start + SPAN, high))
                latents = block[shown[part] - first]
                yield {"latents": latents, "window": job.matrices[part], "tones": skin[shown[part]]}
            first += len(block)


class _Waiting:
    """Crops that are not encoded yet; codes are stored in the order the crops came."""

    def __init__(self, engine: LatentEngine, store: LatentStore) -> None:
        self._engine, self._store = engine, store
        self._crops: list[U8] = []
        self._rows: list[tuple[int, F32]] = []

    def add(self, job: _Wanted, crop: U8, colours: F32) -> None:
        self._crops.append(crop)
        self._rows.append((job.track.id, colours))
        if len(self._crops) >= BATCH:
            self.flush()

    def flush(self) -> None:
        if not self._crops:
            return
        codes = self._engine.encode(np.stack(self._crops))
        for code, (track, colours) in zip(codes, self._rows, strict=True):
            self._store.append(track, {"codes": code[None], "colours": colours[None]})
        self._crops.clear()
        self._rows.clear()


def _crop(frame: Frame, job: _Wanted, analysis: Analysis, size: int) -> tuple[U8, F32]:
    """The face's crop and its colours, which are zeros where the face is outside the frame."""
    matrix = job.matrices[frame.index - job.track.start]
    quad = quad_of(matrix)
    side = float(np.hypot(*(quad[3] - quad[0])))
    # As much around the window as the published crop looks at, so that a part gives what the whole would.
    low = np.floor(quad.min(0)).astype(int) - int(np.rint(side * 0.1)) - 3
    high = np.ceil(quad.max(0)).astype(int) + int(np.rint(side * 0.1)) + 4
    box = Box(*low.tolist(), *high.tolist()).clip(frame.width, frame.height)
    try:
        if min(box.width, box.height) < 8:
            raise ShapeError("window: outside the frame")
        picture = eight_bit(frame.rgb(box))
        crop = ffhq.crop(picture, quad - (box.left, box.top), ffhq.CropOptions(size))
    except ShapeError:
        return np.full((size, size, 3), GREY, np.uint8), np.zeros((2, 3), np.float32)
    mesh = analysis.meshes(job.track, frame.index, frame.index + 1)[0, :, :2]
    offset = np.array([box.left, box.top], np.float64)
    within = np.concatenate([matrix[:, :2], (matrix[:, :2] @ offset + matrix[:, 2])[:, None]], 1)
    return crop, tones(picture, mesh - offset, within) / np.float32(255)


def _ranges(parts: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The union of half-open ranges, in order."""
    merged: list[tuple[int, int]] = []
    for start, stop in sorted(p for p in parts if p[0] < p[1]):
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(stop, merged[-1][1])
        else:
            merged.append((start, stop))
    return merged
