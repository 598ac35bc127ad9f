"""What holds for every test."""

import os

import pytest


@pytest.fixture(autouse=True)
def usual_scheduling():
    """A test that leaves the process real-time would starve the others for minutes (SVT-AV1 as root)."""
    yield
    if hasattr(os, "sched_getscheduler"):
        assert os.sched_getscheduler(0) != os.SCHED_FIFO
