"""LatentSwap: the source's identity mixed into the target's latent codes, and generated anew.

Source: Choi et al., LatentSwap: An Efficient Latent Code Mapping Framework for Face Swapping, 2024.
What the paper leaves open for video is as in this package throughout: codes smoothed in time by pass
one, crops cut and laid back with one smoothed window, colours held to the footage's.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vidswap.engines import Execution, crops
from vidswap.engines.latentswap.inversion import Inversion
from vidswap.engines.latentswap.mixing import shares
from vidswap.engines.latentswap.networks import Networks
from vidswap.errors import NoFaceError, ShapeError, StateError
from vidswap.ops import ffhq
from vidswap.ops.median import geometric_median
from vidswap.recipe import LatentSwapEngine
from vidswap.types import F32, U8, Box, Need, Patch, SourceFace, TargetFace, Track, TrackFrame

GPU_BATCH, CPU_BATCH = 8, 4
"""Faces generated at once.

Batches are always full, filled up with repeats: a face's bytes must not depend on how many others
happen to be generated with it, and kernels are chosen by the batch's size."""
SMALL = 128
"""Side of generated pictures up to which a CPU is faster with several at once; larger ones are made
one by one, since a repeat would cost as much as a face."""
ROWS = ("latents", "window", "tones")
"""Per-frame rows that pass one stores for this engine."""


@dataclass(frozen=True, slots=True, eq=False)
class Identity:
    """A person."""

    codes: F32
    """(L, D)"""


@dataclass(frozen=True, slots=True, eq=False)
class SwapPlan:
    """A person on one track."""

    codes: F32
    """(L, D) of the person."""
    generator: Path | None = None
    """The generator that was tuned to the track."""


class LatentSwap:
    """``SwapEngine`` of three networks: encoder, mixer, generator."""

    name = "latentswap"
    needs: frozenset[Need] = frozenset({"mesh", "latents"})

    def __init__(self, options: LatentSwapEngine, execution: Execution | None = None) -> None:
        how = execution or Execution()
        names = options.weights
        if how.invert.encoder is not None:
            names["encoder"] = how.invert.encoder
        self.options = options
        self.networks = Networks(names, how.device, how.precision)
        self.inversion = Inversion(self.networks, how.invert)
        self._share = shares(self.networks.layers, options.similarity, options.layers)
        alone = CPU_BATCH if self.networks.size <= SMALL else 1
        self._batch = alone if how.device == "cpu" else GPU_BATCH
        # For the very batch that is asked for: a larger one would be filled up with repeats.
        self.networks.compiled = self._batch if how.compiled else 0
        self.networks.winograd = how.winograd and how.device == "cpu"

    @property
    def size(self) -> int:
        """Side of the crops that are generated, pixels."""
        return self.networks.size

    def encode(self, pictures: U8) -> F32:
        """(B, S, S, 3) FFHQ crops → (B, L, D) codes; a batch gives what its faces give alone."""
        return self._in_batches(self.inversion.encode, pictures)

    def identify(self, sources: Sequence[SourceFace]) -> Identity:
        """Codes of one person: the geometric median over photographs, the better ones counting more.

        Raises:
            NoFaceError: The landmarks of a photograph span no face.
        """
        pictures = np.stack([self._crop(face) for face in sources])
        weights = [face.score * frontality(face) for face in sources]
        codes = self._in_batches(partial(self.inversion.encode, once=True), pictures)
        return Identity(geometric_median(codes, weights).astype(np.float32))

    def plan(
        self, track: Track, static: Mapping[str, NDArray[np.generic]], identity: Identity
    ) -> SwapPlan:
        """Whom to put in, and the generator that was tuned to the track if there is one."""
        del track
        tuned = static.get("generator")
        return SwapPlan(identity.codes, None if tuned is None else Path(str(tuned)))

    def footprint(self, at: TrackFrame, plan: SwapPlan) -> Box:
        """The face's outline with the forehead, on even pixels."""
        del plan
        return crops.around(crops.outline(at.mesh))

    def swap(self, faces: Sequence[TargetFace], plans: Sequence[SwapPlan]) -> list[Patch | None]:
        """Generate and compose each face; None where it has turned away or is too doubtful."""
        strengths = [self._strength(face) for face in faces]
        wanted = [i for i, strength in enumerate(strengths) if strength > 0]
        patches: list[Patch | None] = [None] * len(faces)
        if not wanted:
            return patches
        for generator in dict.fromkeys(plans[i].generator for i in wanted):
            group = [i for i in wanted if plans[i].generator == generator]
            target = np.stack([row(faces[i].at, "latents") for i in group])
            source = np.stack([plans[i].codes for i in group])
            pictures = self.generate(source, target, generator)
            for i, picture in zip(group, pictures, strict=True):
                patches[i] = self._compose(faces[i], picture, strengths[i])
        return patches

    def generate(self, source: F32, target: F32, generator: Path | None = None) -> F32:
        """Swapped faces.

        Args:
            source: (B, L, D) codes of the identity.
            target: (B, L, D) codes of the rest.
            generator: One that was tuned.

        Returns:
            (B, S, S, 3) in [0, 1].
        """

        def made(source: F32, target: F32) -> F32:
            if self._share.any():
                target = target + self._share * (self.networks.mix(source, target) - target)
            return self.networks.generate(target, generator)

        return self._in_batches(made, source, target)

    def _in_batches(self, function: Callable[..., F32], *arrays: NDArray[np.generic]) -> F32:
        count, size = len(arrays[0]), self._batch
        parts = []
        for start in range(0, count, size):
            rows = np.minimum(np.arange(start, start + size), count - 1)
            parts.append(function(*(a[rows] for a in arrays))[: count - start])
        return np.concatenate(parts)

    def _crop(self, face: SourceFace) -> U8:
        try:
            window = ffhq.window(face.mesh[:, :2].astype(np.float64))
            return ffhq.crop(face.rgb, window.quad, ffhq.CropOptions(self.inversion.input_size))
        except ShapeError as error:
            message = f"the landmarks found span no face ({error})"
            raise NoFaceError(message, path=face.path, stage="source") from error

    def _strength(self, face: TargetFace) -> float:
        if face.box.width < 8 or face.box.height < 8:
            return 0.0
        low, high = self.options.fade_yaw
        turned = ramp(abs(float(face.at.pose[0])), high, low)
        return turned * ramp(face.at.confidence, 0.05, 0.35)

    def _compose(self, face: TargetFace, picture: F32, strength: float) -> Patch:
        options, whole = self.options, crops.outline(face.at.mesh)
        matrix = row(face.at, "window").astype(np.float64)
        room = crops.around(whole)
        mask = crops.soft_mask(whole, room, options.feather) * crops.rim_mask(matrix, room)
        left, top = face.box.left - room.left, face.box.top - room.top
        mask = mask[top : top + face.box.height, left : left + face.box.width]
        target = crops.as_float(face.rgb)
        drawn = crops.lay(picture, matrix, face.box)
        size = picture.shape[0]
        points = (face.at.mesh[:, :2] @ matrix[:, :2].T + matrix[:, 2]) * size - 0.5
        have = crops.tones(picture, points, crops.of_crop(size))
        drawn = crops.match_colour(drawn, have, row(face.at, "tones"), options.colour)
        drawn = crops.add_grain(drawn, target, mask, options.grain)
        mixed = target + (strength * mask)[..., None] * (drawn - target)
        return Patch(crops.as_depth_of(mixed, face.rgb), face.box)


def ramp(value: float, zero: float, one: float) -> float:
    """Smooth step from 0 at ``zero`` to 1 at ``one``, which may be the smaller."""
    t = min(max((value - zero) / (one - zero), 0.0), 1.0)
    return t * t * (3 - 2 * t)


def frontality(face: SourceFace) -> float:
    """How much a photograph counts: 1 from the front, a tenth from 60° on."""
    turned = float(np.hypot(face.pose[0], face.pose[1]))
    return 0.1 + 0.9 * ramp(turned, 60.0, 0.0)


def row(at: TrackFrame, name: str) -> F32:
    """One row of pass one.

    Raises:
        StateError: The analysis was made without it.
    """
    if name not in at.data:
        hint = "run vidswap analyse again with this pipeline"
        message = f"the analysis holds no {name} of track {at.track}"
        raise StateError(message, stage="swap", hint=hint)
    return np.asarray(at.data[name], np.float32)
