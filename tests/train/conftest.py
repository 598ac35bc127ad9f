import numpy as np
import pytest
from PIL import Image

from vidswap.train import options


def drawings(count: int, size: int = 16, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Discs on a ground: parameters (N, 10) in [0, 1] and the pictures they fully describe."""
    rng = np.random.default_rng(seed)
    parameters = rng.uniform(size=(count, 10)).astype(np.float32)
    y, x = np.mgrid[:size, :size] / size
    pictures = np.empty((count, size, size, 3), np.uint8)
    for picture, p in zip(pictures, parameters, strict=True):
        inside = ((x - 0.3 - 0.4 * p[0]) / (0.1 + 0.2 * p[1])) ** 2
        inside = inside + ((y - 0.3 - 0.4 * p[2]) / (0.1 + 0.2 * p[3])) ** 2 < 1
        picture[:] = np.where(inside[..., None], p[4:7], p[7:10]) * 255
    return parameters, pictures


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """A data set of arrays: 96 pictures of 12 people, 16 px."""
    folder = tmp_path_factory.mktemp("data")
    parameters, pictures = drawings(96)
    parameters[:, 8:] = parameters[np.arange(96) % 12, 8:]  # the same in all pictures of a person
    np.save(folder / "pictures.npy", pictures)
    np.save(folder / "parameters.npy", parameters)
    np.save(folder / "identity.npy", np.arange(96) % 12)
    np.save(folder / "labels.npy", (pictures[..., 0] > 127).astype(np.uint8))
    np.save(folder / "landmarks.npy", parameters[:, :4].reshape(96, 2, 2) * 16)
    return folder


@pytest.fixture
def photos(tmp_path):
    """A folder of twelve PNG files, 48 px and up."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for index, picture in enumerate(drawings(12, 48)[1]):
        wide = np.pad(picture, ((0, 0), (0, index), (0, 0)))
        Image.fromarray(wide).save(folder / f"{index:02}.png")
    return folder


TINY = (
    "data.size=16", "data.mirror=false", "loop.batch=4", "loop.threads=1", "loop.device='cpu'",
    "loop.log_every=1", "loop.checkpoint_every=2", "loop.sample_every=1000", "loop.cooldown=0",
    "loop.warmup=0", "loop.precision='fp32'", "loop.clip=0.0",
)  # fmt: skip
NETS = {
    "stylegan2": (
        "method.z_dim=16", "method.style_dim=16", "method.mapping_layers=2",
        "method.channel_multiplier=0.01", "method.channel_max=8",
    ),
    "identity": ("method.features=16", "method.widths=[16,16,16,16]", "method.depths=[1,1,1,1]"),
    "parser": ("method.classes=2", "method.width=4", "method.input_size=64"),
    "landmarks": ("method.widths=[16,16,16,16]", "method.depths=[1,1,1,1]"),
}  # fmt: skip


@pytest.fixture(scope="session")
def tiny(data):
    """Recipes small enough for a test: ``tiny("stylegan2", "loop.steps=3", path=...)``."""

    def make(method, *changes, path=data):
        return options.load(method, overrides(method, path, *changes), method)

    return make


def overrides(method, path, *changes):
    return [*TINY, *NETS.get(method, ()), f"data.path='{path}'", *changes]


@pytest.fixture
def tiny_overrides(data):
    """The same as options of a command."""
    return lambda method, *changes: [f"--set={c}" for c in overrides(method, data, *changes)]
