"""A face parser: label maps of 12 or 19 classes.

Source: Yu et al., BiSeNet, 2018, with the three weighted heads and the hard-pixel loss of
zllrunning/face-parsing.PyTorch.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from vidswap.errors import RecipeError
from vidswap.models.bisenet import BiSeNet, BiSeNetConfig, normalise
from vidswap.train.data import Pictures
from vidswap.train.method import Batch, Export, Step, average_of, placed
from vidswap.train.optimisers import adamw
from vidswap.train.options import ParserOptions, TrainRecipe


class ParserTraining:
    """Pixel-wise classification."""

    columns = ("loss", "accuracy", "iou")

    def __init__(self, recipe: TrainRecipe, data: Pictures, device: torch.device) -> None:
        if not isinstance(recipe.method, ParserOptions):
            raise TypeError("not the options of parser")
        if not data.has("labels"):
            raise RecipeError(
                "label maps are not known: data need an array labels.npy (N, S, S), as `vidswap "
                "synth faces` writes, or --data synthetic",
                stage="train",
            )
        if recipe.data.mirror:
            raise RecipeError(
                "data.mirror: labels of left and right would be exchanged", stage="train"
            )
        options = recipe.method
        self.options = options
        self.config = BiSeNetConfig(options.classes, options.input_size, options.width)
        network = placed(BiSeNet(self.config), device)
        self.network = network
        self.networks = {"parser": network}
        self.averages = {"parser": average_of(network)}
        self.optimizers = {"all": adamw([network], options.learning_rate, options.weight_decay)}

    def step(self, batch: Batch, step: Step) -> Mapping[str, Tensor]:
        """One batch of the three heads."""
        labels = batch["labels"]
        if int(labels.max()) >= self.options.classes:
            raise RecipeError(
                f"method.classes: a label is {int(labels.max())}, classes are "
                f"{self.options.classes}",
                stage="train",
            )
        with step.autocast():
            heads = self.network.heads(self.prepared(batch["pictures"]))
        wanted = labels.shape[-2:]
        sized = [_resized(logits.float(), wanted) for logits in heads]
        loss = torch.stack([hard_pixels(x, labels) for x in sized]).sum()
        step.update(self.optimizers["all"], loss)
        guess = sized[0].detach().argmax(1)
        return {
            "loss": loss.detach(),
            "accuracy": (guess == labels).float().mean(),
            "iou": mean_iou(guess, labels, self.options.classes),
        }

    def prepared(self, pictures: Tensor) -> Tensor:
        """(B, 3, S, S) in [-1, 1] → what the parser reads."""
        return prepare(pictures, self.options.input_size)

    def pictures(self, batch: Batch) -> Tensor:
        """Pictures, guessed and true label maps."""
        network = self.averages["parser"]
        guess = network(self.prepared(batch["pictures"])).argmax(1)
        size = batch["pictures"].shape[-1]
        maps = [
            functional.interpolate(_coloured(m), (size, size), mode="nearest")
            for m in (guess, batch["labels"])
        ]
        return torch.stack([batch["pictures"], *maps], 1).flatten(0, 1)

    def exports(self) -> list[Export]:
        """The averaged parser."""
        config = {
            "classes": self.config.classes,
            "size": self.config.size,
            "width": self.config.width,
        }
        summary = f"BiSeNet face parser, {self.config.classes} classes, reads {self.config.size} px"
        return [Export("parser", "bisenet", self.averages["parser"], config, summary)]


def prepare(pictures: Tensor, size: int) -> Tensor:
    """Pictures (B, 3, S, S) in [-1, 1], resized and normalised as the parser expects."""
    small = functional.interpolate(pictures, (size, size), mode="bilinear", align_corners=False)
    return normalise(small * 0.5 + 0.5).contiguous(memory_format=torch.channels_last)


def hard_pixels(logits: Tensor, labels: Tensor, threshold: float = 0.7) -> Tensor:
    """Cross entropy of the pixels that are not yet sure, at least a sixteenth of all.

    Args:
        logits: (B, classes, H, W)
        labels: (B, H, W)
        threshold: Probability of the true class from which a pixel counts as sure.
    """
    each = functional.cross_entropy(logits, labels, reduction="none").flatten()
    hardest = each.sort(descending=True).values
    least = max(1, len(each) // 16)
    bound = -math.log(threshold)
    kept = hardest[hardest > bound] if bool(hardest[least - 1] > bound) else hardest[:least]
    return kept.mean()


def mean_iou(guess: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Mean intersection over union of the classes that occur."""
    joint = torch.bincount((labels * classes + guess).flatten(), minlength=classes**2)
    joint = joint.view(classes, classes).float()
    both = joint.diagonal()
    either = joint.sum(0) + joint.sum(1) - both
    return (both[either > 0] / either[either > 0]).mean()


def _resized(logits: Tensor, size: torch.Size) -> Tensor:
    if logits.shape[-2:] == size:
        return logits
    return functional.interpolate(logits, tuple(size), mode="bilinear", align_corners=False)


def _coloured(labels: Tensor) -> Tensor:
    """(B, H, W) → (B, 3, H, W) in [-1, 1], a colour for each class."""
    turns = labels.float()[:, None] * 0.61803 % 1.0
    shifts = labels.new_tensor([0.0, 1 / 3, 2 / 3], dtype=torch.float32).view(1, 3, 1, 1)
    return torch.where(labels[:, None] > 0, torch.cos((turns + shifts) * 2 * math.pi), -1.0)
