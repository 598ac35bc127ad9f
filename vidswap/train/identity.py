"""An identity embedder: pictures of one person lie close together, others apart.

Source: Deng et al., ArcFace: Additive Angular Margin Loss for Deep Face Recognition, 2019. Unlike the
published network it reads the whole FFHQ-aligned crop, as the embedder of LatentSwap does, and is
trained with AdamW, which needs no schedule on small data. Where parameters of the people are known,
guessing them may speed up the start (``parameters``), which is ours.
"""

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from vidswap.errors import RecipeError
from vidswap.models.irse import ArcFace, ArcFaceConfig
from vidswap.train.augment import augment
from vidswap.train.data import Pictures
from vidswap.train.landmarks import partners
from vidswap.train.method import Batch, Export, Step, average_of, placed
from vidswap.train.optimisers import adamw
from vidswap.train.options import IdentityOptions, TrainRecipe


class MarginHead(nn.Module):
    """Class logits with an additive angular margin on the true class."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(classes, features))

    def forward(self, unit: Tensor, labels: Tensor, scale: float, margin: float) -> Tensor:
        """(B, features) unit vectors, (B,) classes → (B, classes) logits."""
        cosine = functional.linear(unit, functional.normalize(self.weight))
        return with_margin(cosine, labels, scale, margin)


def with_margin(cosine: Tensor, labels: Tensor, scale: float, margin: float) -> Tensor:
    """(B, classes) cosines, (B,) classes → (B, classes) logits, harder for the true class."""
    cosine = cosine.clamp(-1, 1)
    own = cosine.gather(1, labels[:, None])
    sine = (1.0 - own.square()).clamp_min(1e-7).sqrt()
    # cos(θ + m), and its tangent line where θ + m passes π.
    moved = own * math.cos(margin) - sine * math.sin(margin)
    moved = torch.where(own > math.cos(math.pi - margin), moved, own - math.sin(margin) * margin)
    return cosine.scatter(1, labels[:, None], moved) * scale


def _own_parameters(data: Pictures, labels: Tensor) -> Tensor:
    """(N, Q) standardised: the parameters that are the same in all pictures of a person."""
    if not data.has("parameters"):
        raise RecipeError("method.parameters: the data have no parameters", stage="train")
    table = np.asarray(data.arrays["parameters"], np.float32)
    people = labels.numpy()
    first = np.unique(people, return_index=True)[1][people]
    own = (np.abs(table - table[first]).max(0) < 1e-6) & (np.ptp(table, axis=0) > 1e-4)
    chosen = table[:, own]
    return torch.from_numpy((chosen - chosen.mean(0)) / chosen.std(0))


class IdentityTraining:
    """Embedder and margin head; the head is thrown away."""

    columns = ("loss", "accuracy", "parameters")

    def __init__(self, recipe: TrainRecipe, data: Pictures, device: torch.device) -> None:
        if not isinstance(recipe.method, IdentityOptions):
            raise TypeError("not the options of identity")
        if not data.has("identity"):
            raise RecipeError(
                "who is who is not known: data need an array identity.npy, as `vidswap synth faces` "
                "writes, or --data synthetic",
                stage="train",
            )
        options = recipe.method
        self.options = options
        classes, numbers = np.unique(np.asarray(data.arrays["identity"]), return_inverse=True)
        if len(classes) < 2:
            raise RecipeError("all pictures show one person: nothing to tell apart", stage="train")
        self.labels = torch.from_numpy(numbers.reshape(-1).astype(np.int64))
        self.config = ArcFaceConfig(
            recipe.data.size, options.features, options.widths, options.depths
        )
        network = placed(ArcFace(self.config), device)
        self.network = network
        learned = options.centres == "learned"
        self.data = data
        self.partner = None if learned else partners(numbers.reshape(-1), recipe.loop.seed)
        self.head = MarginHead(options.features, len(classes) if learned else 1).to(device)
        self.wanted = _own_parameters(data, self.labels) if options.parameters else None
        width = 1 if self.wanted is None else self.wanted.shape[1]
        self.guess = nn.Linear(options.features, width).to(device)
        self.networks = {"embedder": network, "head": self.head, "guess": self.guess}
        self.averages = {"embedder": average_of(network)}
        self.optimizers = {
            "all": adamw(
                [network, self.head, self.guess], options.learning_rate, options.weight_decay
            )
        }

    def step(self, batch: Batch, step: Step) -> Mapping[str, Tensor]:
        """One batch of the margin loss; the margin grows over the first steps."""
        rows, pictures = batch["index"].cpu(), batch["pictures"]
        if self.partner is not None:
            others = self.partner[rows.numpy()]
            rows = torch.cat([rows, torch.from_numpy(others)])
            seen = self.data.batch(others)["pictures"].to(step.device)
            pictures = torch.cat([pictures, seen])
        with step.autocast():
            raw = self.network.raw(augment(pictures, self.options.augment)).float()
        into = max(0, step.index - self.options.parameters_only)
        ramp = min(1.0, (into + 1) / max(1, self.options.margin_steps))
        labels = self.labels[rows].to(step.device)
        logits, wanted = self._logits(functional.normalize(raw), labels, self.options.margin * ramp)
        loss = functional.cross_entropy(logits, wanted)
        figures: dict[str, Tensor] = {}
        if self.wanted is not None:
            error = functional.mse_loss(self.guess(raw), self.wanted[rows].to(step.device))
            alone = step.index < self.options.parameters_only
            loss = self.options.parameters * error + (0.0 if alone else loss)
            figures["parameters"] = error.detach()
        step.update(self.optimizers["all"], loss)
        hit = (logits.detach().argmax(1) == wanted).float().mean()
        return figures | {"loss": loss.detach(), "accuracy": hit}

    def _logits(self, unit: Tensor, labels: Tensor, margin: float) -> tuple[Tensor, Tensor]:
        """Logits and the true column of each row."""
        if self.partner is None:
            return self.head(unit, labels, self.options.scale, margin), labels
        cosine = unit @ unit.t()
        true = torch.arange(len(unit), device=unit.device).roll(len(unit) // 2)
        # Neither a picture itself nor a third one of the same person counts as somebody else.
        same = labels[:, None] == labels
        same[torch.arange(len(unit), device=unit.device), true] = False
        logits = with_margin(cosine, true, self.options.scale, margin)
        return logits.masked_fill(same, -1e4), true

    def pictures(self, batch: Batch) -> None:
        """Nothing to look at."""

    def exports(self) -> list[Export]:
        """The averaged embedder."""
        config = {
            "size": self.config.size,
            "features": self.config.features,
            "widths": list(self.config.widths),
            "depths": list(self.config.depths),
        }
        summary = f"ArcFace-margin identity embedder of FFHQ crops, {self.config.size} px"
        return [Export("embedder", "irse50", self.averages["embedder"], config, summary)]
