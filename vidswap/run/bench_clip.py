"""The clip that benchmarks run on: a public-domain portrait under a moving camera."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from vidswap.errors import RecipeError
from vidswap.media.pictures import write_pictures
from vidswap.types import F32, U8

WIDTH, HEIGHT = 1920, 1080
FACE_CENTRE = (223.0, 122.0)
"""Middle of the face in scikit-image's astronaut, pixels."""
FACE_HEIGHT = 112.0
"""Its mesh's height there, pixels."""
GRAIN = 1.0
"""Standard deviation of the noise, 8-bit levels: real clips are never clean, codecs notice."""


def portrait() -> U8:
    """scikit-image's astronaut (NASA, public domain), (512, 512, 3).

    Raises:
        RecipeError: scikit-image is not installed.
    """
    try:
        from skimage.data import astronaut
    except ImportError:
        raise RecipeError(
            "a clip with a face is made from a photograph of scikit-image, which is not installed",
            hint="pip install scikit-image, or give a clip with --input",
        ) from None
    return np.asarray(astronaut(), np.uint8)


def write_bench_clip(path: Path, frames: int, face: float) -> Path:
    """Write a 1080p clip of a face at a size.

    Args:
        path: Target, ``.mp4``.
        frames: Number of frames, at 25 a second.
        face: Height of the face in pixels, about.

    Returns:
        ``path``.
    """
    options = {"crf": "16", "preset": "veryfast"}
    write_pictures(path, _pictures(portrait(), frames, face / FACE_HEIGHT), options=options)
    return path


def _pictures(photo: U8, frames: int, scale: float) -> Iterator[U8]:
    rng = np.random.default_rng(0)
    grain = (rng.standard_normal((HEIGHT + 64, WIDTH + 64, 1)) * GRAIN).astype(np.float32)
    for index in range(frames):
        matrix = _camera(index / 25, scale)
        still = cv2.warpAffine(
            photo, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT
        )
        y, x = rng.integers(0, 64, 2)
        noisy = still + grain[y : y + HEIGHT, x : x + WIDTH]
        yield np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def _camera(seconds: float, scale: float) -> F32:
    """Sway of a few pixels and degrees about the face, as of a camera in the hand."""
    phase = 2 * np.pi * seconds
    angle, zoom = 2.5 * np.sin(0.31 * phase), scale * (1 + 0.02 * np.sin(0.17 * phase))
    matrix = cv2.getRotationMatrix2D(FACE_CENTRE, angle, zoom)
    matrix[0, 2] += WIDTH / 2 - FACE_CENTRE[0] + 40 * np.sin(0.23 * phase)
    matrix[1, 2] += HEIGHT / 2 - FACE_CENTRE[1] + 18 * np.sin(0.4 * phase)
    return np.asarray(matrix, np.float32)
