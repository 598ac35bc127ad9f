"""The head's cage: the face mesh, continued over the skull, into the mouth and behind the lids.

Units are outer eye corner distances (about 9 cm); x right, y down, z away from the camera. The cage
moves linearly with identity and expression, but for the jaw and the lids; then it is subdivided once
(Loop 1987).
"""

from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from vidswap.types import F32, F64

SURFACE = 468
SKIN, MOUTH = 0, 1
SKULL_CENTRE = np.array([0.0, -0.55, 0.95])
SKULL_RADII = np.array([0.87, 1.09, 1.05])
RINGS = 9
"""Rings from the face oval to the back of the head."""

EYES = (
    (33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7),
    (263, 466, 388, 387, 386, 385, 384, 398, 362, 382, 381, 380, 374, 373, 390, 249),
)
"""Lid contours, image-left first: outer corner, upper lid, inner corner, back below."""
LIPS_OUTER = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146)  # fmt: skip
LIPS_INNER = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87, 178, 88, 95)  # fmt: skip
LIPS_BETWEEN = (76, 184, 74, 73, 72, 11, 302, 303, 304, 408, 306, 307, 320, 404, 315, 16, 85, 180, 90, 77,
                62, 183, 42, 41, 38, 12, 268, 271, 272, 407, 292, 325, 319, 403, 316, 15, 86, 179, 89, 96)  # fmt: skip
UPPER_LIP = (185, 40, 39, 37, 0, 267, 269, 270, 409, 184, 74, 73, 72, 11, 302, 303, 304, 408,
             183, 42, 41, 38, 12, 268, 271, 272, 407, 191, 80, 81, 82, 13, 312, 311, 310, 415)  # fmt: skip
LOWER_LIP = (375, 321, 405, 314, 17, 84, 181, 91, 146, 307, 320, 404, 315, 16, 85, 180, 90, 77,
             325, 319, 403, 316, 15, 86, 179, 89, 96, 324, 318, 402, 317, 14, 87, 178, 88, 95)  # fmt: skip


@dataclass(frozen=True)
class Cage:
    """Constant data of the head."""

    points: F64
    """(N, 3) the mean head, mouth shut."""
    triangles: NDArray[np.int32]
    """(M, 3) of the subdivided mesh."""
    parts: NDArray[np.int32]
    """(M,) SKIN or MOUTH."""
    subdivide: sparse.csr_array
    """(N', N) cage → mesh."""
    rest: F32
    """(N', 3) subdivided mean head: the coordinates in which skin is painted."""
    liner: F32
    """(N',) 1 on the lid rims."""
    lips: F32
    """(N',) 1 on the lips."""
    jaw: F64
    """(N,) how far a vertex follows the jaw."""
    oval: NDArray[np.int32]
    """(36,)"""


def skull(direction: F64) -> F64:
    """Point of the skull's ellipsoid from its centre along (N, 3) directions."""
    length = np.sqrt(((direction / SKULL_RADII) ** 2).sum(-1, keepdims=True))
    point: F64 = SKULL_CENTRE + direction / length
    return point


def _strip(first: list[int], second: list[int]) -> list[tuple[int, int, int]]:
    """Triangles between two closed rings of one length."""
    found = []
    for i in range(len(first)):
        j = (i + 1) % len(first)
        found += [(first[i], second[i], second[j]), (first[i], second[j], first[j])]
    return found


def _oriented(ring: list[int], edges: set[tuple[int, int]]) -> list[int]:
    """The ring in the direction in which a strip outside it continues the surface."""
    return ring if (ring[0], ring[1]) in edges else ring[::-1]


def _shut(points: F64) -> F64:
    """Bring the inner lips together and even the mean face's slight smile."""
    out = points.copy()
    upper, lower = LIPS_INNER[1:10], LIPS_INNER[:10:-1]
    for a, b in zip(upper, lower, strict=True):
        gap = points[b, 1] - points[a, 1]
        middle = (points[a] + points[b]) / 2
        out[a, 1] = middle[1] + 0.001
        out[b, 1] = middle[1] - 0.001
        out[a, 2] = out[b, 2] = middle[2]
        for v in LOWER_LIP:
            if v not in LIPS_INNER and abs(points[v, 0] - points[b, 0]) < 0.02:
                out[v, 1] -= 0.45 * gap
        for v in UPPER_LIP:
            if v not in LIPS_INNER and abs(points[v, 0] - points[a, 0]) < 0.02:
                out[v, 1] += 0.25 * gap
    return out


def _grow(points: F64, oval: list[int]) -> tuple[F64, list[list[int]]]:
    """Rings from the oval over the skull; the last holds the pole alone."""
    pole = np.array([0.0, 0.22, 1.0])
    rings, rows, base = [], [points], len(points)
    start = points[oval] - SKULL_CENTRE
    shell = skull(start) - SKULL_CENTRE
    for k in range(1, RINGS):
        t = k / RINGS
        unit = shell / SKULL_RADII
        turned = _slerp(unit, pole, t)
        surface = SKULL_CENTRE + turned * SKULL_RADII
        # The jaw stands off the skull; the difference dies out along a concave underside.
        rows.append(surface + (start - shell) * (1 - t) ** 1.8)
        rings.append(list(range(base, base + len(oval))))
        base += len(oval)
    rows.append((SKULL_CENTRE + pole / np.linalg.norm(pole) * SKULL_RADII)[None])
    return np.concatenate(rows), [*rings, [base]]


def _slerp(a: F64, b: F64, t: float) -> F64:
    """Along the great circle from each unit vector (N, 3) to one."""
    b = b / np.linalg.norm(b)
    angle = np.arccos(np.clip(a @ b, -0.999, 0.999))[:, None]
    result: F64 = (np.sin((1 - t) * angle) * a + np.sin(t * angle) * b) / np.sin(angle)
    return result


def _inside(
    points: F64, ring: list[int], steps: list[tuple[float, float]]
) -> tuple[F64, list[list[int]]]:
    """Rings that lead from an opening inwards: (scale about the middle, depth) each."""
    rows, rings, base = [points], [], len(points)
    middle = points[ring].mean(0)
    for scale, depth in steps:
        rows.append(middle + (points[ring] - middle) * scale + [0, 0, depth])
        rings.append(list(range(base, base + len(ring))))
        base += len(ring)
    return np.concatenate(rows), rings


@lru_cache(maxsize=1)
def cage() -> Cage:
    """Build the head from the face mesh's data file."""
    with (files("vidswap") / "faces" / "facemesh.npz").open("rb") as file, np.load(file) as data:
        points = _shut(data["shape"].astype(np.float64))
        triangles = [tuple(t) for t in data["triangles"][data["labels"] == 0].tolist()]
        oval = data["oval"].astype(np.int32)
    edges = {e for t in triangles for e in ((t[0], t[1]), (t[1], t[2]), (t[2], t[0]))}
    ring = _oriented(oval.tolist(), edges)
    points, rings = _grow(points, ring)
    for a, b in zip([ring, *rings[:-2]], rings[:-1], strict=True):
        triangles += _strip(a, b)
    last, pole = rings[-2], rings[-1][0]
    triangles += [(last[i], pole, last[(i + 1) % len(last)]) for i in range(len(last))]
    liner = np.zeros(len(points))
    for eye in EYES:
        liner[list(eye)] = 1
        lid = _oriented(list(eye), edges)
        points, inner = _inside(points, lid, [(1.0, 0.03), (1.05, 0.10)])
        for a, b in zip([lid, inner[0]], inner, strict=True):
            triangles += _strip(a, b)
    count = len(triangles)
    lips = _oriented(list(LIPS_INNER), edges)
    points, inner = _inside(points, lips, [(0.98, 0.05), (0.95, 0.12), (1.0, 0.3), (0.5, 0.55)])
    triangles += _strip(lips, inner[0])
    count += 2 * len(lips)
    for a, b in pairwise(inner):
        triangles += _strip(a, b)
    parts = np.array([SKIN] * count + [MOUTH] * (len(triangles) - count), np.int32)
    return _finish(points, np.array(triangles, np.int32), parts, liner, oval)


def _finish(
    points: F64,
    triangles: NDArray[np.int32],
    parts: NDArray[np.int32],
    liner: F64,
    oval: NDArray[np.int32],
) -> Cage:
    n = len(points)
    liner = np.r_[liner, np.zeros(n - len(liner))]
    lips = np.zeros(n)
    lips[list(LIPS_BETWEEN)] = lips[list(LIPS_INNER)] = 1
    lips[list(LIPS_OUTER)] = 0.75
    lips[-4 * len(LIPS_INNER) :] = 1
    matrix, fine = loop(n, triangles)
    return Cage(
        points=points, triangles=fine, parts=np.tile(parts, 4), subdivide=matrix,
        rest=(matrix @ points).astype(np.float32), liner=(matrix @ liner).astype(np.float32),
        lips=(matrix @ lips).astype(np.float32), jaw=_jaw(points, triangles), oval=oval,
    )  # fmt: skip


def laplacian(n: int, triangles: NDArray[np.int32]) -> F64:
    """(N, N) identity minus the mean of the neighbours."""
    link = np.zeros((n, n))
    for a, b in ((0, 1), (1, 2), (2, 0)):
        link[triangles[:, a], triangles[:, b]] = link[triangles[:, b], triangles[:, a]] = 1
    return np.eye(n) - link / np.maximum(link.sum(1, keepdims=True), 1)


def _jaw(points: F64, triangles: NDArray[np.int32]) -> F64:
    """Harmonic weights between what the jaw carries and what stays."""
    n = len(points)
    fixed = np.full(n, np.nan)
    y, z = points[:, 1], points[:, 2]
    fixed[y < 0.2] = 0
    fixed[z > 0.85] = 0
    fixed[list(UPPER_LIP)] = 0
    fixed[list(LOWER_LIP)] = 1
    corners = (61, 76, 62, 78, 291, 306, 292, 308)
    fixed[list(corners)] = 0.42
    fixed[[185, 409, 184, 408, 183, 407, 191, 415]] = 0.16
    fixed[[146, 375, 77, 307, 96, 325, 95, 324]] = 0.7
    fixed[(y > 0.62) & (np.abs(points[:, 0]) < 0.42) & (z < 0.4)] = 1
    inner = n - 4 * len(LIPS_INNER)
    fixed[inner:] = np.nan
    return harmonic(fixed, laplacian(n, triangles))


def harmonic(fixed: F64, matrix: F64) -> F64:
    """Smooth values that agree with the given ones; NaN where free."""
    free = np.isnan(fixed)
    known = np.where(free, 0, fixed)
    out = known.copy()
    out[free] = np.linalg.solve(matrix[np.ix_(free, free)], -(matrix @ known)[free])
    return out


def loop(n: int, triangles: NDArray[np.int32]) -> tuple[sparse.csr_array, NDArray[np.int32]]:
    """One step of Loop subdivision, with creases on boundaries.

    Returns:
        (N', N) weights and (4 M, 3) triangles; the first quarter holds the corners 0 of all.
    """
    index: dict[tuple[int, int], int] = {}
    across: dict[tuple[int, int], list[int]] = {}
    for t in triangles.tolist():
        for i in range(3):
            a, b, c = t[i], t[(i + 1) % 3], t[(i + 2) % 3]
            edge = (min(a, b), max(a, b))
            index.setdefault(edge, n + len(index))
            across.setdefault(edge, []).append(c)
    weights = sparse.lil_array((n + len(index), n))
    near: list[set[int]] = [set() for _ in range(n)]
    rim: list[set[int]] = [set() for _ in range(n)]
    for (a, b), row in index.items():
        near[a].add(b)
        near[b].add(a)
        sides = across[a, b]
        if len(sides) == 2:
            weights[row, [a, b]] = 3 / 8
            weights[row, sides] = 1 / 8
        else:
            rim[a].add(b)
            rim[b].add(a)
            weights[row, [a, b]] = 1 / 2
    for v in range(n):
        if rim[v]:
            weights[v, v] = 3 / 4
            weights[v, sorted(rim[v])] = 1 / 4 / len(rim[v])
        elif near[v]:
            k = len(near[v])
            beta = (5 / 8 - (3 / 8 + np.cos(2 * np.pi / k) / 4) ** 2) / k
            weights[v, v] = 1 - k * beta
            weights[v, sorted(near[v])] = beta
        else:
            weights[v, v] = 1
    m = [
        np.array(
            [index[min(a, b), max(a, b)] for a, b in triangles[:, [i, (i + 1) % 3]].tolist()],
            np.int32,
        )
        for i in range(3)
    ]
    a, b, c = triangles.T
    fine = np.concatenate([
        np.stack([a, m[0], m[2]], 1), np.stack([m[0], b, m[1]], 1),
        np.stack([m[2], m[1], c], 1), np.stack([m[0], m[1], m[2]], 1),
    ])  # fmt: skip
    return weights.tocsr(), fine.astype(np.int32)
