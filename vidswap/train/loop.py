"""The one training loop: steps, averages, logs, samples, checkpoints, resuming.

Every step seeds torch's default generators with its own number, and the data of a step follow from
its number too. A killed training therefore goes on from its last checkpoint with the very losses it
would have had.
"""

import math
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vidswap import schema
from vidswap.errors import StateError, WeightsError
from vidswap.train import checkpoint
from vidswap.train.data import PICTURES, Pictures, no_pictures, open_data, rows_of
from vidswap.train.export import export
from vidswap.train.logs import Log, grid, write_png
from vidswap.train.method import Step, pixels_on, train_mode
from vidswap.train.methods import build
from vidswap.train.options import LoopOptions, TrainRecipe
from vidswap.train.processes import Processes, joined
from vidswap.weights.cache import write_atomically


def _never() -> bool:
    return False


def _silent(_message: str) -> None:
    pass


def _unseen(_stage: str, _done: int, _total: int) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Watch:
    """How a training tells how it gets on, and is told to stop."""

    progress: Callable[[str, int, int], None] = _unseen
    note: Callable[[str], None] = _silent
    stop: Callable[[], bool] = _never
    """Asked after every step; True writes a checkpoint and ends the training early."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a training ended."""

    out: Path
    steps: int
    """Finished steps."""
    finished: bool
    """False where it was told to stop."""
    figures: dict[str, float]
    """Of the last step."""
    checkpoint: Path
    exports: tuple[Path, ...] = ()
    first: bool = True
    """False in all but one of several processes."""


def train(
    recipe: TrainRecipe, out: Path, *, fresh: bool = False, watch: Watch | None = None
) -> Outcome:
    """Train, going on from the newest checkpoint in the folder if there is one.

    Args:
        recipe: What, on what, how long.
        out: Folder for checkpoints, logs, samples and exports.
        fresh: Throw an earlier training in that folder away.
        watch: Progress, remarks, and the wish to stop.

    Raises:
        VidswapError: Data, folder or device cannot be used, or a loss is not a number; the last
            checkpoint stays.
    """
    with joined(recipe.loop.device) as (processes, device), _settings(recipe.loop, device):
        return _Training(recipe, out, processes, device, watch or Watch()).run(fresh)


class _Training:
    """One training in one process."""

    def __init__(
        self,
        recipe: TrainRecipe,
        out: Path,
        processes: Processes,
        device: torch.device,
        watch: Watch,
    ) -> None:
        # One of several processes speaks for all.
        spoken = watch if processes.first else Watch(stop=watch.stop)
        self.recipe, self.out, self.watch = recipe, out, spoken
        self.loop, self.processes, self.device = recipe.loop, processes, device
        _make(out)
        self.data = _data_once(recipe, out, processes)
        torch.manual_seed(recipe.loop.seed)
        self.method = build(recipe, self.data, device)
        self.rates = {
            name: [group["lr"] for group in optimizer.param_groups]
            for name, optimizer in self.method.optimizers.items()
        }

    def run(self, fresh: bool) -> Outcome:
        if fresh and self.processes.first:
            checkpoint.remove(path for _, path in checkpoint.existing(self.out))
        self.processes.wait()
        start = self._resume()
        log = Log(self.out, self.method.columns, start) if self.processes.first else None
        if self.processes.first:
            _save_recipe(self.recipe, self.out)
        try:
            return self._steps(start, log)
        finally:
            if log is not None:
                log.close()

    def _resume(self) -> int:
        for step, path in checkpoint.existing(self.out):
            try:
                checkpoint.restore(path, self.method, self.recipe)
            except WeightsError as error:
                self.watch.note(f"{error}; trying the checkpoint before it")
                continue
            self.watch.note(f"going on from step {step} of {self.loop.steps} ({path.name})")
            return step
        return 0

    def _steps(self, start: int, log: Log | None) -> Outcome:
        began = time.monotonic() - (log.seconds if log else 0.0)
        figures: dict[str, float] = {}
        done, saved, stopping = start, start if start else -1, False
        with _prefetch(self._batch, start, self.loop.steps) as batches:
            while done < self.loop.steps and not stopping:
                raw = self.one(done, next(batches))
                done += 1
                last = done == self.loop.steps
                stopping = self.processes.any(self.watch.stop())
                if last or stopping or done % self.loop.log_every == 0:
                    figures = {name: float(value) for name, value in raw.items()}
                    self._log(log, done, time.monotonic() - began, figures)
                if last or stopping or done % self.loop.checkpoint_every == 0:
                    self._save(done)
                    saved = done
                if last or done % self.loop.sample_every == 0:
                    self._sample(log, done)
                self.watch.progress("train", done, self.loop.steps)
        if saved != done:
            self._save(done)
        finished = done >= self.loop.steps
        exports = self._export() if finished and self.processes.first else ()
        path = checkpoint.folder(self.out) / f"step-{done:09}.safetensors"
        return Outcome(self.out, done, finished, figures, path, exports, self.processes.first)

    def one(self, index: int, batch: dict[str, Tensor] | None = None) -> dict[str, Tensor]:
        """One step; the figures it gave."""
        batch = self._batch(index) if batch is None else batch
        self._set_rates(index)
        torch.manual_seed(_seed(self.loop.seed, index, self.processes.rank))
        train_mode(self.method.networks.values())
        step = Step(index, self.processes, self.device, self.loop.precision, self.loop.clip)
        figures = dict(self.method.step(pixels_on(batch, self.device), step))
        if self.processes.count > 1:
            self.processes.average_buffers(list(self.method.networks.values()))
        self._average(index)
        return figures

    def _batch(self, index: int) -> dict[str, Tensor]:
        rows = rows_of(
            index,
            length=len(self.data),
            batch=self.loop.batch,
            seed=self.loop.seed,
            rank=self.processes.rank,
            count=self.processes.count,
        )
        batch = self.data.batch(rows)
        if self.data.mirror:
            rng = torch.Generator().manual_seed(_seed(~self.loop.seed, index, self.processes.rank))
            flip = torch.rand(len(rows), generator=rng) < 0.5
            for name in PICTURES | {"labels"}:
                if name in batch:
                    batch[name][flip] = batch[name][flip].flip(-1)
        return batch

    def _set_rates(self, index: int) -> None:
        scale = rate_scale(self.loop, index)
        for name, optimizer in self.method.optimizers.items():
            for group, rate in zip(optimizer.param_groups, self.rates[name], strict=True):
                group["lr"] = rate * scale

    @torch.no_grad()
    def _average(self, index: int) -> None:
        pictures = self.loop.batch * self.processes.count
        # A long memory would keep the random start; it grows with what has been seen.
        half_life = min(self.loop.average, 0.05 * (index + 1) * pictures)
        keep = 0.5 ** (pictures / max(half_life, 1e-8)) if self.loop.average else 0.0
        for name, average in self.method.averages.items():
            network = self.method.networks[name]
            for slow, fast in zip(average.parameters(), network.parameters(), strict=True):
                slow.lerp_(fast, 1.0 - keep)
            for held, now in zip(average.buffers(), network.buffers(), strict=True):
                held.copy_(now)

    def _log(self, log: Log | None, done: int, seconds: float, figures: dict[str, float]) -> None:
        if log is not None:
            log.add(done, done * self.loop.batch * self.processes.count, seconds, figures)

    def _save(self, done: int) -> None:
        if self.processes.first:
            checkpoint.save(self.out, done, self.method, self.recipe)
        self.processes.wait()

    @torch.no_grad()
    def _sample(self, log: Log | None, done: int) -> None:
        if log is None:
            return
        torch.manual_seed(self.loop.seed)
        train_mode(self.method.averages.values(), on=False)
        first = self.data.batch(rows_of(0, length=len(self.data), batch=16, seed=self.loop.seed))
        pictures = self.method.pictures(pixels_on(first, self.device))
        if pictures is not None:
            page = grid(pictures)
            write_png(self.out / "samples" / f"step-{done:09}.png", page)
            log.picture(done, page)

    def _export(self) -> tuple[Path, ...]:
        torch.manual_seed(self.loop.seed)
        return export(self.recipe, self.method.exports(), self.out / "export")


def _make(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StateError(f"cannot be made: {error.strerror}", path=out, stage="train") from error


def _data_once(recipe: TrainRecipe, out: Path, processes: Processes) -> Pictures:
    """The first process decodes, the others wait and read what it wrote."""
    if recipe.method.name == "latentswap" and not recipe.method.encoder:
        return no_pictures()
    cache = out / "data"
    if processes.first:
        data = open_data(recipe.data, cache)
    processes.wait()
    return data if processes.first else open_data(recipe.data, cache)


def _seed(seed: int, index: int, rank: int) -> int:
    """Far apart for neighbouring steps and processes: odd multipliers below 2^63."""
    return (
        seed * 0x9E3779B97F4A7C1 + index * 0x2545F4914F6CDD1D + rank * 0x5851F42D4C957F2D
    ) % 2**63


def rate_scale(loop: LoopOptions, index: int) -> float:
    """Factor on the learning rates in a step: warm-up, plateau, half cosine to zero."""
    scale = min(1.0, (index + 1) / loop.warmup) if loop.warmup else 1.0
    into = index - (loop.steps - loop.cooldown)
    if loop.cooldown and into > 0:
        scale *= 0.5 * (1.0 + math.cos(math.pi * into / loop.cooldown))
    return scale


def _save_recipe(recipe: TrainRecipe, out: Path) -> None:
    import json

    text = json.dumps(schema.encode(recipe), indent=2) + "\n"
    try:
        write_atomically(out / "recipe.json", text.encode())
    except WeightsError as error:
        raise StateError(error.message, path=error.path, stage="train") from error


@contextmanager
def _prefetch(read: Callable[[int], Any], start: int, stop: int) -> Iterator[Iterator[Any]]:
    """Read one batch ahead in a thread; batches depend on their number only."""
    with ThreadPoolExecutor(1) as pool:

        def batches() -> Iterator[Any]:
            ahead = pool.submit(read, start)
            for index in range(start, stop):
                batch = ahead.result()
                if index + 1 < stop:
                    ahead = pool.submit(read, index + 1)
                yield batch

        yield batches()


@contextmanager
def _settings(loop: LoopOptions, device: torch.device) -> Iterator[None]:
    """Threads and deterministic kernels while training; everything as it was afterwards."""
    threads, exact = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    quick = torch.backends.cudnn.benchmark
    # cuBLAS is deterministic only with a fixed workspace, and reads this when it starts.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    if loop.threads:
        torch.set_num_threads(loop.threads)
    torch.backends.cudnn.benchmark = False
    if device.type == "cpu":
        torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(exact)
        torch.backends.cudnn.benchmark = quick


@dataclass(frozen=True, slots=True)
class Timing:
    """What a few steps cost."""

    seconds: float
    """Of one step."""
    parameters: int
    """Trained values."""


def probe_steps(recipe: TrainRecipe, scratch: Path, warm: int, timed: int) -> Timing:
    """Time a few steps; nothing is kept.

    Args:
        recipe: The training.
        scratch: A temporary folder.
        warm: Steps before the clock starts.
        timed: Steps after it.
    """
    with joined(recipe.loop.device) as (processes, device), _settings(recipe.loop, device):
        training = _Training(recipe, scratch, processes, device, Watch())
        for index in range(warm):
            training.one(index)
        began = time.monotonic()
        # From the last steps, where every loss of the schedule is in force.
        for index in range(recipe.loop.steps - timed, recipe.loop.steps):
            training.one(max(0, index))
        seconds = (time.monotonic() - began) / timed
        networks = training.method.networks.values()
        return Timing(seconds, sum(p.numel() for n in networks for p in n.parameters()))
