"""BiSeNet: the plain state dict of ``79999_iter.pth``."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from vidswap.weights.convert import Rule


def _block(match: Any) -> str:
    stage, index, layer, rest = match.groups()
    ours = {"conv1": "conv1", "bn1": "norm1", "conv2": "conv2", "bn2": "norm2"}
    layer = ours.get(layer) or layer.replace("downsample", "shortcut")
    return f"backbone.stages.{int(stage) - 1}.{index}.{layer}.{rest}"


def _conv(official: str, ours: str) -> tuple[Rule, ...]:
    """Convolution and batch norm of one unit."""
    return (
        Rule(official + r"\.conv\.weight", f"{ours}.conv.weight"),
        Rule(official + r"\.bn\.(\w+)", rf"{ours}.norm.\1"),
    )


def _refine(stride: int) -> tuple[Rule, ...]:
    official, ours = rf"cp\.arm{stride}", f"refine{stride}"
    return (
        *_conv(official + r"\.conv", f"{ours}.conv"),
        Rule(official + r"\.conv_atten\.weight", f"{ours}.attention.weight"),
        Rule(official + r"\.bn_atten\.(\w+)", rf"{ours}.norm.\1"),
    )


def _head(official: str, ours: str) -> tuple[Rule, ...]:
    return (
        *_conv(official + r"\.conv", f"{ours}.conv"),
        Rule(official + r"\.conv_out\.weight", f"{ours}.classify.weight"),
    )


RULES = (
    Rule(r"cp\.resnet\.conv1\.weight", "backbone.conv.weight"),
    Rule(r"cp\.resnet\.bn1\.(\w+)", r"backbone.norm.\1"),
    Rule(r"cp\.resnet\.layer(\d)\.(\d)\.(conv\d|bn\d|downsample\.\d)\.(\w+)", _block),
    *_refine(16),
    *_refine(32),
    *_conv(r"cp\.conv_avg", "average"),
    *_conv(r"cp\.conv_head16", "smooth16"),
    *_conv(r"cp\.conv_head32", "smooth32"),
    *_conv(r"ffm\.convblk", "fusion.conv"),
    Rule(r"ffm\.conv1\.weight", "fusion.reduce.weight"),
    Rule(r"ffm\.conv2\.weight", "fusion.expand.weight"),
    *_head("conv_out", "head"),
    # The official numbers say the stride of the map twice as large as it is.
    *_head("conv_out16", "head8"),
    *_head("conv_out32", "head16"),
)


def config(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Configuration, from the shapes."""
    return {"classes": int(state["conv_out.conv_out.weight"].shape[0])}
