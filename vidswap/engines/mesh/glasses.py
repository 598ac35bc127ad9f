"""Glasses: a line around each eye and over the nose, as no bare face has one."""

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from vidswap.engines.mesh.regions import CORE, depth_inside, polygon, smoothstep
from vidswap.faces.facemesh import FaceMesh
from vidswap.faces.vertices import BROWS, EYES
from vidswap.types import F32, U8, Bool

SIZE = 256
"""Side of the layout that glasses are looked for on."""
ANGLES, RADII = 120, 48
NEAREST, FARTHEST = 0.055, 0.19
"""Where a rim may run, from the middle of an eye, in layout units; across it is STRETCH times as far."""
STRETCH = 1.2
BRIDGE = (0.27, 0.47), (0.455, 0.545)
"""Rows and columns of the layout that a bridge crosses."""
LEAST = 6.0
"""Distance in CIELAB, lightness as in [0, 100], of a line from the skin around it, where skin is calm."""
ROUGH, MOST = 2.0, 10.0
"""Times the usual relief of the skin: grain and brushwork are no lines, but wrinkles do not hide them."""
ALIKE, APART, REACH = 9.0, 25.0, 0.07
"""Distances in CIELAB of what has a frame's colour, and of a frame that no skin can be taken for; how far
from its line, in layout units, more of it may lie."""
RIM, CROSSED = 0.82, 0.86
"""Shares of either rim and of the way over the nose that have to be a line."""


def find_glasses(texture: U8, weight: U8) -> F32 | None:
    """The frame of glasses on an unwrapped face.

    Around each eye and over the nose the clearest path is looked for by dynamic programming. Lids' creases,
    brows and the nose's flank make up half of such a path on a bare face: only one that is a line nearly
    everywhere, on both sides and over the nose, is a frame.

    Args:
        texture: (256, 256, 3) unwrapped face.
        weight: (256, 256) how well each texel was seen.

    Returns:
        (256, 256) in [0, 1], the frame's share of each texel; None for a bare face.
    """
    relief, least = _relief(texture, weight)
    line = relief / np.float32(least)
    line[_eyes() > 0] = 0
    free = cv2.multiply(1 - _brows_and_eyes(), (weight > 30).astype(np.float32))
    strips = [_bridge_texels(), *(polar(k) for k in range(2))]
    frame = np.zeros((SIZE, SIZE), np.uint8)
    for index, places in enumerate(strips):
        gain, bare = (cv2.remap(f, places, None, cv2.INTER_LINEAR) for f in (line, free))
        worth = np.minimum(gain, np.float32(1.5))
        path = closed_path(worth) if index else _path(worth, np.float32(0.02), 1)
        rows = np.arange(len(path))
        told = (bare[rows, path] > 0.5) | (index == 0)
        on = worth[rows, path] > 0.8
        if not told.any() or on[told].mean() < (RIM if index else CROSSED):
            return None
        _draw(frame, places, *_edges(gain, path, told & on), closed=index > 0)
    for places in _temples(frame):
        gain = cv2.remap(line, places, None, cv2.INTER_LINEAR)
        worth = np.minimum(gain, np.float32(1.5))
        path = _path(worth, np.float32(0.05), 1)
        on = worth[np.arange(len(path)), path] > 0.8
        if on.mean() > 0.5:
            _draw(frame, places, *_edges(gain, path, on), closed=False)
    frame = cv2.morphologyEx(frame, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    mask = (_grown(frame, texture) * (depth_inside(SIZE) > 0)).astype(np.float32)
    return smoothstep(0.0, 0.55, cv2.GaussianBlur(mask, (0, 0), 0.9))


def _relief(texture: U8, weight: U8) -> tuple[F32, float]:
    """(256, 256) how far each texel is from the skin around it, and from where on that means a line."""
    lab = cv2.cvtColor(texture, cv2.COLOR_RGB2LAB)
    scale = np.array([100 / 255, 1, 1], np.float32)
    fine = cv2.GaussianBlur(lab.astype(np.float32) * scale, (0, 0), 0.6)
    relief = np.zeros((SIZE, SIZE), np.float32)
    # A median that is more than twice as wide as a frame does not see it; thin ones need a closer one.
    for width, gain in ((27, 1.0), (9, 1.5)):
        around = np.dstack([cv2.medianBlur(plane, width) for plane in cv2.split(lab)])
        away = np.linalg.norm(fine - around * scale, axis=2)
        relief = np.maximum(relief, np.float32(gain) * away.astype(np.float32))
    relief[weight <= 30] = 0
    skin = (polygon(CORE, SIZE) > 0) & (weight > 60) & (_brows_and_eyes() < 0.5)
    rough = float(np.median(relief[skin])) if skin.any() else 0.0
    return relief, float(np.clip(ROUGH * rough, LEAST, MOST))


def closed_path(gain: F32) -> NDArray[np.int64]:
    """(A,) column at each angle of (A, R) that earns most; run twice round, the middle of the run meets its own beginning."""
    turns = _path(np.concatenate([gain, gain]), np.float32(0.04), 2)
    half = ANGLES // 2
    return np.roll(turns[half : half + ANGLES], half)


def _path(gain: F32, price: np.float32, reach: int) -> NDArray[np.int64]:
    """(N,) column in each row of (N, M) that earns most, when each step aside has its price."""
    count, width = gain.shape
    best = gain[0].copy()
    back = np.zeros((count, width), np.int64)
    columns = np.arange(width)
    steps = range(-reach, reach + 1)
    for row in range(1, count):
        wide = np.pad(best, reach, constant_values=-1e9)
        offers = np.stack([wide[reach + s : reach + s + width] - price * abs(s) for s in steps])
        chosen = offers.argmax(0)
        back[row] = np.clip(columns + chosen - reach, 0, width - 1)
        best = offers[chosen, columns] + gain[row]
    path = np.zeros(count, np.int64)
    path[-1] = int(best.argmax())
    for row in range(count - 1, 0, -1):
        path[row - 1] = back[row, path[row]]
    return path


def _edges(gain: F32, path: NDArray[np.int64], told: Bool) -> tuple[F32, F32]:
    """(N,) columns where a line has fallen to half of its height, before and behind its path.

    Where it is not told, as under a brow, it is as wide as elsewhere.
    """
    count, width = gain.shape
    rows, columns = np.arange(count), np.arange(width)
    half = 0.5 * np.maximum(gain[rows, path], 0.8)[:, None]
    low = gain < half
    before = np.where(low & (columns < path[:, None]), columns, -1).max(1)
    behind = np.where(low & (columns > path[:, None]), columns, width).min(1)
    edges = []
    for depth in (path - before, behind - path):
        usual = float(np.median(depth[told])) if told.any() else 1.0
        depth = np.where(told, np.minimum(depth, 2 * usual), usual).astype(np.float32)
        # Neighbours agree: one bad row is no bulge.
        around = np.lib.stride_tricks.sliding_window_view(np.pad(depth, 3, mode="wrap"), 7)
        edges.append(np.median(around, 1).astype(np.float32))
    return path - edges[0], path + edges[1]


def _draw(frame: U8, places: F32, inner: F32, outer: F32, *, closed: bool) -> None:
    """Fill between two edges of a strip of the layout, in place."""
    width = places.shape[1] - 1
    sides = []
    for edge in (inner, outer):
        column = np.clip(edge, 0, width)
        whole = np.minimum(column.astype(np.int64), width - 1)
        rows, share = np.arange(len(places)), (column - whole)[:, None]
        points = (1 - share) * places[rows, whole] + share * places[rows, whole + 1]
        sides.append(np.round(points * 16).astype(np.int32))
    if closed:
        cv2.fillPoly(frame, sides, 1, cv2.LINE_8, 4)  # even-odd: a ring
    else:
        cv2.fillPoly(frame, [np.concatenate([sides[0], sides[1][::-1]])], 1, cv2.LINE_8, 4)


def _grown(frame: U8, texture: U8) -> U8:
    """The frame with what touches it and has its colour: hinges, and temples seen from the front."""
    lab = cv2.cvtColor(texture, cv2.COLOR_RGB2LAB).astype(np.float32)
    lab[..., 0] *= 100 / 255
    colour, skin = (np.median(lab[where > 0], 0) for where in (frame, polygon(CORE, SIZE)))
    if np.linalg.norm(colour - skin) < APART:
        return frame
    rows = np.flatnonzero(frame.any(1))
    like = (np.linalg.norm(lab - colour, axis=2) < ALIKE) & (_brows_and_eyes() < 0.5)
    like[: rows[0]] = like[rows[-1] + 1 :] = False
    like &= cv2.distanceTransform(1 - frame, cv2.DIST_L2, 5) < REACH * SIZE
    joined = frame | like.astype(np.uint8)
    count, parts = cv2.connectedComponents(joined)
    touched = np.zeros(count, np.uint8)
    touched[np.unique(parts[frame > 0])] = 1
    touched[0] = 0
    return touched[parts]


def _temples(frame: U8) -> list[F32]:
    """(N, M, 2) texels (x, y) beside the rims as far as the oval, where temples run."""
    rows, columns = np.flatnonzero(frame.any(1)), np.flatnonzero(frame.any(0))
    top, bottom = int(rows[0]) - 2, int(0.4 * rows[0] + 0.6 * rows[-1])
    inside = np.flatnonzero((depth_inside(SIZE)[top:bottom] > 0).any(0))
    ends = ((int(inside[0]), int(columns[0]) + 3), (int(columns[-1]) - 2, int(inside[-1])))
    return [
        np.dstack(np.meshgrid(np.arange(a, b), np.arange(top, bottom), indexing="ij")).astype(
            np.float32
        )
        for a, b in ends
        if b - a > 4
    ]


def _bridge_texels() -> F32:
    """(N, M, 2) texels (x, y) of the nose, a row for each column of the layout."""
    (top, bottom), (left, right) = (np.round(np.array(r) * SIZE).astype(int) for r in BRIDGE)
    grid = np.meshgrid(np.arange(left, right), np.arange(top, bottom), indexing="ij")
    return np.dstack(grid).astype(np.float32)


@lru_cache(maxsize=1)
def _brows_and_eyes() -> F32:
    """(256, 256) 1 where lines say nothing of glasses."""
    return np.max([polygon(p, SIZE, 0.012) for p in (*BROWS, *EYES)], 0).astype(np.float32) / 255


@lru_cache(maxsize=1)
def _eyes() -> U8:
    return np.max([polygon(p, SIZE, 0.008) for p in EYES], 0)


@lru_cache(maxsize=2)
def polar(index: int) -> F32:
    """(ANGLES, RADII, 2) texels (x, y) around one eye, image-left first; the other's angles run mirrored."""
    angle = 2 * np.pi * np.arange(ANGLES)[:, None] / ANGLES
    radius = np.linspace(NEAREST, FARTHEST, RADII)[None]
    across = STRETCH * radius * np.cos(angle) * (-1 if index else 1)
    around = np.dstack([across, radius * np.sin(angle) + 0.01])
    middle = FaceMesh.load().uv[list(EYES[index])].mean(0)
    return ((middle + around) * SIZE - 0.5).astype(np.float32)
