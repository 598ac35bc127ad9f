"""How far the source's face shape moves the target's features."""

import numpy as np
from numpy.typing import NDArray

from vidswap.engines.mesh.regions import EYES, LIPS
from vidswap.faces.facemesh import SKIN, FaceMesh
from vidswap.types import F32

LIMIT = 0.2
"""Largest move, in outer-eye distances."""


def shape_offset(source: F32, target: F32, mesh: FaceMesh, strength: float) -> F32:
    """Offset of every extended vertex in canonical units.

    Bones are taken from the source; what expression moves is not: lips keep the target's form apart
    from place and width, and the two lids of an eye move together, so openings stay the target's.

    Args:
        source: (468, 3) canonical shape.
        target: (468, 3) canonical shape of the track.
        mesh: The mesh's constants.
        strength: [0, 1].

    Returns:
        (542, 3), zero on the outer ring.
    """
    offset = (source - target).astype(np.float32)
    offset -= (mesh.rigid[:, None] * offset).sum(0)
    offset = _lids(offset, target)
    offset = _lips(offset, source, target)
    held = np.zeros(len(offset), bool)
    held[[*LIPS, *EYES[0], *EYES[1]]] = True
    offset = _unfold(_relax(offset, held, mesh), target, mesh)
    size = np.linalg.norm(offset, axis=1, keepdims=True)
    offset *= LIMIT * np.tanh(size / LIMIT) / np.maximum(size, 1e-6)
    offset[:, 2] *= 0.5  # depth of a single view is the landmarker's guess
    whole = mesh.weights @ offset
    rings = len(mesh.oval)
    whole[-2 * rings : -rings] = 0.55 * offset[mesh.oval]
    whole[-rings:] = 0
    return (strength * whole).astype(np.float32)


def _lids(offset: F32, target: F32) -> F32:
    """Upper and lower lid share one vertical offset at each place along the eye."""
    out = offset.copy()
    for eye in EYES:
        upper, lower = eye[:9], (eye[0], *eye[:8:-1], eye[8])
        for line, other in ((upper, lower), (lower, upper)):
            x = target[list(other), 0]
            order = np.argsort(x)
            across = np.interp(target[list(line), 0], x[order], offset[list(other), 1][order])
            out[list(line), 1] = (offset[list(line), 1] + across) / 2
    return out


def _lips(offset: F32, source: F32, target: F32) -> F32:
    """Lips: translation and bounded width; a quarter of the rest of their form."""
    lips = list(LIPS)
    move = offset[lips].mean(0)
    s, t = source[lips] - source[lips].mean(0), target[lips] - target[lips].mean(0)
    width = float(np.clip(np.ptp(s[:, 0]) / max(np.ptp(t[:, 0]), 1e-6), 0.9, 1.1)) - 1
    placed = move + t * [width, width * 0.5, 0]
    out = offset.copy()
    rest = offset[lips] - placed
    rest[:, 1] *= 0.4  # how far the lips are open is expression, above all
    out[lips] = placed + 0.25 * rest
    return out


def _relax(offset: F32, held: NDArray[np.bool_], mesh: FaceMesh) -> F32:
    """Smoothing that leaves the held vertices alone, so that they join their surroundings."""
    link = mesh.neighbours[: len(offset), : len(offset)]
    link = link / np.maximum(link.sum(1, keepdims=True), 1e-6)
    return np.where(held[:, None], offset, 0.4 * offset + 0.6 * (link @ offset)).astype(np.float32)


def _unfold(offset: F32, target: F32, mesh: FaceMesh) -> F32:
    """Smooth the offset wherever it would turn a triangle over or squeeze it flat: those would show as cracks."""
    surface = mesh.triangles[mesh.labels == SKIN]
    link = mesh.neighbours[: len(offset), : len(offset)]
    link = link / np.maximum(link.sum(1, keepdims=True), 1e-6)
    before = _areas(target, surface)
    out = offset.copy()
    for _ in range(40):
        squeezed = _areas(target + out, surface) / np.where(np.abs(before) < 1e-9, 1e-9, before) < 0.35
        if not squeezed.any():
            break
        near = np.zeros(len(out), bool)
        near[surface[squeezed]] = True
        near |= (link[:, near].sum(1) > 0) & near.any()
        out = np.where(near[:, None], 0.5 * out + 0.5 * (link @ out), out)
    return out.astype(np.float32)


def _areas(shape: F32, triangles: NDArray[np.int32]) -> F32:
    a, b, c = (shape[triangles[:, k], :2] for k in range(3))
    result: F32 = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]
    return result
