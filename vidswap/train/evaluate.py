"""How good trained networks are, on procedural heads that nobody trained on.

Every figure is a function of networks and data, so that a benchmark can print them again. Pictures are
(N, S, S, 3) uint8, FFHQ-aligned.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vidswap.errors import ShapeError
from vidswap.metrics.pictures import label_iou, psnr
from vidswap.models.bisenet import BiSeNet
from vidswap.models.e4e import Encoder
from vidswap.models.irse import ArcFace
from vidswap.models.latentswap import LatentMixer
from vidswap.models.stylegan2 import StyleGAN2
from vidswap.train.losses import fitted
from vidswap.train.parser import prepare
from vidswap.types import F32, U8

BATCH = 50
FACE = (1, 2, 3, 5, 6, 9)
"""Regions that belong to the face: lips, brows, eyes, nose, skin, mouth."""


def tensor(pictures: U8) -> Tensor:
    """(N, S, S, 3) uint8 → (N, 3, S, S) in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1


def array(pictures: Tensor) -> F32:
    """(N, 3, S, S) in [-1, 1] → (N, S, S, 3) in [0, 1]."""
    rgb = (pictures.float().cpu() * 0.5 + 0.5).clamp(0, 1).permute(0, 2, 3, 1)
    return np.asarray(rgb.contiguous().numpy(), np.float32)


def _batches(count: int) -> Iterator[slice]:
    return (slice(i, min(i + BATCH, count)) for i in range(0, count, BATCH))


def embed(network: ArcFace, pictures: U8) -> F32:
    """(N, S, S, 3) → (N, D) unit vectors."""
    with torch.inference_mode():
        parts = [
            network(fitted(tensor(pictures[part]), network)) for part in _batches(len(pictures))
        ]
    return np.asarray(torch.cat(parts).numpy(), np.float32)


def auc(same: F32, different: F32) -> float:
    """Area under the ROC curve: how often a pair of one person is more alike than one of two people.

    Args:
        same: (M,) similarities.
        different: (K,)
    """
    ranks = np.searchsorted(np.sort(different), same, "left") + np.searchsorted(
        np.sort(different), same, "right"
    )
    return float(ranks.mean() / (2 * len(different)))


@dataclass(frozen=True, slots=True)
class Verification:
    """How well an embedder tells people apart."""

    auc: float
    same: float
    """Mean cosine of two pictures of one person."""
    different: float
    threshold: float
    """Cosine at which both kinds of error are equally frequent."""
    error: float
    """Their frequency."""


def verification(vectors: F32, people: NDArray[np.integer[Any]], pairs: int = 2000) -> Verification:
    """Tell pairs of one person from pairs of two.

    Args:
        vectors: (N, D) unit vectors.
        people: (N,) who is who; everybody at least twice.
        pairs: Pairs, half of them of one person.

    Raises:
        ShapeError: Somebody is seen once only, or everybody is the same.
    """
    rng = np.random.default_rng(0)
    names, counts = np.unique(people, return_counts=True)
    if len(names) < 2 or counts.min() < 2:
        raise ShapeError("verification needs several people, each at least twice")
    rows = {name: np.flatnonzero(people == name) for name in names}
    chosen = [rng.choice(names, 2, replace=False) for _ in range(pairs // 2)]
    same = [rng.choice(rows[a], 2, replace=False) for a, _ in chosen]
    different = [(rng.choice(rows[a]), rng.choice(rows[b])) for a, b in chosen]
    alike, apart = (
        np.array([vectors[i] @ vectors[j] for i, j in found], np.float32)
        for found in (same, different)
    )
    levels = np.sort(np.concatenate([alike, apart]))
    wrong = np.array([max((alike < t).mean(), (apart >= t).mean()) for t in levels])
    best = int(wrong.argmin())
    return Verification(
        auc(alike, apart),
        float(alike.mean()),
        float(apart.mean()),
        float(levels[best]),
        float(wrong[best]),
    )


def samples(generator: StyleGAN2, count: int, seed: int = 0, truncation: float = 1.0) -> U8:
    """Pictures of random codes, (count, S, S, 3)."""
    rng = torch.Generator().manual_seed(seed)
    z = torch.randn(count, generator.z_dim, generator=rng)
    with torch.inference_mode():
        parts = [
            array(generator.synthesis(generator.mapping(z[part], truncation)))
            for part in _batches(count)
        ]
    return np.asarray(np.rint(np.concatenate(parts) * 255), np.uint8)


def judged_as_faces(pictures: U8, find: Callable[[U8], bool]) -> float:
    """Share of pictures in which a detector finds a face."""
    return float(np.mean([find(picture) for picture in pictures]))


@dataclass(frozen=True, slots=True)
class Reconstruction:
    """What is left of a picture after encoding and drawing it."""

    psnr: float
    """Inside the face, decibels."""
    identity: float
    """Mean cosine."""


def encode(encoder: nn.Module, pictures: U8) -> Tensor:
    """(N, S, S, 3) → (N, L, D)."""
    with torch.inference_mode():
        return torch.cat([encoder(tensor(pictures[part])) for part in _batches(len(pictures))])


def draw(generator: StyleGAN2, codes: Tensor) -> F32:
    """(N, L, D) → (N, S, S, 3) in [0, 1]."""
    with torch.inference_mode():
        parts = [array(generator.synthesis(codes[part])) for part in _batches(len(codes))]
    return np.concatenate(parts)


def reconstruction(
    encoder: Encoder, generator: StyleGAN2, embedder: ArcFace, pictures: U8, labels: U8
) -> Reconstruction:
    """Encode and draw again.

    Args:
        encoder: Reads the pictures at their own size.
        generator: Draws.
        embedder: Says who it is.
        pictures: (N, S, S, 3)
        labels: (N, S, S) the 12 classes of E4S.
    """
    drawn = draw(generator, encode(encoder, pictures))
    figures = [
        psnr(a, b / np.float32(255), face(c))
        for a, b, c in zip(drawn, pictures, labels, strict=True)
    ]
    before = embed(embedder, pictures)
    after = embed(embedder, np.asarray(np.rint(drawn * 255), np.uint8))
    return Reconstruction(float(np.mean(figures)), float((before * after).sum(1).mean()))


def face(labels: U8) -> F32:
    """(H, W) labels → 1 inside the face, 0 outside."""
    return np.isin(labels, FACE).astype(np.float32)


def parsing(parser: BiSeNet, pictures: U8, labels: U8) -> float:
    """Mean intersection over union of a parser, over the classes that occur."""
    guesses = []
    with torch.inference_mode():
        for part in _batches(len(pictures)):
            logits = parser(prepare(tensor(pictures[part]), parser.config.size))
            small = nn.functional.interpolate(logits, labels.shape[1:], mode="bilinear")
            guesses.append(small.argmax(1).numpy())
    scores = label_iou(np.concatenate(guesses), labels.astype(np.int64), parser.config.classes)
    return float(np.nanmean(scores))


@dataclass(frozen=True, slots=True)
class Swaps:
    """How well a mixer swaps."""

    to_source: float
    """Mean cosine of the result to the source."""
    to_target: float
    closer: float
    """Share of pairs whose result is closer to the source than to the target."""
    psnr: float
    """Against the true swap inside the face, decibels; NaN where there is no truth."""
    psnr_target: float
    """Of the target as it is."""
    psnr_source: float
    """Of the source as it is."""


def swaps(
    mixed: F32,
    source: U8,
    target: U8,
    embedder: ArcFace,
    truth: U8 | None = None,
    labels: U8 | None = None,
) -> Swaps:
    """Compare swapped pictures with what they were made of.

    Args:
        mixed: (N, S, S, 3) in [0, 1].
        source: (N, S, S, 3)
        target: (N, S, S, 3)
        embedder: Says who it is.
        truth: (N, S, S, 3) the true swaps, where they are known.
        labels: (N, S, S) of the target, with the truth.
    """
    result = embed(embedder, np.asarray(np.rint(mixed * 255), np.uint8))
    to_source = (result * embed(embedder, source)).sum(1)
    to_target = (result * embed(embedder, target)).sum(1)
    scores = [float("nan")] * 3
    if truth is not None and labels is not None:
        masks = [face(one) for one in labels]
        scores = [
            _inside(pictures, truth, masks)
            for pictures in (mixed, target / np.float32(255), source / np.float32(255))
        ]
    return Swaps(
        float(to_source.mean()),
        float(to_target.mean()),
        float((to_source > to_target).mean()),
        *scores,
    )


def _inside(pictures: F32, truth: U8, masks: list[F32]) -> float:
    found = [
        psnr(a, b / np.float32(255), m) for a, b, m in zip(pictures, truth, masks, strict=True)
    ]
    return float(np.mean(found))


def similarity_steps(
    mixer: LatentMixer,
    generator: StyleGAN2,
    embedder: ArcFace,
    source: Tensor,
    target: Tensor,
    shares: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 1.0),
) -> list[float]:
    """Mean cosine to the source as more and more of the swap is taken.

    Args:
        mixer: Mixes.
        generator: Draws.
        embedder: Says who it is.
        source: (N, L, D) codes.
        target: (N, L, D)
        shares: Of the swap, [0, 1], as ``engine.similarity``.
    """
    with torch.inference_mode():
        mixed = mixer(source, target)
    wanted = embed(embedder, np.asarray(np.rint(draw(generator, source) * 255), np.uint8))
    found = []
    for share in shares:
        drawn = draw(generator, torch.lerp(target, mixed, share))
        vectors = embed(embedder, np.asarray(np.rint(drawn * 255), np.uint8))
        found.append(float((vectors * wanted).sum(1).mean()))
    return found
