"""A talking portrait with known truth, and two people, from pictures that installed packages ship."""

from functools import cache

import numpy as np
import pytest

from tests.tiny_networks import random_weights
from vidswap.engines import crops
from vidswap.engines.mesh import Mesh
from vidswap.faces.appearance import AppearanceCollector
from vidswap.faces.facemesh import FaceMesh, fit_pose
from vidswap.faces.puppet import Puppet, talk
from vidswap.ops import ffhq
from vidswap.recipe import MeshEngine
from vidswap.types import TargetFace, Track, TrackFrame


@cache
def portrait(name):
    """SourceFace of ``astronaut`` or ``hopper``."""
    pytest.importorskip("mediapipe")
    from vidswap.faces.photo_faces import source_face

    if name == "astronaut":
        data = pytest.importorskip("skimage.data")
        return source_face(np.ascontiguousarray(data.astronaut()[:240, 60:380]), name)
    cbook = pytest.importorskip("matplotlib.cbook")
    from PIL import Image

    with cbook.get_sample_data("grace_hopper.jpg") as file:
        return source_face(np.asarray(Image.open(file).convert("RGB")), name)


def yaw_pitch_roll(mesh):
    canonical = FaceMesh.load()
    r = fit_pose(canonical.shape, mesh, canonical.rigid).rotation
    return np.degrees(
        [np.arctan2(r[0, 2], r[2, 2]), np.arcsin(r[1, 2]), np.arctan2(r[1, 0], r[0, 0])]
    ).astype(np.float32)


class Scene:
    """Frames of the astronaut's portrait talking, with the mesh they were drawn from."""

    def __init__(self, size=(400, 300), count=8, fps=5.0):
        source = portrait("astronaut")
        self.puppet = Puppet(source.rgb, source.mesh, size)
        drawn = [self.puppet.frame(talk(i / fps)) for i in range(count)]
        self.frames = [picture for picture, _ in drawn]
        self.meshes = [mesh for _, mesh in drawn]
        collector = AppearanceCollector()
        rows = []
        for i, (picture, mesh) in enumerate(drawn):
            box = collector.footprint(mesh).clip(*size)
            row = dict(collector.add(i / fps, self.cut(picture, box), box, mesh, 1.0))
            rows.append(row | self.latent_rows(picture, mesh, i))
        self.rows, self.static, self.size = rows, collector.finish(), size
        boxes = np.array([[*m[:, :2].min(0), *m[:, :2].max(0)] for m in self.meshes], np.float32)
        self.track = Track(
            id=0, shot=0, start=0, stop=count, seen=np.ones(count, bool),
            confidence=np.ones(count, np.float32), boxes=boxes,
            pose=np.array([yaw_pitch_roll(m) for m in self.meshes]),
        )  # fmt: skip

    @staticmethod
    def cut(picture, box):
        return np.ascontiguousarray(picture[box.top : box.bottom, box.left : box.right])

    @staticmethod
    def latent_rows(picture, mesh, index, layers=8, width=16):
        """What pass one stores for latent engines; the codes are made up."""
        window = crops.to_unit(ffhq.window(mesh[:, :2].astype(np.float64)).quad)
        codes = np.random.default_rng(index).standard_normal((layers, width), dtype=np.float32)
        tones = crops.tones(picture, mesh, window) / np.float32(255)
        return {"window": window, "latents": codes, "tones": tones}

    def at(self, index, confidence=1.0, pose=None):
        return TrackFrame(
            track=0, index=index, confidence=confidence,
            pose=yaw_pitch_roll(self.meshes[index]) if pose is None else np.asarray(pose, np.float32),
            mesh=self.meshes[index], data=self.rows[index],
        )  # fmt: skip

    def face(self, engine, plan, index, picture=None, **changes):
        at = self.at(index, **changes)
        box = engine.footprint(at, plan).clip(*self.size)
        return TargetFace(
            self.cut(self.frames[index] if picture is None else picture, box), box, at
        )


@pytest.fixture(scope="session")
def scene():
    return Scene()


@pytest.fixture(scope="session")
def astronaut():
    return portrait("astronaut")


@pytest.fixture(scope="session")
def hopper():
    return portrait("hopper")


@pytest.fixture(scope="session")
def meshed(scene, hopper):
    """The mesh engine as it is by default, Hopper, and the plan of the scene with her: two seconds of work."""
    engine = Mesh(MeshEngine())
    identity = engine.identify([hopper])
    return engine, identity, engine.plan(scene.track, scene.static, identity)


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory):
    """A weights folder with a small random generator, encoder and mixer that fit each other."""
    return random_weights(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def weights_here(tiny_weights):
    """They are what the program finds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VIDSWAP_WEIGHTS", str(tiny_weights))
        yield tiny_weights
