"""What every latent generator offers, whatever its network: StyleGAN2, StyleNeRF."""

from collections.abc import Callable
from typing import Protocol

from torch import Tensor


class Generator(Protocol):
    """A network that maps z → w codes → pictures.

    ``mapping(z, truncation=1.0, cutoff=None)`` takes (B, z_dim) standard normals to (B, num_ws,
    style_dim) codes; ``truncation`` pulls the first ``cutoff`` codes (all by default) towards the
    mean. ``synthesis(ws, **conditions)`` takes codes to a picture (B, 3, size, size), nominally in
    [-1, 1] and not clamped. Conditions belong to the network: ``noise`` for StyleGAN2, cameras and
    background codes for StyleNeRF; an unknown one is a ``TypeError``.
    """

    @property
    def size(self) -> int:
        """Side of the picture in pixels."""
        ...

    @property
    def z_dim(self) -> int:
        """Features of z."""
        ...

    @property
    def style_dim(self) -> int:
        """Features of one code."""
        ...

    @property
    def num_ws(self) -> int:
        """Codes of one picture: 18 for StyleGAN2 at 1024 px, 21 for StyleNeRF."""
        ...

    @property
    def mapping(self) -> Callable[..., Tensor]:
        """``mapping(z, truncation, cutoff)``."""
        ...

    @property
    def synthesis(self) -> Callable[..., Tensor]:
        """``synthesis(ws, **conditions)``."""
        ...
