"""Small random networks as checkpoints in a weights folder: what a latent engine needs to run."""

import json

import torch

from vidswap.models.e4e import Encoder, EncoderConfig
from vidswap.models.latentswap import LatentMixer, MixerConfig
from vidswap.models.stylegan2 import StyleGAN2, StyleGAN2Config
from vidswap.weights import importing
from vidswap.weights.cache import Store
from vidswap.weights.formats import write_safetensors

SIZE = 32
NAMES = {"generator": "tiny-generator", "encoder": "tiny-encoder", "mixer": "tiny-mixer"}
SETTINGS = tuple(f"engine.{role}={name}" for role, name in NAMES.items())


def keep(store, name, arch, config, network, *, commercial=True):
    """Take a network into the weights folder as one that was trained here."""
    path = store.root / "made" / f"{name}.safetensors"
    metadata = {
        "vidswap": "1", "name": name, "arch": arch, "layout": arch, "names": "own",
        "config": json.dumps(config), "settings": "{}", "licence": "none",
        "commercial": "yes" if commercial else "no", "source": "a random number generator",
    }  # fmt: skip
    write_safetensors(path, network.state_dict(), metadata)
    importing.add(path, store, name)
    path.unlink()
    return name


def random_weights(root, size=SIZE, width=16, channels=8):
    """Generator, encoder and mixer with codes of one shape; returns the folder."""
    store = Store(root)
    generator = {
        "size": size,
        "z_dim": width,
        "style_dim": width,
        "mapping_layers": 2,
        "channel_max": channels,
    }
    encoder = {
        "size": size,
        "style_dim": width,
        "input_size": 32,
        "widths": [16] * 4,
        "depths": [1] * 4,
    }
    with torch.random.fork_rng():
        torch.manual_seed(7)
        network = StyleGAN2(StyleGAN2Config(**generator))
        layers = network.num_ws
        keep(store, NAMES["generator"], "stylegan2-generator", generator, network)
        network = Encoder(
            EncoderConfig(**{k: tuple(v) if isinstance(v, list) else v for k, v in encoder.items()})
        )
        keep(store, NAMES["encoder"], "e4e-encoder", encoder, network)
        mixer = {"layers": layers, "style_dim": width}
        keep(store, NAMES["mixer"], "latentswap-mixer", mixer, LatentMixer(MixerConfig(**mixer)))
    return root
