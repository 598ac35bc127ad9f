"""BiSeNet face parsing: 19 classes of CelebAMask-HQ, and the label maps that E4S derives from them.

Source: Yu et al., BiSeNet, 2018, in the variant without a spatial path of
zllrunning/face-parsing.PyTorch; class maps: Liu et al., Fine-Grained Face Swapping via Regional GAN
Inversion, 2023.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

CLASSES = (
    "background", "skin", "left brow", "right brow", "left eye", "right eye", "glasses", "left ear",
    "right ear", "earring", "nose", "mouth", "upper lip", "lower lip", "neck", "necklace", "cloth",
    "hair", "hat",
)  # fmt: skip
"""Labels of the published parser. It was trained with mirrored pictures but unmirrored labels, so
left and right are unreliable: merge the pairs."""
REGIONS = (
    "background", "lips", "brows", "eyes", "hair", "nose", "skin", "ears", "neck", "mouth", "glasses",
    "earring",
)  # fmt: skip
"""The 12 labels of E4S."""
Order = Literal["bisenet", "celebamask"]


@dataclass(frozen=True, slots=True)
class BiSeNetConfig:
    """Shape of the parser."""

    classes: int = 19
    size: int = 512
    """Side of the picture the published weights were used with, pixels."""
    width: int = 64
    """Channels of the backbone's first stage; every other width is a multiple of it."""

    def __post_init__(self) -> None:
        """Check classes and width."""
        if self.classes < 2 or self.width < 4:
            raise ValueError("expected at least 2 classes and a width of at least 4")


class Logits(NamedTuple):
    """The three heads, at the size of the picture."""

    main: Tensor
    """(B, classes, H, W); the labels come from this one alone."""
    at8: Tensor
    """(B, classes, H, W) auxiliary head on the map of stride 8."""
    at16: Tensor
    """(B, classes, H, W) auxiliary head on the map of stride 16."""


class ConvNorm(nn.Module):
    """Convolution, batch norm, ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) → (B, outputs, H, W)."""
        return functional.relu(self.norm(self.conv(x)))


class BasicBlock(nn.Module):
    """Residual block of ResNet-18."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if inputs != outputs or stride != 1:
            conv = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.shortcut = nn.Sequential(conv, nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) → (B, outputs, H / stride, W / stride)."""
        y = self.norm2(self.conv2(functional.relu(self.norm1(self.conv1(x)))))
        return functional.relu(y + self.shortcut(x))


class ResNet18(nn.Module):
    """Backbone; gives the maps of strides 8, 16 and 32."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.norm = nn.BatchNorm2d(width)
        widths = (width, width, 2 * width, 4 * width, 8 * width)
        self.stages = nn.ModuleList(
            nn.Sequential(BasicBlock(a, b, 1 if a == b else 2), BasicBlock(b, b, 1))
            for a, b in pairwise(widths)
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, 3, H, W) → (B, 128, H/8, W/8), (B, 256, H/16, W/16), (B, 512, H/32, W/32)."""
        x = functional.max_pool2d(functional.relu(self.norm(self.conv(x))), 3, 2, 1)
        at8 = self.stages[1](self.stages[0](x))
        at16 = self.stages[2](at8)
        return at8, at16, self.stages[3](at16)


class AttentionRefinement(nn.Module):
    """Convolution, then channel attention from global averages."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = ConvNorm(inputs, outputs)
        self.attention = nn.Conv2d(outputs, outputs, 1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) → (B, outputs, H, W)."""
        x = self.conv(x)
        weight = self.norm(self.attention(x.mean((2, 3), keepdim=True)))
        return x * torch.sigmoid(weight)


class FeatureFusion(nn.Module):
    """Joins the two maps of stride 8, with channel attention."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = ConvNorm(channels, channels, 1)
        self.reduce = nn.Conv2d(channels, channels // 4, 1, bias=False)
        self.expand = nn.Conv2d(channels // 4, channels, 1, bias=False)

    def forward(self, detail: Tensor, context: Tensor) -> Tensor:
        """(B, C/2, H, W) twice → (B, C, H, W)."""
        x: Tensor = self.conv(torch.cat([detail, context], dim=1))
        weight = self.expand(functional.relu(self.reduce(x.mean((2, 3), keepdim=True))))
        return x * torch.sigmoid(weight) + x


class Head(nn.Module):
    """Features → class logits, resized to the picture."""

    def __init__(self, inputs: int, hidden: int, classes: int) -> None:
        super().__init__()
        self.conv = ConvNorm(inputs, hidden)
        self.classify = nn.Conv2d(hidden, classes, 1, bias=False)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """(B, inputs, h, w) → (B, classes, *size)."""
        logits = self.classify(self.conv(x))
        return functional.interpolate(logits, size, mode="bilinear", align_corners=True)


class BiSeNet(nn.Module):
    """Picture → class logits."""

    def __init__(self, config: BiSeNetConfig | None = None) -> None:
        super().__init__()
        self.config = config or BiSeNetConfig()
        classes = self.config.classes
        w = self.config.width
        self.backbone = ResNet18(w)
        self.refine16 = AttentionRefinement(4 * w, 2 * w)
        self.refine32 = AttentionRefinement(8 * w, 2 * w)
        self.average = ConvNorm(8 * w, 2 * w, 1)
        self.smooth16 = ConvNorm(2 * w, 2 * w)
        self.smooth32 = ConvNorm(2 * w, 2 * w)
        self.fusion = FeatureFusion(4 * w)
        self.head = Head(4 * w, 4 * w, classes)
        self.head8 = Head(2 * w, w, classes)
        self.head16 = Head(2 * w, w, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Class logits.

        Args:
            x: (B, 3, H, W) RGB, sides multiples of 32, normalised by :func:`normalise`.

        Returns:
            (B, classes, H, W)
        """
        detail, context, _ = self._features(x)
        logits: Tensor = self.head(self.fusion(detail, context), x.shape[2:])
        return logits

    def heads(self, x: Tensor) -> Logits:
        """All three heads, for training and comparison."""
        detail, at8, at16 = self._features(x)
        size = x.shape[2:]
        main = self.head(self.fusion(detail, at8), size)
        return Logits(main, self.head8(at8, size), self.head16(at16, size))

    def _features(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        at8, at16, at32 = self.backbone(x)
        pooled = self.average(at32.mean((2, 3), keepdim=True))
        up = functional.interpolate(self.refine32(at32) + pooled, at16.shape[2:], mode="nearest")
        context16 = self.smooth32(up)
        up = functional.interpolate(self.refine16(at16) + context16, at8.shape[2:], mode="nearest")
        return at8, self.smooth16(up), context16


def normalise(rgb: Tensor) -> Tensor:
    """RGB (B, 3, H, W) in [0, 1] → ImageNet mean 0 and deviation 1, as the parser expects."""
    mean = rgb.new_tensor([0.485, 0.456, 0.406])[:, None, None]
    std = rgb.new_tensor([0.229, 0.224, 0.225])[:, None, None]
    return (rgb - mean) / std


_FROM_BISENET = (0, 6, 2, 2, 3, 3, 10, 7, 7, 11, 5, 9, 1, 1, 8, 0, 0, 4, 0)
_FROM_CELEBAMASK = (0, 6, 5, 10, 3, 3, 2, 2, 7, 7, 9, 1, 1, 4, 0, 11, 0, 8, 0)


def to_regions(labels: Tensor, order: Order = "bisenet") -> Tensor:
    """19-class labels → the 12 of E4S.

    Args:
        labels: Integers in [0, 19), any shape.
        order: Whose 19 labels they are: the published parser's, or the data set's own order.

    Returns:
        Labels of the same shape and type.
    """
    table = _FROM_BISENET if order == "bisenet" else _FROM_CELEBAMASK
    return torch.tensor(table, dtype=labels.dtype, device=labels.device)[labels.long()]
