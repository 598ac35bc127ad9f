"""How much of a photo's expression a swap brings into a clip, by a small 3DMM of the face mesh.

A shape is a mean face, what people differ by and what expressions do, each a sum of a few known moves
with Gaussian priors (Blanz, Vetter 1999). The fit decides which of both a difference is; it is a ridge
regression, reweighted so that vertices which no sum explains count less (Geman, McClure 1985).
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from vidswap.checks import check_shape
from vidswap.types import F32, F64

NOISE = 0.027
"""Standard deviation, in eye distances, of what neither explains: neighbours err together, so more than
a single vertex's error."""
EXPRESSION = 0.5
"""Standard deviation of an expression's share; 1 is the whole of a move."""
PEOPLE = 1.7
"""The same for a term of what people differ by: real faces lie that much farther from the mean one than
the procedural heads from which the terms come."""
AXES = (1.0, 1.0, 0.3)
"""Weight of x, y and depth, of which a single view holds little."""
ODD = 0.06
"""Residual of a vertex, in eye distances, at which it counts a quarter."""


@dataclass(frozen=True, eq=False)
class ExpressionModel:
    """Moves of the mesh in canonical units: outer eye corners are 1 apart."""

    mean: F32
    """(V, 3) mean face at rest."""
    people: F32
    """(K, V, 3) what people differ by, each by one standard deviation."""
    moves: F32
    """(E, V, 3) what each expression does, at its full extent."""

    @cached_property
    def _whole(self) -> F64:
        """(E + K, 3 V) all moves, weighted by axis."""
        both = np.concatenate([self.moves, self.people]).astype(np.float64)
        return (both * AXES).reshape(len(both), -1)

    def coefficients(self, shapes: F32, rounds: int = 4) -> F32:
        """Shares of each expression.

        Args:
            shapes: (T, V, 3) canonical.
            rounds: Times that vertices are weighted anew.

        Returns:
            (T, E), 1 where a move is there in full.
        """
        check_shape("T V 3, V 3", shapes=shapes, mean=self.mean)
        known = len(self.moves)
        prior = np.diag(np.repeat([EXPRESSION**-2, PEOPLE**-2], [known, len(self.people)]))
        rest = ((shapes - self.mean) * AXES).reshape(len(shapes), -1)
        return np.array([self._fit(r, prior, rounds)[:known] for r in rest], np.float32)

    def _fit(self, rest: F64, prior: F64, rounds: int) -> F64:
        """(E + K,) shares of all moves in (3 V,) differences from the mean."""
        weight = np.ones(len(rest) // 3)
        shares = np.zeros(len(prior))
        for _ in range(rounds):
            # As precise as the noise says, whatever the number of vertices.
            precise = np.repeat(weight, 3) * (64 / len(weight)) / NOISE**2
            weighted = self._whole * precise
            shares = np.linalg.solve(weighted @ self._whole.T + prior, weighted @ rest)
            left = (rest - shares @ self._whole).reshape(-1, 3)
            weight = 1 / (1 + (left**2).sum(1) / ODD**2) ** 2
        return shares

    def size(self, coefficients: F32) -> F32:
        """(T,) length of all vertices' moves together, in eye distances, of (T, E) shares."""
        moved = coefficients @ self._whole[: len(self.moves)]
        return np.asarray(np.linalg.norm(moved, axis=1), np.float32)

    def leak(self, before: F32, after: F32) -> float:
        """How far a swap moves a clip's expression, against how much expression there is in the clip.

        Args:
            before: (T, V, 3) canonical shapes of the clip, as a landmarker sees them.
            after: (T, V, 3) of the result, frame by frame.

        Returns:
            Mean size of the change over the mean size of the clip's own expression: 0 when the faces
            do what they did, 1 when the change is as large as all they do. Priors hold small moves back:
            an added smile reads as .7 to .9 of itself, another person's shape as a quarter of itself.
        """
        check_shape("T V 3, T V 3", before=before, after=after)
        own, new = self.coefficients(before), self.coefficients(after)
        return float(self.size(new - own).mean() / max(float(self.size(own).mean()), 1e-6))
