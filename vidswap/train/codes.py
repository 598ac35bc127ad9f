"""z codes for data whose parameters are known: the fixed map behind a supervised start."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from vidswap.errors import RecipeError
from vidswap.types import F32

FITTED = 8_000
JITTER = 0.05
"""Standard deviations of noise: keeps parameters that nearly equal each other from being blown up."""


def codes_of(parameters: F32, z_dim: int, seed: int) -> F32:
    """A standard normal z for every parameter vector.

    Each parameter becomes normal by its rank; equal values, as discrete parameters have, are spread
    at random within their share. The scores are made
    uncorrelated and rotated by a fixed orthogonal matrix, so that no
    feature of z means anything by itself, and the features that are left are noise.

    Args:
        parameters: (N, P)
        z_dim: Features of z, at least P.
        seed: Of rotation and noise.

    Returns:
        (N, z_dim)

    Raises:
        RecipeError: More parameters than features.
    """
    parameters = np.asarray(parameters, np.float32)
    count, width = parameters.shape
    if width > z_dim:
        raise RecipeError(f"method.z_dim: {width} parameters do not fit into {z_dim} features")
    # The rotation must not depend on how many rows there are: data may grow between two runs.
    rotation = np.linalg.qr(np.random.default_rng(seed).standard_normal((z_dim, z_dim)))[0]
    rng = np.random.default_rng((seed, 1))
    z = rng.standard_normal((count, z_dim))
    for column in np.flatnonzero(parameters.std(0) > 1e-9):
        own = np.random.default_rng((seed, 2, int(column)))
        z[:, column] = ndtri(_ranks(parameters[:, column], own))
    z += JITTER * np.random.default_rng((seed, 3)).standard_normal(z.shape)
    return (_whitened(z) @ rotation).astype(np.float32)


def _whitened(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Uncorrelated scores, so that a z drawn at random is as likely as one of the data.

    Cholesky's factor changes smoothly with the covariance, which is estimated on the first rows only:
    more data leave the codes of old ones nearly as they were.
    """
    factor = np.linalg.cholesky(np.cov(scores[:FITTED].T))
    white: NDArray[np.float64] = np.linalg.solve(factor, scores.T).T
    return white


def _ranks(values: F32, rng: np.random.Generator) -> NDArray[np.float64]:
    """Ranks in (0, 1); ties in random order."""
    order = np.lexsort((rng.random(len(values)), values))
    ranks = np.empty(len(values))
    ranks[order] = (np.arange(len(values)) + 0.5) / len(values)
    return ranks
