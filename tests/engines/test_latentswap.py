"""LatentSwap: where a crop lands, what is mixed into which layer, and what is refused."""

import shutil
from dataclasses import replace

import cv2
import numpy as np
import pytest

from tests.tiny_networks import NAMES, keep
from vidswap import recipe
from vidswap.engines import create, crops, needs_of
from vidswap.engines.latentswap import LatentSwap, SwapPlan
from vidswap.engines.latentswap.mixing import shares
from vidswap.errors import NoFaceError, RecipeError, StateError, WeightsError
from vidswap.models.e4e import Autoencoder, EncoderConfig
from vidswap.models.latentswap import LatentMixer, MixerConfig
from vidswap.ops import ffhq
from vidswap.ops.median import geometric_median
from vidswap.recipe import LatentSwapEngine
from vidswap.run.licence import weights_in_use
from vidswap.types import Box
from vidswap.weights.cache import Store


def options(**changes):
    return replace(LatentSwapEngine(**NAMES), **changes)


@pytest.fixture(scope="module")
def engine(weights_here):
    return LatentSwap(options())


@pytest.fixture(scope="module")
def codes():
    rng = np.random.default_rng(3)
    return tuple(rng.standard_normal((2, 8, 16), dtype=np.float32) for _ in range(2))


def standing_in(engine, scene, index, size=512):
    """The engine with a generator that returns the target's own crop; and the face to swap."""
    own = LatentSwap(engine.options)
    at = scene.at(index)
    quad = crops.quad_of(at.data["window"])
    crop = ffhq.crop(scene.frames[index], quad, ffhq.CropOptions(size)).astype(np.float32) / 255
    own.generate = lambda source, target, _: np.repeat(crop[None], len(target), 0)
    plan = SwapPlan(np.zeros((8, 16), np.float32))
    return own, plan, scene.face(own, plan, index)


@pytest.mark.parametrize("size", [128, 512])
def test_the_own_crop_laid_back_changes_nothing_but_rounding(engine, scene, size):
    own, plan, face = standing_in(engine, scene, 2, size)
    (patch,) = own.swap([face], [plan])
    error = patch.rgb.astype(float) - face.rgb
    assert np.sqrt((error**2).mean()) < (1.5 if size == 512 else 3.0)


def test_a_crop_laid_two_pixels_off_would_be_noticed(engine, scene):
    """The test above can fail."""
    own, plan, face = standing_in(engine, scene, 2)
    shift = np.array([[0, 0, 2.0], [0, 0, 2.0]])
    moved = face.at.data["window"] - face.at.data["window"][:, :2] @ shift
    face = replace(face, at=replace(face.at, data={**face.at.data, "window": moved}))
    (patch,) = own.swap([face], [plan])
    assert np.sqrt(((patch.rgb.astype(float) - face.rgb) ** 2).mean()) > 3


def test_the_outline_is_soft_and_what_lies_outside_is_untouched(engine, scene):
    plan = SwapPlan(np.zeros((8, 16), np.float32))
    face = scene.face(engine, plan, 0, picture=np.full_like(scene.frames[0], 50))
    bright = LatentSwap(options(colour=0.0, grain=0.0))
    bright.generate = lambda source, target, _: np.ones((1, 64, 64, 3), np.float32)
    (patch,) = bright.swap([face], [plan])
    change = patch.rgb.astype(int) - face.rgb
    edge = np.ones(change.shape[:2], bool)
    edge[1:-1, 1:-1] = False
    assert np.abs(change[edge]).max() <= 2
    steps = np.abs(np.diff(change.max(2), axis=1)).max() / 255
    assert steps < 0.25
    middle = patch.rgb[patch.rgb.shape[0] // 2, patch.rgb.shape[1] // 2]
    np.testing.assert_array_equal(middle, 255)


def test_masks_move_with_the_face_by_parts_of_a_pixel():
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    circle = (np.stack([np.cos(angle), np.sin(angle)], 1) * 40 + 64).astype(np.float32)
    box = Box(0, 0, 128, 128)
    masks = [crops.soft_mask(circle + np.float32([dx, 0]), box, 0.2) for dx in np.linspace(0, 1, 9)]
    centres = [(m.sum(0) @ np.arange(128)) / m.sum() for m in masks]
    np.testing.assert_allclose(np.diff(centres), 1 / 8, atol=0.03)


def test_windows_and_their_matrices_are_inverse():
    rng = np.random.default_rng(1)
    points = rng.normal(size=(7, 5, 2)) * 30 + 100
    quad = ffhq.window(points).quad
    matrix = crops.to_unit(quad)
    np.testing.assert_allclose(crops.quad_of(matrix), quad, atol=1e-9)
    corner = matrix[0, :, :2] @ quad[0, 2] + matrix[0, :, 2]
    np.testing.assert_allclose(corner, [1, 1], atol=1e-12)


def test_skin_tones_are_the_same_from_frame_and_crop(scene):
    at = scene.at(1)
    matrix, mesh = at.data["window"], at.mesh[:, :2]
    quad = crops.quad_of(matrix)
    whole = crops.tones(scene.frames[1], mesh, matrix)
    for size in (64, 256, 1024):
        crop = ffhq.crop(scene.frames[1], quad, ffhq.CropOptions(size))
        points = (mesh @ matrix[:, :2].T + matrix[:, 2]) * size - 0.5
        np.testing.assert_allclose(
            crops.tones(crop, points, crops.of_crop(size)), whole, atol=1.5 if size > 64 else 4
        )


def test_colour_matching_brings_mean_and_contrast():
    rng = np.random.default_rng(2)
    drawn = rng.normal(0.5, 0.1, (32, 32, 3)).astype(np.float32)
    have = np.stack([drawn.mean((0, 1)), drawn.std((0, 1))])
    wanted = np.array([[0.4, 0.5, 0.6], [0.12, 0.1, 0.09]], np.float32)
    out = crops.match_colour(drawn, have, wanted, 1.0)
    np.testing.assert_allclose(out.mean((0, 1)), wanted[0], atol=1e-3)
    np.testing.assert_allclose(out.std((0, 1)), wanted[1], atol=4e-3)
    assert crops.match_colour(drawn, have, wanted, 0.0) is drawn


def test_grain_comes_back_only_where_it_is_missing():
    rng = np.random.default_rng(2)
    sharp = rng.normal(0.5, 0.01, (64, 64, 3)).astype(np.float32)
    weight = np.ones((64, 64), np.float32)
    soft = cv2.GaussianBlur(sharp, (0, 0), 2.0)
    given = crops.add_grain(soft, sharp, weight, 1.0)
    assert given.std() > 0.6 * sharp.std() > 2 * soft.std()
    np.testing.assert_array_equal(crops.add_grain(sharp, soft, weight, 1.0), sharp)


# --- what is mixed


def test_similarity_goes_from_target_to_swap(engine, codes):
    source, target = codes
    swapped = engine.generate(source, target)
    plain = engine.networks.generate(target)
    distances = []
    for share in (0.0, 0.25, 0.5, 1.0):
        made = LatentSwap(options(similarity=share)).generate(source, target)
        distances.append(float(np.abs(made - plain).mean()))
    assert distances[0] < 1e-6
    assert distances == sorted(distances)
    np.testing.assert_allclose(
        LatentSwap(options(similarity=1.0)).generate(source, target), swapped, atol=1e-6
    )


def test_the_mixer_takes_the_source_first(engine, codes):
    import torch

    mixed = engine.networks.mix(*codes)
    network = engine.networks._mixer
    with torch.inference_mode():
        expected = network(torch.from_numpy(codes[0]), torch.from_numpy(codes[1]))
    np.testing.assert_allclose(mixed, expected.numpy(), atol=1e-6)
    assert np.abs(mixed - engine.networks.mix(codes[1], codes[0])).max() > 0.1


@pytest.mark.parametrize(
    ("similarity", "layers", "expected"),
    [
        (1.0, "all", [1] * 10),
        ((1.0, 0.5, 0.0), "all", [1] * 4 + [0.5] * 4 + [0] * 2),
        (0.5, "0-1,9", [0.5, 0.5, 0, 0, 0, 0, 0, 0, 0, 0.5]),
        (1.0, [8, 2], [0, 0, 1, 0, 0, 0, 0, 0, 1, 0]),
        (1.0, 3, [0, 0, 0, 1, 0, 0, 0, 0, 0, 0]),
    ],
)
def test_shares_of_layers(similarity, layers, expected):
    np.testing.assert_array_equal(shares(10, similarity, layers)[:, 0], np.float32(expected))


@pytest.mark.parametrize("layers", ["0-10", "3-1", "some", "", "1,,2", "-1", 12, [0, -2]])
def test_layers_that_do_not_exist_are_named(layers):
    with pytest.raises(RecipeError, match=r"engine\.layers.*0-9"):
        shares(10, 1.0, layers)


@pytest.mark.parametrize(
    ("setting", "part"),
    [
        ("engine.similarity=1.2", r"engine\.similarity must lie in \[0, 1\], got 1.2"),
        ("engine.similarity=[1,0.5]", "expected 3 values, got 2"),
        ("engine.similarity=[0,0,-1]", "engine.similarity"),
        ("engine.similarity=much", "engine.similarity: expected float"),
        ("engine.layers=1.5", "engine.layers"),
        ("engine.feather=0", "engine.feather"),
        ("engine.fade_yaw=[60,40]", "engine.fade_yaw"),
        ("engine.mixr=x", "unknown key 'mixr'|engine.mixr: unknown key"),
        ("run.precision=fp8", "run.precision"),
    ],
)
def test_wrong_options_are_named(setting, part):
    with pytest.raises(RecipeError, match=part):
        recipe.load("latentswap", [setting])


def test_several_photos_are_one_person_that_a_bad_one_hardly_moves():
    rng = np.random.default_rng(4)
    good = rng.normal(size=(1, 6, 4)) + rng.normal(size=(4, 6, 4)) * 0.1
    bad = rng.normal(size=(1, 6, 4)) * 20
    found = geometric_median(np.concatenate([good, bad]))
    centre = good.mean(0)
    assert np.linalg.norm(found - centre) < 0.5
    assert np.linalg.norm(np.concatenate([good, bad]).mean(0) - centre) > 5
    np.testing.assert_array_equal(geometric_median(good[:1]), good[0])
    np.testing.assert_array_equal(geometric_median(good[[0, 0]]), good[0])
    np.testing.assert_allclose(geometric_median(good[:2], [9.0, 1.0]), good[0], atol=1e-6)


# --- what is refused


def test_a_face_that_has_turned_away_or_is_doubtful_stays(engine, scene, hopper):
    plan = engine.plan(scene.track, {}, engine.identify([hopper]))
    turned = scene.face(engine, plan, 0, pose=(80, 0, 0))
    doubtful = scene.face(engine, plan, 1, confidence=0.0)
    assert engine.swap([turned, doubtful], [plan, plan]) == [None, None]


def test_an_analysis_without_codes_is_named(engine, scene, hopper):
    plan = engine.plan(scene.track, {}, engine.identify([hopper]))
    face = scene.face(engine, plan, 0)
    bare = replace(face, at=replace(face.at, data={}))
    with pytest.raises(StateError, match="no latents of track 0"):
        engine.swap([bare], [plan])


def test_a_photo_without_a_face_is_one_clear_error(engine, hopper):
    flat = replace(hopper, mesh=np.ones_like(hopper.mesh))
    with pytest.raises(NoFaceError, match=r"hopper.*span no face"):
        engine.identify([flat])


def test_missing_weights_are_all_named_with_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("VIDSWAP_WEIGHTS", str(tmp_path))
    assert needs_of(LatentSwapEngine()) == {"mesh", "latents"}  # who is in a clip needs none
    with pytest.raises(WeightsError) as caught:
        create(LatentSwapEngine())
    for name in ("stylegan2-ffhq-1024", "e4e-ffhq", "latentswap-mixer"):
        assert name in caught.value.message
        assert f"vidswap weights fetch {name}" in caught.value.hint
    with pytest.raises(WeightsError, match=r"engine\.mixer: no checkpoint is called 'nobody'"):
        create(LatentSwapEngine(mixer="nobody"))


def test_networks_that_do_not_fit_are_refused_before_any_is_read(
    tiny_weights, tmp_path, monkeypatch
):
    shutil.copytree(tiny_weights, tmp_path, dirs_exist_ok=True)
    monkeypatch.setenv("VIDSWAP_WEIGHTS", str(tmp_path))
    wide = {"layers": 18, "style_dim": 16}
    keep(Store(tmp_path), "wide", "latentswap-mixer", wide, LatentMixer(MixerConfig(**wide)))
    with pytest.raises(
        WeightsError, match="wide mixes 18 × 16 codes, but generator tiny-generator"
    ):
        create(options(mixer="wide"))
    with pytest.raises(WeightsError, match="tiny-mixer cannot be the encoder"):
        create(options(encoder="tiny-mixer"))
    with pytest.raises(RecipeError, match=r"engine\.layers: 8 is no layer; there are 0-7"):
        create(options(layers=8))


def test_both_halves_of_a_published_autoencoder_serve(tiny_weights, tmp_path, monkeypatch, codes):
    shutil.copytree(tiny_weights, tmp_path, dirs_exist_ok=True)
    monkeypatch.setenv("VIDSWAP_WEIGHTS", str(tmp_path))
    small = {"size": 32, "style_dim": 16, "mapping_layers": 2, "channel_max": 8, "input_size": 32}
    sizes = {"widths": [16] * 4, "depths": [1] * 4}
    whole = Autoencoder(EncoderConfig(**small, **{k: tuple(v) for k, v in sizes.items()}))
    keep(Store(tmp_path), "both", "e4e", small | sizes, whole)
    engine = create(options(encoder="both", generator="both"))
    assert engine.generate(*codes).shape == (2, 32, 32, 3)
    assert engine.encode(np.zeros((3, 32, 32, 3), np.uint8)).shape == (3, 8, 16)
    np.testing.assert_array_equal(
        engine.encode(np.zeros((5, 32, 32, 3), np.uint8))[4],
        engine.encode(np.zeros((1, 32, 32, 3), np.uint8))[0],
    )


def test_numbers_that_are_none_never_become_a_black_face(
    tiny_weights, tmp_path, monkeypatch, codes
):
    shutil.copytree(tiny_weights, tmp_path, dirs_exist_ok=True)
    monkeypatch.setenv("VIDSWAP_WEIGHTS", str(tmp_path))
    engine = create(options())
    engine.networks._mixer.linears[0].bias.data[:] = np.nan
    with pytest.raises(WeightsError, match="mixer tiny-mixer gives values that are no numbers"):
        engine.generate(*codes)


def test_weights_count_for_licences(weights_here):
    settings = [f"engine.{role}={name}" for role, name in NAMES.items()]
    used = weights_in_use(recipe.load("latentswap", settings))
    assert set(NAMES.values()) <= {manifest.name for manifest in used}
    assert "tiny-encoder" not in {m.name for m in weights_in_use(recipe.load("mesh"))}
