"""Latent codes of the tracks that are swapped: the last part of pass one, on its own.

Frames of chosen tracks are decoded once more, cropped with windows that are smooth in time, encoded,
and the codes smoothed. What is done is kept in the work folder beside the analysis and never made
again for the same encoder and recipe; an interrupted run goes on where it stopped.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np

from vidswap.engines import SwapEngine
from vidswap.engines.crops import quad_of, tones
from vidswap.errors import ShapeError
from vidswap.faces.track import eight_bit
from vidswap.media.decode import Reader, open_reader
from vidswap.media.frame import Frame
from vidswap.ops import ffhq
from vidswap.recipe import SmoothOptions
from vidswap.run.analysis import Analysis
from vidswap.run.job import writing
from vidswap.run.latents_smooth import (
    fine_layer,
    following_light,
    measures,
    smoothed_codes,
    smoothed_colours,
    steady,
)
from vidswap.run.latents_store import LatentStore
from vidswap.run.lock import locked
from vidswap.run.prepare import Target
from vidswap.run.request import Request
from vidswap.types import F32, F64, U8, Box, Track

FOLDER = "latents"
BATCH = 8
"""Crops encoded at once, from any tracks."""
CHECKPOINT = 64
"""Frames after which what was encoded is made to last."""
GREY = 128
"""What a crop shows that lies wholly outside the frame; its code counts nothing."""


@runtime_checkable
class LatentEngine(Protocol):
    """What this stage asks of an engine that needs latents."""

    input_size: int
    size: int
    encoder_digest: str

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
    """(T, k)"""
    next: int
    """First frame whose code is missing."""


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
        StateError: Another run is writing to the work folder.
        WeightsError: The encoder is damaged.
    """
    if "latents" not in engine.needs:
        return
    encoder = cast("LatentEngine", engine)
    ids = {track.id for track in analysis.tracks} if chosen is None else set(chosen)
    wanted = [track for track in analysis.tracks if track.id in ids]
    folder = target.work / FOLDER
    store = LatentStore(folder, latent_key(analysis, encoder))
    missing = [track for track in wanted if store.files(track.id) is None]
    if missing:
        with writing(folder), locked(target.work):
            # Only now nobody else writes here; another run may have made some of them meanwhile.
            store = LatentStore(folder, latent_key(analysis, encoder))
            missing = [track for track in wanted if store.files(track.id) is None]
            if missing:
                _make(request, target, analysis, encoder, store, missing)
    for track in wanted:
        analysis.attach(track, store.files(track.id) or {})


def latent_key(analysis: Analysis, engine: LatentEngine) -> str:
    """Digest of everything that codes depend on: the analysis, the encoder and how it reads."""
    parts = {
        "analysis": dict(analysis.key),
        "encoder": engine.encoder_digest,
        "size": engine.input_size,
        "fine": fine_layer(engine.size),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def _make(
    request: Request,
    target: Target,
    analysis: Analysis,
    engine: LatentEngine,
    store: LatentStore,
    tracks: Sequence[Track],
) -> None:
    options = request.recipe.smooth
    store.begin(track.id for track in tracks)
    jobs = {t.id: _begin(t, target, analysis, options, store.rows(t.id)) for t in tracks}
    try:
        with open_reader(target.info, request.recipe.decode) as reader:
            _encode_frames(request, reader, analysis, engine, store, jobs)
        for job in jobs.values():
            store.finish(
                job.track.id, _finished(job, target, store, options, fine_layer(engine.size))
            )
    finally:
        store.close()


def _begin(
    track: Track, target: Target, analysis: Analysis, options: SmoothOptions, rows: int
) -> _Wanted:
    def meshes(start: int, stop: int) -> F32:
        return analysis.meshes(track, track.start + start, track.start + stop)

    windows, moves = measures(meshes, track.frames)
    matrices = steady(windows, _seconds(track, target), np.asarray(track.seen, float), options)
    return _Wanted(track, matrices, moves, track.start + rows)


def _seconds(track: Track, target: Target) -> F64:
    return np.array([target.info.seconds(i) for i in range(track.start, track.stop)])


def _encode_frames(
    request: Request,
    reader: Reader,
    analysis: Analysis,
    engine: LatentEngine,
    store: LatentStore,
    jobs: Mapping[int, _Wanted],
) -> None:
    """Decode what is missing, in order, and append codes and colours track by track."""
    needed = _ranges([(j.next, j.track.stop) for j in jobs.values()])
    total, done, waiting = sum(b - a for a, b in needed), 0, _Waiting(engine, store)
    for start, stop in needed:
        for frame in reader.frames(start, stop):
            for job in jobs.values():
                if job.next <= frame.index < job.track.stop:
                    waiting.add(job, *_crop(frame, job, analysis, engine.input_size))
            done += 1
            if done % CHECKPOINT == 0:
                waiting.flush()
                store.checkpoint()
            request.watch.progress("latents", done, total)
    waiting.flush()
    store.checkpoint()


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


def _finished(
    job: _Wanted, target: Target, store: LatentStore, options: SmoothOptions, fine: int
) -> Iterator[dict[str, Any]]:
    """Final rows of a track, in blocks."""
    raw, track = store.raw(job.track.id), job.track
    colours = raw["colours"][0 : track.frames]
    seconds = _seconds(track, target)
    trust = np.where(track.seen & colours.any((1, 2)), track.confidence, 0.0).astype(np.float64)
    options = following_light(options, colours, trust)
    skin = smoothed_colours(colours, trust, seconds, options)
    windows, start = job.matrices, 0
    codes = raw["codes"]
    for block in smoothed_codes(lambda a, b: codes[a:b], job.moves, trust, seconds, options, fine):
        part = slice(start, start + len(block))
        yield {"latents": block, "window": windows[part], "tones": skin[part]}
        start = part.stop


def _ranges(parts: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The union of half-open ranges, in order."""
    merged: list[tuple[int, int]] = []
    for start, stop in sorted(p for p in parts if p[0] < p[1]):
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(stop, merged[-1][1])
        else:
            merged.append((start, stop))
    return merged
