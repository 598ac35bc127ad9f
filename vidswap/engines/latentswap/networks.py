"""The three networks of LatentSwap: found and checked at once, read when they are first needed."""

import json
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vidswap import schema, zoo
from vidswap.errors import WeightsError
from vidswap.latents.encode import EncoderInverter, encoder_of
from vidswap.models.compiled import Compiled, channels_last
from vidswap.models.e4e import Autoencoder, Encoder
from vidswap.models.latentswap import LatentMixer
from vidswap.models.layers import freeze
from vidswap.models.stylegan2 import StyleGAN2
from vidswap.models.winograd import accelerate
from vidswap.types import F32, U8
from vidswap.weights import formats, manifest
from vidswap.weights.cache import Store, hash_file

STAGE = "weights"
TUNED = 2
"""Tuned generators kept in memory: faces of so many tracks alternate within a scene."""
TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, slots=True)
class Shape:
    """What must agree between the networks."""

    layers: int
    width: int
    """Features of a code."""
    size: int
    """Side of the picture that is generated, or of the one that is read."""


def find(names: dict[str, str], store: Store) -> dict[str, Path]:
    """Files of the checkpoints, by the place they take.

    Raises:
        WeightsError: Some are not here: names every one, and how to get it.
    """
    found, missing = {}, {}
    for role, name in names.items():
        path = store.ready(_known(role, name, store))
        if path is None:
            missing[role] = name
        else:
            found[role] = path
    if missing:
        lines = ", ".join(f"engine.{role} = {name}" for role, name in missing.items())
        fetch = "; ".join(f"vidswap weights fetch {n}" for n in dict.fromkeys(missing.values()))
        raise WeightsError(
            f"weights that the pipeline needs are not here: {lines}",
            path=store.root,
            stage=STAGE,
            hint=f"{fetch}; a file that you have: vidswap weights add FILE",
        )
    return found


def _known(role: str, name: str, store: Store) -> str:
    try:
        return manifest.get(name, store.root).name
    except WeightsError as error:
        hint = f"{error.hint}; vidswap weights add FILE --as {name} adds a file of your own"
        message = f"engine.{role}: {error.message}"
        raise WeightsError(message, stage=STAGE, hint=hint) from None


def part(role: str, network: nn.Module) -> nn.Module | None:
    """The part of a checkpoint's network that can take a place; None where none can."""
    if role == "mixer":
        return network if isinstance(network, LatentMixer) else None
    if isinstance(network, Autoencoder):
        return network.encoder if role == "encoder" else network.decoder
    makes_pictures = hasattr(network, "synthesis")
    if role == "generator":
        return network if makes_pictures else None
    return network if isinstance(network, Encoder) else None


def shape(role: str, network: Any) -> Shape:
    """Numbers of a network in its place."""
    config = network.config
    if role == "mixer":
        return Shape(config.layers, config.style_dim, 0)
    if role == "encoder":
        return Shape(config.num_ws, config.style_dim, config.input_size)
    return Shape(network.num_ws, network.style_dim, network.size)


@dataclass
class Networks:
    """Generator, encoder and mixer that fit each other.

    Args:
        names: Checkpoints by place: ``generator``, ``encoder``, ``mixer``.
        device: Where they run.
        precision: Arithmetic: ``fp32``, ``bf16`` or ``fp16``.
        store: The weights folder; the user's by default.
        compiled: Faces at once that generator and encoder are compiled for; 0 does not compile them.
            Tuned generators serve one track each and are never compiled.
        winograd: Convolve on the CPU by minimal filtering where that is quicker.

    Raises:
        WeightsError: Missing, of the wrong kind, or made for other codes.
    """

    names: dict[str, str]
    device: str = "cpu"
    precision: str = "fp32"
    store: Store = field(default_factory=Store.default)
    compiled: int = 0
    winograd: bool = False
    _tuned: dict[Path, nn.Module] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        """Find the files and compare what they hold; no tensor is read."""
        self._paths = find(self.names, self.store)
        self.shapes = {role: self._outline(role) for role in self.names}
        mixer, others = self.shapes["mixer"], ("generator", "encoder")
        for role in others:
            if self.shapes[role].layers != mixer.layers or self.shapes[role].width != mixer.width:
                have = f"{self.shapes[role].layers} × {self.shapes[role].width}"
                raise WeightsError(
                    f"{self.names['mixer']} mixes {mixer.layers} × {mixer.width} codes, but "
                    f"{role} {self.names[role]} has {have}",
                    stage=STAGE,
                    hint="choose engine.generator, engine.encoder and engine.mixer of one family",
                )

    @property
    def layers(self) -> int:
        """Codes of one picture."""
        return self.shapes["mixer"].layers

    @property
    def input_size(self) -> int:
        """Side of the crops that the encoder reads, pixels."""
        return self.shapes["encoder"].size

    @property
    def size(self) -> int:
        """Side of the crops that are generated, pixels."""
        return self.shapes["generator"].size

    @cached_property
    def is_stylegan2(self) -> bool:
        """Whether the generator is one that can be projected into and tuned."""
        return isinstance(self._part("generator"), StyleGAN2)

    def digest(self, role: str) -> str:
        """What results depend on: SHA-256 of the weights in one place, and the arithmetic."""
        record = self.store.record(self.names[role])
        digest = record.stored_sha256 if record else hash_file(self._paths[role])[0]
        return digest if self.precision == "fp32" else f"{digest}-{self.precision}"

    def tensor(self, pictures: U8) -> Tensor:
        """(B, S, S, 3) pictures → (B, 3, S, S) in [-1, 1] on the device."""
        array = torch.from_numpy(np.array(pictures, order="C")).to(self.device)
        return array.permute(0, 3, 1, 2).float() / 127.5 - 1

    @torch.inference_mode()
    def encode(self, crops: U8, *, once: bool = False) -> F32:
        """Codes of faces.

        Args:
            crops: (B, S, S, 3) FFHQ crops, S as the encoder reads.
            once: A few photographs, not every frame: not worth compiling for.

        Returns:
            (B, layers, width)
        """
        inverter = self._inverter if once or not self.compiled else self._fast_inverter
        with self._arithmetic():
            codes = inverter.invert(self.tensor(crops))
        return self._numbers("encoder", codes)

    @torch.inference_mode()
    def mix(self, source: F32, target: F32) -> F32:
        """(B, layers, width) source and target codes → codes of the swap."""
        codes = (
            torch.from_numpy(np.ascontiguousarray(c)).to(self.device) for c in (source, target)
        )
        with self._arithmetic():
            mixed = self._mixer(*codes)
        return self._numbers("mixer", mixed)

    @torch.inference_mode()
    def generate(self, codes: F32, tuned: Path | None = None) -> F32:
        """Pictures of codes, with the stored noise.

        Args:
            codes: (B, layers, width)
            tuned: A generator that ``save_generator`` stored, in place of the usual one.

        Returns:
            (B, S, S, 3) in [0, 1].
        """
        synthesis = self._synthesis if tuned is None else self.generator(tuned).synthesis
        with self._arithmetic():
            pictures = synthesis(torch.from_numpy(codes).to(self.device))
        rgb = (pictures.float() * 0.5 + 0.5).clamp(0, 1)
        return self._numbers("generator", rgb.permute(0, 2, 3, 1).contiguous())

    def _numbers(self, role: str, values: Tensor) -> F32:
        """An array of finite values: what is not a number would come out as a black face."""
        array = np.asarray(values.float().cpu().numpy())
        if not np.isfinite(array).all():
            raise WeightsError(
                f"the {role} {self.names[role]} gives values that are no numbers",
                path=self._paths[role],
                stage="swap",
                hint="vidswap weights verify checks the file; --set run.precision=fp32 overflows last",
            )
        return array

    def _arithmetic(self) -> AbstractContextManager[Any]:
        wanted = TYPES[self.precision]
        kind = torch.device(self.device).type
        return torch.autocast(kind, wanted, enabled=wanted is not torch.float32)

    def generator(self, tuned: Path | None = None) -> Any:
        """The generator, or one that was tuned; the last few of those stay loaded."""
        if tuned is None:
            return self._generator
        if tuned not in self._tuned:
            while len(self._tuned) >= TUNED:
                self._tuned.pop(next(iter(self._tuned)))
            self._tuned[tuned] = self._ready(zoo.load_file(tuned))
        return self._tuned[tuned]

    def save_generator(self, network: StyleGAN2, target: Path) -> None:
        """Store a generator so that ``generator`` reads it; it appears whole or not at all.

        Raises:
            WeightsError: It cannot be written.
        """
        metadata = {
            "vidswap": "1", "names": "own", "arch": "stylegan2-generator", "settings": "{}",
            "config": json.dumps(schema.encode(network.config)), "source": self.names["generator"],
        }  # fmt: skip
        formats.write_safetensors(target, network.state_dict(), metadata)

    @cached_property
    def encoder(self) -> nn.Module:
        """The encoder, loaded."""
        return self._load("encoder")

    @cached_property
    def _inverter(self) -> EncoderInverter:
        return EncoderInverter(encoder_of(self.encoder, self.names["encoder"]))

    @cached_property
    def _fast_inverter(self) -> EncoderInverter:
        plain = self._inverter
        return replace(plain, run=Compiled(plain.encoder, self.compiled))

    @cached_property
    def _mixer(self) -> nn.Module:
        return self._load("mixer")

    @cached_property
    def _generator(self) -> nn.Module:
        return self._load("generator")

    @cached_property
    def _synthesis(self) -> Compiled:
        own: Any = self._generator
        return Compiled(own.synthesis, max(self.compiled, 1), enabled=self.compiled > 0)

    def _load(self, role: str) -> nn.Module:
        # Networks are first needed where gradients are off, but tuning and projection follow them.
        with torch.inference_mode(mode=False):
            network = part(role, zoo.load_file(self._paths[role]))
            assert network is not None  # the outline had it
            return self._ready(network)

    def _ready(self, network: nn.Module) -> nn.Module:
        channels_last(network.to(self.device))
        freeze(network)
        if self.winograd:
            accelerate(network)
        return network

    def _part(self, role: str) -> nn.Module | None:
        return part(role, zoo.outline_file(self._paths[role]))

    def _outline(self, role: str) -> Shape:
        network = self._part(role)
        if network is None:
            raise WeightsError(
                f"{self.names[role]} cannot be the {role} of LatentSwap",
                path=self._paths[role],
                stage=STAGE,
                hint=f"set engine.{role} to the name of a {role}: vidswap weights list",
            )
        return shape(role, network)
