"""An encoder: pictures → W+ codes of a generator that is already trained.

Source: Tov et al., Designing an Encoder for StyleGAN Image Manipulation, 2021. The published latent
discriminator is left out; the offsets' penalty and the progressive schedule, which keep codes
editable too, are there. With ``codes`` above zero the encoder also learns from pictures whose codes
are known: generated ones, or those that the generator's supervised start tied to a z.
"""

import dataclasses
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from vidswap.errors import RecipeError
from vidswap.models.e4e import Encoder, EncoderConfig
from vidswap.models.irse import ArcFace
from vidswap.models.lpips import LPIPS
from vidswap.models.stylegan2 import StyleGAN2
from vidswap.train.codes import codes_of
from vidswap.train.data import Pictures
from vidswap.train.frozen import frozen
from vidswap.train.losses import identity_distance, on_features, pyramid
from vidswap.train.method import Batch, Export, Step, average_of, placed
from vidswap.train.optimisers import adamw
from vidswap.train.options import EncoderOptions, TrainRecipe


class EncoderTraining:
    """Encoder in front of a frozen generator."""

    columns = ("loss", "l2", "perceptual", "identity", "delta", "codes", "keep", "stage")

    def __init__(self, recipe: TrainRecipe, data: Pictures, device: torch.device) -> None:
        if not isinstance(recipe.method, EncoderOptions):
            raise TypeError("not the options of encoder")
        options = recipe.method
        self.options = options
        self.generator = frozen(options.generator, StyleGAN2, device, "method.generator")
        if self.generator.size != recipe.data.size:
            raise RecipeError(
                f"data.size is {recipe.data.size}, the generator draws {self.generator.size} px",
                stage="train",
            )
        self.embedder = (
            frozen(options.embedder, ArcFace, device, "method.embedder")
            if options.embedder
            else None
        )
        self.lpips = (
            frozen(options.lpips, LPIPS, device, "method.lpips")
            if options.perceptual and options.perceptual_model == "lpips"
            else None
        )
        self.known = self._known(data, recipe)
        shape = self.generator.config
        self.config = EncoderConfig(
            shape.size,
            channel_multiplier=shape.channel_multiplier,
            channel_max=shape.channel_max,
            style_dim=shape.style_dim,
            mapping_layers=shape.mapping_layers,
            input_size=options.input_size,
            widths=options.widths,
            depths=options.depths,
        )
        network = placed(Encoder(self.config), device)
        network.latent_avg.copy_(self.generator.mapping.w_avg.expand_as(network.latent_avg))
        if options.start:
            begun = frozen(options.start, Encoder, device, "method.start")
            network.load_state_dict(begun.state_dict())
        self.network = network
        self.networks: dict[str, nn.Module] = {"encoder": network}
        self.optimizers = {"all": adamw([network], options.learning_rate, 0.0)}
        self.drawn_before: StyleGAN2 | None = None
        if options.generator_rate:
            self._learn_on(device)
        self.averages = {name: average_of(one) for name, one in self.networks.items()}

    def _learn_on(self, device: torch.device) -> None:
        """Train the generator's synthesis too; the mapping and with it all codes stay what they were."""
        self.drawn_before = self.generator
        self.generator = placed(StyleGAN2(self.generator.config), device)
        self.generator.load_state_dict(self.drawn_before.state_dict())
        self.generator.mapping.requires_grad_(False)
        self.networks["generator"] = self.generator
        rate = self.options.learning_rate * self.options.generator_rate
        for group in adamw([self.generator.synthesis], rate, 0.0).param_groups:
            self.optimizers["all"].add_param_group(group)

    def _known(self, data: Pictures, recipe: TrainRecipe) -> Tensor | None:
        """(N, z_dim) of the data, by the generator's own map from parameters."""
        if not self.options.codes or self.options.known == "generated":
            return None
        if not data.has("parameters"):
            raise RecipeError("method.known: the data have no parameters", stage="train")
        data.unmirrored("method.known")
        table = data.arrays["parameters"]
        return torch.from_numpy(codes_of(table, self.generator.z_dim, recipe.loop.seed))

    def stage(self, index: int) -> int:
        """How many codes have offsets of their own in a step."""
        into = index - self.options.progressive_start
        own = 0 if into < 0 else 1 + into // self.options.progressive_every
        return min(own, self.config.num_ws - 1)

    def step(self, batch: Batch, step: Step) -> Mapping[str, Tensor]:
        """One batch of pictures, and one of generated ones where codes count."""
        pictures, stage = batch["pictures"], self.stage(step.index)
        figures: dict[str, Tensor] = {"stage": torch.tensor(float(stage))}
        with step.autocast():
            codes = self.network(read_by(self.network, pictures), stage)
            drawn = self.generator.synthesis(codes, noise="fixed").float()
        losses = self._compare(drawn, pictures, on_features(batch, self.options.features))
        if self.embedder is not None and self.options.identity and self._people_in(step):
            losses["identity"] = identity_distance(self.embedder, drawn, pictures)
        offsets = codes.float()[:, 1:] - codes.float()[:, :1]
        losses["delta"] = offsets.square().sum(2).add(1e-12).sqrt().mean()
        if self.options.codes:
            losses["codes"] = (
                self._generated(len(pictures), stage, step)
                if self.known is None
                else functional.mse_loss(codes.float(), self._wanted(batch, step))
            )
        if self.drawn_before is not None and (step.index + 1) % self.options.keep_every == 0:
            losses["keep"] = self._kept(self.drawn_before, len(pictures), step)
        weights = {
            "keep": self.options.keep,
            "l2": self.options.l2,
            "perceptual": self.options.perceptual,
            "identity": self.options.identity,
            "delta": self.options.delta,
            "codes": self.options.codes,
        }
        loss = torch.stack([weights[name] * value for name, value in losses.items()]).sum()
        step.update(self.optimizers["all"], loss)
        figures |= {name: value.detach() for name, value in losses.items()}
        return figures | {"loss": loss.detach()}

    def _compare(self, drawn: Tensor, pictures: Tensor, weight: Tensor | None) -> dict[str, Tensor]:
        squares = (drawn - pictures).square()
        losses = {"l2": (squares if weight is None else squares * weight).mean()}
        if self.options.perceptual:
            losses["perceptual"] = (
                pyramid(drawn, pictures, weight=weight)
                if self.lpips is None
                else self.lpips(drawn, pictures).mean()
            )
        return losses

    def _people_in(self, step: Step) -> bool:
        return (step.index + 1) % self.options.identity_every == 0

    @torch.no_grad()
    def _wanted(self, batch: Batch, step: Step) -> Tensor:
        assert self.known is not None
        return self.generator.mapping(self.known[batch["index"].cpu()].to(step.device)).float()

    def _kept(self, before: StyleGAN2, count: int, step: Step) -> Tensor:
        """Distance to what random codes looked like before."""
        with torch.no_grad(), step.autocast():
            z = torch.randn(count, before.z_dim, device=step.device)
            codes = before.mapping(z)
            wanted = before.synthesis(codes, noise="fixed").float()
        with step.autocast():
            drawn = self.generator.synthesis(codes, noise="fixed").float()
        return pyramid(drawn, wanted)

    def _generated(self, count: int, stage: int, step: Step) -> Tensor:
        with torch.no_grad(), step.autocast():
            z = torch.randn(count, self.generator.z_dim, device=step.device)
            wanted = self.generator.mapping(z)
            drawn = self.generator.synthesis(wanted, noise="random").clamp(-1, 1).float()
        with step.autocast():
            found = self.network(read_by(self.network, drawn), stage)
        return functional.mse_loss(found.float(), wanted.float())

    def pictures(self, batch: Batch) -> Tensor:
        """Pairs of true and encoded pictures."""
        codes = self.averages["encoder"](read_by(self.network, batch["pictures"]))
        generator = self.averages.get("generator", self.generator)
        drawn = generator.get_submodule("synthesis")(codes)
        return torch.stack([batch["pictures"], drawn], 1).flatten(0, 1)

    def exports(self) -> list[Export]:
        """The averaged encoder, and the generator where it has learned on."""
        summary = f"e4e-style encoder into a {self.config.size} px StyleGAN2"
        config = dataclasses.asdict(self.config)
        found = [Export("encoder", "e4e-encoder", self.averages["encoder"], config, summary)]
        if self.drawn_before is not None:
            summary = f"{self.generator.size} px StyleGAN2, learned on beside an encoder"
            config = dataclasses.asdict(self.generator.config)
            found.append(
                Export(
                    "generator", "stylegan2-generator", self.averages["generator"], config, summary
                )
            )
        return found


def read_by(encoder: Encoder, pictures: Tensor) -> Tensor:
    """Pictures at the size that an encoder reads."""
    side = encoder.config.input_size
    if pictures.shape[-1] == side:
        return pictures
    return functional.interpolate(
        pictures, (side, side), mode="bilinear", antialias=True, align_corners=False
    )
