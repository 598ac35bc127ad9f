"""Trained networks as vidswap reads them: safetensors, a manifest, a model card, the recipe."""

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vidswap import __version__, schema
from vidswap.errors import StateError, WeightsError
from vidswap.train.method import Export
from vidswap.train.options import TrainRecipe
from vidswap.weights import formats, manifest
from vidswap.weights.cache import hash_file, write_atomically
from vidswap.weights.manifest import Architecture, Manifest


def export(recipe: TrainRecipe, exports: Sequence[Export], out: Path) -> tuple[Path, ...]:
    """Write every network of a finished training.

    Args:
        recipe: Its recipe, written into the file and the card.
        exports: The networks.
        out: Folder; made if needed.

    Returns:
        The safetensors files.

    Raises:
        StateError: The disk is full or the folder cannot be written.
    """
    return tuple(_export(recipe, item, out) for item in exports)


def _export(recipe: TrainRecipe, item: Export, out: Path) -> Path:
    name = f"{recipe.method.name}-{item.suffix}"
    path = out / f"{name}.safetensors"
    encoded = schema.encode(recipe)
    metadata = {
        "vidswap": "1",
        "name": name,
        "names": "own",
        "arch": item.arch,
        "layout": item.arch,
        "settings": "{}",
        "licence": "unknown",
        "commercial": "no",
        "source": f"vidswap train {recipe.method.name}",
        "config": json.dumps(dict(item.config)),
        "recipe": json.dumps(encoded),
        "trained_by": f"vidswap {__version__}",
    }
    state = {
        key: tensor.detach().cpu().clone() for key, tensor in item.network.state_dict().items()
    }
    _check(state, name)
    try:
        formats.write_safetensors(path, state, metadata)
        own = _manifest(recipe, item, path)
        write_atomically(path.with_suffix(".toml"), manifest.encode(own).encode())
        card = _card(own, item, encoded, state)
        write_atomically(path.with_suffix(".md"), card.encode())
    except WeightsError as error:
        raise StateError(error.message, path=error.path, stage="export") from error
    return path


def _check(state: Mapping[str, Tensor], name: str) -> None:
    for key, tensor in state.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise StateError(f"{name}: {key} is not finite; nothing was exported", stage="export")


def _manifest(recipe: TrainRecipe, item: Export, path: Path) -> Manifest:
    digest, size = hash_file(path)
    known = {f.name for f in fields(Architecture)}
    config = {k: v for k, v in item.config.items() if k in known and v is not None}
    return Manifest(
        name=path.stem,
        summary=item.summary,
        arch=item.arch,
        file=path.name,
        format="safetensors",
        licence="that of whoever trained it, and of the pictures it was trained on",
        commercial=False,
        commercial_reason="fill in: what the licence of the training pictures permits",
        source="vidswap train " + recipe.method.name,
        sha256=digest,
        size=size,
        config=Architecture(**config),
    )


def _card(
    own: Manifest, item: Export, recipe: Mapping[str, Any], state: Mapping[str, Tensor]
) -> str:
    count = sum(t.numel() for t in state.values())
    return (
        f"# {own.name}\n\n{item.summary}. Architecture `{item.arch}`, {count:,} values, "
        f"sha256 `{own.sha256}`.\n\n"
        f"Trained with vidswap {__version__} by `vidswap train {recipe['method']['name']}`; the "
        "resolved recipe:\n\n"
        f"```json\n{json.dumps(recipe, indent=2)}\n```\n\n"
        "## Use and limits\n\nIt knows what its training pictures show and nothing else. Fill in: what "
        "they were, who may use them, how well the network does on pictures it has not seen.\n"
    )


def ship(path: Path, name: str, out: Path, *, command: str, figures: Mapping[str, float]) -> Path:
    """Make an export one of the weights that come with vidswap: 16 bits, the project's licence.

    Args:
        path: The exported safetensors file; it must have been trained on procedural heads.
        name: Name of the weights.
        out: Folder of the manifests.
        command: Reproduces the training.
        figures: What it reaches on people it has not seen.

    Returns:
        The new safetensors file; its manifest lies beside it.

    Raises:
        StateError: The folder cannot be written.
        WeightsError: The export is damaged.
    """
    state, metadata = formats.read_safetensors(path)
    half = {k: v.half() if v.is_floating_point() else v for k, v in state.items()}
    _check(half, name)
    # The resolved recipe names folders of the machine that trained; the command says as much.
    metadata = {k: v for k, v in metadata.items() if k != "recipe"} | {
        "vidswap": "1",
        "name": name,
        "layout": metadata["arch"],
        "settings": "{}",
        "licence": "MIT",
        "commercial": "yes",
        "source": "this repository",
        "made_by": command,
    }
    target = out / f"{name}.safetensors"
    try:
        formats.write_safetensors(target, half, metadata)
        exported = manifest.decode(
            tomllib.loads(path.with_suffix(".toml").read_text(encoding="utf-8")), str(path)
        )
        digest, size = hash_file(target)
        reached = ", ".join(f"{k} {v:.4g}" for k, v in figures.items())
        own = replace(
            exported,
            name=name,
            file=target.name,
            licence="MIT",
            commercial=True,
            commercial_reason="trained by this project, on procedural heads alone",
            source="this repository",
            sha256=digest,
            size=size,
            note=f"For demonstration, tests and benchmarks. Made by: {command}. On unseen people: {reached}.",
        )
        write_atomically(target.with_suffix(".toml"), manifest.encode(own).encode())
    except WeightsError as error:
        raise StateError(error.message, path=error.path, stage="export") from error
    return target
