import ctypes
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from vidswap import allocator

SCRIPT = """
import json, resource, sys, numpy as np
from vidswap import allocator
size = int(sys.argv[2])
done = getattr(allocator, sys.argv[1])()
np.full(size, 1.0, np.float32)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    np.full(size, 1.0, np.float32)
print(json.dumps([done, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before]))
"""


def faults(call, size, **environment):
    own = {k: v for k, v in os.environ.items() if k != allocator.STOCK}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, call, str(size)], capture_output=True, text=True, check=True,
        env={**own, "NUMPY_MADVISE_HUGEPAGE": "0", **environment},
    )  # fmt: skip
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("call", "size"), [("keep_memory", 1 << 24), ("keep_some_memory", 1 << 20)]
)
def test_freed_memory_is_used_again_unless_the_environment_says_no(call, size):
    done, kept = faults(call, size)
    if not done:
        pytest.skip("not glibc")
    refused, stock = faults(call, size, **{allocator.STOCK: "1"})
    assert not refused
    assert kept * 10 < stock


def test_other_libraries_are_left_alone(monkeypatch):
    monkeypatch.delenv(allocator.STOCK, raising=False)
    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda _: object())
    assert not allocator.keep_memory()
    assert not allocator.keep_some_memory()


HELD = """
from vidswap.allocator import give_back
def resident():
    line = next(line for line in open("/proc/self/status") if line.startswith("VmRSS"))
    return int(line.split()[1]) >> 10
class Ring: pass
ring = Ring()
ring.itself = ring
ring.blocks = [bytes(1000) for _ in range(100_000)]
pin = bytes(1000)  # the last block stays, so that the heap cannot shrink by itself
del ring
full = resident()
give_back()
print(full - resident())
"""


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="needs Linux's /proc")
def test_what_one_pass_took_is_given_back_before_the_next():
    if not hasattr(ctypes.CDLL(None), "malloc_trim"):
        pytest.skip("not glibc")
    done = subprocess.run([sys.executable, "-c", HELD], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 80  # of 100 MB that nothing refers to
