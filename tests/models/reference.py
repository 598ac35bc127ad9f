"""The published formulation; it ships, because the benchmark compares with it too."""

from vidswap.bench.reference_generator import (
    affine,
    modulated_conv,
    styled_conv,
    synthesis,
    to_rgb,
    upfirdn,
)

__all__ = ["affine", "modulated_conv", "styled_conv", "synthesis", "to_rgb", "upfirdn"]
