"""All parts of one head, turned, placed before the camera and joined into one mesh."""

from dataclasses import dataclass

import numpy as np

from vidswap.synth import parts
from vidswap.synth.anatomy import SKULL_CENTRE, SURFACE, cage
from vidswap.synth.camera import direction, place, rotation
from vidswap.synth.form import Form, build, over_eyeballs
from vidswap.synth.occluders import occluder
from vidswap.synth.paint import hsv
from vidswap.synth.params import HeadParams, Light
from vidswap.synth.parts import Part, hairline
from vidswap.synth.raster import draw, empty, normals
from vidswap.synth.shading import Lamp, Mesh, Shadow
from vidswap.types import F32, F64

TRUNK_FOLLOWS = 0.35
"""Share of the head's yaw that the shoulders take part in."""
SHADOW_SIDE = 96
MARGIN = 2.6
"""Half the side of the cube around the head that casts shadows."""


@dataclass(frozen=True, eq=False)
class Posed:
    """A head before the camera."""

    mesh: Mesh
    landmarks: F64
    """(478, 3) against the camera."""


def assemble(head: HeadParams) -> Posed:
    """Build all parts; the hair comes last."""
    form = build(head.identity, head.expression)
    who, scene = head.identity, head.scene
    surface = np.asarray(cage().subdivide @ form.points)
    surface = over_eyeballs(surface, form.eyes, form.radius)
    skin, attributes = _skin(surface, head)
    pose = head.pose
    turn = rotation(pose.yaw, pose.pitch, pose.roll)
    trunk = rotation(pose.yaw * TRUNK_FOLLOWS, 0.0, 0.0)
    balls = zip(form.eyes, form.radius, strict=True)
    found = [skin, *(parts.eyeball(c, float(r), head.gaze) for c, r in balls)]
    found += [*parts.teeth(form), *parts.ears(who)]
    found += [*parts.glasses(form, who, scene), *parts.earrings(who, scene)]
    placed = [place(p.points, pose, turn) for p in found]
    neck, body, before = parts.neck(who), parts.trunk(who), occluder(scene)
    share = np.clip(neck.extra * 1.5 - 0.25, 0, 1)[:, None]
    above, below = place(neck.points, pose, turn), place(neck.points, pose, trunk)
    placed += [above * (1 - share) + below * share, place(body.points, pose, trunk)]
    placed += [p.points + np.array([pose.x, pose.y, pose.distance]) for p in before]
    found += [neck, body, *before]
    shell = parts.hair(who, scene)
    if shell is not None:
        found.append(shell)
        placed.append(place(shell.points, pose, turn))
    landmarks = np.concatenate([surface[:SURFACE], _irises(form, head)])
    return Posed(_join(found, placed, attributes), place(landmarks, pose, turn))


def _irises(form: Form, head: HeadParams) -> F64:
    """(10, 3) centre and four rim points of each iris, the face mesh's last ten vertices."""
    ahead = direction(head.gaze.yaw, head.gaze.pitch)
    yaw = np.radians(head.gaze.yaw)
    side = np.array([np.cos(yaw), 0.0, np.sin(yaw)])
    up = np.cross(ahead, side)
    up = up if up[1] < 0 else -up
    found = []
    for centre, r in zip(form.eyes, form.radius, strict=True):
        rim = [0.866 * ahead + 0.5 * d for d in (side, up, -side, -up)]
        found += [centre + r * 1.02 * ahead, *(centre + r * p for p in rim)]
    return np.array(found)


def _skin(points: F64, head: HeadParams) -> tuple[Part, F32]:
    data = cage()
    rest = data.rest.astype(np.float64)
    who = head.identity
    if who.cheek_beard + who.goatee > 0:
        grown = _beard_volume(rest, head)[:, None] * (0.03 + 0.16 * who.beard_length)
        points = points + grown * np.array([0, 0.8, -0.6])
    relative = rest - SKULL_CENTRE
    azimuth = np.arctan2(relative[:, 0], -relative[:, 2])
    cover = hairline(azimuth, head.scene) - rest[:, 1]
    none = np.zeros(len(rest))
    attributes = np.stack([data.liner, data.lips, cover, none], 1).astype(np.float32)
    return Part(points, rest, data.triangles, parts.SKIN, none), attributes


def _beard_volume(rest: F64, head: HeadParams) -> F64:
    x, y = np.abs(rest[:, 0]), rest[:, 1]
    who = head.identity
    chin = np.exp(-((x / 0.3) ** 2) - ((y - 0.85) / 0.2) ** 2) * max(who.goatee, who.cheek_beard)
    jaw = np.exp(-(((y - 0.75) / 0.3) ** 2)) * (x > 0.3) * who.cheek_beard * 0.7
    grown: F64 = np.maximum(chin, jaw) * (y > 0.56) * (rest[:, 2] < 0.9)
    return grown


def _join(found: list[Part], placed: list[F64], skin: F32) -> Mesh:
    base = np.cumsum([0, *(len(p.points) for p in found)])[:-1]
    triangles = np.concatenate([p.triangles + b for p, b in zip(found, base, strict=True)]).astype(
        np.int32
    )
    material = np.concatenate([np.full(len(p.triangles), p.material, np.int32) for p in found])
    material[: len(cage().parts)] = cage().parts
    points = np.concatenate(placed).astype(np.float32)
    facing = np.zeros_like(points)
    normals(points, triangles, facing)
    attributes = np.zeros((len(points), 4), np.float32)
    attributes[: len(skin)] = skin
    attributes[:, 3] = np.concatenate([p.extra for p in found])
    rest = np.concatenate([p.rest for p in found]).astype(np.float32)
    return Mesh(triangles, material, points, facing, rest, attributes)


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


def cast(mesh: Mesh, light: Light) -> Shadow:
    """Depth map from the key light."""
    key = direction(light.azimuth, light.elevation)
    side = np.cross([0.0, 1.0, 0.0], key)
    side /= np.linalg.norm(side)
    up = np.cross(key, side)
    middle = mesh.points[:SURFACE].mean(0) + np.array([0, 0.25, 0.4])
    axes = np.zeros((3, 4))
    axes[:, :3] = np.stack([side, up, key])
    axes[:2] *= SHADOW_SIDE / (2 * MARGIN)
    axes[:, 3] = [SHADOW_SIDE / 2, SHADOW_SIDE / 2, 20.0] - (axes[:, :3] * middle).sum(1)
    points = mesh.points.astype(np.float64)
    seen = points[:, :1] * axes[:, 0] + points[:, 1:2] * axes[:, 1] + points[:, 2:] * axes[:, 2]
    # Clothes receive shadows and cast none: at the collar they would only make ragged edges.
    casting = mesh.triangles[mesh.material != parts.CLOTH]
    buffers = empty(SHADOW_SIDE, SHADOW_SIDE)
    draw((seen + axes[:, 3]).astype(np.float32), casting, buffers)
    return Shadow(buffers.inverse, axes.astype(np.float32))
