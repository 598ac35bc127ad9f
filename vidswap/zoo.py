"""Ready networks: an architecture's name and its tensors → a module.

Joins the networks, which know no files, with the tables of official layouts, which know no
networks. Nothing is read here; tensors come from ``vidswap.weights``.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from vidswap import schema
from vidswap.errors import RecipeError, WeightsError
from vidswap.models.bisenet import BiSeNet, BiSeNetConfig
from vidswap.models.discriminator import Discriminator, DiscriminatorConfig
from vidswap.models.e4e import Autoencoder, EncoderConfig
from vidswap.models.irse import ArcFace, ArcFaceConfig
from vidswap.models.latentswap import LatentMixer, MixerConfig
from vidswap.models.lpips import LPIPS, LPIPSConfig
from vidswap.models.stylegan2 import StyleGAN2, StyleGAN2Config
from vidswap.weights.convert import Shapes, convert, flatten
from vidswap.weights.rules import LAYOUTS, Layout

STAGE = "load"


def architectures() -> dict[str, tuple[type[Any], type[nn.Module]]]:
    """Name → configuration and network."""
    return {
        "stylegan2-generator": (StyleGAN2Config, StyleGAN2),
        "stylegan2-discriminator": (DiscriminatorConfig, Discriminator),
        "irse50": (ArcFaceConfig, ArcFace),
        "e4e": (EncoderConfig, Autoencoder),
        "bisenet": (BiSeNetConfig, BiSeNet),
        "latentswap-mixer": (MixerConfig, LatentMixer),
        "lpips": (LPIPSConfig, LPIPS),
    }


def build(arch: str, config: Mapping[str, Any] | None = None) -> nn.Module:
    """A network with fresh random weights; inside ``torch.device("meta")`` it has none.

    Args:
        arch: A name of :func:`architectures`.
        config: Fields of the network's configuration; what is absent keeps its default.

    Raises:
        WeightsError: No such architecture, or a configuration it does not have.
    """
    known = architectures()
    if arch not in known:
        raise WeightsError(f"no network is called {arch!r}; known: {', '.join(known)}", stage=STAGE)
    kind, network = known[arch]
    try:
        settings = schema.decode(kind, config or {}, where=arch)
    except RecipeError as error:
        raise WeightsError(error.message, stage=STAGE) from None
    module: nn.Module = network(settings)
    return module


def expected(arch: str, config: Mapping[str, Any] | None = None) -> Shapes:
    """Our name → shape of every tensor of a network; nothing is allocated."""
    with torch.device("meta"):
        state = build(arch, config).state_dict()
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def load(arch: str, config: Mapping[str, Any] | None, state: Mapping[str, Tensor]) -> nn.Module:
    """A network in evaluation mode, filled with tensors under our names (not copied).

    Raises:
        WeightsError: Tensors that are missing, too many, or of the wrong shape, or an unknown
            architecture or configuration.
    """
    with torch.device("meta"):
        network = build(arch, config)
    # torch fills in absent counters of batch norms; a copy keeps the caller's mapping as it is.
    try:
        network.load_state_dict(dict(state), strict=True, assign=True)
    except RuntimeError as error:
        raise WeightsError(f"the weights do not fit {arch}: {error}", stage=STAGE) from error
    return network.eval()


def load_official(arch: str, tree: object, config: Mapping[str, Any] | None = None) -> nn.Module:
    """A network filled from an official checkpoint, in evaluation mode.

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
            return _load(layout, selected, config or {})
    names = ", ".join(name for name, layout in LAYOUTS.items() if layout.arch == arch) or "none"
    raise WeightsError(f"holds no {arch} in a known layout (known: {names})", stage=STAGE)


def _load(layout: Layout, selected: Mapping[str, Tensor], config: Mapping[str, Any]) -> nn.Module:
    settings = {**settings_of(layout, selected), **config}
    shapes = expected(layout.arch, settings)
    state = convert(layout.rules, selected, shapes, layout.computed)
    missing = [name for name in layout.computed if name not in state]
    for name in missing:
        state[name] = torch.zeros(shapes[name])
    network = load(layout.arch, settings, state)
    if "mapping.w_avg" in missing and isinstance(network, StyleGAN2):
        network.mapping.w_avg.copy_(network.mapping.mean())
    return network


def settings_of(layout: Layout, selected: Mapping[str, Tensor]) -> dict[str, Any]:
    """Configuration as far as the shapes tell it.

    Raises:
        WeightsError: Tensors that should tell it are missing or of the wrong rank.
    """
    try:
        return layout.config(selected)
    except (KeyError, IndexError, ValueError) as error:
        raise WeightsError(f"incomplete {layout.arch} checkpoint: {error}", stage=STAGE) from error
