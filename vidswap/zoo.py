"""Ready networks: the name of a checkpoint, or an architecture and its tensors → a module.

Joins the networks, which know no files, with the checkpoints, which know no networks.
"""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vidswap import allocator, schema
from vidswap.errors import RecipeError, WeightsError
from vidswap.models.bisenet import BiSeNet, BiSeNetConfig
from vidswap.models.discriminator import Discriminator, DiscriminatorConfig
from vidswap.models.e4e import Autoencoder, Encoder, EncoderConfig
from vidswap.models.irse import ArcFace, ArcFaceConfig
from vidswap.models.latentswap import LatentMixer, MixerConfig
from vidswap.models.lpips import LPIPS, LPIPSConfig
from vidswap.models.shape import ShapeConfig, ShapeModel
from vidswap.models.stylegan2 import Mapping as MappingNetwork
from vidswap.models.stylegan2 import StyleGAN2, StyleGAN2Config
from vidswap.models.stylenerf import StyleNeRF, StyleNeRFConfig
from vidswap.weights import formats, manifest
from vidswap.weights.cache import Store
from vidswap.weights.convert import Shapes, convert, flatten
from vidswap.weights.rules import LAYOUTS, Layout

STAGE = "load"
Config = Mapping[str, Any]

_MEAN_CODES = frozenset({"mapping.w_avg", "latent_avg"})
"""Tensors that some published files do not hold."""


def architectures() -> dict[str, tuple[type[Any], type[nn.Module]]]:
    """Name → configuration and network."""
    return {
        "stylegan2-generator": (StyleGAN2Config, StyleGAN2),
        "stylegan2-discriminator": (DiscriminatorConfig, Discriminator),
        "stylenerf": (StyleNeRFConfig, StyleNeRF),
        "irse50": (ArcFaceConfig, ArcFace),
        "e4e": (EncoderConfig, Autoencoder),
        "e4e-encoder": (EncoderConfig, Encoder),
        "bisenet": (BiSeNetConfig, BiSeNet),
        "latentswap-mixer": (MixerConfig, LatentMixer),
        "lpips": (LPIPSConfig, LPIPS),
        "shape-model": (ShapeConfig, ShapeModel),
    }


def build(arch: str, config: Config | None = None) -> nn.Module:
    """A network with fresh random weights; inside ``torch.device("meta")`` it has none.

    Args:
        arch: A name of :func:`architectures`.
        config: Fields of the network's configuration; what is absent keeps its default. ``layers``
            is accepted where the size sets it, and checked.

    Raises:
        WeightsError: No such architecture, or a configuration it does not have.
    """
    known = architectures()
    if arch not in known:
        raise WeightsError(f"no network is called {arch!r}; known: {', '.join(known)}", stage=STAGE)
    kind, network = known[arch]
    table = dict(config or {})
    derived = "layers" not in {f.name for f in dataclasses.fields(kind)}
    layers = table.pop("layers", None) if derived else None
    try:
        settings = schema.decode(kind, table, where=arch)
    except RecipeError as error:
        raise WeightsError(error.message, stage=STAGE) from None
    if layers is not None and layers != getattr(settings, "num_ws", layers):
        raise WeightsError(
            f"{arch}: {layers} layers do not go with size {settings.size}", stage=STAGE
        )
    module: nn.Module = network(settings)
    return module


def expected(arch: str, config: Config | None = None) -> Shapes:
    """Our name → shape of every tensor of a network; nothing is allocated."""
    with torch.device("meta"):
        state = build(arch, config).state_dict()
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def load(arch: str, config: Config | None, state: Mapping[str, Tensor]) -> nn.Module:
    """A network in evaluation mode, filled with tensors under our names, which are not copied.

    A generator without a mean code gets the mean of seeded samples; an encoder alone without one
    gets zeros, because the code belongs to its generator.

    Raises:
        WeightsError: Tensors that are missing, too many, or of the wrong shape, or an unknown
            architecture or configuration.
    """
    with torch.device("meta"):
        network = build(arch, config)
    tensors = dict(state)
    unknown = (_MEAN_CODES & network.state_dict().keys()) - tensors.keys()
    for name in unknown:
        tensors[name] = torch.zeros(network.state_dict()[name].shape)
    allocator.keep_memory()
    try:
        network.load_state_dict(tensors, strict=True, assign=True)
    except RuntimeError as error:
        raise WeightsError(f"the weights do not fit {arch}: {error}", stage=STAGE) from error
    if "mapping.w_avg" in unknown and isinstance(network, StyleGAN2):
        _fill_mean(network.mapping)
    return network.eval()


def _fill_mean(mapping: MappingNetwork) -> None:
    if not mapping.w_avg.is_meta and not next(mapping.parameters()).is_meta:
        mapping.w_avg.copy_(mapping.mean())


def load_official(arch: str, tree: object, config: Config | None = None) -> nn.Module:
    """A network filled from an official checkpoint in memory, in evaluation mode.

    Files go through ``vidswap.weights.importing``, which converts them once, and :func:`load_file`.

    Args:
        arch: A name of :func:`architectures`.
        tree: The checkpoint: nested mappings of tensors, or a flat state dict.
        config: Fields that shapes do not tell, such as ``encoder_type`` or ``clamp``; they win.

    Raises:
        WeightsError: No known layout of this network, or not exactly its tensors.
    """
    flat = flatten(tree)
    for layout in LAYOUTS.values():
        if layout.arch == arch and (selected := layout.select(flat)) is not None:
            settings = {**_settings_of(layout, selected), **(config or {})}
            shapes = expected(arch, settings)
            return load(arch, settings, convert(layout.rules, selected, shapes, layout.computed))
    names = ", ".join(name for name, layout in LAYOUTS.items() if layout.arch == arch) or "none"
    raise WeightsError(f"holds no {arch} in a known layout (known: {names})", stage=STAGE)


def _settings_of(layout: Layout, selected: Mapping[str, Tensor]) -> dict[str, Any]:
    try:
        return layout.config(selected)
    except (KeyError, IndexError, ValueError) as error:
        raise WeightsError(f"incomplete {layout.arch} checkpoint: {error}", stage=STAGE) from error


def load_file(path: Path) -> nn.Module:
    """A network from a converted checkpoint in the weights folder, in evaluation mode.

    Raises:
        WeightsError: Not a converted checkpoint, or one of a network that is not built here.
    """
    state, metadata = formats.read_safetensors(path)
    try:
        arch, config = _described(metadata)
        if metadata.get("layout") == "e4e-encoder":
            state = {k.removeprefix("encoder."): v for k, v in state.items()}
        # Small files are kept in 16 bits; networks compute in 32 unless they are told otherwise.
        wide = {k: v.float() if v.is_floating_point() else v for k, v in state.items()}
        return load(arch, config, wide)
    except (WeightsError, ValueError) as error:
        raise WeightsError(getattr(error, "message", str(error)), path=path, stage=STAGE) from error


def outline_file(path: Path) -> nn.Module:
    """The network of a converted checkpoint without its weights, on the meta device.

    Raises:
        WeightsError: As :func:`load_file`, but for what only the tensors tell.
    """
    try:
        arch, config = _described(formats.read_metadata(path))
        with torch.device("meta"):
            return build(arch, config)
    except (WeightsError, ValueError) as error:
        raise WeightsError(getattr(error, "message", str(error)), path=path, stage=STAGE) from error


def _described(metadata: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    """Architecture and configuration that a converted checkpoint names."""
    if metadata.get("names") != "own":
        raise WeightsError("not converted to our names", stage=STAGE)
    _check_options(json.loads(metadata.get("settings", "{}")))
    config: dict[str, Any] = json.loads(metadata.get("config", "{}"))
    alone = metadata.get("layout") == "e4e-encoder"
    return "e4e-encoder" if alone else metadata.get("arch", ""), config


def load_named(name: str, store: Store | None = None) -> nn.Module:
    """A network by the name of its manifest, from the weights folder, in evaluation mode.

    Raises:
        WeightsError: No such checkpoint, not there yet (the hint says how to get it), or damaged.
    """
    folder = store or Store.default()
    return load_file(folder.require(manifest.get(name, folder.root)))


def _check_options(options: Config) -> None:
    """Refuse options that change the function in a way our networks do not have."""
    if options.get("resample_filter", [1, 3, 3, 1]) != [1, 3, 3, 1]:
        raise WeightsError(f"unknown low-pass filter {options['resample_filter']}", stage=STAGE)
    if options.get("start_from_latent_avg") is False:
        raise WeightsError("an encoder that does not start from the mean code", stage=STAGE)
