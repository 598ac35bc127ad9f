"""Face crops → latent codes with an encoder: one pass of a network, no optimisation.

Source: Tov et al., Designing an Encoder for StyleGAN Image Manipulation, 2021 (e4e); Richardson et
al., Encoding in Style, 2021 (pSp).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from vidswap import zoo
from vidswap.checks import check_shape
from vidswap.errors import WeightsError
from vidswap.models.e4e import Autoencoder, Encoder
from vidswap.weights.cache import Store

STAGE = "invert"


class Inverter(Protocol):
    """What turns pictures into codes, whatever the method."""

    @property
    def name(self) -> str:
        """Method, for reports."""
        ...

    @property
    def num_ws(self) -> int:
        """Codes of one picture."""
        ...

    @property
    def style_dim(self) -> int:
        """Features of one code."""
        ...

    def invert(self, crops: Tensor) -> Tensor:
        """(B, 3, S, S) FFHQ crops in [-1, 1] → (B, num_ws, style_dim), detached."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class EncoderInverter:
    """e4e or pSp in evaluation mode, in batches.

    Attributes:
        encoder: The network; its kind and input size are in its configuration.
        batch: Crops per call of the network.
        run: Takes the network's place, such as its compiled form.
    """

    encoder: Encoder
    batch: int = 8
    run: Callable[[Tensor], Tensor] | None = None

    def __post_init__(self) -> None:
        """Freeze the network."""
        if self.batch < 1:
            raise ValueError(f"batch must be at least 1, got {self.batch}")
        self.encoder.eval().requires_grad_(False)

    @classmethod
    def named(
        cls, name: str, store: Store | None = None, *, device: str = "cpu"
    ) -> "EncoderInverter":
        """The encoder of a checkpoint, from the weights folder.

        Raises:
            WeightsError: Not there, damaged, or no encoder in it.
        """
        return cls(encoder_of(zoo.load_named(name, store), name).to(device))

    @property
    def name(self) -> str:
        """Kind of the encoder."""
        return "e4e" if self.encoder.config.encoder_type == "Encoder4Editing" else "pSp"

    @property
    def num_ws(self) -> int:
        """Codes of one picture."""
        return self.encoder.config.num_ws

    @property
    def style_dim(self) -> int:
        """Features of one code."""
        return self.encoder.config.style_dim

    @property
    def input_size(self) -> int:
        """Side of the crops the network reads; others are resized."""
        return self.encoder.config.input_size

    @torch.no_grad()
    def invert(self, crops: Tensor) -> Tensor:
        """Codes of face crops, the mean code of the encoder's generator included.

        Args:
            crops: (B, 3, S, S) FFHQ crops in [-1, 1], any side and device.

        Returns:
            (B, num_ws, style_dim) float32 on the device of the crops.
        """
        check_shape("B 3 S S", crops=crops)
        weight, run = self.encoder.latent_avg, self.run or self.encoder
        parts = [
            run(resized(part.to(weight), self.input_size))
            for part in torch.split(crops, self.batch)
        ]
        codes = torch.cat(parts) if parts else weight.new_empty(0, self.num_ws, self.style_dim)
        return codes.float().to(crops.device)


def encoder_of(network: nn.Module, name: str = "encoder") -> Encoder:
    """The encoder of a loaded checkpoint: itself, or half of an autoencoder.

    Raises:
        WeightsError: Another kind of network.
    """
    found = network.encoder if isinstance(network, Autoencoder) else network
    if not isinstance(found, Encoder):
        kind = type(network).__name__
        raise WeightsError(f"{name} is a {kind}; expected an e4e or pSp encoder", stage=STAGE)
    return found


def resized(pictures: Tensor, size: int) -> Tensor:
    """(B, C, S, S) at another side, band-limited, as the published inference resizes."""
    if pictures.shape[-1] == size:
        return pictures
    return functional.interpolate(
        pictures, size=(size, size), mode="bilinear", align_corners=False, antialias=True
    )
