"""Which published checkpoint a file is, told from its keys and shapes alone."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vidswap.errors import WeightsError
from vidswap.weights import layouts
from vidswap.weights.formats import Checkpoint
from vidswap.weights.lpips_layout import HINT, expect_lpips, find_lpips
from vidswap.weights.manifest import Architecture
from vidswap.weights.stylenerf_layout import expect_stylenerf

STAGE = "recognise"
MAX_TENSORS = 100_000


@dataclass(frozen=True, slots=True, eq=False)
class Recognised:
    """A checkpoint whose keys and shapes are complete and right."""

    layout: str
    """Name in :data:`LAYOUTS`, or ``tensors`` for networks without a table of ours."""
    config: Architecture
    state: dict[str, Tensor]
    """Official names without the file's own prefixes."""
    extras: dict[str, Tensor]
    """Tensors beside the state dict, such as ``latent_avg``."""
    settings: dict[str, Any]
    """Training or constructor options the file carries; plain values only."""


Part = tuple[dict[str, Tensor], dict[str, Tensor]]
"""State and extras."""

Find = Callable[[Mapping[str, Any]], Part | None]


@dataclass(frozen=True, slots=True)
class Layout:
    """How one kind of published file is told and what it must hold."""

    title: str
    find: Find
    expect: layouts.Expect
    hint: str | None = None
    """What to do where keys are missing."""


def _tensors(value: object) -> dict[str, Tensor]:
    if not isinstance(value, Mapping):
        return {}
    return {k: v for k, v in value.items() if isinstance(k, str) and isinstance(v, Tensor)}


def _strip(state: Mapping[str, Tensor], *prefixes: str) -> dict[str, Tensor]:
    """Entries under the first prefix that occurs, without it."""
    for prefix in prefixes:
        found = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        if found:
            return found
    return {}


def _latent_avg(tree: Mapping[str, Any]) -> dict[str, Tensor]:
    average = tree.get("latent_avg")
    return {"latent_avg": average} if isinstance(average, Tensor) else {}


def _under(key: str, mark: str) -> Find:
    """A state dict under a top-level key (or the whole file) that has the key ``mark``."""

    def find(tree: Mapping[str, Any]) -> Part | None:
        for state in (_tensors(tree.get(key)), _tensors(tree)):
            if mark in state:
                state.pop("latent_avg", None)
                return state, _latent_avg(tree)
        return None

    return find


def _find_e4e(tree: Mapping[str, Any]) -> Part | None:
    state = _tensors(tree.get("state_dict"))
    if "encoder.latlayer1.weight" not in state or "decoder.input.input" not in state:
        return None
    return state, _latent_avg(tree)


def _mixer(mark: str) -> Find:
    def find(tree: Mapping[str, Any]) -> Part | None:
        for state in (_tensors(tree.get("state_dict")), _tensors(tree)):
            for prefix in ("identity_mixer.", ""):
                if prefix + mark in state:
                    # Generator, embedder and face model travel along in the published file; their
                    # statistics drifted in training, so they come from their own checkpoints.
                    return _strip(state, prefix), {}
        return None

    return find


def _find_e4s(tree: Mapping[str, Any]) -> Part | None:
    state = _tensors(tree.get("state_dict"))
    state = _strip(state, "module.") or state
    return (state, _latent_avg(tree)) if "MLPs.0.mlp.0.weight" in state else None


LAYOUTS: Mapping[str, Layout] = {
    "stylegan2-nvidia": Layout(
        "StyleGAN2 generator, NVIDIA layout",
        _under("G_ema", "synthesis.b4.const"),
        layouts.expect_nvidia,
    ),
    "stylenerf": Layout(
        "StyleNeRF generator",
        _under("G_ema", "synthesis.fg_nerf.fc_in.weight"),
        expect_stylenerf,
    ),
    "stylegan2-rosinality": Layout(
        "StyleGAN2 generator, rosinality layout",
        _under("g_ema", "input.input"),
        layouts.expect_rosinality,
    ),
    "e4e": Layout("e4e or pSp encoder with its decoder", _find_e4e, layouts.expect_e4e),
    "e4e-encoder": Layout(
        "e4e encoder without a decoder", _under("e", "latlayer1.weight"), layouts.expect_encoder
    ),
    "irse50": Layout(
        "IR-SE50 ArcFace", _under("state_dict", "output_layer.3.weight"), layouts.expect_irse50
    ),
    "bisenet": Layout(
        "BiSeNet face parser",
        _under("state_dict", "cp.resnet.conv1.weight"),
        layouts.expect_bisenet,
    ),
    "latentswap": Layout("LatentSwap mixer", _mixer("mixer.0.0.weight"), layouts.expect_mixer),
    "latentswap-single": Layout(
        "LatentSwap mixer of one code", _mixer("mixer.8.bias"), layouts.expect_single_mixer
    ),
    "lpips-alex": Layout("LPIPS on AlexNet", find_lpips("alex"), expect_lpips("alex"), HINT),
    "lpips-vgg": Layout("LPIPS on VGG16", find_lpips("vgg"), expect_lpips("vgg"), HINT),
    "e4s-net3": Layout("E4S Net3", _find_e4s, layouts.expect_e4s),
    "direction-matrix": Layout(
        "reenactment direction matrix",
        _under("A_matrix", "linear.weight"),
        layouts.expect_matrix,
    ),
}

_SIGNATURES: Mapping[str, tuple[str, ...]] = {
    "smooth-embedder": ("state_dict/net.resnet.", "state_dict/net.last."),
    "deep3d": ("net_recon/backbone.", "net_recon/final_layers."),
    "deca": ("E_flame/encoder.", "E_flame/layers."),
    "facevid2vid": ("generator/", "kp_detector/", "he_estimator/"),
}
"""Networks that are kept under their official names: what ``KEY/PREFIX`` tells them."""


def signature(tree: Mapping[str, Any]) -> str | None:
    """Architecture of a file that has no table of ours, if its prefixes are those of a known one."""
    for arch, marks in _SIGNATURES.items():
        if all(_has(tree, *mark.split("/")) for mark in marks):
            return arch
    return None


def _has(tree: Mapping[str, Any], key: str, prefix: str) -> bool:
    return any(name.startswith(prefix) for name in _tensors(tree.get(key)))


def recognise(checkpoint: Checkpoint, path: Path, wanted: str | None = None) -> Recognised:
    """Tell what a file is and check that it is complete.

    Args:
        checkpoint: From :func:`vidswap.weights.formats.read`.
        path: For messages.
        wanted: Converter of a manifest; anything else is then an error. ``tensors`` takes every
            tensor under its own name.

    Raises:
        WeightsError: No known layout, another layout than wanted, missing, unexpected or wrongly
            shaped keys, values that are not finite.
    """
    tree = checkpoint.tree
    if not isinstance(tree, Mapping):
        kind = checkpoint.format
        closed = "of no known format" if kind == "unknown" else f"{kind} files need --as NAME"
        what = closed if tree is None else f"a {type(tree).__name__} instead of tensors by name"
        raise WeightsError(f"not a recognised checkpoint: {what}", path=path, stage=STAGE)
    if wanted == "tensors":
        state = flatten(tree, path)
        check_values(state, path)
        return Recognised("tensors", Architecture(), state, {}, {})
    for name, layout in LAYOUTS.items():
        part = layout.find(tree)
        if part is not None:
            if wanted not in (None, name):
                raise WeightsError(
                    f"wrong architecture: this is a {layout.title}, "
                    f"expected a {LAYOUTS[wanted].title if wanted in LAYOUTS else wanted}",
                    path=path,
                    stage=STAGE,
                )
            return _checked(name, layout, part, checkpoint, path)
    raise _unknown(tree, path, wanted)


def _checked(
    name: str, layout: Layout, part: Part, checkpoint: Checkpoint, path: Path
) -> Recognised:
    state, extras = part
    shapes = {key: tuple(value.shape) for key, value in state.items()}
    try:
        config, expected = layout.expect(shapes)
    except layouts.NotThisLayoutError as error:
        raise WeightsError(
            f"looks like a {layout.title}, but {error} is missing", path=path, stage=STAGE
        ) from None
    problems = list(_differences(shapes, expected))
    if problems:
        message = f"looks like a {layout.title}, but " + "; ".join(problems)
        raise WeightsError(message, path=path, stage=STAGE, hint=layout.hint)
    check_values(state | extras, path)
    # Counters of training; files older than torch 0.4.1 have none.
    absent = {k: torch.zeros((), dtype=torch.int64) for k in expected if k not in state}
    settings = _settings(checkpoint)
    encoder = settings.get("encoder_type")
    if isinstance(encoder, str):
        config = dataclasses.replace(config, encoder_type=encoder)
    return Recognised(name, config, state | absent, extras, settings)


def _differences(
    found: Mapping[str, layouts.Shape], expected: Mapping[str, layouts.Shape]
) -> Iterator[str]:
    optional = ".num_batches_tracked"
    missing = [k for k in expected if k not in found and not k.endswith(optional)]
    extra = [k for k in found if k not in expected]
    wrong = [k for k, s in expected.items() if k in found and found[k] != s]
    if missing:
        yield f"{len(missing)} keys are missing ({_few(missing)})"
    if extra:
        yield f"{len(extra)} keys are unexpected ({_few(extra)})"
    if wrong:
        first = wrong[0]
        yield (
            f"{len(wrong)} tensors have the wrong shape ({first} is {list(found[first])}, "
            f"expected {list(expected[first])})"
        )


def _few(names: list[str], most: int = 3) -> str:
    shown = ", ".join(repr(n)[1:-1][:80] for n in names[:most])
    return shown + (", …" if len(names) > most else "")


def check_values(state: Mapping[str, Tensor], path: Path) -> None:
    """Refuse values no network can use, before anything is copied.

    Raises:
        WeightsError: Naming the tensor that is not finite, not dense, or claims more values than
            the file stores for it.
    """
    for name, value in state.items():
        if value.is_meta:
            continue
        label = repr(name)[1:-1][:80]
        if value.layout != torch.strided or value.is_quantized or value.is_complex():
            raise WeightsError(f"{label} is not a plain dense tensor", path=path, stage=STAGE)
        if value.numel() * value.element_size() > value.untyped_storage().nbytes():
            raise WeightsError(
                f"{label} claims {value.numel()} values, more than the file stores for it",
                path=path,
                stage=STAGE,
            )
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise WeightsError(f"{label} holds NaN or infinite values", path=path, stage=STAGE)


def flatten(tree: Mapping[str, Any], path: Path) -> dict[str, Tensor]:
    """All tensors of nested dictionaries and lists by dotted name.

    Raises:
        WeightsError: None at all, or the file refers to itself without end.
    """
    found: dict[str, Tensor] = {}
    visited = 0
    stack: list[tuple[str, Any]] = [("", tree)]
    while stack:
        name, value = stack.pop()
        visited += 1
        if visited > MAX_TENSORS:
            raise WeightsError("it refers to itself without end", path=path, stage=STAGE)
        if isinstance(value, Tensor):
            found[name] = value
        elif isinstance(value, Mapping):
            pairs = [(f"{name}.{k}" if name else str(k), v) for k, v in value.items()]
            stack += reversed(pairs)
        elif isinstance(value, (list, tuple)):
            stack += reversed([(f"{name}.{i}", v) for i, v in enumerate(value)])
    if not found:
        raise WeightsError("it holds no tensors", path=path, stage=STAGE)
    return found


_SETTINGS = (
    "encoder_type",
    "start_from_latent_avg",
    "stylegan_size",
    "learn_in_w",
    "shift_scale",
    "learned_directions",
    "num_layers_shift",
    "shift_dim",
    "w_plus",
    "z_dim",
    "c_dim",
    "w_dim",
    "img_resolution",
    "num_ws",
    "conv_clamp",
    "num_fp16_res",
    "channel_base",
    "channel_max",
    "resample_filter",
    "remaining_layer_idx",
    "num_seg_cls",
    "out_size",
)
"""Options that change what a network computes; everything else in a file is of its training."""


def _settings(checkpoint: Checkpoint) -> dict[str, Any]:
    sources: list[Any] = [checkpoint.tree, checkpoint.tree.get("opts")]
    sources += [checkpoint.tree.get("args"), checkpoint.settings.get("G_ema")]
    found: dict[str, Any] = {}
    for source in sources:
        table = vars(source) if hasattr(source, "__dict__") else source
        if isinstance(table, Mapping):
            found |= _wanted(table)
    return found


def _wanted(table: Mapping[Any, Any]) -> dict[str, Any]:
    """Known options of a table and of the keyword tables in it (``_init_kwargs`` and below)."""
    found = {
        k: table[k] for k in _SETTINGS if isinstance(table.get(k), (bool, int, float, str, list))
    }
    for key in ("_init_kwargs", "synthesis_kwargs"):
        if isinstance(table.get(key), Mapping):
            found = _wanted(table[key]) | found
    return found


def _unknown(tree: Mapping[str, Any], path: Path, wanted: str | None) -> WeightsError:
    names = sorted(map(str, tree))
    titles = ", ".join(layout.title for layout in LAYOUTS.values())
    title = LAYOUTS[wanted].title if wanted and wanted in LAYOUTS else None
    goal = f"expected a {title}" if title else f"known are: {titles}"
    holds = f"it holds {_few(names, 4)}" if names else "it holds nothing that has a name"
    return WeightsError(f"unknown architecture: {holds}; {goal}", path=path, stage=STAGE)
