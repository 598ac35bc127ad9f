"""Synthetic scenes with one real face: the astronaut that scikit-image ships (public domain)."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

FACE = (118, 10, 330, 260)
"""The astronaut's head in her photograph."""
EYES = (33, 263)


class Scene:
    """Draws faces onto a calm background, as frames that tracking can read."""

    def __init__(self, photo, width=320, height=240):
        left, top, right, bottom = FACE
        self.face = np.ascontiguousarray(photo[top:bottom, left:right])
        self.width, self.height = width, height
        ramp = (
            np.linspace(60, 120, width)[None, :, None] + np.linspace(0, 40, height)[:, None, None]
        )
        self.background = np.repeat(ramp, 3, 2).astype(np.uint8)

    def matrix(self, x, y, scale, angle=0.0):
        """Face picture → scene, its middle at (x, y)."""
        h, w = self.face.shape[:2]
        m = cv2.getRotationMatrix2D((w / 2, h / 2), -np.degrees(angle), scale)
        m[:, 2] += (x - w / 2, y - h / 2)
        return m

    def draw(self, *faces, mirror=(), grey=()):
        """(H, W, 3) with faces at (x, y, scale, angle); ``grey`` boxes cover what lies there."""
        out = self.background.copy()
        for number, at in enumerate(faces):
            source = self.face[:, ::-1] if number in mirror else self.face
            m = self.matrix(*at)
            size = (self.width, self.height)
            mask = cv2.warpAffine(np.full(source.shape[:2], 255, np.uint8), m, size)
            warped = cv2.warpAffine(source, m, size, flags=cv2.INTER_LINEAR)
            out = np.where(mask[..., None] > 127, warped, out)
        for left, top, right, bottom in grey:
            out[top:bottom, left:right] = 90
        return out


class Still:
    """One frame as tracking sees it."""

    bits = 8

    def __init__(self, index, picture):
        self.index, self.picture = index, picture
        self.height, self.width = picture.shape[:2]

    def rgb(self, box=None):
        if box is None:
            return self.picture.copy()
        return self.picture[box.top : box.bottom, box.left : box.right].copy()

    def reduced(self, box, factor):
        part = self.rgb(box)
        part = part[: box.height // factor * factor, : box.width // factor * factor]
        size = (box.width // factor, box.height // factor)
        return cv2.resize(part, size, interpolation=cv2.INTER_AREA)

    def small(self, max_side):
        scale = min(1.0, max_side / max(self.width, self.height))
        size = (round(self.width * scale), round(self.height * scale))
        return cv2.resize(self.picture, size, interpolation=cv2.INTER_AREA), size[0] / self.width

    def luma(self, max_side):
        return cv2.cvtColor(self.small(max_side)[0], cv2.COLOR_RGB2GRAY)


@pytest.fixture(scope="session")
def photo():
    """(512, 512, 3) the astronaut."""
    return pytest.importorskip("skimage.data").astronaut()


@pytest.fixture(scope="session")
def scene(photo):
    return Scene(photo)


@pytest.fixture(scope="session")
def landmarker():
    pytest.importorskip("mediapipe")
    from vidswap.faces.landmarks import Landmarker

    found = Landmarker()
    yield found
    found.close()


@pytest.fixture(scope="session")
def detector():
    pytest.importorskip("mediapipe")
    from vidswap.faces.blazeface import MediaPipeDetector
    from vidswap.recipe import DetectOptions

    found = MediaPipeDetector(DetectOptions())
    yield found
    found.close()


@pytest.fixture(scope="session")
def truth(scene, landmarker):
    """Gives the points of a drawn face from those of the unmoved one."""
    from vidswap.faces.landmarks import Region, region_of

    h, w = scene.face.shape[:2]
    mesh, region = None, Region(w / 2, h / 2, 0.8 * h, 0.0)
    for _ in range(4):
        mesh = landmarker.mesh(scene.face, region, 8).mesh
        region = region_of(mesh)
    plane = mesh[:, :2].astype(float)

    def at(*place):
        m = scene.matrix(*place)
        return plane @ m[:, :2].T + m[:, 2]

    eyes = float(np.linalg.norm(plane[EYES[0]] - plane[EYES[1]]))
    return SimpleNamespace(at=at, eyes=eyes, mesh=mesh)


@pytest.fixture
def still():
    return Still
