"""Every method takes a few steps, goes on where it stopped, and exports what the zoo reads."""

import numpy as np
import pytest
import torch

from vidswap import zoo
from vidswap.errors import RecipeError
from vidswap.models.shape import Coefficients
from vidswap.train import evaluate
from vidswap.train.identity import MarginHead
from vidswap.train.logs import read_log
from vidswap.train.loop import Watch, train
from vidswap.train.parser import hard_pixels, mean_iou

SIDE = 32


@pytest.fixture(scope="module")
def judges(tiny, data32, tmp_path_factory):
    """Generator, embedder and landmark model for the methods that need them."""
    made = {}
    for method in ("stylegan2", "identity", "landmarks"):
        out = tmp_path_factory.mktemp(method)
        changes = ("loop.steps=2", "data.size=32")
        made[method] = train(tiny(method, *changes, path=data32), out).exports[0]
    return made


@pytest.fixture(scope="session")
def data32(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("data32")
    for path in data.glob("*.npy"):
        array = np.load(path)
        big = path.stem in {"pictures", "labels"}
        np.save(folder / path.name, array.repeat(2, 1).repeat(2, 2) if big else array)
    return folder


def _needs(method, judges):
    names = {"generator": "stylegan2", "embedder": "identity", "landmarks": "landmarks"}
    wanted = {"encoder": ("generator", "embedder"), "latentswap": tuple(names)}.get(method, ())
    return [f"method.{name}='{judges[names[name]]}'" for name in wanted]


SMALL = {
    "encoder": (
        "method.widths=[16,16,16,16]", "method.depths=[1,1,1,1]", "method.input_size=32",
        "method.perceptual_model='pyramid'", "method.codes=0.1", "method.progressive_start=1",
    ),
}  # fmt: skip


class StopAfter:
    def __init__(self, steps):
        self.left = steps

    def __call__(self):
        self.left -= 1
        return self.left <= 0


PARTNER = ("method.centres='partner'", "method.parameters=1.0")


@pytest.mark.parametrize(
    ("method", "more"),
    [
        ("identity", ()),
        ("identity", PARTNER),
        ("parser", ()),
        ("landmarks", ()),
        ("encoder", ()),
        ("encoder", ("method.features=4.0", "data.mirror=true")),
        (
            "encoder",
            ("method.generator_rate=1.0", "method.keep_every=2", "method.identity_every=2"),
        ),
        ("latentswap", ()),
    ],
)
def test_method_resumes_and_exports(method, more, tiny, judges, data32, tmp_path):
    changes = ["data.size=32", *_needs(method, judges), *SMALL.get(method, ()), *more]
    recipe = tiny(method, "loop.steps=4", *changes, path=data32)
    whole = train(recipe, tmp_path / "whole")
    train(recipe, tmp_path / "cut", watch=Watch(stop=StopAfter(2)))
    train(recipe, tmp_path / "cut")
    rows, cut = read_log(whole.out), read_log(tmp_path / "cut")
    for row in [*rows, *cut]:
        del row["seconds"]
    assert rows == cut
    network = zoo.load_file(whole.exports[0])
    assert all(bool(torch.isfinite(p).all()) for p in network.parameters())


def test_methods_say_what_data_they_need(tiny, photos, tmp_path):
    for method, lacks in (
        ("identity", "identity"),
        ("parser", "labels"),
        ("landmarks", "landmarks"),
    ):
        with pytest.raises(RecipeError, match=lacks):
            train(tiny(method, "data.mirror=false", path=photos), tmp_path / method)
    with pytest.raises(RecipeError, match=r"method\.generator is empty"):
        train(tiny("latentswap", "method.generator=''"), tmp_path / "latentswap")


@pytest.fixture(scope="module")
def pairs32(data32, tmp_path_factory):
    """Shards as ``vidswap synth pairs`` writes them: the true swap of a drawing is its mirror image."""
    folder = tmp_path_factory.mktemp("pairs32")
    pictures = np.load(data32 / "pictures.npy")
    for number, part in enumerate((slice(0, 50), slice(50, 96))):
        target = pictures[part]
        arrays = {"source": target[::-1], "target": target, "truth": target[:, :, ::-1]}
        for name, array in arrays.items():
            np.save(folder / f"{number:05d}_{name}.npy", array)
    return folder


def test_mixer_learns_from_true_swaps(tiny, judges, data32, pairs32, tmp_path):
    recipe = tiny("encoder", "loop.steps=1", "data.size=32", *_needs("encoder", judges),
                  *SMALL["encoder"], path=data32)  # fmt: skip
    (encoder,) = train(recipe, tmp_path / "encoder").exports
    changes = (
        "data.size=32", *_needs("latentswap", judges), f"method.encoder='{encoder}'",
        "method.truth=1.0", "method.picture=0.01", "method.picture_every=3",
        "method.learning_rate=0.01", "method.identity=0.0",
    )  # fmt: skip
    long = tiny("latentswap", "loop.steps=24", "loop.checkpoint_every=5", *changes, path=pairs32)
    whole = train(long, tmp_path / "whole")
    train(long, tmp_path / "cut", watch=Watch(stop=StopAfter(7)))
    train(long, tmp_path / "cut")
    rows, cut = read_log(whole.out), read_log(tmp_path / "cut")
    for row in [*rows, *cut]:
        del row["seconds"]
    assert rows == cut
    assert [bool(row["picture"]) for row in rows[:6]] == [False, False, True] * 2
    truth = [float(row["truth"]) for row in rows]
    assert np.mean(truth[-4:]) < 0.6 * truth[0]
    (mixer,) = whole.exports
    begun = [f"method.start='{mixer}'", "loop.steps=1", "loop.average=0.0"]
    still = tiny("latentswap", *changes, *begun, "method.learning_rate=1e-12", path=pairs32)
    (again,) = train(still, tmp_path / "again").exports
    before, after = (zoo.load_file(path).state_dict() for path in (mixer, again))
    assert all(torch.allclose(before[k], after[k], atol=2e-3) for k in before)
    with pytest.raises(RecipeError, match="no true swaps"):
        train(tiny("latentswap", *changes, path=data32), tmp_path / "none")
    with pytest.raises(RecipeError, match=r"data\.mirror: method\.truth"):
        train(tiny("latentswap", *changes, "data.mirror=true", path=pairs32), tmp_path / "mirrored")


def test_a_generator_learns_on_beside_its_encoder(tiny, judges, data32, tmp_path):
    """Its synthesis does; its mapping, and with it what every code means, stays."""
    recipe = tiny(
        "encoder", "loop.steps=2", "loop.average=0.0", "data.size=32", *_needs("encoder", judges),
        *SMALL["encoder"], "method.generator_rate=1.0", "method.keep_every=2", path=data32,
    )  # fmt: skip
    _, learned = train(recipe, tmp_path).exports
    assert [bool(row["keep"]) for row in read_log(tmp_path)] == [False, True]
    before, after = (zoo.load_file(path) for path in (judges["stylegan2"], learned))
    for name, same in (("mapping", True), ("synthesis", False)):
        old, new = (net.get_submodule(name).state_dict() for net in (before, after))
        assert all(torch.equal(old[k], new[k]) for k in old) == same, name


def test_known_codes_forbid_mirrored_pictures(tiny, judges, data32, tmp_path):
    known = (
        "data.size=32", *_needs("encoder", judges), *SMALL["encoder"], "method.known='data'",
        "data.mirror=true",
    )  # fmt: skip
    with pytest.raises(RecipeError, match=r"data\.mirror: method\.known"):
        train(tiny("encoder", *known, path=data32), tmp_path / "encoder")


def test_a_wrong_network_is_named(tiny, judges, tmp_path):
    with pytest.raises(RecipeError, match="ArcFace, expected a StyleGAN2"):
        train(tiny("latentswap", f"method.generator='{judges['identity']}'"), tmp_path)


def test_margin_makes_the_true_class_harder():
    torch.manual_seed(0)
    head = MarginHead(8, 5)
    unit = torch.nn.functional.normalize(torch.randn(6, 8))
    labels = torch.arange(6) % 5
    plain, hard = (head(unit, labels, 10.0, m) for m in (0.0, 0.3))
    own = torch.zeros_like(plain, dtype=torch.bool).scatter(1, labels[:, None], value=True)
    angle = torch.acos(plain[own] / 10)
    inside = angle + 0.3 < torch.pi
    assert torch.allclose(hard[own][inside], 10 * torch.cos(angle + 0.3)[inside], atol=1e-4)
    assert (hard[own] < plain[own]).all()
    assert torch.equal(hard[~own], plain[~own])


def test_hard_pixels_leave_out_the_easy_ones():
    logits = torch.zeros(1, 2, 8, 8)
    logits[:, 0] = 20.0
    labels = torch.zeros(1, 8, 8, dtype=torch.long)
    labels[0, 0] = 1
    assert float(hard_pixels(logits, labels)) == pytest.approx(20.0, abs=0.01)
    assert float(hard_pixels(logits, torch.zeros_like(labels))) < 1e-6
    assert float(mean_iou(labels, labels, 2)) == 1.0
    assert float(mean_iou(torch.zeros_like(labels), labels, 2)) == pytest.approx(56 / 64 / 2)


def test_landmarks_are_differentiable_and_shape_is_exchangeable(judges):
    model = zoo.load_file(judges["landmarks"]).requires_grad_(False)
    picture = torch.rand(2, 3, 32, 32, requires_grad=True)
    found = model.coefficients(picture)
    swapped = model.landmarks(Coefficients(found.shape.flip(0), found.rest))
    assert swapped.shape == (2, 2, 2)
    swapped.sum().backward()
    assert float(picture.grad.abs().sum()) > 0


def test_verification_of_known_vectors():
    people = np.repeat(np.arange(20), 4)
    vectors = np.eye(20, dtype=np.float32)[people]
    perfect = evaluate.verification(vectors, people)
    assert (perfect.auc, perfect.same, perfect.different, perfect.error) == (1.0, 1.0, 0.0, 0.0)
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((80, 16)).astype(np.float32)
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    assert 0.4 < evaluate.verification(noise, people).auc < 0.6


def test_swaps_of_known_results(judges):
    embedder = zoo.load_file(judges["identity"])
    rng = np.random.default_rng(0)
    source, target = rng.integers(0, 255, (2, 6, 32, 32, 3), np.uint8)
    labels = np.full((6, 32, 32), 6, np.uint8)
    found = evaluate.swaps(source / np.float32(255), source, target, embedder, source, labels)
    assert found.closer == 1.0
    assert found.to_source == pytest.approx(1.0, abs=1e-4)
    assert found.psnr > 60
    assert found.psnr_target < 15
