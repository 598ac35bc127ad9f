"""The engine that changes nothing: reads the face box and pastes it back."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from vidswap.recipe import IdentityEngine
from vidswap.types import Box, Need, Patch, SourceFace, TargetFace, Track, TrackFrame


class IdentitySwap:
    """Costs what the pipeline costs; ``bench pipeline`` measures with it."""

    name = "identity"
    needs: frozenset[Need] = frozenset({"mesh"})

    def __init__(self, options: IdentityEngine, execution: object = None) -> None:
        del options, execution

    def identify(self, sources: Sequence[SourceFace]) -> None:
        """Nothing to learn."""
        del sources

    def plan(self, track: Track, static: Mapping[str, NDArray[np.generic]], identity: None) -> None:
        """Nothing to prepare."""
        del track, static, identity

    def footprint(self, at: TrackFrame, plan: None) -> Box:
        """Bounding box of the mesh."""
        del plan
        low, high = at.mesh[:, :2].min(0), at.mesh[:, :2].max(0)
        return Box(int(low[0]), int(low[1]), int(high[0]) + 2, int(high[1]) + 2)

    def swap(self, faces: Sequence[TargetFace], plans: Sequence[None]) -> list[Patch | None]:
        """Every face as it was."""
        del plans
        return [Patch(face.rgb, face.box) for face in faces]
