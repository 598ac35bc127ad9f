"""A face without its glasses: the frame traced to its edge, and skin in its place."""

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from vidswap.engines.mesh.glasses import (
    ANGLES,
    APART,
    BRIDGE,
    FARTHEST,
    NEAREST,
    RADII,
    SIZE,
    STRETCH,
    closed_path,
    polar,
)
from vidswap.engines.mesh.light import LIFT
from vidswap.engines.mesh.regions import CORE, depth_inside, features, polygon
from vidswap.faces.facemesh import FaceMesh
from vidswap.faces.vertices import BROWS, EYES
from vidswap.types import F32, U8, Bool

ALONG, ACROSS = 2.5, 17
"""What is a line around an eye: standard deviation along it, and columns of the median across it. Wrinkles
and lashes cross such a line and cancel along it."""
FAINT = 4.0
"""Times the usual relief at which a line is half believed."""
HALF, BAND = 2, 9
"""Columns to either side of a rim's middle that are always hidden, and that may be."""
GLARE, PALE = 25.0, 0.75
"""How much lighter (0 to 255) and how much paler than skin a reflection on a lens is."""
AS_DARK = 40
"""How much lighter (0 to 255) than the middle of a frame a piece of it may be."""
BRIGHTER, DARKER = 0.15, 0.5
"""Bounds, log, of what a lens is lightened and darkened by to join the skin around it."""
GATHERED = 0.1
"""What is left of the brightness behind a lens that exceeds the skin around it."""
DETAIL, BRIGHT, DARK = 0.01, 0.2, 0.6
"""Standard deviation, in layout units, of what detail behind a lens stands out from; what is left of its bright
lines and of its dark ones."""
BLOOD = 0.3, 1.9, 1.6
"""What blood takes of red, green and blue light, log, for each log unit that it lifts red above their mean."""
REDDENED = 0.08
"""Most that red is taken to be lifted, log: what is redder still is paint or shadow."""
PATCH = 8
"""The part of the layout's side that a sample of skin takes."""


def without_glasses(texture: U8, frame: F32) -> U8:
    """The texture with skin where a frame was.

    Around each eye the rim is traced once more, with both sides of the face taken together: a frame is
    symmetric, its lower half often too faint to stand out on one side alone. What it covers is then
    filled so that the brightness changes as little as it can (Perez et al. 2003, with the gradients of
    the frame set to none): shade and tint of the lenses go with it, folds and lids behind them stay.
    Skin has a grain: it is drawn like that of the cheek (Galerne et al. 2011, random phases).

    Args:
        texture: (S, S, 3), S at least 256.
        frame: (256, 256) from ``find_glasses``.
    """
    size = len(texture)
    small = cv2.resize(texture, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    hidden, lenses = _hidden(small, frame)
    around = cv2.dilate(hidden, np.ones((3, 3), np.uint8)) | lenses
    before = np.log(small.astype(np.float32) / 255 + LIFT).astype(np.float32)
    pale = _pale(before, hidden > 0, lenses > 0)
    before += pale
    filled = _least_change(before, hidden > 0, around > 0)
    # Lenses gather light below the eyes: folds are kept there, bright bars are not.
    behind = (lenses > 0) & ~_eyes(0.008)
    plain = _least_change(before, (hidden > 0) | behind, around > 0)
    above = (
        np.maximum(filled - plain, 0)
        * cv2.GaussianBlur(behind.astype(np.float32), (0, 0), 2)[..., None]
    )
    filled -= (1 - GATHERED) * above
    # Behind the lenses what is left of the change is slow: it goes onto all details there are.
    free = (1 - hidden.astype(np.float32))[..., None]
    change = np.clip(filled - before, -DARKER, BRIGHTER) * free
    known = cv2.GaussianBlur(np.concatenate([change, free], 2), (0, 0), 1.2)
    slow = known[..., :3] / np.maximum(known[..., 3:], 1e-3)
    whole = (size, size)
    logs = np.log(texture.astype(np.float32) / 255 + LIFT).astype(np.float32)
    logs += cv2.resize(pale, whole, interpolation=cv2.INTER_LINEAR)
    cover = cv2.resize(hidden.astype(np.float32), whole, interpolation=cv2.INTER_LINEAR)
    skin = cv2.resize(filled, whole, interpolation=cv2.INTER_CUBIC) + _grain(logs, cover)
    cover = cv2.GaussianBlur(cover, (0, 0), 1.5 * size / 512)
    share = np.clip(1.6 * cover, 0, 1)[..., None]
    logs = _folds(logs, cv2.resize(behind.astype(np.float32), whole))
    logs = logs + cv2.resize(slow, whole, interpolation=cv2.INTER_LINEAR)
    result = np.exp(logs + share * (skin - logs)) - LIFT
    return np.round(255 * np.clip(result, 0, 1)).astype(np.uint8)


def _folds(logs: F32, behind: F32) -> F32:
    """A face behind lenses with folds, and little of the bright lines between them.

    The photo's own sharpening draws the lines, and lenses brighten them: on another's skin they are scratches.
    """
    around = cv2.GaussianBlur(logs, (0, 0), DETAIL * len(logs))
    fine = logs - around
    left = np.where(fine.mean(-1, keepdims=True) > 0, np.float32(BRIGHT), np.float32(DARK))
    share = cv2.GaussianBlur(behind, (0, 0), len(logs) / 256)[..., None]
    result: F32 = logs - share * (1 - left) * fine
    return result


def _hidden(texture: U8, frame: F32) -> tuple[U8, U8]:
    """(256, 256) 1 where a frame or its reflections hide the skin, and 1 on the lenses."""
    lab = cv2.cvtColor(texture, cv2.COLOR_RGB2LAB)
    scaled = lab.astype(np.float32) * np.array([100 / 255, 1, 1], np.float32)
    paths, lines = _trace(scaled)
    hidden = np.zeros((SIZE, SIZE), np.float32)
    lenses = np.zeros((SIZE, SIZE), np.uint8)
    for index, (path, line) in enumerate(zip(paths, lines, strict=True)):
        hidden = np.maximum(hidden, _laid(index, line))
        rim = polar(index)[np.arange(ANGLES), path]
        cv2.fillPoly(lenses, [np.round(rim * 16).astype(np.int32)], 1, cv2.LINE_8, 4)
    # Temples and bridge have been found before, and what is too thick for a line.
    across = np.arange(SIZE)[None]
    columns = np.flatnonzero(lenses.any(0))
    left, right = (b * SIZE for b in BRIDGE[1])
    beside = (across < columns[0] + 2) | (across > columns[-1] - 2)
    beside |= (across > left) & (across < right)
    unlike = np.linalg.norm(scaled - np.median(scaled[polygon(CORE, SIZE) > 0], 0), axis=2) > APART
    hidden = np.maximum(hidden, frame * (unlike | (beside & (lenses == 0))))
    hidden = np.maximum(hidden, _glare(lab, lenses))
    eyes = _eyes(0.012)
    hard = (hidden > 0.15) & ~eyes
    closed = cv2.morphologyEx(hard.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((9, 9), np.uint8))
    # Brows are no shadow of a rim that crosses them: what can be kept of them is. But a gap in the
    # frame that is as dark as the frame is a piece of it.
    light = lab[..., 0]
    dark = light < np.median(light[frame > 0.5]) + AS_DARK if (frame > 0.5).any() else hard
    tight = (hard | (dark & (closed > 0))).astype(np.uint8)
    closed, tight = (cv2.dilate(part, np.ones((3, 3), np.uint8)) for part in (closed, tight))
    closed = np.where(_brows(), tight, closed).astype(np.uint8)
    closed[eyes] = 0
    return closed, lenses


def _eyes(grow: float) -> Bool:
    """(256, 256) eyes, grown by so many layout units."""
    return np.asarray(np.max([polygon(eye, SIZE, grow) for eye in EYES], 0) > 0)


def _pale(logs: F32, hidden: Bool, lenses: Bool) -> F32:
    """(256, 256, 3) log light that reddened skin around glasses lacks.

    The frame's shadow lies there, lit by light that has been through skin. The colour goes with the
    target's light in any case, and would leave the skin grey.
    """
    seen = ~hidden & (features(SIZE, 0.01) < 0.5)
    skin = (polygon(CORE, SIZE) > 0) & seen
    red = logs[..., 0] - logs.mean(-1)
    known = cv2.GaussianBlur(np.dstack([red * seen, seen]).astype(np.float32), (0, 0), 1.5)
    red = known[..., 0] / np.maximum(known[..., 1], 1e-3)
    usual = float(np.percentile(red[skin], 25))
    excess = np.clip(red - usual, 0, REDDENED) * np.minimum(known[..., 1], 1)
    reach = np.ones((SIZE // 12, SIZE // 12), np.uint8)
    near = cv2.dilate((hidden | lenses).astype(np.float32), reach)
    share = excess * cv2.GaussianBlur(near, (0, 0), 6)
    return share[..., None] * np.array(BLOOD, np.float32)


def _brows() -> Bool:
    """(256, 256) brows."""
    return np.asarray(np.max([polygon(brow, SIZE, 0.006) for brow in BROWS], 0) > 0)


def _trace(lab: F32) -> tuple[list[NDArray[np.int64]], list[Bool]]:
    """Each rim's middle, (ANGLES,) columns of its strip, and (ANGLES, RADII) what belongs to it."""
    strips = [cv2.remap(lab, polar(k), None, cv2.INTER_LINEAR) for k in range(2)]
    relief = [_relief(strip) for strip in strips]
    own = [np.linalg.norm(r, axis=2) for r in relief]
    both = np.linalg.norm((relief[0] + relief[1]) / 2, axis=2)
    level = FAINT * max(float(np.median(both)), 1e-3)
    shared = both / (both + level)
    middle = closed_path((1.5 * shared).astype(np.float32))
    column = np.arange(RADII)[None]
    brows = _brows().astype(np.float32)
    paths, lines = [], []
    for index, line in enumerate(own):
        # A head is never quite straight: each side may have it a few columns aside.
        aside = np.maximum(np.abs(column - middle[:, None]) - 2, 0)
        path = closed_path((line / (line + level) + shared - 0.15 * aside).astype(np.float32))
        far = np.abs(column - path[:, None])
        brow = cv2.remap(brows, polar(index), None, cv2.INTER_LINEAR) > 0.5
        # There it is the width that tells a frame from a brow: both stand out from the skin.
        told = (np.maximum(line, both) > level) & ~brow
        on = (far <= HALF) | (told & (far <= BAND))
        paths.append(path)
        lines.append(_joined(on, path))
    return paths, lines


def _relief(strip: F32) -> F32:
    """(ANGLES, RADII, 3) how a strip around an eye differs from what lies to either side."""
    from scipy.ndimage import median_filter

    turn = np.concatenate([strip[-12:], strip, strip[:12]])
    smooth = cv2.GaussianBlur(turn, (0, 0), sigmaX=0.6, sigmaY=ALONG)[12:-12]
    around = [median_filter(smooth[..., c], size=(1, ACROSS), mode="nearest") for c in range(3)]
    result: F32 = smooth - np.dstack(around)
    return result


def _joined(on: Bool, path: NDArray[np.int64]) -> Bool:
    """What of a strip's cells hangs together with a path round it."""
    turns = np.concatenate([on, on, on]).astype(np.uint8)
    count, parts = cv2.connectedComponents(turns, connectivity=4)
    kept = np.zeros(count, bool)
    kept[np.unique(parts[np.arange(len(turns)), np.tile(path, 3)])] = True
    kept[0] = False
    return np.asarray(kept[parts][len(on) : 2 * len(on)])


def _laid(index: int, cells: Bool) -> F32:
    """(256, 256) a strip's cells where they lie in the layout."""
    middle = FaceMesh.load().uv[list(EYES[index])].mean(0)
    across, down = np.meshgrid(*2 * [(np.arange(SIZE, dtype=np.float32) + 0.5) / SIZE])
    x = (across - middle[0]) / STRETCH * (-1 if index else 1)
    y = down - 0.01 - middle[1]
    row = np.arctan2(y, x) % (2 * np.pi) * ANGLES / (2 * np.pi)
    column = (np.hypot(x, y) - NEAREST) / (FARTHEST - NEAREST) * (RADII - 1)
    strip = np.concatenate([cells, cells[:1]]).astype(np.float32)
    border = cv2.BORDER_CONSTANT
    return cv2.remap(
        strip,
        column.astype(np.float32),
        row.astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=border,
    )


def _glare(lab: U8, lenses: U8) -> F32:
    """(256, 256) 1 on reflections: lighter than what is around them, and paler than skin."""
    light = lab[..., 0].astype(np.float32)
    colour = np.hypot(*(lab[..., c].astype(np.float32) - 128 for c in (1, 2)))
    skin = float(np.median(colour[polygon(CORE, SIZE) > 0]))
    bright = light > cv2.medianBlur(lab[..., 0], 21) + GLARE
    found = (lenses > 0) & bright & (colour < PALE * skin)
    return cv2.dilate(found.astype(np.float32), np.ones((5, 5), np.uint8))


def _least_change(logs: F32, hidden: Bool, free: Bool) -> F32:
    """Values on free cells whose steps are those of the picture, but none where it is hidden.

    Args:
        logs: (S, S, 3).
        hidden: (S, S).
        free: (S, S) cells that may change.
    """
    from scipy.sparse.linalg import splu

    free = free.copy()
    free[[0, -1]] = free[:, [0, -1]] = False
    rows, columns = np.nonzero(free)
    number = np.full(free.shape, -1, np.int64)
    number[rows, columns] = np.arange(len(rows))
    wanted = np.zeros((len(rows), 3))
    system = 4.0 * sparse.identity(len(rows), format="csr")
    for down, across in ((0, 1), (0, -1), (1, 0), (-1, 0)):
        r, c = rows + down, columns + across
        step = (logs[rows, columns] - logs[r, c]) * ~(hidden[rows, columns] | hidden[r, c])[:, None]
        inside = number[r, c] >= 0
        wanted += step + np.where(inside, 0, 1)[:, None] * logs[r, c]
        at = (np.flatnonzero(inside), number[r, c][inside])
        system -= sparse.csr_array((np.ones(len(at[0])), at), shape=2 * [len(rows)])
    filled = logs.copy()
    filled[rows, columns] = splu(sparse.csc_matrix(system)).solve(wanted)
    return filled


def _grain(logs: F32, hidden: F32) -> F32:
    """(S, S, 3) noise with the spectrum of the calmest patch of skin; 0 where there is none."""
    size = len(logs)
    side = size // PATCH
    fine = logs - cv2.GaussianBlur(logs, (0, 0), size / 128)
    skin = (hidden < 0.05) & (features(size, 0.02) < 0.5) & (depth_inside(size) > 0.03)
    whole = (side, side)
    share = cv2.boxFilter(skin.astype(np.float32), -1, whole, borderType=cv2.BORDER_CONSTANT)
    power = cv2.boxFilter((fine.mean(-1) ** 2).astype(np.float32), -1, whole)
    power[share < 0.999] = np.inf
    row, column = np.unravel_index(int(power.argmin()), power.shape)
    if not np.isfinite(power[row, column]):
        return np.zeros_like(logs)
    top, left = int(row) - side // 2, int(column) - side // 2
    patch = fine[top : top + side, left : left + side]
    patch = patch - patch.mean((0, 1))
    window = np.outer(np.hanning(side), np.hanning(side))[..., None]
    kernel = np.zeros((size, size, 3))
    kernel[:side, :side] = patch * window / np.sqrt((window**2).sum())
    noise = np.fft.rfft2(np.random.default_rng(0).standard_normal((size, size)))
    planes = [np.fft.irfft2(np.fft.rfft2(kernel[..., c]) * noise) for c in range(3)]
    return np.dstack(planes).astype(np.float32)
