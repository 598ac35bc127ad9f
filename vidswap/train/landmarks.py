"""A landmark model with exchangeable shape, for LatentSwap's shape loss.

What belongs to a person is found without parameters of a face model: two pictures of one person must
give the same landmarks when their shape features are exchanged.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vidswap.errors import RecipeError
from vidswap.models.shape import Coefficients, ShapeConfig, ShapeModel
from vidswap.train.data import Pictures
from vidswap.train.method import Batch, Export, Step, average_of, placed
from vidswap.train.optimisers import adamw
from vidswap.train.options import LandmarksOptions, TrainRecipe


class LandmarksTraining:
    """Regression, and again with the shape features of the same person in another picture."""

    columns = ("loss", "own", "exchanged", "error")

    def __init__(self, recipe: TrainRecipe, data: Pictures, device: torch.device) -> None:
        if not isinstance(recipe.method, LandmarksOptions):
            raise TypeError("not the options of landmarks")
        if not data.has("landmarks") or not data.has("identity"):
            raise RecipeError(
                "data need landmarks and who is who: arrays landmarks.npy (N, K, 2) in pixels and "
                "identity.npy, as `vidswap synth faces` writes, or --data synthetic",
                stage="train",
            )
        if recipe.data.mirror:
            raise RecipeError("data.mirror: the landmarks would not be mirrored", stage="train")
        options, table = recipe.method, data.arrays["landmarks"]
        self.data, self.size = data, recipe.data.size
        self.partner = partners(np.asarray(data.arrays["identity"]), recipe.loop.seed)
        self.config = ShapeConfig(
            recipe.data.size,
            table.shape[1],
            options.shape,
            options.rest,
            widths=options.widths,
            depths=options.depths,
        )
        network = placed(ShapeModel(self.config), device)
        mean = np.asarray(table[:20_000, :, :2], np.float32).mean(0) / self.size
        network.mean.copy_(torch.from_numpy(mean))
        self.network = network
        self.networks = {"landmarks": network}
        self.averages = {"landmarks": average_of(network)}
        self.optimizers = {"all": adamw([network], options.learning_rate, options.weight_decay)}

    def step(self, batch: Batch, step: Step) -> Mapping[str, Tensor]:
        """One batch and, for each picture, another one of the same person."""
        other = self.data.batch(self.partner[batch["index"].cpu().numpy()])
        pictures = torch.cat([batch["pictures"], other["pictures"].to(step.device)])
        wanted = torch.cat([batch["landmarks"], other["landmarks"].to(step.device)])[..., :2]
        with step.autocast():
            found = self.network.coefficients(pictures)
        shape, rest = found.shape.float(), found.rest.float()
        own = self.network.landmarks(Coefficients(shape, rest))
        swapped = self.network.landmarks(Coefficients(shape.roll(len(shape) // 2, 0), rest))
        target = wanted / self.size
        losses = {"own": _l1(own, target), "exchanged": _l1(swapped, target)}
        loss = losses["own"] + losses["exchanged"]
        step.update(self.optimizers["all"], loss)
        error = (own.detach() - target).square().sum(-1).sqrt().mean() * self.size
        figures = {name: value.detach() for name, value in losses.items()}
        return figures | {"loss": loss.detach(), "error": error}

    def pictures(self, batch: Batch) -> Tensor:
        """Pictures with the landmarks that were found in white, the true ones in green."""
        pictures = batch["pictures"].clone()
        found = self.averages["landmarks"](pictures) * self.size
        for points, colour in ((batch["landmarks"], (-1.0, 1.0, -1.0)), (found, (1.0, 1.0, 1.0))):
            at = points[..., :2].floor().long().clamp(0, self.size - 1)
            rows = torch.arange(len(pictures), device=at.device)[:, None]
            for channel, value in enumerate(colour):
                pictures[rows, channel, at[..., 1], at[..., 0]] = value
        return pictures

    def exports(self) -> list[Export]:
        """The averaged model."""
        config = dataclasses.asdict(self.config)
        summary = f"Landmarks with exchangeable shape, {self.config.size} px"
        return [Export("model", "shape-model", self.averages["landmarks"], config, summary)]


def _l1(found: Tensor, wanted: Tensor) -> Tensor:
    return (found - wanted).abs().mean() * 10.0


def partners(identity: NDArray[Any], seed: int) -> NDArray[np.int64]:
    """For each row another row of the same person, itself where there is none; (N,) int64."""
    order = np.random.default_rng(seed).permutation(len(identity))
    by_person = order[np.argsort(identity[order].reshape(-1), kind="stable")]
    people = identity[by_person].reshape(-1)
    starts = np.flatnonzero(np.r_[True, people[1:] != people[:-1]])
    ends = np.r_[starts[1:], len(people)]
    following = np.arange(1, len(people) + 1)
    following[ends - 1] = starts
    result = np.empty(len(identity), np.int64)
    result[by_person] = by_person[following]
    return result
