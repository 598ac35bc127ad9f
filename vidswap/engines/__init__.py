"""What an engine is, and the registry of those that exist."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vidswap.recipe import EngineOptions, InvertOptions, Precision
from vidswap.types import Box, Need, Patch, SourceFace, TargetFace, Track, TrackFrame

Identity = Any
"""A person as one engine sees them; opaque to everything else."""

Plan = Any
"""What one engine derives once from a whole track and one identity; opaque likewise."""


class SwapEngine(Protocol):
    """Pure apart from its weights: the same arguments give the same bytes.

    ``identify`` runs once per person, ``plan`` once per track, ``swap`` on batches of faces from
    any frames of any tracks. A batch gives what its faces give one at a time.
    """

    name: str
    needs: frozenset[Need]

    def identify(self, sources: Sequence[SourceFace]) -> Identity:
        """Combine one or more photographs of one person."""
        ...

    def plan(
        self, track: Track, static: Mapping[str, NDArray[np.generic]], identity: Identity
    ) -> Plan:
        """Everything about (track, identity) that does not change from frame to frame.

        Args:
            track: The smoothed track.
            static: Per-track arrays that ``analyse`` stored for ``needs``.
            identity: From ``identify``.
        """
        ...

    def footprint(self, at: TrackFrame, plan: Plan) -> Box:
        """Pixels ``swap`` wants to read and may change, before clipping to the frame."""
        ...

    def swap(self, faces: Sequence[TargetFace], plans: Sequence[Plan]) -> list[Patch | None]:
        """Swap a batch; None where the face is to stay as it is.

        A patch lies inside its face's box.
        """
        ...


ENGINES = {
    "mesh": "vidswap.engines.mesh:Mesh",
    "identity": "vidswap.engines.identity:IdentitySwap",
    "latentswap": "vidswap.engines.latentswap:LatentSwap",
}


@dataclass(frozen=True, slots=True)
class Execution:
    """How an engine's networks are run; engines without a network do not look at it."""

    device: str = "cpu"
    precision: Precision = "fp32"
    invert: InvertOptions = field(default_factory=InvertOptions)
    """How faces become codes, for engines that work on codes."""
    compiled: bool = False
    """Compile the networks that run for every frame."""
    winograd: bool = False
    """Convolve by minimal filtering on the CPU where that is quicker and can be had."""


def create(options: EngineOptions, execution: Execution | None = None) -> SwapEngine:
    """Build the engine that ``options.name`` names.

    Args:
        options: The recipe's ``engine`` section.
        execution: How its networks are run.

    Raises:
        WeightsError: Weights it reads are not here, or not what they should be.
        RecipeError: Options that do not go with the weights.
    """
    engine: SwapEngine = _kind(options)(options, execution or Execution())
    return engine


def needs_of(options: EngineOptions) -> frozenset[Need]:
    """What pass one must prepare for an engine, without building it: no weights are looked for."""
    needs: frozenset[Need] = _kind(options).needs
    return needs


def _kind(options: EngineOptions) -> Any:
    module, _, attribute = ENGINES[options.name].partition(":")
    return getattr(import_module(module), attribute)
