"""What this processor can do at most: fp32 operations per CPU second of one thread."""

import ctypes
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

FMA = """
typedef float lanes __attribute__((vector_size(64)));
#define EACH(f) f(0) f(1) f(2) f(3) f(4) f(5) f(6) f(7) f(8) f(9) f(10) f(11)
float run(long rounds, float scale, float step) {
    lanes a = {0}, b = {0}, total = {0};
    a += scale; b += step;
#define DECLARE(i) lanes x##i = b + (float)i;
#define STEP(i) x##i = x##i * a + b;
#define SUM(i) total += x##i;
    EACH(DECLARE)
    for (long k = 0; k < rounds; k++) { EACH(STEP) }
    EACH(SUM)
    float sum = 0;
    for (int i = 0; i < 16; i++) sum += total[i];
    return sum;
}
"""
CHAINS, LANES = 12, 16
BF16_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
"""What Linux calls units that multiply bf16, on x86 and on ARM."""
ROUNDS = 2_000_000
"""About 4 ms."""


def bf16_units(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether this processor multiplies bf16; taken for granted where the system does not say.

    Args:
        cpuinfo: Where Linux lists what the processor can do.
    """
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return True
    listed = [line for line in lines if line.lower().startswith(("flags", "features"))]
    return not listed or any(BF16_FLAGS & set(line.lower().split()) for line in listed)


def fma_loop() -> Callable[[], float] | None:
    """A loop of nothing but fused multiply-adds on registers; None without a C compiler.

    Returns:
        A function that runs it once and gives operations per CPU second.
    """
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        return None
    with tempfile.TemporaryDirectory(prefix="vidswap-peak-") as name:
        source, built = Path(name) / "peak.c", Path(name) / "peak.so"
        source.write_text(FMA)
        flags = ["-O2", "-march=native", "-mprefer-vector-width=512", "-ffp-contract=fast"]
        # Not every compiler knows every flag; without the wide vectors the figure is lower.
        for given in (flags, ["-O2", "-march=native"], ["-O2"]):
            command = [compiler, *given, "-shared", "-fPIC", str(source), "-o", str(built)]
            if subprocess.run(command, capture_output=True, check=False).returncode == 0:
                break
        else:
            return None
        run = ctypes.CDLL(str(built)).run
    run.argtypes, run.restype = [ctypes.c_long, ctypes.c_float, ctypes.c_float], ctypes.c_float

    def measure() -> float:
        began = time.process_time()
        run(ROUNDS, 0.999, 0.001)
        spent = time.process_time() - began
        return 2.0 * CHAINS * LANES * (ROUNDS) / max(spent, 1e-9)

    return measure


def kernels() -> dict[str, Callable[[], float]]:
    """Ways to measure the peak by name, each giving operations per CPU second."""
    import torch
    from torch.nn import functional

    torch.manual_seed(0)
    side, channels, size = 1536, 128, 128
    a, b = torch.randn(2, side, side)
    x = torch.randn(1, channels, size, size).contiguous(memory_format=torch.channels_last)
    w = torch.randn(channels, channels, 3, 3).contiguous(memory_format=torch.channels_last)

    def timed(work: Callable[[], object], operations: float) -> Callable[[], float]:
        def measure() -> float:
            began = time.process_time()
            work()
            return operations / max(time.process_time() - began, 1e-9)

        return measure

    found = {
        "matrix product": timed(lambda: a @ b, 2.0 * side**3),
        "convolution": timed(
            lambda: functional.conv2d(x, w, padding=1), 18.0 * channels**2 * size**2
        ),
    }
    loop = fma_loop()
    return {**found, "multiply-add loop": loop} if loop else found
