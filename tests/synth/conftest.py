import pytest

from vidswap.synth.render import render
from vidswap.synth.sample import sample


@pytest.fixture(scope="session")
def heads():
    """Some pictures with their parameters."""
    return [(sample(seed), render(sample(seed), 96, aligned=True)) for seed in range(6)]
