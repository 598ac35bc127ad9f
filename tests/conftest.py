"""What holds for every test."""

import fcntl
import gc
import os
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

# As many tests run at a time as there are cores: more threads in each would only wait for each other.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"):
    os.environ.setdefault(name, "1")


LONG = (
    "bench/test_quality", "farm/test_batch", "cli/test_stop", "engines/test_compiled",
    "models/test_stylegan2", "run/test_analysis_chunks", "run/test_latentswap", "train/test_loop",
    "cli/test_run", "farm/test_share", "train/test_methods", "run/test_chunks_sources",
    "farm/test_openjd", "run/test_dissolves", "faces/test_transitions", "run/test_chunks_workers",
    "engines/test_contract", "engines/test_mesh", "media/test_mux",
)  # fmt: skip
"""Files that take nine seconds of a processor and more, or wait for a compiler."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """Long files first, in whatever order chance has given the rest: begun last, one would keep a worker
    busy while the others have nothing left to do."""
    here = Path(__file__).parent
    place = {str(here / f"{name}.py"): number for number, name in enumerate(LONG)}
    items.sort(key=lambda item: place.get(str(item.path), len(LONG)))


@pytest.fixture(autouse=True)
def usual_scheduling():
    """A test that leaves the process real-time would starve the others for minutes (SVT-AV1 as root)."""
    yield
    if hasattr(os, "sched_getscheduler"):
        assert os.sched_getscheduler(0) != os.SCHED_FIFO


@pytest.fixture(scope="module", autouse=True)
def known_objects():
    """What the modules before have loaded is not looked through by every run's collection: that took a
    third of their time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def compiled():
    """The code that draws heads: where no cache has it yet, one worker compiles, the others wait."""
    pytest.importorskip("numba")
    with (Path(tempfile.gettempdir()) / "vidswap-tests-compile.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        from vidswap.synth.render import render
        from vidswap.synth.sample import sample

        head = sample(0)
        worn = {"glasses": 1.0, "hair": 1.0, "background_pattern": 0.5}
        face = replace(head.expression, blink_left=0.5)
        render(replace(head, expression=face, scene=replace(head.scene, **worn)), 16)
