"""The embedded engine: the source's skin on the target's moving face mesh.

Pose, expression, gaze, mouth interior, hair and outline stay the target's; skin, brows, nose, lids
and lips become the source's, in the target's light and at the target's sharpness.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from vidswap.allocator import keep_some_memory
from vidswap.engines.mesh.plan import MeshPlan, held_extents, plan_track
from vidswap.engines.mesh.regions import smoothstep
from vidswap.engines.mesh.render import render
from vidswap.engines.mesh.source import TEXTURE, Identity, identify
from vidswap.faces.facemesh import Atlas, FaceMesh
from vidswap.recipe import MeshEngine
from vidswap.types import Box, Need, Patch, SourceFace, TargetFace, Track, TrackFrame


class Mesh:
    """``SwapEngine`` without weights."""

    name = "mesh"
    needs: frozenset[Need] = frozenset({"mesh", "appearance"})

    def __init__(self, options: MeshEngine, execution: object = None) -> None:
        del execution  # per-pixel work on small boxes: a GPU would spend its time on transfers
        self.options = options
        self._mesh = FaceMesh.load()
        keep_some_memory()

    def identify(self, sources: Sequence[SourceFace]) -> Identity:
        """Merge one or more photographs of one person into one texture and one shape."""
        # Built anew for each person: they are 20 MB that no frame needs, and a tenth of a second.
        atlases = (Atlas.build(self._mesh, size) for size in (TEXTURE, TEXTURE // 2))
        return identify(sources, self._mesh, *atlases)

    def plan(
        self, track: Track, static: Mapping[str, NDArray[np.generic]], identity: Identity
    ) -> MeshPlan | None:
        """Fit the person to the track; None when the track has no usable appearance."""
        if "texture" not in static:
            return None
        plan = plan_track(static, identity, self._mesh, self.options)
        return replace(plan, start=track.start, extents=held_extents(track.boxes))

    def footprint(self, at: TrackFrame, plan: MeshPlan | None) -> Box:
        """The mesh with its rings, on even pixels."""
        del plan
        points = self._mesh.extend(at.mesh)[:, :2]
        low, high = np.floor(points.min(0)).astype(int), np.ceil(points.max(0)).astype(int) + 1
        left, top = (low // 2 * 2).tolist()
        right, bottom = ((high + 1) // 2 * 2).tolist()
        return Box(left, top, right, bottom)

    def swap(
        self, faces: Sequence[TargetFace], plans: Sequence[MeshPlan | None]
    ) -> list[Patch | None]:
        """Render each face; None where it has turned away or is too doubtful."""
        return [self._one(face, plan) for face, plan in zip(faces, plans, strict=True)]

    def _one(self, face: TargetFace, plan: MeshPlan | None) -> Patch | None:
        if plan is None or face.box.width < 8 or face.box.height < 8:
            return None
        low, high = self.options.fade_yaw
        turned = 1 - smoothstep(low, high, np.abs(face.at.pose[:1]))[0]
        sure = smoothstep(0.05, 0.9, np.array([face.at.confidence], np.float32))[0]
        strength = float(turned * sure)
        if strength <= 0:
            return None
        rgb, rest = render(face, plan, self._mesh, strength)
        return Patch(rgb, face.box, rest)
