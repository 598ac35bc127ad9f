"""How a swapped file does next to its original: is it still the clip, and is the face still alive?

Nothing of the run that made it is needed: faces are found anew in both files. Every figure stands next
to the same figure of the original, because clips shimmer and landmarks tremble without any swap.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vidswap.engines import needs_of
from vidswap.errors import MediaError, NoFaceError
from vidswap.faces.embed import Embedder, five_points, open_embedder
from vidswap.faces.expressions import canonical_shapes, expression_model
from vidswap.faces.facemesh import FaceMesh
from vidswap.faces.pose import PoseFit
from vidswap.faces.track import eight_bit
from vidswap.media.decode import open_reader
from vidswap.media.frame import Frame
from vidswap.media.probe import probe
from vidswap.metrics.motion import Fidelity, motion_fidelity
from vidswap.run.analysis import Analysis
from vidswap.run.compare_look import Look, Looker
from vidswap.run.inspect import around
from vidswap.run.job import check_input
from vidswap.run.passes import obtain
from vidswap.run.people import advised_face, check_photos
from vidswap.run.pick import pick
from vidswap.run.prepare import Target, open_target
from vidswap.run.request import Request
from vidswap.types import F32, U8, Box, Track, VideoInfo

LOOKS = 160
"""Frames of each track that are looked at, at most, each with the frame after it."""
APART = 1e-3
"""Seconds by which a frame's time may differ."""

LIMITS: Mapping[str, tuple[float, float]] = {
    "pose_degrees": (0, 1),
    "mouth_correlation": (0.95, np.inf),
    "mouth_amplitude": (0.9, np.inf),
    "eyes_correlation": (0.95, np.inf),
    "eyes_amplitude": (0.9, np.inf),
    "shimmer": (0, 1.2),
    "seam": (0.9, 1.1),
    "detail": (0.8, 1.2),
    "expression_leak": (0, 0.5),
}
"""What a good swap reaches, by figure."""


@dataclass(slots=True, eq=False)
class Seen:
    """Looks at one track."""

    looks: dict[int, Look] = field(default_factory=dict)
    """By frame."""
    changes: list[tuple[float, float]] = field(default_factory=list)
    lost: list[int] = field(default_factory=list)
    """Frames in which one of both files shows no face."""


def compare(request: Request, swapped: Path) -> dict[str, Any]:
    """Measure a swapped file against its original.

    Args:
        request: The original, with the range that was swapped, and photos of the source if there are any.
        swapped: The file that was made from it.

    Returns:
        Figures of every track, ready for JSON.

    Raises:
        MediaError: A file cannot be read, or both are not the same clip.
        NoFaceError: The original shows no face.
    """
    check_input(swapped)
    check_photos(request.sources)
    target = open_target(request)
    other = probe(swapped)
    check_same(target, other)
    analysis = obtain(request, target, needs_of(request.recipe.engine))
    if not analysis.tracks:
        raise NoFaceError("no face in it", path=request.input, stage="compare")
    embedder = open_embedder()
    source = _source(request, embedder)
    with closing(Looker(embedder)) as looker:
        seen = _look(request, target, other, analysis, looker)
        tracks = [_figures(track, seen[track.id], looker.mesh, source) for track in analysis.tracks]
    return {
        "input": str(request.input),
        "swapped": str(swapped),
        "frames": target.stop - target.start,
        "tracks": tracks,
        "limits": {
            k: [low, high if np.isfinite(high) else None] for k, (low, high) in LIMITS.items()
        },
    }


def check_same(target: Target, other: VideoInfo) -> None:
    """Refuse two files that are not frame by frame the same clip.

    Raises:
        MediaError: Naming what differs.
    """
    info, count = target.info, target.stop - target.start
    size, wanted = (f"{i.width}x{i.height}" for i in (other, info))
    if size != wanted:
        raise MediaError(f"has {size} pixels, expected {wanted}", path=other.path, stage="compare")
    if other.frames != count:
        hint = "give the range that was swapped with --start and --end"
        message = f"has {other.frames} frames, expected {count}"
        raise MediaError(message, path=other.path, stage="compare", hint=hint)
    for index in range(count):
        there = other.seconds(index) - other.seconds(0)
        here = info.seconds(target.start + index) - info.seconds(target.start)
        if abs(there - here) > APART:
            message = f"shows frame {index} at {there:.3f} s, expected {here:.3f} s"
            raise MediaError(message, path=other.path, stage="compare")


def _source(request: Request, embedder: Embedder | None) -> F32 | None:
    """(512,) the photos' identity, where there are photos and an embedder."""
    if embedder is None or not request.sources:
        return None
    faces = [advised_face(photo, request) for photo in request.sources]
    mean = np.mean([embedder.embed(f.rgb, five_points(f.mesh)) for f in faces], 0)
    return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-9), np.float32)


def _look(
    request: Request,
    target: Target,
    other: VideoInfo,
    analysis: Analysis,
    looker: Looker,
) -> dict[int, Seen]:
    """One pass over both files."""
    tracks = analysis.tracks
    wanted = {t.id: places(t) for t in tracks}
    indices = {i + k for places_ in wanted.values() for i in places_ for k in (0, 1)}
    indices = {i for i in indices if i < target.stop}
    seen = {t.id: Seen() for t in tracks}
    before: tuple[Frame, Frame] | None = None
    for done, pair in enumerate(_pairs(request, target, other, sorted(indices))):
        request.watch.progress("compare", done + 1, len(indices))
        for track in tracks:
            index = pair[0].index
            if before is not None and index - 1 in wanted[track.id] and index < track.stop:
                _follow(track, seen[track.id], looker, before, pair)
            if index in wanted[track.id]:
                mesh = analysis.meshes(track, index, index + 1)[0]
                _add(track, seen[track.id], looker, pair, mesh)
        before = pair
    return seen


def places(track: Track) -> frozenset[int]:
    """Frames of a track that are looked at, evenly over its length."""
    count = min(track.frames, LOOKS)
    return frozenset(int(i) for i in np.linspace(track.start, track.stop - 1, count))


def _pairs(
    request: Request, target: Target, other: VideoInfo, indices: Sequence[int]
) -> Iterator[tuple[Frame, Frame]]:
    with ExitStack() as stack:
        ours, theirs = (
            stack.enter_context(open_reader(info, request.recipe.decode))
            for info in (target.info, other)
        )
        moved = [i - target.start for i in indices]
        yield from zip(pick(ours, indices), pick(theirs, moved), strict=True)


def _cut(track: Track, index: int, pair: tuple[Frame, Frame]) -> tuple[Box, tuple[U8, U8]]:
    box = around(track, index).clip(pair[0].width, pair[0].height)
    first, second = (eight_bit(frame.rgb(box)) for frame in pair)
    return box, (first, second)


def _add(track: Track, seen: Seen, looker: Looker, pair: tuple[Frame, Frame], mesh: F32) -> None:
    index = pair[0].index
    box, pictures = _cut(track, index, pair)
    found = looker.look(pictures, mesh - np.array([box.left, box.top, 0], np.float32))
    if found is None:
        seen.lost.append(index)
    else:
        seen.looks[index] = found


def _follow(
    track: Track, seen: Seen, looker: Looker, before: tuple[Frame, Frame], pair: tuple[Frame, Frame]
) -> None:
    """What changes from one frame to the next."""
    index = before[0].index
    if index != pair[0].index - 1 or index not in seen.looks:
        return
    box, first = _cut(track, index, before)
    own, new = (eight_bit(frame.rgb(box)) for frame in pair)
    seen.changes.append(looker.change(first, (own, new), seen.looks[index].meshes[0]))


def _figures(track: Track, seen: Seen, mesh: FaceMesh, source: F32 | None) -> dict[str, Any]:
    """A track's figures by name, the same names for every track; None where they cannot be known."""
    row: dict[str, Any] = {
        "index": track.id, "start": track.start, "stop": track.stop,
        "looks": len(seen.looks), "lost": seen.lost,
    }  # fmt: skip
    figures = _measure(seen, mesh) if seen.looks else dict.fromkeys(LIMITS, np.nan)
    figures |= _identity(list(seen.looks.values()), source)
    known = {k: round(float(v), 4) if np.isfinite(v) else None for k, v in figures.items()}
    return {**row, **known, "beyond": [k for k, v in known.items() if beyond(k, v)]}


def _measure(seen: Seen, mesh: FaceMesh) -> dict[str, float]:
    """Those figures that have a limit."""
    looks = list(seen.looks.values())
    before, after = (np.stack([look.meshes[k] for look in looks]) for k in (0, 1))
    pose = PoseFit(mesh)
    turned = np.abs(pose.angles(after) - pose.angles(before))
    motion = motion_fidelity(after, before)
    shapes = [canonical_shapes(m, mesh) for m in (before, after)]
    return {
        "pose_degrees": float(turned.mean()),
        **_named("mouth", motion.jaw),
        **_named("eyes", motion.eyes),
        "shimmer": _ratio([c for c in seen.changes if np.isfinite(c).all()]),
        "seam": _ratio([look.edges for look in looks]),
        "detail": _ratio([look.details for look in looks]),
        "expression_leak": expression_model().leak(*shapes),
    }


def beyond(name: str, value: float | None) -> bool:
    """Whether a figure is known and not what a good swap reaches."""
    if value is None or name not in LIMITS:
        return False
    low, high = LIMITS[name]
    return not low <= value <= high


def _named(name: str, fidelity: Fidelity) -> dict[str, float]:
    return {
        f"{name}_correlation": fidelity.correlation,
        f"{name}_amplitude": fidelity.amplitude,
    }


def _ratio(pairs: Sequence[tuple[float, float]]) -> float:
    own, new = np.sum(pairs, 0) if pairs else (0.0, 0.0)
    return float(new / own) if own > 0 else float("nan")


def _identity(looks: Sequence[Look], source: F32 | None) -> dict[str, float]:
    """Mean cosine of the swap to the source, and the share of frames nearer to it than to the original."""
    if source is None:
        return {}
    vectors = [look.vectors for look in looks if look.vectors is not None]
    if not vectors:
        return {"identity": np.nan, "nearer": np.nan}
    own, new = (np.stack([v[k] for v in vectors]) for k in (0, 1))
    like, unlike = new @ source, (new * own).sum(1)
    return {"identity": float(like.mean()), "nearer": float((like > unlike).mean())}
