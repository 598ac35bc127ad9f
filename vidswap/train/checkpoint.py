"""Everything a training needs to go on, in one safetensors file per checkpoint: nothing is pickled.

Tensors are called ``networks/NAME/KEY``, ``averages/NAME/KEY`` and ``optimizers/NAME/INDEX/KEY``; the
step and the resolved recipe are metadata. Random states are not stored, because every step draws
from generators seeded with its own number.
"""

import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from vidswap import schema
from vidswap.errors import StateError, WeightsError
from vidswap.train.method import Method
from vidswap.train.options import TrainRecipe, same_training
from vidswap.weights import formats

FORMAT = "vidswap-training-1"
_NAME = re.compile(r"step-(\d{9})\.safetensors")


def folder(out: Path) -> Path:
    """Where the checkpoints of a training lie."""
    return out / "checkpoints"


def existing(out: Path) -> list[tuple[int, Path]]:
    """Finished steps and file of every checkpoint, newest first."""
    paths = folder(out).iterdir() if folder(out).is_dir() else ()
    matches = ((_NAME.fullmatch(path.name), path) for path in paths)
    return sorted(((int(match[1]), path) for match, path in matches if match), reverse=True)


def save(out: Path, step: int, method: Method, recipe: TrainRecipe) -> Path:
    """Write a checkpoint atomically, then drop the oldest ones.

    Args:
        out: The training's folder.
        step: Finished steps.
        method: What is saved.
        recipe: Saved with it; ``loop.keep`` says how many stay.

    Returns:
        The file.

    Raises:
        StateError: The disk is full or the folder cannot be written; earlier checkpoints stay.
    """
    path = folder(out) / f"step-{step:09}.safetensors"
    metadata = {
        "format": FORMAT,
        "step": str(step),
        "recipe": json.dumps(schema.encode(recipe)),
    }
    try:
        formats.write_safetensors(path, _tensors(method), metadata)
    except WeightsError as error:
        last = existing(out)
        kept = f"the last good one is {last[0][1]}" if last else "there is none yet"
        raise StateError(
            f"the checkpoint {error.message}", path=path, stage="train", hint=kept
        ) from error
    for _, old in existing(out)[recipe.loop.keep :]:
        with suppress(OSError):
            old.unlink()
    return path


def _tensors(method: Method) -> dict[str, Tensor]:
    tensors = {}
    for kind, modules in (("networks", method.networks), ("averages", method.averages)):
        for name, module in modules.items():
            for key, tensor in module.state_dict().items():
                tensors[f"{kind}/{name}/{key}"] = tensor
    for name, optimizer in method.optimizers.items():
        for index, state in optimizer.state_dict()["state"].items():
            for key, tensor in state.items():
                tensors[f"optimizers/{name}/{index}/{key}"] = tensor
    return tensors


def restore(path: Path, method: Method, recipe: TrainRecipe) -> int:
    """Fill networks, averages and optimisers.

    Returns:
        Finished steps.

    Raises:
        WeightsError: The file is damaged.
        StateError: It was written by another training, or by one with another recipe.
    """
    tensors, metadata = formats.read_safetensors(path)
    if metadata.get("format") != FORMAT:
        raise StateError("not a training checkpoint of this version", path=path, stage="train")
    differing = same_training(json.loads(metadata["recipe"]), schema.encode(recipe))
    if differing:
        raise StateError(
            f"it was trained with other values of {', '.join(differing)}",
            path=path,
            stage="train",
            hint="start in another folder, or with --fresh to begin anew",
        )
    groups: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        kind, owner, key = name.split("/", 2)
        groups.setdefault(f"{kind}/{owner}", {})[key] = tensor
    try:
        for kind, modules in (("networks", method.networks), ("averages", method.averages)):
            _fill(modules, groups, kind)
        for name, optimizer in method.optimizers.items():
            _fill_optimizer(optimizer, groups.get(f"optimizers/{name}", {}))
    except (RuntimeError, ValueError, KeyError) as error:
        raise StateError(
            f"it does not fit this recipe: {error}", path=path, stage="train"
        ) from error
    return int(metadata["step"])


def _fill(
    modules: Mapping[str, nn.Module], groups: Mapping[str, Mapping[str, Tensor]], kind: str
) -> None:
    for name, module in modules.items():
        module.load_state_dict(groups.get(f"{kind}/{name}", {}), strict=True)


def _fill_optimizer(optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    state: dict[int, dict[str, Any]] = {}
    for key, tensor in tensors.items():
        index, field = key.split("/", 1)
        state.setdefault(int(index), {})[field] = tensor
    packed = optimizer.state_dict()
    packed["state"] = state
    optimizer.load_state_dict(packed)
    # Same memory format as a fresh state: fused updates, and so their rounding, depend on it.
    for parameter, held in optimizer.state.items():
        for field, value in held.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                held[field] = torch.empty_like(parameter, requires_grad=False).copy_(value)


def remove(paths: Iterable[Path]) -> None:
    """Delete checkpoints.

    Raises:
        StateError: One cannot be deleted.
    """
    for path in paths:
        try:
            path.unlink()
        except OSError as error:
            raise StateError(f"cannot be removed: {error.strerror}", path=path) from None
