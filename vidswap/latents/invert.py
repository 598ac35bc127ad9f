"""A track's crops → its latent codes, by the method a recipe names."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from vidswap import zoo
from vidswap.errors import WeightsError
from vidswap.latents.cost import Announce, Cost, Watch, step_seconds
from vidswap.latents.encode import STAGE, EncoderInverter, Inverter
from vidswap.latents.pivotal import CLIP, ClipInversion, Pictures, tune_clip
from vidswap.latents.project import ProjectOptions, ProjectorInverter, device_of
from vidswap.models.irse import Trunk
from vidswap.models.lpips import LPIPS, FeatureDistance, PictureDistance
from vidswap.models.stylegan2 import StyleGAN2
from vidswap.recipe import InvertOptions
from vidswap.types import F32, F64
from vidswap.weights.cache import Store

LOSS = "lpips-alex"
"""The checkpoint of the published perceptual distance."""
BATCH = 8
"""Crops read at once."""

Calm = Callable[[Tensor], Tensor]
"""(T, L, D) codes → the same, smoothed in time."""


def perceptual(trunk: Trunk, store: Store | None = None) -> PictureDistance:
    """The perceptual distance that optimisation uses: LPIPS, or features of a network at hand.

    Args:
        trunk: Takes LPIPS' place where its weights are absent; the result's ``name`` says so.
        store: The weights folder; the user's by default.
    """
    folder = store or Store.default()
    device = next(trunk.parameters()).device
    if folder.ready(LOSS) is None:
        return FeatureDistance.of_trunk(trunk.eval().requires_grad_(False))
    network = zoo.load_named(LOSS, folder)
    if not isinstance(network, LPIPS):
        raise WeightsError(f"{LOSS} is a {type(network).__name__}; expected LPIPS", stage=STAGE)
    return network.requires_grad_(False).to(device)


@dataclass(frozen=True, slots=True, eq=False)
class Inversion:
    """Networks and settings of one run.

    Attributes:
        options: Which method, how many steps.
        encoder: Makes the codes, or the pivots.
        generator: Needed by all methods but ``encoder``.
        distance: Needed likewise.
        watch: Progress.
        announce: Told what an optimisation will cost before it starts.
    """

    options: InvertOptions
    encoder: EncoderInverter
    generator: StyleGAN2 | None = None
    distance: PictureDistance | None = None
    watch: Watch | None = None
    announce: Announce | None = None

    def track(
        self,
        pictures: Pictures,
        count: int,
        *,
        weights: F32 | F64 | None = None,
        calm: Calm | None = None,
    ) -> ClipInversion:
        """Invert all frames of one track.

        Args:
            pictures: Reads crops by frame number, at the generator's size, or at the encoder's
                where only the encoder is used.
            count: T.
            weights: (T,) confidence; frames of weight 0 are never tuned on.
            calm: Smooths codes in time, before a generator is tuned to them.

        Returns:
            Codes (T, L, D), and the generator that belongs to them: a tuned copy for ``pivotal``.

        Raises:
            WeightsError: The method needs a generator and a distance, and there are none.
        """
        if self.options.method == "encoder":
            codes = self._all(pictures, count, self.encoder)
            return self._plain(codes if calm is None else calm(codes))
        generator, distance = self._networks()
        if self.options.method == "projector":
            codes = self._projected(pictures, count, generator, distance)
            return self._plain(codes if calm is None else calm(codes))
        pivots = self._all(pictures, count, self.encoder)
        pivots = pivots if calm is None else calm(pivots)
        rounds = CLIP.rounds if self.options.steps is None else self.options.steps
        return tune_clip(
            generator,
            pictures,
            pivots,
            distance,
            replace(CLIP, rounds=rounds, seed=self.options.seed),
            frames=self.options.tune_frames,
            weights=weights,
            watch=self.watch,
            announce=self.announce,
        )

    def _networks(self) -> tuple[StyleGAN2, PictureDistance]:
        if self.generator is None or self.distance is None:
            raise WeightsError(
                f"invert.method {self.options.method} needs a generator and a perceptual distance",
                stage=STAGE,
            )
        return self.generator, self.distance

    def _projected(
        self, pictures: Pictures, count: int, generator: StyleGAN2, distance: PictureDistance
    ) -> Tensor:
        published = ProjectOptions(seed=self.options.seed)
        steps = published.steps if self.options.steps is None else self.options.steps
        inverter = ProjectorInverter(generator, distance, replace(published, steps=steps), BATCH)
        if count and self.announce:
            first = pictures(np.arange(1))
            probe = replace(inverter, options=replace(published, steps=1, samples=2))

            def some(n: int) -> None:
                for _ in range(n):
                    probe.invert(first)

            seconds = step_seconds(some, device_of(generator))
            self.announce(Cost("projection", count, steps, seconds, distance=distance.name))
        return self._all(pictures, count, inverter, steps)

    def _all(self, pictures: Pictures, count: int, inverter: Inverter, steps: int = 1) -> Tensor:
        stage = "encode" if steps == 1 else "project"
        found = []
        for first in range(0, count, BATCH):
            stop = min(first + BATCH, count)
            found.append(inverter.invert(pictures(np.arange(first, stop))).cpu())
            if self.watch:
                self.watch(stage, stop * steps, count * steps)
        return torch.cat(found) if found else torch.empty(0, inverter.num_ws, inverter.style_dim)

    def _plain(self, codes: Tensor) -> ClipInversion:
        none = np.zeros(0, np.int64)
        return ClipInversion(codes, self.generator, none, np.zeros(0, np.float32))
