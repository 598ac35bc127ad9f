"""All parts of one head, turned, placed before the camera and joined into one mesh."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from vidswap.synth import parts
from vidswap.synth.anatomy import SURFACE, cage
from vidswap.synth.camera import MIDDLE, PIVOT, direction, place, project, rotation
from vidswap.synth.form import Form, build
from vidswap.synth.hair import hair, hairline, skin_around
from vidswap.synth.layout import Layout, along, layout, settle
from vidswap.synth.occluders import occluder
from vidswap.synth.paint import hsv
from vidswap.synth.params import HeadParams, Light
from vidswap.synth.parts import Part, Shape
from vidswap.synth.raster import draw, empty, normals
from vidswap.synth.shading import Lamp, Mesh
from vidswap.synth.shadow import Shadow
from vidswap.types import F64

TRUNK_FOLLOWS = 0.35
"""Share of the head's yaw that the shoulders take part in."""
SHADOW_SIDE = 96
MARGIN = 2.6
"""Half the side of the cube around the head that casts shadows."""


@dataclass(frozen=True, eq=False)
class Posed:
    """A head before the camera."""

    mesh: Mesh
    casting: NDArray[np.int32]
    """(M, 3) those triangles of the mesh that cast shadows."""
    landmarks: F64
    """(478, 3) against the camera."""
    flat: F64
    """(478, 2) the same in normalised camera coordinates."""


def assemble(head: HeadParams) -> Posed:
    """Build all parts; the hair comes last."""
    form, pose = build(head.identity, head.expression), head.pose
    who, scene = head.identity, head.scene
    found = [_skin(form.surface, head), *parts.eyeballs(form, head.gaze), *parts.teeth(form)]
    found += [*parts.ears(who), *parts.glasses(form, who, scene), *parts.earrings(who, scene)]
    found += [parts.neck(who), parts.trunk(who), *occluder(scene)]
    shell = hair(who, scene)
    if shell is not None:
        found.append(shell)
    turn = rotation(pose.yaw, pose.pitch, pose.roll)
    landmarks = np.concatenate([form.surface[:SURFACE], _irises(form, head)])
    shared = layout(tuple(p.shape for p in found))
    landmarks = place(landmarks, pose, turn)
    mesh = _join(found, shared, turn, head)
    return Posed(mesh, shared.casting, landmarks, project(landmarks, pose))


def _irises(form: Form, head: HeadParams) -> F64:
    """(10, 3) centre and four rim points of each iris, the face mesh's last ten vertices."""
    ahead = direction(head.gaze.yaw, head.gaze.pitch)
    yaw = np.radians(head.gaze.yaw)
    side = np.array([np.cos(yaw), 0.0, np.sin(yaw)])
    up = parts.cross(ahead[None], side)[0]
    up = up if up[1] < 0 else -up
    rim = 0.866 * ahead + 0.5 * np.array([side, up, -side, -up])
    around = np.concatenate([1.02 * ahead[None], rim])
    balls = zip(form.eyes, form.radius, strict=True)
    return np.concatenate([centre + r * around for centre, r in balls])


def _skin(points: F64, head: HeadParams) -> Part:
    rest, who = _rest(), head.identity
    if who.cheek_beard + who.goatee > 0:
        grown = _beard_volume(rest, head)[:, None] * (0.03 + 0.16 * who.beard_length)
        points = points + grown * np.array([0, 0.8, -0.6])
    return Part(points, rest, Shape(parts.SKIN, 0, 0, False))


@lru_cache(maxsize=1)
def _rest() -> F64:
    return cage().rest.astype(np.float64)


def _beard_volume(rest: F64, head: HeadParams) -> F64:
    x, y = np.abs(rest[:, 0]), rest[:, 1]
    who = head.identity
    chin = np.exp(-((x / 0.3) ** 2) - ((y - 0.85) / 0.2) ** 2) * max(who.goatee, who.cheek_beard)
    jaw = np.exp(-(((y - 0.75) / 0.3) ** 2)) * (x > 0.3) * who.cheek_beard * 0.7
    grown: F64 = np.maximum(chin, jaw) * (y > 0.56) * (rest[:, 2] < 0.9)
    return grown


def _join(found: list[Part], shared: Layout, turn: F64, head: HeadParams) -> Mesh:
    pose, rest = head.pose, _rest()
    trunk = rotation(pose.yaw * TRUNK_FOLLOWS, 0.0, 0.0)
    where = np.array([pose.x, pose.y, pose.distance])
    motions = np.vstack([turn, PIVOT]), np.vstack([trunk, PIVOT])
    points = np.empty((len(shared.trunk), 3), np.float32)
    local = np.concatenate([p.points for p in found])
    settle(local, shared.trunk, motions, (PIVOT - MIDDLE + where, where), points)
    facing = np.zeros_like(points)
    normals(points, shared.triangles, facing)
    attributes = shared.attributes.copy()
    attributes[: len(rest), 2] = hairline(skin_around(), head.scene) - rest[:, 1]
    painted = np.concatenate([p.rest for p in found], dtype=np.float32, casting="same_kind")
    return Mesh(shared.triangles, shared.material, points, facing, painted, attributes)


def lamp(light: Light) -> Lamp:
    """Light of a picture."""
    key = direction(light.azimuth, light.elevation)
    warm = np.array([1 + 0.16 * light.warmth, 1.0, 1 - 0.22 * light.warmth]) * light.key
    sky = np.array(hsv(light.ambient_hue, light.ambient_colour, 1.0)) * light.ambient
    ground = sky * [0.62, 0.56, 0.52]
    half = key + np.array([0, 0, -1.4])
    # The highlight in the eyes stands near their middle, wherever the light comes from.
    catch = half / np.linalg.norm(half) * [0.75, 0.75, 1.0]
    catch = catch / np.linalg.norm(catch)

    def three(v: F64) -> tuple[float, float, float]:
        return float(v[0]), float(v[1]), float(v[2])

    colours = three(warm), three(sky), three(ground)
    return Lamp(three(key), *colours, light.rim, light.softness, three(catch))


def cast(posed: Posed, light: Light) -> Shadow:
    """Depth map from the key light."""
    points = posed.mesh.points
    key = direction(light.azimuth, light.elevation)
    side = np.array([key[2], 0.0, -key[0]])
    side /= np.linalg.norm(side)
    up = parts.cross(key[None], side)[0]
    middle = points[:SURFACE].mean(0) + np.array([0, 0.25, 0.4])
    axes = np.zeros((3, 4))
    axes[:, :3] = np.stack([side, up, key])
    axes[:2] *= SHADOW_SIDE / (2 * MARGIN)
    axes[:, 3] = [SHADOW_SIDE / 2, SHADOW_SIDE / 2, 20.0] - (axes[:, :3] * middle).sum(1)
    seen = np.empty_like(points)
    along(points, axes, seen)
    buffers = empty(SHADOW_SIDE, SHADOW_SIDE)
    draw(seen, posed.casting, buffers)
    return Shadow(buffers.inverse, axes.astype(np.float32))
