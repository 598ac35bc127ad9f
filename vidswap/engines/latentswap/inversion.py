"""Faces into codes by the recipe's method, and generators bent to the faces of one track."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor

from vidswap import schema
from vidswap.engines.latentswap.networks import Networks
from vidswap.errors import RecipeError
from vidswap.latents.cost import Announce, Cost, Watch
from vidswap.latents.invert import perceptual
from vidswap.latents.pivotal import CLIP, tune_clip
from vidswap.latents.project import ProjectOptions, ProjectorInverter
from vidswap.models.e4e import Encoder
from vidswap.models.lpips import PictureDistance
from vidswap.models.stylegan2 import StyleGAN2
from vidswap.recipe import InvertOptions
from vidswap.types import F32, F64, I64, U8

Crops = Callable[[I64], U8]
"""Rows of a track → (n, S, S, 3) crops."""


@dataclass
class Inversion:
    """How one engine turns faces into codes.

    Args:
        networks: Of the engine.
        options: The recipe's ``invert`` section.

    Raises:
        RecipeError: A method that needs a generator this one is not.
    """

    networks: Networks
    options: InvertOptions

    def __post_init__(self) -> None:
        """Refuse what cannot be carried out before anything is read."""
        if self.options.method != "encoder" and not self.networks.is_stylegan2:
            raise RecipeError(
                f"invert.method = {self.options.method} needs a StyleGAN2 generator, which "
                f"{self.networks.names['generator']} is not"
            )

    @property
    def input_size(self) -> int:
        """Side of the crops that are read, pixels."""
        projected = self.options.method == "projector"
        return self.networks.size if projected else self.networks.input_size

    @property
    def tunes(self) -> bool:
        """Whether every track gets a generator of its own."""
        return self.options.method == "pivotal"

    @cached_property
    def digest(self) -> str:
        """What codes, and tuned generators, depend on besides the crops."""
        parts = [self.networks.digest("encoder")]
        if self.options.method != "encoder":
            told = schema.encode(replace(self.options, encoder=None))
            parts += [self.networks.digest("generator"), self._distance.name, repr(told)]
        return "+".join(parts)

    def encode(self, pictures: U8, *, once: bool = False) -> F32:
        """(B, S, S, 3) FFHQ crops → (B, layers, width) codes; ``once`` as in ``Networks.encode``."""
        if self.options.method != "projector":
            return self.networks.encode(pictures, once=once)
        with torch.inference_mode(mode=False):
            codes = self._projector.invert(self.networks.tensor(pictures))
        return np.asarray(codes.float().cpu().numpy())

    def cost(self, picture: U8, frames: int) -> Cost | None:
        """What codes of so many frames will take, measured on one crop; None for a mere encoder."""
        if self.options.method != "projector":
            return None
        with torch.inference_mode(mode=False):
            one = self._projector.cost(self.networks.tensor(picture[None]))
        return replace(one, frames=frames)

    def tune(
        self,
        codes: F32,
        crops: Crops,
        weights: F64,
        target: Path,
        watch: Watch | None = None,
        announce: Announce | None = None,
    ) -> None:
        """Bend the generator to a track and store it.

        Args:
            codes: (T, layers, width) smoothed, as they will be used.
            crops: Reads crops of the generator's size.
            weights: (T,) trust of each frame.
            target: Where the generator is stored; appears whole.
            watch: Progress.
            announce: Told the cost before the first step.
        """
        o = self.options
        clip = replace(CLIP, seed=o.seed, rounds=CLIP.rounds if o.steps is None else o.steps)

        def pictures(rows: I64) -> Tensor:
            return self.networks.tensor(crops(rows))

        with torch.inference_mode(mode=False):
            done = tune_clip(
                self._generator,
                pictures,
                torch.from_numpy(codes),
                self._distance,
                clip,
                frames=o.tune_frames,
                weights=weights,
                watch=watch,
                announce=announce,
            )
        assert done.generator is not None
        self.networks.save_generator(done.generator, target)

    @property
    def _generator(self) -> StyleGAN2:
        return cast("StyleGAN2", self.networks.generator())

    @cached_property
    def _distance(self) -> PictureDistance:
        encoder = cast("Encoder", self.networks.encoder)
        with torch.inference_mode(mode=False):
            return perceptual(encoder.trunk, self.networks.store)

    @cached_property
    def _projector(self) -> ProjectorInverter:
        o, published = self.options, ProjectOptions()
        steps = published.steps if o.steps is None else o.steps
        settings = replace(published, seed=o.seed, steps=steps)
        return ProjectorInverter(self._generator, self._distance, settings)
