"""Build vidswap/faces/expressions.npz: how a smile moves the vertices of the face mesh.

Measured on procedural heads, whose smile is a parameter: the same people with and without it, through
the landmarker, averaged and made symmetric. Run by hand when the mesh's layout is to change:

    python scripts/build_expressions.py
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from vidswap.errors import NoFaceError
from vidswap.faces.facemesh import FaceMesh, fit_pose, frontalise
from vidswap.faces.photo_faces import source_face
from vidswap.synth.render import render
from vidswap.synth.sample import portrait, sample

OUT = Path(__file__).resolve().parents[1] / "vidswap" / "faces" / "expressions.npz"
PEOPLE, SIZE = 48, 384


def shape_of(head, mesh):
    """(468, 3) canonical shape of a head's portrait."""
    found = source_face(render(head, SIZE).rgb, "head")
    surface = found.mesh[: len(mesh.shape)]
    return frontalise(surface, fit_pose(mesh.shape, surface, mesh.rigid))


def main():
    """Measure, average, write."""
    mesh = FaceMesh.load()
    moves = []
    for person in range(PEOPLE):
        head = portrait(sample(person))
        shapes = []
        try:
            for smile in (0.0, 0.8):
                face = replace(head.expression, smile=smile, jaw=0.0, pucker=0.0, mouth_side=0.0)
                shapes.append(shape_of(replace(head, expression=face), mesh))
        except NoFaceError:
            continue
        move = shapes[1] - shapes[0]
        moves.append((move + move[mesh.mirror] * [-1, 1, 1]) / 2)
    smile = np.median(moves, 0).astype(np.float32)
    np.savez_compressed(OUT, smile=smile)
    size = np.linalg.norm(smile, axis=1).max()
    print(f"{len(moves)} people; largest move {size:.3f} eye distances; {OUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
