"""How far the source's face shape moves the target's features."""

import numpy as np
from numpy.typing import NDArray

from vidswap.engines.mesh.regions import LIPS, depth_inside, smoothstep
from vidswap.faces.facemesh import SKIN, FaceMesh, fit_pose, frontalise
from vidswap.faces.vertices import BROW_EDGES, BROWS, EYES, UNDER_BROWS
from vidswap.types import F32

LIMIT = 0.2
"""Largest move, in outer-eye distances."""
LIP_COLUMNS = (
    ((13, 12, 11, 0), (14, 15, 16, 17)),
    ((82, 38, 72, 37), (87, 86, 85, 84)),
    ((312, 268, 302, 267), (317, 316, 315, 314)),
    ((81, 41, 73, 39), (178, 179, 180, 181)),
    ((311, 271, 303, 269), (402, 403, 404, 405)),
    ((80, 42, 74, 40), (88, 89, 90, 91)),
    ((310, 272, 304, 270), (318, 319, 320, 321)),
    ((191, 183, 184, 185), (95, 96, 77, 146)),
    ((415, 407, 408, 409), (324, 325, 307, 375)),
)
"""Vertices of upper and lower lip that face each other, from the mouth's opening outwards."""
HEIGHT = 0.92, 1.15
"""Bounds of an open eye's height against the target's: one that is much lower would blink less."""
FOLDS = 0.8
"""How much of lines goes that the mouth of the photo has and the target's not: old ones stay a trace."""
BROAD = 1.1
"""How much of a smile a target may have more than the photo and yet be given the mouth of a person at rest."""
OWN = 0.4, 0.6
"""Share of its own move that skin keeps beside what lies around it, and brows; eyes and lips keep all."""
HANGING = 0.5, 1.0
"""How far a jaw hangs, of its whole way, from which on that counts and at which it does in full: lips that are
parted by less may as well smile or speak."""
WIDER = 0.25
"""Share of an eye's height by which it is opened farther, to know how lids and their surroundings move."""


def shape_offset(source: F32, target: F32, mesh: FaceMesh, strength: float) -> tuple[F32, F32, F32]:
    """Offset of every extended vertex in canonical units.

    Bones are taken from the source; what expression moves is not: lips keep the target's form apart
    from place and width. Eyes take the form of the source's lids as far as they are open, so that a
    shut eye is as shut as the target's.

    Args:
        source: (468, 3) canonical shape.
        target: (468, 3) canonical shape of the track.
        mesh: The mesh's constants.
        strength: [0, 1].

    Returns:
        (542, 3) with eyes shut, and twice (2, 542, 3), image-left first: what each open eye adds, and
        what ``WIDER`` of its height adds to that. Zero on the outer ring.
    """
    # A jaw that hangs is no bone: of a short shot, or a photo, it may be all there is to see. What lips part
    # beyond its way, both do, and where they lie on the whole is told as it is.
    whole = parted(mesh.shape + mesh.jaw) - parted(mesh.shape)
    hangs = float(np.clip((parted(target) - parted(source)) / whole, -1, 1))
    source = source + np.float32(hangs * smoothstep(*HANGING, np.abs([hangs]))[0]) * mesh.jaw
    # Only form is taken over: what a similarity explains is pose and size, and those are the target's.
    weight = 0.5 * mesh.rigid + 0.5 / len(target)
    bones = _unturned(frontalise(source, fit_pose(target, source, weight)) - target, target, mesh)
    # A photo's smile is no bone, and a broad one of the target stays. Otherwise a target that smiles more
    # keeps its own by how lips are treated below: a person at rest is known by the mouth, too.
    smile = smiling(bones, mesh)
    bones -= (max(smile, 0.0) + min(smile + BROAD, 0.0)) * mesh.smile
    calm = target + bones
    # The outline is the target's: hair, neck and background end there.
    bones *= _inner(mesh)[:, None]
    shut = _whole(_lids(bones, target, form=0.0), calm, target, mesh, strength)
    open_ = _whole(_lids(bones, target, form=1.0), calm, target, mesh, strength)
    left = mesh.extend(target)[:, :1] < 0
    wide = _whole(_lids(bones, target, 1.0, 1 + WIDER), calm, target, mesh, strength)
    return shut, *(np.stack([v * left, v * ~left]) for v in (open_ - shut, wide - open_))


def _unturned(offset: F32, target: F32, mesh: FaceMesh) -> F32:
    """An offset without what looks like a small turn of the head.

    The depth of a photo's features is a guess, and a picture has none: features that lie as if the head
    were turned are read as a turned head, by viewers and by landmarkers.
    """
    weight = mesh.rigid[:, None] / mesh.rigid.sum()
    depth = target[:, 2:] - (weight * target[:, 2:]).sum(0)
    turn = (weight * offset[:, :2] * depth).sum(0) / (weight * depth**2).sum()
    out = offset.copy()
    out[:, :2] -= turn * depth
    return out


def foreign_lines(smile: float) -> float:
    """How much of the lines beside a photo's mouth (above 0), or under its corners (below), is to go.

    A smile draws the former, and stretches the latter, which a face at rest has.

    Args:
        smile: How much more the photo smiles than the target does, as ``smiling`` gives it.

    Returns:
        [-FOLDS, FOLDS].
    """
    return FOLDS * float(np.clip(smile - 0.5, 0, 1) - np.clip(-smile - 1, 0, 1))


def smiling(offset: F32, mesh: FaceMesh) -> float:
    """How much of a smile an offset is, by where it puts the lips; 1 is a broad one.

    Args:
        offset: (468, 3) canonical, or a shape less the mean shape.
        mesh: The mesh's constants.
    """
    lips = list(LIPS)
    move, smile = (v[lips, :2] - v[lips, :2].mean(0) for v in (offset, mesh.smile))
    return float((move * smile).sum() / (smile**2).sum())


def _whole(offset: F32, source: F32, target: F32, mesh: FaceMesh, strength: float) -> F32:
    """(468, 3) as wanted → (542, 3) as far as it is bearable."""
    offset = _lips(offset, source, target)
    own = np.full((len(offset), 1), OWN[0], np.float32)
    own[[*BROWS[0], *BROWS[1]]] = OWN[1]
    own[[*LIPS, *EYES[0], *EYES[1]]] = 1
    offset = _unfold(_relax(offset, own, mesh), target, mesh)
    size = np.linalg.norm(offset, axis=1, keepdims=True)
    offset *= LIMIT * np.tanh(size / LIMIT) / np.maximum(size, 1e-6)
    offset[:, 2] *= 0.5  # depth of a single view is the landmarker's guess
    offset = _tie(offset)
    whole = mesh.weights @ offset
    rings = len(mesh.oval)
    whole[-2 * rings : -rings] = 0.55 * offset[mesh.oval]
    whole[-rings:] = 0
    return (strength * whole).astype(np.float32)


def _inner(mesh: FaceMesh) -> F32:
    """(468,) 1 inside the face, falling to a quarter on the oval."""
    depth = depth_inside(256)
    x, y = np.clip(np.round(mesh.uv[: len(mesh.shape)] * 256 - 0.5), 0, 255).astype(int).T
    return (0.25 + 0.75 * smoothstep(0.0, 0.13, depth[y, x])).astype(np.float32)


def _lids(offset: F32, target: F32, form: float, height: float = 1.0) -> F32:
    """Eyes move as a whole and grow a little, evenly; ``form`` is the share of the source's own curve.

    Height is bounded: how far an eye opens, and so how a blink reads, stays the target's.
    """
    out = offset.copy()
    for eye in EYES:
        rim = list(eye)
        own = target[rim] - target[rim].mean(0)
        grown = own + offset[rim] - offset[rim].mean(0)
        wide, high = (
            float(np.ptp(grown[:, axis]) / max(np.ptp(own[:, axis]), 1e-6)) for axis in (0, 1)
        )
        even = own * (np.clip(wide, 0.92, 1.08) - 1)
        grown[:, 1] *= height * np.clip(high, *HEIGHT) / max(high, 1e-6)
        out[rim] = offset[rim].mean(0) + (1 - form) * even + form * (grown - own)
    return out


def _lips(offset: F32, source: F32, target: F32) -> F32:
    """Lips: translation and bounded width; a quarter of the rest of their form."""
    lips = list(LIPS)
    move = offset[lips].mean(0)
    s, t = source[lips] - source[lips].mean(0), target[lips] - target[lips].mean(0)
    width = float(np.clip(np.ptp(s[:, 0]) / max(np.ptp(t[:, 0]), 1e-6), 0.9, 1.1)) - 1
    placed = move + t * [width, max(width, 0.0), 0.0]
    out = offset.copy()
    rest = offset[lips] - placed
    rest[:, 1] *= 0.4  # how far the lips are open is expression, above all
    out[lips] = placed + 0.5 * rest
    return out


def _tie(offset: F32) -> F32:
    """Inner lips move as one: how far they part is the target's, and below nothing they would turn over.

    Upper and lower lip each follow as a whole, so that they stay as thick as they are.
    """
    out = offset.copy()
    for upper, lower in LIP_COLUMNS:
        gap = (offset[lower[0]] - offset[upper[0]]) / 2
        out[list(upper)] += gap
        out[list(lower)] -= gap
    return out


def _relax(offset: F32, own: F32, mesh: FaceMesh) -> F32:
    """Smoothing by which vertices join their surroundings, all but a share (468, 1) of their own."""
    link = mesh.neighbours[: len(offset), : len(offset)]
    link = link / np.maximum(link.sum(1, keepdims=True), 1e-6)
    return np.asarray(own * offset + (1 - own) * (link @ offset), np.float32)


def _unfold(offset: F32, target: F32, mesh: FaceMesh) -> F32:
    """Smooth the offset wherever it would turn a triangle over or squeeze it flat: those would show as cracks."""
    surface = mesh.triangles[mesh.labels == SKIN]
    link = mesh.neighbours[: len(offset), : len(offset)]
    link = link / np.maximum(link.sum(1, keepdims=True), 1e-6)
    before = _areas(target, surface)
    out = offset.copy()
    rims = [list(eye) for eye in EYES]
    own = [offset[rim] - offset[rim].mean(0) for rim in rims]
    for _ in range(40):
        squeezed = (
            _areas(target + out, surface) / np.where(np.abs(before) < 1e-9, 1e-9, before) < 0.35
        )
        if not squeezed.any():
            break
        near = np.zeros(len(out), bool)
        near[surface[squeezed]] = True
        near |= (link[:, near].sum(1) > 0) & near.any()
        out = np.where(near[:, None], 0.5 * out + 0.5 * (link @ out), out)
        # It is the skin that gives way: smoothed lids would close, and each as far as it happens.
        for rim, form in zip(rims, own, strict=True):
            out[rim] = out[rim].mean(0) + form
    return out.astype(np.float32)


def _areas(shape: F32, triangles: NDArray[np.int32]) -> F32:
    a, b, c = (shape[triangles[:, k], :2] for k in range(3))
    result: F32 = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]
    return result


def aperture(mesh: F32) -> F32:
    """(2,) lid distance against eye width, of (V ≥ 468, ≥ 2) vertices in any unit, image-left first."""
    first = mesh[[160, 387, 158, 385, 33, 263], :2]
    second = mesh[[144, 373, 153, 380, 133, 362], :2]
    far = np.linalg.norm(first - second, axis=1).astype(np.float32)
    return (far[:2] + far[2:4]) / 2 / np.maximum(far[4:], np.float32(1e-6))


def parted(mesh: F32) -> float:
    """Distance of the inner lips in outer-eye distances, of (V ≥ 468, ≥ 2) vertices."""
    far = np.linalg.norm(mesh[[13, 82, 312, 263], :2] - mesh[[14, 87, 317, 33], :2], axis=1)
    return float(far[:3].mean() / max(far[3], 1e-6))


def under_brows(mesh: F32) -> F32:
    """(2,) distance of each brow from the skin under it, of (V ≥ 468, ≥ 2) vertices, image-left first."""
    down = mesh[list(UNDER_BROWS), 1] - mesh[list(BROW_EDGES), 1]
    return np.asarray(down.reshape(len(BROWS), -1).mean(1), np.float32)
