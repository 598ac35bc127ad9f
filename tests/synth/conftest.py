import pytest

from vidswap.synth.render import render
from vidswap.synth.sample import sample


@pytest.fixture(scope="session", autouse=True)
def code(compiled):
    """Is compiled but once."""


@pytest.fixture(scope="session")
def heads():
    """Some pictures with their parameters."""
    return [(sample(seed), render(sample(seed), 96, aligned=True)) for seed in range(6)]
