import pytest
import torch

from vidswap.weights.cache import Store


@pytest.fixture
def store(tmp_path, monkeypatch):
    """An empty weights folder, with no network."""
    monkeypatch.setenv("VIDSWAP_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("VIDSWAP_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("VIDSWAP_OFFLINE", raising=False)
    return Store.default()


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
