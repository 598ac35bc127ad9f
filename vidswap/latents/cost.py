"""What an optimisation will cost, measured before it starts."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

Watch = Callable[[str, int, int], None]
"""Told (stage, done, total)."""
Announce = Callable[["Cost"], None]
"""Told once, before the first step."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Frames × steps × time of one step."""

    what: str
    frames: int
    steps: int
    """Optimiser steps for each frame, or in all where the frames share a network."""
    step_seconds: float
    """Measured wall-clock time of one step for one frame."""
    shared: bool = False
    """The steps are spent once for all frames together."""
    distance: str = ""
    """What pictures are compared by: LPIPS, or what stands in for it."""

    @property
    def seconds(self) -> float:
        """Of the whole."""
        return self.step_seconds * self.steps * (1 if self.shared else self.frames)

    def __str__(self) -> str:
        frames = f"{self.frames} frame{'s' if self.frames != 1 else ''}"
        each = "in all" if self.shared else "each"
        by = f"; measured by {self.distance}" if self.distance else ""
        return (
            f"{self.what}: {frames}, {self.steps} steps {each}, "
            f"{1000 * self.step_seconds:.0f} ms a step: about {_duration(self.seconds)}{by}"
        )


def step_seconds(steps: Callable[[int], object], device: torch.device, repeats: int = 2) -> float:
    """Seconds of one step: the first one, which allocates and loads, is not counted.

    Args:
        steps: Runs that many steps on throw-away state.
        device: Where they run; a GPU is waited for.
        repeats: Steps that are timed.
    """
    steps(1)
    _wait(device)
    began = time.perf_counter()
    steps(repeats)
    _wait(device)
    return (time.perf_counter() - began) / repeats


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
