"""3 × 3 convolutions on the CPU in fewer multiplications, finished in the same pass.

A tile of 4 × 4 results takes 36 multiplications for each pair of channels where the plain form takes
144; scale, offset, noise and leaky ReLU are applied while a tile is at hand and cost no pass over the
picture of their own. Results differ from the plain form by rounding, some 1e-5 of their spread.

Used where Numba is installed, at fp32, without gradients, and where a convolution is large enough.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

LEAST_WORK = 100_000_000
"""Multiplications of the plain form below which its kernels are as quick."""
LEAST_TILES, LEAST_WIDTH = 16, 32
TILES = 128
"""Transformed at once: enough for an efficient matrix product, few enough for the cache."""
ROWS = 64
"""Filtered by one thread at a time."""
G = (
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)


@runtime_checkable
class Accelerated(Protocol):
    """A layer that has a quicker form for frozen weights on the CPU."""

    def accelerate(self) -> None:
        """Prepare it."""


def accelerate(network: nn.Module) -> bool:
    """Prepare the quicker forms of all layers that have one; for frozen weights.

    It takes four times the memory of the convolutions it serves. Without a Numba that works nothing
    happens.

    Returns:
        Whether there is anything that can be used.
    """
    if find_spec("numba") is None:
        return False
    try:
        import_module("vidswap.models.filtering")
    except ImportError:  # a Numba that refuses the NumPy beside it
        return False
    layers = [module for module in network.modules() if isinstance(module, Accelerated)]
    for layer in layers:
        layer.accelerate()
    return bool(layers)


@dataclass(frozen=True, slots=True)
class Finish:
    """What happens to a result: y = scale · x + offset + noise, then a leaky ReLU."""

    scale: Tensor
    """(B or 1, K)"""
    offset: Tensor
    """(K,)"""
    slope: Tensor
    """(K,) of the leaky ReLU; 1 leaves the values alone."""
    noise: Tensor | None = None
    """(B or 1, 1, H, W), or (1, 1, 1, 1)"""


def usable(x: Tensor, inputs: int, outputs: int) -> bool:
    """Whether the quicker form serves this picture, (B, inputs, H, W)."""
    plain = x.device.type == "cpu" and x.dtype == torch.float32 and not torch.is_grad_enabled()
    if not plain or torch.is_autocast_enabled("cpu") or torch.compiler.is_compiling():
        return False
    area = x.shape[-2] * x.shape[-1]
    large = 9 * inputs * outputs * area >= LEAST_WORK and area >= 16 * LEAST_TILES
    return large and min(inputs, outputs) >= LEAST_WIDTH


class Winograd:
    """One convolution, 3 × 3, stride one, padded by one.

    Args:
        weight: (K, C, 3, 3); what is prepared from it does not follow later changes.
    """

    def __init__(self, weight: Tensor) -> None:
        g = torch.tensor(G, dtype=torch.float64)
        u = torch.einsum("ia,kcab,jb->ijck", g, weight.detach().double(), g)
        self.matrices = u.reshape(36, weight.shape[1], weight.shape[0]).float().contiguous()
        """(36, C, K)"""

    @classmethod
    def of(cls, weight: Tensor) -> "Winograd | None":
        """What is worth it: None for weights that are too narrow for any picture to be ``usable``."""
        return cls(weight) if min(weight.shape[:2]) >= LEAST_WIDTH else None

    @torch.no_grad()
    def __call__(self, x: Tensor, scale: Tensor, shift: Tensor, finish: Finish) -> Tensor:
        """Convolve ``scale · x + shift``, which is zero outside the picture, and finish.

        Args:
            x: (B, C, H, W)
            scale: (B or 1, C)
            shift: (C,)
            finish: What happens to the results.

        Returns:
            (B, K, H, W), channels last.
        """
        from vidswap.models.filtering import loader, storer

        count, channels, height, width = x.shape
        outputs = self.matrices.shape[2]
        pictures = x.permute(0, 2, 3, 1).contiguous().view(count, height, width * channels)
        result = x.new_empty(count, height, width, outputs)
        across, down = -(-width // 4), -(-height // 4)
        rows = min(down, max(1, round(TILES / across)))
        load, store = loader(channels), storer(outputs)
        scales = scale.repeat(1, 6).expand(count, -1)
        affine = torch.stack([scales, shift.repeat(6).expand_as(scales)], 1).numpy()
        ends = _finishes(finish, result)

        def strips(firsts: Iterable[tuple[int, int]]) -> None:
            tiles = torch.empty(rows * across, 36 * channels)
            products = torch.empty(rows * across, 36 * outputs)
            for n, first in firsts:
                given = min(rows, down - first)
                load(pictures[n].numpy(), affine[n], tiles.numpy(), first, given)
                self._multiply(tiles[: given * across], products[: given * across])
                store(products.numpy(), *ends(n), result[n].numpy(), first, given)

        _shared(strips, [(n, first) for n in range(count) for first in range(0, down, rows)])
        return result.permute(0, 3, 1, 2)

    @torch.no_grad()  # of the thread, not of the process
    def _multiply(self, tiles: Tensor, products: Tensor) -> None:
        _, channels, outputs = self.matrices.shape
        into = products.view(-1, 36, outputs).transpose(0, 1)
        torch.bmm(tiles.view(-1, 36, channels).transpose(0, 1), self.matrices, out=into)


@torch.no_grad()
def smoothed(x: Tensor, finish: Finish) -> Tensor:
    """The filter [1, 3, 3, 1] ⊗ [1, 3, 3, 1] / 16 after a transposed convolution, and the finish.

    Args:
        x: (B, K, H + 1, W + 1)
        finish: What happens to the results.

    Returns:
        (B, K, H, W), channels last.
    """
    from vidswap.models.filtering import smoother

    count, outputs, height, width = x.shape
    pictures = x.permute(0, 2, 3, 1).contiguous().view(count, height, width * outputs)
    result = x.new_empty(count, height - 1, width - 1, outputs)
    scaled = Finish(finish.scale / 16, finish.offset, finish.slope, finish.noise)
    ends, smooth = _finishes(scaled, result), smoother(outputs)

    def rows(parts: Iterable[tuple[int, int]]) -> None:
        for n, first in parts:
            last = min(first + ROWS, height - 1)
            smooth(pictures[n].numpy(), *ends(n), result[n].numpy(), first, last)

    _shared(rows, [(n, first) for n in range(count) for first in range(0, height - 1, ROWS)])
    return result.permute(0, 3, 1, 2)


def _finishes(finish: Finish, result: Tensor) -> Callable[[int], tuple[object, object]]:
    """Numbers (3, K) and noise (H, W) of the finish for each sample of a result (B, H, W, K)."""
    count, height, width, outputs = result.shape
    scale = finish.scale.expand(count, outputs)
    numbers = torch.stack([scale, finish.offset.expand_as(scale), finish.slope.expand_as(scale)], 1)
    noise = result.new_zeros(1, 1, 1, 1) if finish.noise is None else finish.noise
    maps = noise.expand(len(noise), 1, height, width)[:, 0].contiguous()

    def of(n: int) -> tuple[object, object]:
        return numbers[n].numpy(), maps[min(n, len(maps) - 1)].numpy()

    return of


def _shared(
    work: Callable[[Iterable[tuple[int, int]]], None], parts: list[tuple[int, int]]
) -> None:
    """Do parts of the work in as many threads as Torch uses, each with Torch's own threads off.

    The threads of its matrix products would wait for each other after every one of many small ones.
    """
    threads = min(torch.get_num_threads(), len(parts))
    if threads <= 1:
        work(parts)
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(threads) as pool:
            # In turn and not in blocks: threads that are held up hold up less.
            for _ in pool.map(work, [parts[k::threads] for k in range(threads)]):
                pass
    finally:
        torch.set_num_threads(before)
