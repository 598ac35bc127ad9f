"""Data sets on disk: shards drawn in parallel, each atomic, so that a stopped run goes on.

A folder holds ``manifest.json`` (what is in it, in words and numbers), and for each shard one
uncompressed ``.npy`` per array, so that training can map them.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Literal
from uuid import uuid4

import numpy as np

from vidswap import __version__
from vidswap.errors import MediaError, RecipeError, StateError
from vidswap.synth.params import HeadParams, slices, swap_truth
from vidswap.synth.render import LARGEST, SMALLEST, Rendered, ffhq_window, render
from vidswap.synth.sample import expressive, identity, sample, view
from vidswap.types import U8

Kind = Literal["faces", "people", "pairs"]
Progress = Callable[[str, int, int], None]
MANIFEST = "manifest.json"
FORMAT = 1
HELD_OUT = 1_000_000
"""Seeds from here on are kept for evaluation; training sets end below."""
VIEWS = 8
"""Pictures of each person in a data set of people."""
PAIR_SEEDS = 20_000_000
VIEW_SEEDS = 10_000_000
"""Where the seeds of pairs and views begin, so that they meet no others."""


ABOUT = {
    "images": "(N, S, S, 3) uint8 RGB",
    "params": "(N, P) float32 in [0, 1]: HeadParams.vector()",
    "labels": "(N, S, S) uint8, the 12 labels of E4S; of the target in pairs",
    "points": "(N, 5, 2) float32 px: eyes, nose tip, mouth corners, from the image's left",
    "pose": "(N, 3) float32 degrees: yaw, pitch, roll",
    "identity": "(N,) int64 seed of the person",
    "source": "(N, S, S, 3) uint8 RGB: the face to put in",
    "target": "(N, S, S, 3) uint8 RGB: where to put it",
    "truth": "(N, S, S, 3) uint8 RGB: identity of source, everything else of target",
    "source_params": "(N, P) float32 in [0, 1]",
    "target_params": "(N, P) float32 in [0, 1]",
}
HOLDS: dict[Kind, tuple[str, ...]] = {
    "faces": ("images", "params", "labels", "points", "pose"),
    "people": ("images", "params", "identity"),
    "pairs": ("source", "target", "truth", "labels", "source_params", "target_params"),
}
IMAGES: dict[Kind, int] = {"faces": 1, "people": VIEWS, "pairs": 3}
"""Pictures of one item."""


@dataclass(frozen=True, slots=True)
class DatasetPlan:
    """What a data set holds; everything in it follows from this."""

    kind: Kind
    count: int
    """Items: pictures, people (of 8 pictures each) or pairs."""
    size: int = 64
    """Side of the pictures, pixels."""
    first: int = 0
    """Seed of the first item; one more for each."""
    aligned: bool = True
    """FFHQ crops; else the camera's whole field."""
    shard: int = 1000
    """Items in a shard; the last may hold fewer."""
    expressive: bool = False
    """More open mouths and shut eyes than in talk; see :func:`vidswap.synth.sample.expressive`."""

    def __post_init__(self) -> None:
        limits = (
            ("count", self.count, 1, 10_000_000), ("size", self.size, SMALLEST, LARGEST),
            ("first seed", self.first, 0, 2**31), ("shard", self.shard, 1, 100_000),
        )  # fmt: skip
        for name, value, low, high in limits:
            if not low <= value <= high:
                raise RecipeError(f"{name}: expected {low} … {high}, got {value}", stage="synth")
        if self.kind not in HOLDS:
            raise RecipeError(f"kind: expected faces, people or pairs, got {self.kind}")

    def shards(self) -> Iterator[tuple[int, range]]:
        """Number and seeds of every shard."""
        for number, start in enumerate(range(0, self.count, self.shard)):
            end = min(start + self.shard, self.count)
            yield number, range(self.first + start, self.first + end)


def write_dataset(plan: DatasetPlan, folder: Path, *, jobs: int, progress: Progress) -> int:
    """Draw what is missing of a data set.

    Args:
        plan: What it holds.
        folder: Made if it does not exist; one that holds a part of this very set is gone on with.
        jobs: Processes; the pictures do not depend on it.
        progress: Called with the stage, items done and items in all.

    Returns:
        Number of shards drawn now.

    Raises:
        StateError: The folder holds something else.
        MediaError: The disk fails; complete shards stay.
    """
    _open(plan, folder)
    missing = [(n, s) for n, s in plan.shards() if not _complete(plan, folder, n)]
    done = plan.count - sum(len(s) for _, s in missing)
    progress("draw", done, plan.count)
    if jobs <= 1 or len(missing) <= 1:
        for number, seeds in missing:
            write_shard(plan, folder, number, seeds)
            done += len(seeds)
            progress("draw", done, plan.count)
        return len(missing)
    # Threads of the parent's libraries do not survive a fork.
    with ProcessPoolExecutor(min(jobs, len(missing)), get_context("spawn")) as pool:
        running = {pool.submit(write_shard, plan, folder, n, s): len(s) for n, s in missing}
        try:
            for finished in as_completed(running):
                finished.result()
                done += running[finished]
                progress("draw", done, plan.count)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return len(missing)


def _open(plan: DatasetPlan, folder: Path) -> None:
    wanted = describe(plan)
    path = folder / MANIFEST
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if path.exists():
            _compare(path, wanted)
        elif any(not p.name.endswith(".part") for p in folder.iterdir()):
            raise StateError(
                "the folder is not empty and holds no data set", path=folder, stage="synth",
                hint="name an empty or a new folder",
            )  # fmt: skip
        else:
            _replace(path, json.dumps(wanted, indent=2).encode())
        for stale in folder.glob(".*.part"):
            stale.unlink(missing_ok=True)
    except OSError as error:
        raise MediaError(
            f"cannot be written: {error.strerror or error}", path=folder, stage="synth"
        ) from error


def _compare(path: Path, wanted: Mapping[str, object]) -> None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        # Sets of before there were expressive ones are not.
        plan = {"expressive": False} | found["plan"], found["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise StateError("not a manifest of a data set", path=path, stage="synth") from error
    if plan != (wanted["plan"], wanted["format"]):
        raise StateError(
            f"holds another data set: {json.dumps(plan[0])}", path=path, stage="synth",
            hint="name another folder, or ask for the same set to go on with it",
        )  # fmt: skip


def describe(plan: DatasetPlan) -> dict[str, object]:
    """The manifest."""
    return {
        "format": FORMAT,
        "vidswap": __version__,
        "plan": asdict(plan),
        "shards": sum(1 for _ in plan.shards()),
        "files": "<shard>_<array>.npy",
        "arrays": {name: ABOUT[name] for name in HOLDS[plan.kind]},
        "names": list(HeadParams().names()),
        "groups": {name: [s.start, s.stop] for name, s in slices().items()},
        "origin": "drawn by vidswap.synth",
    }


def _file(folder: Path, number: int, name: str) -> Path:
    return folder / f"{number:05d}_{name}.npy"


def _complete(plan: DatasetPlan, folder: Path, number: int) -> bool:
    return all(_file(folder, number, name).exists() for name in HOLDS[plan.kind])


def write_shard(plan: DatasetPlan, folder: Path, number: int, seeds: range) -> None:
    """Draw one shard and put its files in place.

    Raises:
        MediaError: The disk fails.
    """
    arrays = _DRAW[plan.kind](plan, seeds)
    for name in HOLDS[plan.kind]:
        path = _file(folder, number, name)
        part = path.with_name(f".{path.name}.{uuid4().hex[:8]}.part")
        try:
            with part.open("wb") as file:
                np.save(file, np.stack(arrays[name]))
            part.replace(path)
        except OSError as error:
            raise MediaError(
                f"cannot be written: {error.strerror or error}", path=path, stage="synth"
            ) from error
        finally:
            with suppress(OSError):
                part.unlink(missing_ok=True)


Drawn = dict[str, list[np.generic | np.ndarray]]  # type: ignore[type-arg]


def _lively(plan: DatasetPlan, head: HeadParams, seed: int) -> HeadParams:
    return expressive(head, seed) if plan.expressive else head


def _faces(plan: DatasetPlan, seeds: range) -> Drawn:
    heads = [_lively(plan, sample(s), s) for s in seeds]
    drawn = [render(h, plan.size, aligned=plan.aligned) for h in heads]
    return {
        "images": [d.rgb for d in drawn],
        "params": [h.vector() for h in heads],
        "labels": [d.labels for d in drawn],
        "points": [d.points for d in drawn],
        "pose": [d.pose for d in drawn],
    }


def _people(plan: DatasetPlan, seeds: range) -> Drawn:
    heads = [
        _lively(plan, view(VIEW_SEEDS + number, identity(number // VIEWS)), number)
        for seed in seeds
        for number in range(VIEWS * seed, VIEWS * (seed + 1))
    ]
    return {
        "images": [render(h, plan.size, aligned=plan.aligned).rgb for h in heads],
        "params": [h.vector() for h in heads],
        "identity": [np.int64(seed) for seed in seeds for _ in range(VIEWS)],
    }


def pair(seed: int) -> tuple[HeadParams, HeadParams]:
    """Source and target of one pair: two people."""
    start = PAIR_SEEDS + 2 * seed
    return sample(start), sample(start + 1)


def draw_pair(
    source: HeadParams, target: HeadParams, size: int, *, aligned: bool = True
) -> tuple[U8, Rendered, Rendered]:
    """Source picture, target and true swap; the latter two share the target's crop.

    Args:
        source: Whose identity.
        target: Everything else.
        size: Side, pixels.
        aligned: FFHQ crops instead of the camera's whole field.
    """
    alone = render(source, size, aligned=aligned).rgb
    # The window's head is at hand for the picture right after it.
    crop = ffhq_window(target) if aligned else None
    return (
        alone,
        render(target, size, crop=crop),
        render(swap_truth(source, target), size, crop=crop),
    )


def _pairs(plan: DatasetPlan, seeds: range) -> Drawn:
    heads = [(a, _lively(plan, b, s)) for s in seeds for a, b in (pair(s),)]
    drawn = [draw_pair(a, b, plan.size, aligned=plan.aligned) for a, b in heads]
    return {
        "source": [d[0] for d in drawn],
        "target": [d[1].rgb for d in drawn],
        "truth": [d[2].rgb for d in drawn],
        "labels": [d[1].labels for d in drawn],
        "source_params": [a.vector() for a, _ in heads],
        "target_params": [b.vector() for _, b in heads],
    }


_DRAW: Mapping[Kind, Callable[[DatasetPlan, range], Drawn]] = {
    "faces": _faces, "people": _people, "pairs": _pairs,
}  # fmt: skip


def _replace(path: Path, data: bytes) -> None:
    part = path.with_name(f".{path.name}.{uuid4().hex[:8]}.part")
    part.write_bytes(data)
    part.replace(path)
