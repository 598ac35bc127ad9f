"""Build vidswap/faces/expressions.npz: how expressions move the vertices of the face mesh, and what people
differ by at rest.

Measured on procedural heads, whose expressions are parameters: the same people with and without each,
through the landmarker, averaged and made symmetric. Run by hand when the mesh's layout is to change:

    python scripts/build_expressions.py
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from vidswap.errors import NoFaceError
from vidswap.faces.facemesh import FaceMesh, fit_pose, frontalise
from vidswap.faces.photo_faces import source_face
from vidswap.synth.params import Expression
from vidswap.synth.render import render
from vidswap.synth.sample import portrait, sample

OUT = Path(__file__).resolve().parents[1] / "vidswap" / "faces" / "expressions.npz"
PEOPLE, SIZE = 48, 384
"""For the smile that the engine takes off a photo."""
FIRST, COUNT, SMALL = 1000, 28, 320
"""For the model that measures expressions: first person, how many, side of their portraits."""
TERMS = 16
"""What people differ by: principal components."""
ACTS = {
    "jaw": {"jaw": 0.5}, "jaw_wide": {"jaw": 1.0}, "smile": {"smile": 0.8}, "frown": {"smile": -0.8},
    "pucker": {"pucker": 0.8}, "raise": {"brow_raise": 0.8}, "lower": {"brow_raise": -0.8},
    "brow_frown": {"brow_frown": 0.8}, "widen": {"widen": 0.8},
    "blink": {"blink_left": 1.0, "blink_right": 1.0},
    "left": {"mouth_side": 0.8}, "right": {"mouth_side": -0.8},
}  # fmt: skip


def shape_of(head, mesh, size):
    """(468, 3) canonical shape of a head's portrait."""
    found = source_face(render(head, size).rgb, "head")
    surface = found.mesh[: len(mesh.shape)]
    return frontalise(surface, fit_pose(mesh.shape, surface, mesh.rigid))


def even(move, mesh):
    """The part of a move that is alike on both sides."""
    return (move + move[..., mesh.mirror, :] * [-1, 1, 1]) / 2


def broad_smile(mesh):
    """(468, 3) median move of a smile."""
    moves = []
    for person in range(PEOPLE):
        head = portrait(sample(person))
        shapes = []
        try:
            for smile in (0.0, 0.8):
                face = replace(head.expression, smile=smile, jaw=0.0, pucker=0.0, mouth_side=0.0)
                shapes.append(shape_of(replace(head, expression=face), mesh, SIZE))
        except NoFaceError:
            continue
        moves.append(even(shapes[1] - shapes[0], mesh))
    print(f"{len(moves)} people smile")
    return np.median(moves, 0).astype(np.float32)


def faces(mesh):
    """(N, 468, 3) people at rest and a dictionary of their (N, 468, 3) moves."""
    rest, moves = [], {name: [] for name in ACTS}
    for person in range(FIRST, FIRST + COUNT):
        head = portrait(sample(person))
        try:
            calm = shape_of(replace(head, expression=Expression()), mesh, SMALL)
            acted = {
                name: shape_of(replace(head, expression=Expression(**act)), mesh, SMALL) - calm
                for name, act in ACTS.items()
            }
        except NoFaceError:
            continue
        rest.append(calm)
        for name, move in acted.items():
            moves[name].append(move)
    return np.array(rest), {name: np.array(values) for name, values in moves.items()}


def model(mesh, rest, moves):
    """Mean face, (K, 468, 3) what people differ by, and (E, 468, 3) moves."""
    move = {name: np.median(values, 0) for name, values in moves.items()}
    side = (move.pop("right") - move.pop("left")) / 2
    blink = even(move.pop("blink"), mesh)
    left = mesh.shape[:, :1] < 0
    moved = [
        *(even(m, mesh) for m in move.values()),
        side - even(side, mesh),
        blink * left,
        blink * ~left,
    ]
    mean = even(rest.mean(0), mesh)
    both = np.concatenate([rest, rest[:, mesh.mirror] * [-1, 1, 1]]) - mean
    _, spread, terms = np.linalg.svd(both.reshape(len(both), -1), full_matrices=False)
    people = terms[:TERMS] * spread[:TERMS, None] / np.sqrt(len(both))
    return mean, people.reshape(TERMS, *mean.shape), np.array(moved)


def main():
    """Measure, average, write."""
    mesh = FaceMesh.load()
    smile = broad_smile(mesh)
    parts = dict(zip(("mean", "people", "moves"), model(mesh, *faces(mesh)), strict=True))
    np.savez_compressed(OUT, smile=smile, **{k: v.astype(np.float16) for k, v in parts.items()})
    size = np.linalg.norm(smile, axis=1).max()
    print(f"largest move of a smile {size:.3f} eye distances; {OUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
