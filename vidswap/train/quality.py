"""The table of the weights that come with vidswap: every figure measured on people never trained on."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from vidswap import zoo
from vidswap.faces.detect import open_detector
from vidswap.models.bisenet import BiSeNet
from vidswap.models.e4e import Encoder
from vidswap.models.irse import ArcFace
from vidswap.models.latentswap import LatentMixer
from vidswap.models.shape import ShapeModel
from vidswap.models.stylegan2 import StyleGAN2
from vidswap.recipe import DetectOptions
from vidswap.train import evaluate
from vidswap.train.heads import HELD_OUT, draw
from vidswap.types import F32, U8

SIZE = 64
NAMES = {
    "embedder": "vidswap-identity-64",
    "generator": "vidswap-stylegan2-64",
    "encoder": "vidswap-encoder-64",
    "mixer": "vidswap-latentswap-64",
    "parser": "vidswap-parser-64",
    "landmarks": "vidswap-landmarks-64",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    what: str
    measure: str
    value: float
    wanted: str
    reached: bool


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """Swaps of people never trained on, and what they should look like."""

    source: U8
    """(N, S, S, 3)"""
    target: U8
    truth: U8
    labels: U8
    """(N, S, S) of the target."""
    pose: F32
    """(N, 3) of the target, degrees."""


def swap_pairs(count: int, first: int = HELD_OUT, size: int = SIZE) -> Truth:
    """Draw pairs of people and the true swap of each.

    Args:
        count: Pairs.
        first: Number of the first person.
        size: Side of the pictures, pixels.
    """
    from vidswap.synth.params import swap_truth
    from vidswap.synth.render import ffhq_window, render
    from vidswap.synth.sample import identity, view

    rows = []
    for index in range(count):
        who, whom = first + 2 * index, first + 2 * index + 1
        a, b = (view(3 * person + 7, identity(person)) for person in (who, whom))
        drawn = render(b, size, aligned=True)
        swapped = render(swap_truth(a, b), size, crop=ffhq_window(b))
        rows.append(
            (render(a, size, aligned=True).rgb, drawn.rgb, swapped.rgb, drawn.labels, drawn.pose)
        )
    return Truth(*(np.stack(column) for column in zip(*rows, strict=True)))


def measure(
    names: dict[str, str] | None = None,
    find: Callable[[U8], bool] | None = None,
    people: int = 250,
    pairs: int = 200,
) -> list[Row]:
    """Measure the weights.

    Args:
        names: Weights by role, names or files; those that come with vidswap by default.
        find: Says whether a picture shows a face; without it the generator's samples go unjudged.
        people: People for the embedder, in four pictures each.
        pairs: Swaps.

    Raises:
        WeightsError: Weights are missing or damaged.
    """
    networks = {role: _load(name) for role, name in {**NAMES, **(names or {})}.items()}
    heads = draw(range(HELD_OUT, HELD_OUT + people), 4, SIZE)
    rows = _recognition(networks["embedder"], heads.pictures, heads.identity)
    if find is not None:
        pictures = evaluate.samples(_generator(networks), 200)
        share = evaluate.judged_as_faces(pictures, find)
        rows.append(
            Row("generator", "samples the detector takes for faces", share, "≥ .9", share >= 0.9)
        )
    rows += _parsing(networks, heads.pictures[:400], heads.labels[:400])
    rows += _inversion(networks, heads.pictures[:400], heads.labels[:400])
    return rows + _swapping(networks, swap_pairs(pairs))


def table(rows: list[Row]) -> str:
    """The rows as Markdown."""
    lines = ["| what | measure | wanted | measured | |", "|---|---|---|---|---|"]
    for row in rows:
        mark = "yes" if row.reached else "**no**"
        mark = mark if row.wanted else ""
        lines.append(f"| {row.what} | {row.measure} | {row.wanted} | {row.value:.3f} | {mark} |")
    return "\n".join(lines)


def face_finder() -> Callable[[U8], bool]:
    """Whether the default detector finds a face in a small square picture.

    Raises:
        WeightsError: The detector is not installed.
    """
    import cv2

    detector = open_detector(DetectOptions())

    def find(picture: U8) -> bool:
        # The detector was made for faces of some size.
        large = cv2.resize(picture, (256, 256), interpolation=cv2.INTER_CUBIC)
        return bool(detector.detect(np.asarray(large, np.uint8)))

    return find


def _load(name: str) -> nn.Module:
    from pathlib import Path

    network = zoo.load_file(Path(name)) if name.endswith(".safetensors") else zoo.load_named(name)
    return network.eval().requires_grad_(False)


def _generator(networks: dict[str, nn.Module]) -> StyleGAN2:
    network = networks["generator"]
    assert isinstance(network, StyleGAN2)
    return network


def _recognition(network: nn.Module, pictures: U8, people: object) -> list[Row]:
    assert isinstance(network, ArcFace)
    found = evaluate.verification(evaluate.embed(network, pictures), np.asarray(people))
    return [
        Row("embedder", "AUC over pose, light and hair", found.auc, "≥ .98", found.auc >= 0.98),
        Row("embedder", "equal error rate", found.error, "", True),
    ]


def _parsing(networks: dict[str, nn.Module], pictures: U8, labels: U8) -> list[Row]:
    network = networks["parser"]
    assert isinstance(network, BiSeNet)
    return [
        Row("parser", "mean IoU, 12 classes", evaluate.parsing(network, pictures, labels), "", True)
    ]


def _inversion(networks: dict[str, nn.Module], pictures: U8, labels: U8) -> list[Row]:
    encoder, embedder = networks["encoder"], networks["embedder"]
    assert isinstance(encoder, Encoder)
    assert isinstance(embedder, ArcFace)
    found = evaluate.reconstruction(encoder, _generator(networks), embedder, pictures, labels)
    return [
        Row("encoder", "PSNR inside the face, dB", found.psnr, "≥ 22", found.psnr >= 22),
        Row("encoder", "identity cosine", found.identity, "≥ .7", found.identity >= 0.7),
    ]


def _swapping(networks: dict[str, nn.Module], pairs: Truth) -> list[Row]:
    encoder, mixer, embedder = networks["encoder"], networks["mixer"], networks["embedder"]
    assert isinstance(encoder, Encoder)
    assert isinstance(mixer, LatentMixer)
    assert isinstance(embedder, ArcFace)
    generator = _generator(networks)
    source, target = (evaluate.encode(encoder, p) for p in (pairs.source, pairs.target))
    with torch.inference_mode():
        mixed = evaluate.draw(generator, mixer(source, target))
    found = evaluate.swaps(mixed, pairs.source, pairs.target, embedder, pairs.truth, pairs.labels)
    steps = evaluate.similarity_steps(mixer, generator, embedder, source, target)
    rises = all(a < b for a, b in pairwise(steps))
    above = found.psnr > max(found.psnr_target, found.psnr_source)
    error = _pose_error(networks["landmarks"], mixed, pairs.pose)
    return [
        Row("LatentSwap", "closer to source than to target", found.closer, "≥ .85", found.closer >= 0.85),
        Row("LatentSwap", "cosine to the source", found.to_source, "", True),
        Row("LatentSwap", "cosine to the target", found.to_target, "", True),
        Row("LatentSwap", "pose error against the target, degrees", error, "< 5", error < 5),
        Row("LatentSwap", "PSNR against the true swap inside the face, dB", found.psnr, "above both copies", above),
        Row("copy of the target", "PSNR against the true swap", found.psnr_target, "", True),
        Row("copy of the source", "PSNR against the true swap", found.psnr_source, "", True),
        *(Row("LatentSwap", f"cosine to the source, λ {share:g}", value, "rising", rises)
          for share, value in zip((0, 0.25, 0.5, 0.75, 1), steps, strict=True)),
    ]  # fmt: skip


def _pose_error(model: nn.Module, pictures: F32, pose: F32) -> float:
    """Mean absolute yaw and pitch error, pose being read off landmarks by ridge regression."""
    assert isinstance(model, ShapeModel)
    heads = draw(range(HELD_OUT - 1000, HELD_OUT - 600), 1, SIZE)
    known = _poses(range(HELD_OUT - 1000, HELD_OUT - 600))
    x = _features(model, evaluate.tensor(heads.pictures))
    weights = np.linalg.solve(x.T @ x + 1e-3 * np.eye(x.shape[1]), x.T @ known)
    shown = torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2) * 2 - 1
    guess = _features(model, shown) @ weights
    return float(np.abs(guess - pose[:, :2]).mean())


def _features(model: ShapeModel, pictures: Tensor) -> np.ndarray:  # type: ignore[type-arg]
    with torch.inference_mode():
        points = model(pictures).flatten(1).numpy().astype(np.float64)
    return np.concatenate([points, points[:, ::2] ** 2, np.ones((len(points), 1))], 1)


def _poses(people: range) -> F32:
    """(N, 2) yaw and pitch of the first pictures of people."""
    from vidswap.synth.sample import identity, view

    poses = [view(who, identity(who)).pose for who in people]
    return np.array([[p.yaw, p.pitch] for p in poses], np.float32)


def as_json(rows: list[Row]) -> list[dict[str, object]]:
    """The rows as plain values."""
    return [asdict(row) for row in rows]
