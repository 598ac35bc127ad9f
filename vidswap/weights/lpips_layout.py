"""Official layout of LPIPS 0.1: linear heads in one file, torchvision's backbone in another."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from vidswap.weights.layouts import Expectation, Shape, Shapes
from vidswap.weights.manifest import Architecture

CONVS: Mapping[str, tuple[tuple[int, int, int, int], ...]] = {
    "alex": ((0, 64, 3, 11), (3, 192, 64, 5), (6, 384, 192, 3), (8, 256, 384, 3), (10, 256, 256, 3)),
    "vgg": (
        (0, 64, 3, 3), (2, 64, 64, 3), (5, 128, 64, 3), (7, 128, 128, 3),
        (10, 256, 128, 3), (12, 256, 256, 3), (14, 256, 256, 3),
        (17, 512, 256, 3), (19, 512, 512, 3), (21, 512, 512, 3),
        (24, 512, 512, 3), (26, 512, 512, 3), (28, 512, 512, 3),
    ),
}  # fmt: skip
"""Index in torchvision's ``features``, channels out and in, side of the kernel."""
HEADS = {"alex": (64, 192, 384, 256, 256), "vgg": (64, 128, 256, 512, 512)}
HINT = (
    "the backbone is a file of its own, torchvision's AlexNet or VGG16: "
    "vidswap weights add HEADS --with BACKBONE"
)


def _head(index: int) -> str:
    return f"lin{index}.model.1.weight"


def find_lpips(
    backbone: str,
) -> Callable[[Mapping[Any, Any]], tuple[dict[str, Tensor], dict[str, Tensor]] | None]:
    """Finds heads of that backbone, told by the width of the second one."""

    def find(tree: Mapping[Any, Any]) -> tuple[dict[str, Tensor], dict[str, Tensor]] | None:
        state = {k: v for k, v in tree.items() if isinstance(k, str) and isinstance(v, Tensor)}
        second = state.get(_head(1))
        if second is None or _head(0) not in state or tuple(second.shape[:1]) != (1,):
            return None
        if second.numel() != HEADS[backbone][1] or _head(len(HEADS[backbone])) in state:
            return None
        # What classifies ImageNet comes along with a backbone and is of no use here.
        return {k: v for k, v in state.items() if not k.startswith("classifier.")}, {}

    return find


def expect_lpips(backbone: str) -> Callable[[Mapping[str, Shape]], Expectation]:
    """Heads and the backbone's convolutions."""

    def expect(_: Mapping[str, Shape]) -> Expectation:
        keys: Shapes = {_head(k): (1, width, 1, 1) for k, width in enumerate(HEADS[backbone])}
        for index, outputs, inputs, kernel in CONVS[backbone]:
            keys[f"features.{index}.weight"] = (outputs, inputs, kernel, kernel)
            keys[f"features.{index}.bias"] = (outputs,)
        return Architecture(), keys

    return expect
