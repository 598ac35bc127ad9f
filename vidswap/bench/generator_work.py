"""One case of ``vidswap bench generator``, in a process of its own: prints a line of JSON.

Every form of a network runs once in each round, so that a busy moment hits all of them.
"""

import copy
import json
import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from vidswap.allocator import keep_memory
from vidswap.bench import reference_generator as reference
from vidswap.bench.peak import bf16_units, kernels
from vidswap.models.compiled import Compiled, channels_last
from vidswap.models.e4e import Encoder, EncoderConfig
from vidswap.models.irse import ArcFace
from vidswap.models.stylegan2 import StyleGAN2, StyleGAN2Config
from vidswap.models.winograd import accelerate

REFERENCE, EAGER, COMPILED, BF16 = "reference", "eager", "compiled", "bf16"
WINOGRAD = "winograd"
NO_NUMBA = 'winograd: needs Numba: pip install "vidswap[fast]"'
NO_UNITS = "no bf16 units: emulated, not compiled, goal not applicable"
PEAKS = 3
"""Measurements of the peak a round, of which the best counts: they are short."""
Forms = Mapping[str, Callable[[], Tensor]]


def work(size: int, config: StyleGAN2Config | None = None) -> float:
    """Floating-point operations of one picture: convolutions alone, without filters and mapping.

    Args:
        size: Side of the picture, pixels.
        config: Of the generator; the published one of that size by default.
    """
    c = config or StyleGAN2Config(size)
    total, before, side = 0.0, c.channels(4), 4
    while side <= c.size:
        width = c.channels(side)
        if side > 4:
            total += 18.0 * before * width * (side // 2) ** 2
        total += (18.0 * width * width + 6.0 * width) * side**2
        before, side = width, 2 * side
    return total


def randomised(network: nn.Module) -> nn.Module:
    """Random weights with no neutral parameter: what is zero at the start must count too."""
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith(("bias", "strength")):
                parameter.add_(0.1 * torch.randn_like(parameter))
    return network.eval().requires_grad_(False)


def generator_forms(size: int, batch: int, *, compiled: bool) -> tuple[Forms, float, list[str]]:
    """The published formulation and ours, on the same weights and codes.

    Returns:
        Forms by name, operations of one call, and remarks.
    """
    torch.manual_seed(0)
    network = StyleGAN2(StyleGAN2Config(size))
    randomised(network)
    network.freeze()
    ws = torch.randn(batch, network.num_ws, network.style_dim)
    fast = Compiled(network.synthesis, batch, enabled=compiled)
    small = Compiled(_autocast(network.synthesis), batch, enabled=compiled and bf16_units())
    filtered = copy.deepcopy(network.synthesis)
    forms = {
        REFERENCE: lambda: reference.synthesis(network.synthesis, ws),
        EAGER: lambda: network.synthesis(ws),
        WINOGRAD: (lambda: filtered(ws)) if accelerate(filtered) else None,
        COMPILED: lambda: fast(ws),
        BF16: lambda: small(ws),
    }
    return _usable(forms, {COMPILED: fast, BF16: small}, batch * work(size))


def encoder_forms(name: str, batch: int, *, compiled: bool) -> tuple[Forms, float, list[str]]:
    """An encoder as its publishers run it, and ours; arguments and result as for generators."""
    from torch.utils.flop_counter import FlopCounterMode

    torch.manual_seed(0)
    network = Encoder(EncoderConfig()) if name == "e4e" else ArcFace()
    randomised(network)
    side = 256 if name == "e4e" else 112
    x = torch.rand(batch, 3, side, side) * 2 - 1
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                # What an untrained trunk multiplies up would say nothing about rounding.
                module.weight.fill_(0.5)
        counter = FlopCounterMode(display=False)
        with counter:
            network(x)
    eager, last = network, channels_last(copy.deepcopy(network))
    filtered = copy.deepcopy(last)
    fast = Compiled(last, batch, enabled=compiled)
    small = Compiled(_autocast(last), batch, enabled=compiled and bf16_units())
    forms = {
        REFERENCE: lambda: eager(x),
        EAGER: lambda: last(x.contiguous(memory_format=torch.channels_last)),
        WINOGRAD: (lambda: filtered(x)) if accelerate(filtered) else None,
        COMPILED: lambda: fast(x),
        BF16: lambda: small(x),
    }
    return _usable(forms, {COMPILED: fast, BF16: small}, float(counter.get_total_flops()))


def _autocast(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    def run(x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return function(x).float()

    return run


def _usable(
    forms: Mapping[str, Callable[[], Tensor] | None],
    fast: Mapping[str, Compiled],
    operations: float,
) -> tuple[Forms, float, list[str]]:
    """Run every form once; drop those that turned out not to be compiled, but for bf16."""
    kept, remarks = {}, []
    for name, form in forms.items():
        if form is None:
            remarks.append(NO_NUMBA)
            continue
        with torch.no_grad():
            form()
        remark = fast[name].remark if name in fast else None
        if remark:
            units = name != BF16 or bf16_units()
            remarks.append(f"{name}: {remark if units else NO_UNITS}")
        if not remark or name == BF16:
            kept[name] = form
    return kept, operations, remarks


def measure(forms: Forms, rounds: int) -> dict[str, Any]:
    """CPU seconds of each form, its difference to the first one, and the peak of the processor.

    Args:
        forms: By name; the first is what the others are compared with.
        rounds: Each runs every form once, in turn, and the peak.
    """
    peaks = kernels()
    seconds: dict[str, list[float]] = {name: [] for name in forms}
    speeds: dict[str, list[float]] = {name: [] for name in peaks}
    results: dict[str, Tensor] = {}
    with torch.no_grad():
        for _ in range(rounds):
            for name, form in forms.items():
                began = time.process_time()
                results[name] = form()
                seconds[name].append(time.process_time() - began)
            for name, speed in peaks.items():
                speeds[name].append(max(speed() for _ in range(PEAKS)))
    first = next(iter(forms))
    return {
        "seconds": {n: statistics.median(s) for n, s in seconds.items()},
        "ratios": {
            n: statistics.median(a / b for a, b in zip(seconds[first], s, strict=True))
            for n, s in seconds.items()
        },
        "errors": {n: _error(r, results[first]) for n, r in results.items()},
        "peak": {n: statistics.median(s) for n, s in speeds.items()},
        # Of each round's own peak: what the processor can do changes within minutes.
        "share": {n: statistics.median(_per_peak(s, speeds)) for n, s in seconds.items()},
    }


def _per_peak(seconds: list[float], speeds: Mapping[str, list[float]]) -> list[float]:
    """1 / operations that the peak of the same round would have done in each of these times."""
    peaks = [max(of) for of in zip(*speeds.values(), strict=True)]
    return [1 / (s * p) for s, p in zip(seconds, peaks, strict=True)]


def _error(ours: Tensor, expected: Tensor) -> dict[str, float]:
    """Largest and root-mean-square difference, in standard deviations of the output."""
    spread = float(expected.float().std()) or 1.0
    difference = (ours.float() - expected.float()) / spread
    return {"max": float(difference.abs().max()), "rms": float(difference.square().mean().sqrt())}


def main(arguments: list[str]) -> None:
    """``kind size-or-name batch rounds compiled kept`` → JSON on standard output."""
    kind, what, batch, rounds, compiled, kept = arguments
    torch.set_num_threads(1)
    done = keep_memory() if kept == "1" else False
    forms, operations, remarks = (
        generator_forms(int(what), int(batch), compiled=compiled == "1")
        if kind == "generator"
        else encoder_forms(what, int(batch), compiled=compiled == "1")
    )
    result = measure(forms, int(rounds))
    # Kilobytes on Linux, bytes on macOS.
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    facts = {"operations": operations, "kept": done, "remarks": remarks, "rss_mb": round(rss)}
    facts["bf16_units"] = bf16_units()
    sys.stdout.write(json.dumps({**result, **facts}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
