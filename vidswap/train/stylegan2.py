"""StyleGAN2.

Source: Karras et al., Analyzing and Improving the Image Quality of StyleGAN, 2020; hyper-parameters of
the published configuration are the defaults of the options.

With data whose parameters are known, training may start supervised: see ``StyleGAN2Options`` and
``vidswap.train.codes``. That start is ours. It replaces most of the pictures an adversarial training
needs to find out what a head is, which is what makes training on a CPU possible.
"""

import copy
import dataclasses
import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from vidswap.errors import RecipeError
from vidswap.models.discriminator import Discriminator, DiscriminatorConfig
from vidswap.models.irse import ArcFace
from vidswap.models.stylegan2 import StyleGAN2, StyleGAN2Config
from vidswap.train.codes import codes_of
from vidswap.train.data import Pictures
from vidswap.train.frozen import frozen
from vidswap.train.losses import (
    discriminator_features,
    feature_distance,
    gradient_penalty,
    identity_distance,
    pyramid,
)
from vidswap.train.method import Batch, Export, Step, average_of, placed
from vidswap.train.options import StyleGAN2Options, TrainRecipe

MEAN_DECAY = 0.99
"""Of the running mean path length."""


class StyleGAN2Training:
    """Generator against discriminator."""

    columns = (
        "picture",
        "generator",
        "discriminator",
        "real",
        "fake",
        "features",
        "identity",
        "r1",
        "path",
    )

    def __init__(self, recipe: TrainRecipe, data: Pictures, device: torch.device) -> None:
        if not isinstance(recipe.method, StyleGAN2Options):
            raise TypeError("not the options of stylegan2")
        options = recipe.method
        self.options = options
        self.config = StyleGAN2Config(
            recipe.data.size,
            options.z_dim,
            options.style_dim,
            options.mapping_layers,
            options.channel_multiplier,
            options.channel_max,
        )
        self.codes = self._codes(data, recipe)
        generator = placed(StyleGAN2(self.config), device)
        # The running mean path length is part of the state: kept as a buffer, it is saved.
        generator.register_buffer("path_mean", torch.zeros((), device=device))
        discriminator = placed(
            Discriminator(
                DiscriminatorConfig(
                    recipe.data.size,
                    options.channel_multiplier,
                    options.channel_max,
                    _group(recipe),
                )
            ),
            device,
        )
        self.generator, self.discriminator = generator, discriminator
        self.embedder = (
            frozen(options.embedder, ArcFace, device, "method.embedder")
            if options.identity
            else None
        )
        self.networks = {"generator": generator, "discriminator": discriminator}
        self.averages = {"generator": average_of(generator)}
        self.average = self.averages["generator"]
        self.optimizers = {
            "generator": _adam(
                [
                    {"params": list(generator.synthesis.parameters())},
                    {
                        "params": list(generator.mapping.parameters()),
                        "lr": options.learning_rate * options.mapping_rate,
                    },
                ],
                options.learning_rate,
                options.path_every if options.path_length else 0,
            ),
            "discriminator": _adam(
                [{"params": list(discriminator.parameters())}],
                options.learning_rate,
                options.r1_every,
            ),
        }

    def _codes(self, data: Pictures, recipe: TrainRecipe) -> Tensor | None:
        options = self.options
        aims = (options.supervised, options.features, options.identity)
        if not (options.supervised_steps or any(aims)):
            return None
        if not data.has("parameters"):
            raise RecipeError(
                "a supervised start needs data with parameters, such as --data synthetic",
                stage="train",
                hint="--set method.supervised_steps=0 --set method.supervised=0.0 "
                "--set method.features=0.0 trains without",
            )
        if recipe.data.mirror:
            raise RecipeError("data.mirror: mirrored pictures do not fit their parameters")
        table = data.arrays["parameters"]
        return torch.from_numpy(codes_of(table, options.z_dim, recipe.loop.seed))

    def step(self, batch: Batch, step: Step) -> Mapping[str, Tensor]:
        """One batch: only the generator while the start is supervised, else both networks."""
        real = batch["pictures"]
        with step.autocast():
            fake = self.generator.synthesis(self._styles(batch, step), noise="random").float()
        if step.index < self.options.supervised_steps:
            loss = pyramid(fake, real, weight=self._weight(batch))
            self._hasten()
            step.update(self.optimizers["generator"], loss)
            return {"picture": loss.detach()}
        for group in self.optimizers["generator"].param_groups:
            group["betas"] = (0.0, group["betas"][1])
        figures = self._judge(real, fake.detach(), step)
        figures |= self._deceive(real, fake, self._weight(batch), step)
        if self.options.r1 and step.index % self.options.r1_every == 0:
            figures["r1"] = self._regularise_discriminator(real, step)
        if self.options.path_length and step.index % self.options.path_every == 0:
            figures["path"] = self._regularise_generator(len(real), step)
        return figures

    def _hasten(self) -> None:
        """Settings of a regression, for this step; the loop sets the rates anew in each."""
        for group in self.optimizers["generator"].param_groups:
            group["lr"] *= self.options.supervised_rate
            group["betas"] = (0.9, group["betas"][1])

    def _weight(self, batch: Batch) -> Tensor | None:
        """(B, 1, S, S) of pixels in the picture loss, mean one; None where all count alike."""
        if self.options.background == 1.0 or "labels" not in batch:
            return None
        weight = torch.where(batch["labels"] == 0, self.options.background, 1.0)[:, None]
        return weight / weight.mean()

    def _styles(self, batch: Batch, step: Step) -> Tensor:
        rows = batch["index"]
        if self.codes is not None:
            return self.generator.mapping(self.codes[rows.cpu()].to(step.device))
        z = torch.randn(len(rows), self.config.z_dim, device=step.device)
        return self._mixed(self.generator.mapping(z))

    def _mixed(self, ws: Tensor) -> Tensor:
        """Style mixing: from a random layer on, some samples take the codes of another z."""
        if not self.options.mixing:
            return ws
        other = self.generator.mapping(torch.randn(len(ws), self.config.z_dim, device=ws.device))
        layers = torch.arange(ws.shape[1], device=ws.device)
        cut = torch.randint(1, ws.shape[1], (len(ws), 1), device=ws.device)
        mixed = torch.rand(len(ws), 1, device=ws.device) < self.options.mixing
        return torch.where((mixed & (layers >= cut))[..., None], other, ws)

    def _judge(self, real: Tensor, fake: Tensor, step: Step) -> dict[str, Tensor]:
        with step.autocast():
            on_fake = self.discriminator(fake).float()
            on_real = self.discriminator(real).float()
        loss = functional.softplus(on_fake).mean() + functional.softplus(-on_real).mean()
        step.update(self.optimizers["discriminator"], loss)
        return {
            "discriminator": loss.detach(),
            "real": on_real.detach().mean(),
            "fake": on_fake.detach().mean(),
        }

    def _deceive(
        self, real: Tensor, fake: Tensor, weight: Tensor | None, step: Step
    ) -> dict[str, Tensor]:
        self.discriminator.requires_grad_(False)
        with step.autocast():
            maps, logits = discriminator_features(self.discriminator, fake)
        loss = functional.softplus(-logits.float()).mean()
        figures = {"generator": loss.detach()}
        if self.options.supervised:
            picture = pyramid(fake, real, weight=weight)
            loss = loss + self.options.supervised * picture
            figures["picture"] = picture.detach()
        if self.options.features:
            with torch.no_grad(), step.autocast():
                wanted, _ = discriminator_features(self.discriminator, real)
            distance = feature_distance(maps, wanted)
            loss = loss + self.options.features * distance
            figures["features"] = distance.detach()
        if self.embedder is not None:
            distance = identity_distance(self.embedder, fake, real)
            loss = loss + self.options.identity * distance
            figures["identity"] = distance.detach()
        step.update(self.optimizers["generator"], loss)
        self.discriminator.requires_grad_(True)
        return figures

    def _regularise_discriminator(self, real: Tensor, step: Step) -> Tensor:
        penalty = gradient_penalty(self.discriminator, real)
        weight = 0.5 * self.options.r1 * self.options.r1_every
        step.update(self.optimizers["discriminator"], penalty * weight)
        return penalty.detach()

    def _regularise_generator(self, batch: int, step: Step) -> Tensor:
        """Path length, on half the batch as published (section 3.2 and appendix B)."""
        z = torch.randn(max(1, batch // 2), self.config.z_dim, device=step.device)
        ws = self._mixed(self.generator.mapping(z))
        fake = self.generator.synthesis(ws, noise="random")
        noise = torch.randn_like(fake) / math.sqrt(fake.shape[2] * fake.shape[3])
        (gradient,) = torch.autograd.grad((fake * noise).sum(), ws, create_graph=True)
        lengths = gradient.square().sum(2).mean(1).sqrt()
        mean = self.generator.get_buffer("path_mean")
        mean.copy_(mean.lerp(lengths.detach().mean(), 1 - MEAN_DECAY))
        penalty = (lengths - mean).square().mean()
        weight = self.options.path_length * self.options.path_every
        step.update(self.optimizers["generator"], penalty * weight)
        return penalty.detach()

    def pictures(self, batch: Batch) -> Tensor:
        """64 samples; with a supervised start 16 pairs of drawn and true pictures instead."""
        if self.codes is None:
            z = torch.randn(64, self.config.z_dim, device=batch["pictures"].device)
            drawn: Tensor = self.average(z)
            return drawn
        codes = self.codes[batch["index"].cpu()].to(batch["pictures"].device)
        pairs = torch.stack([self.average(codes), batch["pictures"]], dim=1)
        z = torch.randn(32, self.config.z_dim, device=batch["pictures"].device)
        return torch.cat([pairs.flatten(0, 1), self.average(z)])

    def exports(self) -> list[Export]:
        """The averaged generator, its mean code measured afresh."""
        network = copy.deepcopy(self.average).eval()
        del network.path_mean
        with torch.no_grad():
            network.mapping.w_avg.copy_(network.mapping.mean())
        config = dataclasses.asdict(self.config)
        summary = f"StyleGAN2 generator, {self.config.size} px"
        return [Export("generator", "stylegan2-generator", network, config, summary)]


def _group(recipe: TrainRecipe) -> int:
    """The published group of four, or what divides a smaller batch."""
    return math.gcd(4, recipe.loop.batch)


def _adam(groups: list[dict[str, object]], rate: float, every: int) -> torch.optim.Adam:
    """Adam (0, .99), its constants corrected for lazy regularisation (appendix B)."""
    ratio = every / (every + 1) if every else 1.0
    for group in groups:
        group["lr"] = float(group.get("lr", rate)) * ratio  # type: ignore[arg-type]
    return torch.optim.Adam(groups, lr=rate * ratio, betas=(0.0, 0.99**ratio), eps=1e-8)
