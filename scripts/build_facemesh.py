"""Build vidswap/faces/facemesh.npz: topology, mirror pairs, canonical shape and UV layout.

Everything comes from installed packages: the triangles from MediaPipe's connection table, the
canonical shape from its landmarks on two public-domain portraits (scikit-image's astronaut and
matplotlib's Grace Hopper), made symmetric. Run by hand when the layout is to change:

    python scripts/build_facemesh.py
"""

import ast
import importlib.util
from collections import Counter
from pathlib import Path

import matplotlib.cbook
import numpy as np
import skimage.data
from PIL import Image
from scipy.optimize import linear_sum_assignment

from vidswap.faces.photo_faces import source_face

OUT = Path(__file__).resolve().parents[1] / "vidswap" / "faces" / "facemesh.npz"
SURFACE = 468
RINGS = (0.16, 0.42)


def triangles():
    """(852, 3) surface triangles: every three edges of the table close one."""
    spec = importlib.util.find_spec("mediapipe")
    path = Path(spec.origin).parent / "python" / "solutions" / "face_mesh_connections.py"
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and node.targets[0].id == "FACEMESH_TESSELATION":
            edges = ast.literal_eval(node.value.args[0])
    corners = [
        sorted({v for edge in edges[i : i + 3] for v in edge}) for i in range(0, len(edges), 3)
    ]
    return np.array(corners)


def loops(tri):
    """Boundary loops, longest first: the oval, the inner lips, both eyes."""
    count = Counter(
        tuple(sorted(e)) for t in tri for e in ((t[0], t[1]), (t[1], t[2]), (t[2], t[0]))
    )
    near = {}
    for (a, b), n in count.items():
        if n == 1:
            near.setdefault(a, []).append(b)
            near.setdefault(b, []).append(a)
    found, seen = [], set()
    for start in near:
        loop = [start]
        while start not in seen and (step := [v for v in near[loop[-1]] if v not in loop]):
            loop.append(step[0])
        if start not in seen:
            found.append(loop)
            seen.update(loop)
    return sorted(found, key=len, reverse=True)


def frontal(mesh):
    """Centre, unit eye distance, eyes level, and the yaw at which the face is most symmetric."""
    m = mesh[:SURFACE] - mesh[:SURFACE].mean(0)
    m = m / np.linalg.norm(m[263, :2] - m[33, :2])
    across = m[[263, 454, 291, 362]].mean(0) - m[[33, 234, 61, 133]].mean(0)
    down = m[152] - m[10]
    x = across / np.linalg.norm(across)
    y = down - x * (down @ x)
    y /= np.linalg.norm(y)
    return m @ np.array([x, y, np.cross(x, y)]).T


def mirror_pairs(shape):
    """(468,) index of each vertex's mirror image."""
    flipped = shape * [-1, 1, 1]
    cost = np.linalg.norm(shape[:, None] - flipped[None], axis=2)
    pair = linear_sum_assignment(cost**2)[1]
    if (pair[pair] != np.arange(SURFACE)).any():
        raise SystemExit("mirror pairs are not an involution")
    return pair


def extend(shape, found):
    """Weights (N, 468) of the extended vertices, and triangles with labels."""
    oval, mouth, *eyes = found
    rows, tri, label = [np.eye(SURFACE)], [], []

    def vertex(row):
        rows.append(row[None])
        return sum(len(r) for r in rows) - 1

    for eye in eyes:
        row = np.zeros(SURFACE)
        row[eye] = 1 / len(eye)
        centre = vertex(row)
        tri += [(a, b, centre) for a, b in zip(eye, eye[1:] + eye[:1], strict=True)]
        label += [1] * len(eye)
    # The lips' inner loop is closed by a strip between its corners, not a fan: it must survive a shut mouth.
    corner = [mouth.index(78), mouth.index(308)]
    ring = mouth[corner[0] :] + mouth[: corner[0]]
    far = ring.index(308)
    up, low = ring[1:far], ring[:far:-1]
    strip = [78, *[v for pair in zip(up, low, strict=True) for v in pair], 308]
    tri += [tuple(strip[i : i + 3]) for i in range(len(strip) - 2)]
    label += [2] * (len(strip) - 2)
    inner = oval
    for k, reach in enumerate(RINGS):
        outer = []
        for v in oval:
            row = np.full(SURFACE, 0.0)
            row[oval] -= reach / len(oval)
            row[v] += 1 + reach
            outer.append(vertex(row))
        for i in range(len(oval)):
            j = (i + 1) % len(oval)
            tri += [(inner[i], outer[i], outer[j]), (inner[i], outer[j], inner[j])]
            label += [3 + k] * 2
        inner = outer
    return np.concatenate(rows), np.array(tri), np.array(label)


def layout(shape):
    """(N, 2) cylindrical UV of the extended shape in [0, 1], y down."""
    angle = np.arctan2(shape[:, 0], -shape[:, 2] + 0.75)
    return np.stack([angle * 0.9, shape[:, 1]], 1)


def open_mouth(shape, mouth):
    """Part the inner lips a little, so that the mouth has an area of its own in the layout."""
    out = shape.copy()
    centre = shape[mouth].mean(0)
    width = np.ptp(shape[mouth, 0])
    gap = np.exp(-(((shape[:, :2] - centre[:2]) / [0.45 * width, 0.28 * width]) ** 2).sum(1))
    out[:, 1] += (
        np.where(shape[:, 1] > centre[1], 1, -1)
        * 0.05
        * gap
        * (np.abs(shape[:, 1] - centre[1]) > 1e-4)
    )
    return out


def area(uv, tri):
    """Signed areas."""
    a, b, c = uv[tri[:, 0]], uv[tri[:, 1]], uv[tri[:, 2]]
    return 0.5 * ((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0])


def main():
    """Write the file and print what was checked."""
    with matplotlib.cbook.get_sample_data("grace_hopper.jpg") as file:
        hopper = np.asarray(Image.open(file).convert("RGB"))
    meshes = [source_face(p, n).mesh for p, n in ((skimage.data.astronaut(), "a"), (hopper, "b"))]
    shape = np.mean([frontal(m) for m in meshes], 0)
    pair = mirror_pairs(shape)
    shape = (shape + shape[pair] * [-1, 1, 1]) / 2
    tri = triangles()
    found = loops(tri)
    weights, more, label = extend(shape, found)
    uv = layout(weights @ open_mouth(shape, found[1]))
    tri = np.concatenate([tri, more])
    label = np.concatenate([np.zeros(852, int), label])
    sign = area((weights @ shape)[:, :2], tri)
    tri[sign < 0] = tri[sign < 0][:, ::-1]
    low, high = uv.min(0), uv.max(0)
    uv = (uv - (low + high) / 2) / (high - low) * 0.98 + 0.5
    print(
        "triangles", len(tri), "flipped in UV", int((area(uv, tri) <= 0).sum()), "vertices", len(uv)
    )
    np.savez_compressed(
        OUT, triangles=tri.astype(np.int16), labels=label.astype(np.uint8), mirror=pair.astype(np.int16),
        shape=shape.astype(np.float32), uv=uv.astype(np.float32), weights=weights.astype(np.float32),
        oval=np.array(found[0], np.int16),
    )  # fmt: skip
    print(OUT, OUT.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
