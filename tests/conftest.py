"""What holds for every test."""

import os

import pytest

# As many tests run at a time as there are cores: more threads in each would only wait for each other.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"):
    os.environ.setdefault(name, "1")


@pytest.fixture(autouse=True)
def usual_scheduling():
    """A test that leaves the process real-time would starve the others for minutes (SVT-AV1 as root)."""
    yield
    if hasattr(os, "sched_getscheduler"):
        assert os.sched_getscheduler(0) != os.SCHED_FIFO
