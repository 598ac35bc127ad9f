"""A made-up face clip whose truth is known."""

import numpy as np

from vidswap.metrics.stability import Observed

FPS = 25.0


def mesh(jaw, eyes, centre):
    """(T, 468, 2) vertices: still but for lips and lids, at a moving centre."""
    rng = np.random.default_rng(0)
    base = rng.uniform(-1, 1, (468, 2))
    base[[33, 133, 362, 263]] = [[-0.5, 0], [-0.2, 0], [0.2, 0], [0.5, 0]]
    points = np.repeat(base[None], len(jaw), 0)
    for left, top in ((-0.5, 160), (-0.5, 158), (0.2, 385), (0.2, 387)):
        points[:, top] = np.stack([np.full(len(eyes), left + 0.15), -0.15 * eyes], -1)
    for bottom in (153, 144, 373, 380):
        points[:, bottom] = np.stack([points[:, 160 if bottom < 200 else 385, 0], 0.15 * eyes], -1)
    points[:, 13], points[:, 14] = [0, 0.5], np.stack([0 * jaw, 0.5 + jaw], -1)
    return 100 * points + centre[:, None]


def times(count):
    return np.arange(count) / FPS


def talk(count):
    """Jaw and eyes of somebody who talks and blinks three times."""
    t = times(count)
    jaw = 0.1 + 0.1 * np.sin(2 * np.pi * 2.0 * t) * np.sin(2 * np.pi * 0.3 * t)
    eyes = np.ones(count)
    for blink in (20, 52, 81):
        eyes[blink - 2 : blink + 3] = [0.6, 0.2, 0.05, 0.3, 0.7]
    return jaw, eyes


def texture(size, seed=3):
    """(size, size, 3) smooth noise in [0, 1]."""
    import cv2

    noise = np.random.default_rng(seed).uniform(0, 1, (size, size, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2.0, borderType=cv2.BORDER_REFLECT)
    return (smooth - smooth.min()) / np.ptp(smooth)


def observed(count=100, size=48, shake=0.0, noise=0.0, seed=0, frozen=False):
    """Clip of a face; ``shake`` jitters points, ``noise`` pixels and identity."""
    rng = np.random.default_rng(seed)
    jaw, eyes = talk(count)
    if frozen:
        jaw, eyes = np.full(count, jaw.mean()), np.ones(count)
    t = times(count)
    centre = np.stack([200 + 30 * np.sin(t), 150 + 20 * np.cos(1.3 * t)], -1)
    points = mesh(jaw, eyes, centre) + shake * rng.normal(size=(count, 468, 2))
    light = 1 + 0.002 * np.sin(2 * np.pi * 6 * t)
    crops = np.clip(texture(size)[None] * light[:, None, None, None], 0, 1)
    crops = crops + 0.002 * np.random.default_rng(99).normal(size=crops.shape)
    crops = crops + noise * rng.normal(size=(count, 1, 1, 1))
    face = np.eye(8)[0] + 0.02 * np.random.default_rng(98).normal(size=(count, 8))
    face = face + noise * 5 * rng.normal(size=(count, 8))
    face /= np.linalg.norm(face, axis=1, keepdims=True)
    return Observed(crops.astype(np.float32), face.astype(np.float32), points.astype(np.float32))
