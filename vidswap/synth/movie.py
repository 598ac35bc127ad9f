"""A drawn clip as a file with sound, and its truth beside it."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from uuid import uuid4

import numpy as np
from PIL import Image

from vidswap.errors import MediaError, StateError
from vidswap.media.pictures import write_pictures
from vidswap.synth.clip import Clip
from vidswap.synth.params import slices
from vidswap.synth.render import render
from vidswap.synth.sample import portrait, sample
from vidswap.types import U8

Progress = Callable[[str, int, int], None]
CHUNK = 8
"""Frames that a process draws at a time."""


def write_movie(
    clip: Clip, path: Path, *, jobs: int = 1, progress: Progress, overwrite: bool = False
) -> Path:
    """Encode a clip with its voice, and write ``<stem>.truth.npz`` beside it.

    The truth holds ``params`` (T, people, P) in [0, 1], ``pose`` (T, people, 3) in degrees, ``mesh``
    (T, people, 478, 3) in pixels, ``cuts`` and ``names``.

    Args:
        clip: What to draw; sides must be even.
        path: Target; the container follows its suffix.
        jobs: Processes that draw; the file does not depend on it.
        progress: Called with the stage, frames done and frames in all.
        overwrite: Replace existing files.

    Returns:
        Path of the truth.

    Raises:
        StateError: A file is in the way.
        MediaError: The clip cannot be written, or a side is odd.
    """
    truth = path.with_name(f"{path.stem}.truth.npz")
    for target in (path, truth):
        if target.exists() and not overwrite:
            raise StateError(
                "exists already", path=target, stage="synth", hint="add --overwrite to replace it"
            )
    if clip.width % 2 or clip.height % 2:
        raise MediaError(
            f"expected even sides, got {clip.width}x{clip.height}", path=path, stage="synth"
        )
    meshes: list[np.ndarray] = []  # type: ignore[type-arg]
    part = path.with_name(f".{path.stem}.{uuid4().hex[:8]}.part{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_pictures(
            part, _drawn(clip, jobs, meshes, progress), clip.rate, options={"crf": "14"},
            sound=clip.voice(),
        )  # fmt: skip
        _write_truth(clip, np.stack(meshes), truth)
        part.replace(path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise MediaError(f"cannot be written: {reason}", path=path, stage="synth") from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
    return truth


def _some(clip: Clip, first: int) -> list[tuple[U8, np.ndarray]]:  # type: ignore[type-arg]
    drawn = (clip.frame(i) for i in range(first, min(first + CHUNK, len(clip))))
    return [(d.rgb, np.stack([f.mesh for f in d.faces])) for d in drawn]


def _drawn(clip: Clip, jobs: int, meshes: list[np.ndarray], progress: Progress) -> Iterator[U8]:  # type: ignore[type-arg]
    starts = range(0, len(clip), CHUNK)
    draw = partial(_some, clip)
    if jobs <= 1 or len(starts) == 1:
        yield from _told(map(draw, starts), len(clip), meshes, progress)
        return
    with ProcessPoolExecutor(min(jobs, len(starts)), get_context("spawn")) as pool:
        yield from _told(pool.map(draw, starts), len(clip), meshes, progress)


def _told(
    parts: Iterator[list[tuple[U8, np.ndarray]]],  # type: ignore[type-arg]
    total: int,
    meshes: list[np.ndarray],  # type: ignore[type-arg]
    progress: Progress,
) -> Iterator[U8]:
    progress("draw", 0, total)
    for part in parts:
        for rgb, mesh in part:
            meshes.append(mesh)
            yield rgb
        progress("draw", len(meshes), total)


def _write_truth(clip: Clip, meshes: np.ndarray, path: Path) -> None:  # type: ignore[type-arg]
    poses = [[(h.pose.yaw, h.pose.pitch, h.pose.roll) for h in heads] for heads in clip.params]
    part = path.with_name(f".{path.name}.{uuid4().hex[:8]}.part")
    try:
        with part.open("wb") as file:
            np.savez_compressed(
                file,
                params=np.array([[h.vector() for h in heads] for heads in clip.params]),
                pose=np.array(poses, np.float32),
                mesh=meshes.astype(np.float32),
                cuts=np.array(clip.cuts, np.int64),
                names=np.array(clip.params[0][0].names()),
                groups=json.dumps({n: [s.start, s.stop] for n, s in slices().items()}),
                rate=str(clip.rate),
            )
        part.replace(path)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def write_portrait(seed: int, path: Path, *, size: int = 512, overwrite: bool = False) -> None:
    """A frontal photograph of a person, evenly lit, as a PNG: the source of a swap.

    Args:
        seed: Of the person, as in :func:`vidswap.synth.sample.sample`.
        path: Target.
        size: Side, pixels.
        overwrite: Replace an existing file.

    Raises:
        StateError: The file exists.
        MediaError: It cannot be written.
    """
    if path.exists() and not overwrite:
        raise StateError(
            "exists already", path=path, stage="synth", hint="add --overwrite to replace it"
        )
    head = portrait(sample(seed))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(render(head, size).rgb).save(path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise MediaError(f"cannot be written: {reason}", path=path, stage="synth") from error
