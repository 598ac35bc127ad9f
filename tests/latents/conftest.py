import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread():
    """Golden numbers were made with one thread; it also keeps parallel test workers apart."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
