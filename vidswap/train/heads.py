"""Procedural heads as training data: drawn once, kept in the training's folder.

Every person appears in several pictures that differ in everything but identity, so that the same data
serve the generator, the embedder, the parser and the landmark model.
"""

import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from vidswap.errors import RecipeError, StateError
from vidswap.train.options import DataOptions
from vidswap.types import F32, U8

VIEWS = 4
"""Pictures of one person."""
HELD_OUT = 1_000_000
"""People from this number on are for evaluation and never trained on."""
CHUNK = 200
# The mesh vertices at the places of the 68-point scheme.
LANDMARKS = (
    162, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 389, 71, 63, 105,
    66, 107, 336, 296, 334, 293, 301, 168, 197, 5, 4, 75, 97, 2, 326, 305, 33, 160, 158, 133, 153,
    144, 362, 385, 387, 263, 373, 380, 61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181, 78, 82,
    13, 312, 308, 317, 14, 87,
)  # fmt: skip


class Heads(NamedTuple):
    """Pictures of heads and what is known of each, N rows."""

    pictures: U8
    """(N, S, S, 3) FFHQ-aligned."""
    parameters: F32
    """(N, P) in [0, 1]: ``HeadParams.vector()``."""
    labels: U8
    """(N, S, S) the 12 classes of E4S."""
    landmarks: F32
    """(N, 68, 2) pixels."""
    identity: NDArray[np.int64]
    """(N,) number of the person."""


def draw(people: range, views: int, size: int) -> Heads:
    """Draw several pictures of each person.

    Args:
        people: Numbers of the people; equal numbers make equal pictures on every machine.
        views: Pictures of each.
        size: Side of the pictures, pixels.
    """
    # Compiled code is loaded with it: only where heads are drawn.
    from vidswap.synth.render import render
    from vidswap.synth.sample import identity, view

    heads = [view(who * views + k, identity(who)) for who in people for k in range(views)]
    drawn = [render(head, size, aligned=True) for head in heads]
    return Heads(
        np.stack([d.rgb for d in drawn]),
        np.stack([head.vector() for head in heads]),
        np.stack([d.labels for d in drawn]),
        np.stack([d.mesh[list(LANDMARKS), :2] for d in drawn]).astype(np.float32),
        np.repeat(np.array(people, np.int64), views),
    )


def synthetic(options: DataOptions, cache: Path) -> dict[str, NDArray[Any]]:
    """Arrays of procedural heads, drawn on all cores the first time.

    Args:
        options: ``count``, ``seed`` and ``size`` say which.
        cache: Folder in which they are kept.

    Raises:
        RecipeError: They would reach into the people that are held out.
        StateError: The disk is full or the folder cannot be written.
    """
    people = -(-options.count // VIEWS)
    if options.seed + people > HELD_OUT:
        raise RecipeError(f"data.seed: people from {HELD_OUT:,} on are kept for evaluation")
    folder = cache / f"heads-{options.size}-{options.seed}-{people * VIEWS}"
    if not folder.is_dir():
        partial = folder.with_name(f".{folder.name}.{os.getpid()}")
        try:
            partial.mkdir(parents=True)
            _fill(partial, range(options.seed, options.seed + people), options.size)
            partial.rename(folder)
        except OSError as error:
            message = f"cannot be written: {error.strerror}"
            raise StateError(message, path=folder, stage="train") from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in Heads._fields}


def _fill(folder: Path, people: range, size: int) -> None:
    step = CHUNK // VIEWS
    parts = [people[i : i + step] for i in range(0, len(people), step)]
    arrays: dict[str, NDArray[Any]] = {}
    row = 0
    for heads in _drawn(parts, size):
        for name, part in heads._asdict().items():
            if name not in arrays:
                shape = (len(people) * VIEWS, *part.shape[1:])
                arrays[name] = open_memmap(  # type: ignore[no-untyped-call]
                    folder / f"{name}.npy", "w+", part.dtype, shape
                )
            arrays[name][row : row + len(part)] = part
        row += len(heads.pictures)
    for array in arrays.values():
        array.flush()  # type: ignore[attr-defined]


def _drawn(parts: list[range], size: int) -> Iterator[Heads]:
    """Chunks in order; in this process where there is only one."""
    if len(parts) == 1:
        yield draw(parts[0], VIEWS, size)
        return
    workers = min(len(parts), os.cpu_count() or 1)
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        jobs = (pool.submit(draw, part, VIEWS, size) for part in parts)
        yield from (job.result() for job in list(jobs))
