"""A network's function through ``torch.compile``, or as it is where there is no compiler."""

from collections.abc import Callable

import torch
from torch import Tensor, nn


class Compiled:
    """Compiled for one shape, with weights taken as constants.

    Batches of other sizes are cut and padded to the one that was compiled, so that there is one
    compilation, of a minute or so, at the first call. If it fails, such as without a C++ compiler,
    the function runs as it is from then on and ``remark`` says why. Never use it on weights that
    still change.

    Args:
        function: (B, ...) → (B, ...), such as the ``synthesis`` of a frozen generator.
        batch: B that is compiled for.
        enabled: False never compiles.
    """

    def __init__(
        self, function: Callable[[Tensor], Tensor], batch: int = 1, *, enabled: bool = True
    ) -> None:
        if batch < 1:
            raise ValueError(f"batch must be at least 1, got {batch}")
        self._plain = function
        self._batch = batch
        self._fast: Callable[[Tensor], Tensor] | None = None
        if enabled:
            self._fast = torch.compile(function, dynamic=False)
        self.remark: str | None = None if enabled else "not asked for"

    @property
    def compiled(self) -> bool:
        """False once it has turned out that this machine cannot."""
        return self._fast is not None

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Tensor:
        """(N, ...) → (N, ...), any N ≥ 1, without gradients."""
        if self._fast is None:
            return self._plain(x)
        parts = []
        for part in torch.split(x, self._batch):
            missing = self._batch - len(part)
            whole = (
                torch.cat([part, part[-1:].expand(missing, *part.shape[1:])]) if missing else part
            )
            parts.append(self._run(whole.contiguous())[: len(part)])
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _run(self, x: Tensor) -> Tensor:
        if self._fast is None:
            return self._plain(x)
        try:
            # Set for the whole call and not as an option of the compilation: the tracer, which runs
            # before, must know too, or weights stay arguments and nothing is prepared from them.
            with torch._inductor.config.patch(freezing=True):
                return self._fast(x)
        except Exception as error:  # noqa: BLE001 - whatever a compiler raises, there is another way
            result = self._plain(x)  # a mistake in the input is raised from here, once more
            self._fast = None
            reason = str(error).strip().splitlines() or [type(error).__name__]
            self.remark = f"not compiled: {reason[0]}"
            return result


def channels_last(network: nn.Module) -> nn.Module:
    """Lay the weights of convolutions out the way CPU and GPU kernels want them; returns the network.

    The values do not change. A convolution whose weight lies so turns its input as well.
    """
    for parameter in network.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return network
