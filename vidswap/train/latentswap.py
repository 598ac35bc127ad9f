"""LatentSwap's mixer.

Source: Choi et al., LatentSwap, 2024, as its published code trains it: codes drawn at random, a fifth
of the pairs identical, three losses, AdamW. Two slips of that code are not repeated: frozen networks
stay in evaluation mode, and the generator's mean code does not drift.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from vidswap.errors import RecipeError
from vidswap.models.e4e import Encoder
from vidswap.models.irse import ArcFace
from vidswap.models.latentswap import LatentMixer, MixerConfig
from vidswap.models.shape import Coefficients, ShapeModel
from vidswap.models.stylegan2 import StyleGAN2
from vidswap.train.data import Pictures
from vidswap.train.encoder import read_by
from vidswap.train.frozen import frozen
from vidswap.train.losses import identity_distance, on_features, pyramid
from vidswap.train.method import Batch, Export, Step, average_of, placed
from vidswap.train.options import LatentSwapOptions, TrainRecipe

BATCH = 64
"""Pictures encoded at once."""
PIXELS = 224.0
"""The published landmark loss counts pixels of a picture this wide."""


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """Codes and pictures of sources and targets."""

    source: Tensor
    """(B, L, D)"""
    target: Tensor
    source_picture: Tensor
    target_picture: Tensor


class LatentSwapTraining:
    """Mixer between a frozen generator and frozen judges."""

    columns = ("loss", "identity", "latent", "shape", "truth", "picture")

    def __init__(self, recipe: TrainRecipe, data: Pictures, device: torch.device) -> None:
        if not isinstance(recipe.method, LatentSwapOptions):
            raise TypeError("not the options of latentswap")
        options = recipe.method
        self.options = options
        self.generator = frozen(options.generator, StyleGAN2, device, "method.generator")
        self.embedder = frozen(options.embedder, ArcFace, device, "method.embedder")
        self.landmarks = (
            frozen(options.landmarks, ShapeModel, device, "method.landmarks")
            if options.landmarks and options.shape
            else None
        )
        self.encoder = (
            frozen(options.encoder, Encoder, device, "method.encoder") if options.encoder else None
        )
        self.config = MixerConfig(self.generator.num_ws, self.generator.style_dim)
        network = placed(LatentMixer(self.config), device)
        if options.start:
            begun = frozen(options.start, LatentMixer, device, "method.start")
            network.load_state_dict(begun.state_dict())
        self.known = self._known(data, device) if options.truth else None
        self.network = network
        self.networks = {"mixer": network}
        self.averages = {"mixer": average_of(network)}
        self.optimizers = {
            "all": torch.optim.AdamW(
                network.parameters(), options.learning_rate, weight_decay=options.weight_decay
            )
        }

    def _known(self, data: Pictures, device: torch.device) -> dict[str, Tensor]:
        """(N, L, D) codes of sources, targets and true swaps: the encoder stays as it is, so they do."""
        if not (data.has("source") and data.has("truth")):
            raise RecipeError(
                "method.truth: the data hold no true swaps", hint="vidswap synth pairs DIR",
                stage="train",
            )  # fmt: skip
        data.unmirrored("method.truth")
        assert self.encoder is not None
        names, codes = ("source", "pictures", "truth"), list[Tensor]()
        for start in range(0, len(data), BATCH):
            rows = np.arange(start, min(start + BATCH, len(data)))
            batch = data.batch(rows)
            with torch.no_grad():
                parts = [self.encoder(read_by(self.encoder, batch[n].to(device))) for n in names]
            codes.append(torch.stack(parts, 1).float())
        return dict(zip(names, torch.cat(codes).unbind(1), strict=True))

    def step(self, batch: Batch, step: Step) -> Mapping[str, Tensor]:
        """One batch of pairs."""
        if self.known is not None:
            return self._towards_truth(self.known, batch, step)
        pair = self.draw(len(batch["index"]), step)
        if self.encoder is not None and step.index % 2:
            pair = self.encoded(self.encoder, batch["pictures"], step)
        mixed = self.network(pair.source, pair.target)
        with step.autocast():
            picture = self.generator.synthesis(mixed, noise="random").float()
        losses = {
            "identity": identity_distance(self.embedder, picture, pair.source_picture),
            "latent": functional.mse_loss(mixed, pair.target),
        }
        if self.landmarks is not None:
            losses["shape"] = self._shape(self.landmarks, pair, picture)
        weights = {
            "identity": self.options.identity,
            "latent": self.options.latent,
            "shape": self.options.shape,
        }
        loss = torch.stack([weights[name] * value for name, value in losses.items()]).sum()
        step.update(self.optimizers["all"], loss)
        return {name: value.detach() for name, value in losses.items()} | {"loss": loss.detach()}

    def _towards_truth(
        self, known: Mapping[str, Tensor], batch: Batch, step: Step
    ) -> Mapping[str, Tensor]:
        """One batch of pairs whose true swap is known."""
        rows, options = batch["index"], self.options
        mixed = self.network(known["source"][rows], known["pictures"][rows])
        losses = {"truth": functional.mse_loss(mixed, known["truth"][rows])}
        if (step.index + 1) % options.picture_every == 0:
            with step.autocast():
                picture = self.generator.synthesis(mixed, noise="fixed").float()
            losses["identity"] = identity_distance(self.embedder, picture, batch["source"])
            # Labels are the target's: its mouth and eyes are nearly where those of the true swap are.
            weight = on_features(batch, options.features)
            losses["picture"] = pyramid(picture, batch["truth"], weight=weight)
        weights = {
            "truth": options.truth,
            "identity": options.identity,
            "picture": options.picture,
        }
        loss = torch.stack([weights[name] * value for name, value in losses.items()]).sum()
        step.update(self.optimizers["all"], loss)
        return {name: value.detach() for name, value in losses.items()} | {"loss": loss.detach()}

    @torch.no_grad()
    def draw(self, count: int, step: Step) -> Pair:
        """Pairs of random people; in some of them both are the same one."""
        z = torch.randn(2, count, self.generator.z_dim, device=step.device)
        same = torch.rand(count, 1, device=step.device) < self.options.same
        z = torch.stack([z[0], torch.where(same, z[0], z[1])])
        cutoff = min(self.options.cutoff, self.generator.num_ws)
        codes = self.generator.mapping(z.flatten(0, 1), self.options.truncation, cutoff)
        with step.autocast():
            pictures = self.generator.synthesis(codes, noise="random").float()
        source, target = codes.float().contiguous().split(count)
        return Pair(source, target, *pictures.split(count))

    @torch.no_grad()
    def encoded(self, encoder: Encoder, pictures: Tensor, step: Step) -> Pair:
        """Pairs of pictures of the data and of their neighbours in the batch."""
        codes = encoder(read_by(encoder, pictures)).float()
        same = torch.rand(len(codes), device=step.device) < self.options.same
        other = torch.arange(len(codes), device=step.device).roll(1)
        rows = torch.where(same, torch.arange(len(codes), device=step.device), other)
        return Pair(codes, codes[rows], pictures, pictures[rows])

    def _shape(self, model: ShapeModel, pair: Pair, picture: Tensor) -> Tensor:
        """Landmarks of the source's shape in the target's pose and expression, against the swap's."""
        with torch.no_grad():
            who = model.coefficients(pair.source_picture).shape
            rest = model.coefficients(pair.target_picture).rest
            wanted = model.landmarks(Coefficients(who, rest))
        return (model(picture) - wanted).abs().mean() * PIXELS

    def pictures(self, batch: Batch) -> Tensor:
        """Rows of source, target and swap."""
        device = batch["pictures"].device
        z = torch.randn(2 * 16, self.generator.z_dim, device=device)
        codes = self.generator.mapping(z, self.options.truncation, self.options.cutoff)
        source, target = codes.split(16)
        mixed = self.averages["mixer"](source, target)
        drawn = [self.generator.synthesis(c) for c in (source, target, mixed)]
        return torch.stack(drawn, 1).flatten(0, 1)

    def exports(self) -> list[Export]:
        """The averaged mixer."""
        config: dict[str, Any] = dataclasses.asdict(self.config)
        summary = f"LatentSwap mixer for {self.config.layers} codes of {self.config.style_dim}"
        return [Export("mixer", "latentswap-mixer", self.averages["mixer"], config, summary)]
