"""From parameters to a picture and its truth."""

from dataclasses import dataclass

import numpy as np

from vidswap.errors import RecipeError
from vidswap.ops.ffhq import Window, window
from vidswap.synth import parts
from vidswap.synth.anatomy import SKULL_CENTRE, SURFACE, cage
from vidswap.synth.form import Form, build
from vidswap.synth.paint import hsv, paint
from vidswap.synth.params import HeadParams, Light, Pose
from vidswap.synth.parts import Part, hairline
from vidswap.synth.raster import Buffers, draw, empty, normals
from vidswap.synth.resolve import fill, resolve
from vidswap.synth.scenery import background
from vidswap.synth.shading import Lamp, Mesh, Shadow, comb, shade_samples
from vidswap.types import F32, F64, U8

PIVOT = np.array([0.0, 0.25, 0.95])
"""About which a head turns: the top of the spine."""
MIDDLE = np.array([0.0, -0.1, 0.35])
"""The point of a level head that lies at the pose's x, y and distance."""
TRUNK_FOLLOWS = 0.35
"""Share of the head's yaw that the shoulders take part in."""
SHADOW_SIDE = 96
SAMPLES = 2
"""Samples per pixel along each side."""
MARGIN = 2.6
"""Half the side of the cube around the head that casts shadows."""


@dataclass(frozen=True, slots=True, eq=False)
class Rendered:
    """A picture and everything that is true of it."""

    rgb: U8
    """(H, W, 3)"""
    labels: U8
    """(H, W) the 12 classes of ``vidswap.models.bisenet.REGIONS``; occluders and clothes are background."""
    depth: F32
    """(H, W) distance along the view axis in outer eye corner distances; infinite on the background."""
    mesh: F32
    """(478, 3) landmarks in the face mesh's order, pixels; z in the same unit, negative towards the camera."""
    points: F32
    """(5, 2) image-left eye, image-right eye, nose tip, mouth corners, pixels."""
    pose: F32
    """(3,) yaw, pitch, roll in degrees."""
    expression: F32
    """(E,) vector of :class:`vidswap.synth.params.Expression`, [0, 1]."""
    identity: F32
    """(I,) vector of :class:`vidswap.synth.params.Identity`, [0, 1]."""


def rotation(yaw: float, pitch: float, roll: float) -> F64:
    """(3, 3) ``Rz(roll) Ry(−yaw) Rx(−pitch)``, degrees; x right, y down, z away from the camera."""
    a, b, c = np.radians([-yaw, -pitch, roll])
    ry = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    rx = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    rz = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return rz @ ry @ rx


def _place(points: F64, pose: Pose, turn: F64) -> F64:
    placed: F64 = (points - PIVOT) @ turn.T + (PIVOT - MIDDLE) + [pose.x, pose.y, pose.distance]
    return placed


@dataclass(frozen=True, eq=False)
class Posed:
    """A head in front of the camera."""

    mesh: Mesh
    landmarks: F64
    """(478, 3) against the camera."""
    eyes: F64
    """(2, 3) eyeball centres against the camera."""


def _irises(form: Form, head: HeadParams) -> F64:
    """(10, 3) centre and four rim points of each iris, the face mesh's last ten vertices."""
    found = []
    yaw, pitch = np.radians(head.gaze.yaw), np.radians(head.gaze.pitch)
    ahead = np.array([np.sin(yaw) * np.cos(pitch), -np.sin(pitch), -np.cos(yaw) * np.cos(pitch)])
    side = np.array([np.cos(yaw), 0.0, np.sin(yaw)])
    up = np.cross(side, ahead)
    for centre, r in zip(form.eyes, form.radius, strict=True):
        rim = [0.895 * ahead + 0.45 * d for d in (side, -up if up[1] > 0 else up, -side, up if up[1] > 0 else -up)]
        found += [centre + r * 1.02 * ahead, *(centre + r * p for p in rim)]
    return np.array(found)


def _skin(form: Form, head: HeadParams) -> tuple[Part, F32]:
    data = cage()
    points = np.asarray(data.subdivide @ form.points)
    rest = data.rest.astype(np.float64)
    length = head.identity.beard_length
    if head.identity.cheek_beard + head.identity.goatee > 0:
        points = points + _beard_volume(rest, head)[:, None] * (0.03 + 0.16 * length) * np.array([0, 0.8, -0.6])
    relative = rest - SKULL_CENTRE
    cover = hairline(np.arctan2(relative[:, 0], -relative[:, 2]), head.scene) - rest[:, 1]
    attributes = np.stack([data.liner, data.lips, cover, np.zeros(len(rest))], 1).astype(np.float32)
    return Part(points, rest, data.triangles, parts.SKIN, np.zeros(len(rest))), attributes


def _beard_volume(rest: F64, head: HeadParams) -> F64:
    x, y = np.abs(rest[:, 0]), rest[:, 1]
    who = head.identity
    chin = np.exp(-((x / 0.3) ** 2) - ((y - 0.85) / 0.2) ** 2) * max(who.goatee, who.cheek_beard)
    jaw = np.exp(-(((y - 0.75) / 0.3) ** 2)) * (x > 0.3) * who.cheek_beard * 0.7
    return np.maximum(chin, jaw) * (y > 0.56) * (rest[:, 2] < 0.9)


def assemble(head: HeadParams) -> Posed:
    """All parts of one head, turned and placed before the camera."""
    form = build(head.identity, head.expression)
    who, scene = head.identity, head.scene
    skin, attributes = _skin(form, head)
    found = [skin, *(parts.eyeball(c, float(r), head.gaze) for c, r in zip(form.eyes, form.radius, strict=True))]
    found += [*parts.teeth(form), *parts.ears(who), *parts.glasses(form, who, scene), *parts.earrings(who, scene)]
    turn = rotation(head.pose.yaw, head.pose.pitch, head.pose.roll)
    trunk = rotation(head.pose.yaw * TRUNK_FOLLOWS, 0.0, 0.0)
    placed = [_place(p.points, head.pose, turn) for p in found]
    column, body = parts.neck(who), parts.trunk(who)
    share = np.clip(column.extra * 1.5 - 0.25, 0, 1)[:, None]
    placed.append(_place(column.points, head.pose, turn) * (1 - share) + _place(column.points, head.pose, trunk) * share)
    placed.append(_place(body.points, head.pose, trunk))
    found += [column, body]
    shell = parts.hair(who, scene)
    if shell is not None:
        found.append(shell)
        placed.append(_place(shell.points, head.pose, turn))
    surface = np.asarray(cage().subdivide[:SURFACE] @ form.points)
    landmarks = np.concatenate([surface, _irises(form, head)])
    return Posed(
        _join(found, placed, attributes), _place(landmarks, head.pose, turn), _place(form.eyes, head.pose, turn)
    )


def _join(found: list[Part], placed: list[F64], skin: F32) -> Mesh:
    base = np.cumsum([0, *(len(p.points) for p in found)])
    triangles = np.concatenate([p.triangles + b for p, b in zip(found, base[:-1], strict=True)]).astype(np.int32)
    material = np.concatenate([np.full(len(p.triangles), p.material, np.int32) for p in found])
    material[: len(cage().parts)] = cage().parts
    points = np.concatenate(placed).astype(np.float32)
    facing = np.zeros_like(points)
    normals(points, triangles, facing)
    attributes = np.zeros((len(points), 4), np.float32)
    attributes[: len(skin)] = skin
    attributes[:, 3] = np.concatenate([p.extra for p in found])
    return Mesh(
        triangles, material, points, facing, np.concatenate([p.rest for p in found]).astype(np.float32), attributes
    )


def direction(azimuth: float, elevation: float) -> F64:
    """(3,) unit vector towards a light, degrees."""
    a, e = np.radians([azimuth, elevation])
    return np.array([np.sin(a) * np.cos(e), -np.sin(e), -np.cos(a) * np.cos(e)])


def lamp(light: Light) -> Lamp:
    """Light of a picture."""
    key = direction(light.azimuth, light.elevation)
    warm = np.array([1 + 0.16 * light.warmth, 1.0, 1 - 0.22 * light.warmth]) * light.key
    sky = np.array(hsv(light.ambient_hue, light.ambient_colour, 1.0)) * light.ambient
    ground = sky * [0.62, 0.56, 0.52]
    half = key + [0, 0, -1.4]
    half = half / np.linalg.norm(half)
    catch = half * [0.75, 0.75, 1.0]
    catch = catch / np.linalg.norm(catch)

    def three(v: F64) -> tuple[float, float, float]:
        return float(v[0]), float(v[1]), float(v[2])

    return Lamp(three(key), three(warm), three(sky), three(ground), light.rim, light.softness, three(catch))


def cast(mesh: Mesh, light: Light) -> Shadow:
    """Depth map from the key light."""
    key = direction(light.azimuth, light.elevation)
    side = np.cross([0.0, 1.0, 0.0], key)
    side /= np.linalg.norm(side)
    up = np.cross(key, side)
    middle = mesh.points[:SURFACE].mean(0) + [0, 0.25, 0.4]
    per = SHADOW_SIDE / (2 * MARGIN)
    axes = np.zeros((3, 4), np.float32)
    axes[0, :3], axes[1, :3], axes[2, :3] = side * per, up * per, key
    axes[:2, 3] = SHADOW_SIDE / 2 - axes[:2, :3] @ middle
    axes[2, 3] = 20.0 - axes[2, :3] @ middle
    seen = (mesh.points @ axes[:, :3].T + axes[:, 3]).astype(np.float32)
    # What comes before the trunk casts; the trunk itself only receives.
    casting = mesh.triangles[mesh.material != parts.CLOTH]
    buffers = empty(SHADOW_SIDE, SHADOW_SIDE)
    draw(seen, casting, buffers)
    return Shadow(buffers.inverse, axes)


def aligned_view(landmarks: F64, size: int) -> F64:
    """(2, 3) from normalised camera coordinates to the pixels of the FFHQ crop of a head."""
    return crop_view(window(landmarks), size)


def crop_view(crop: Window, size: int) -> F64:
    """(2, 3) from the coordinates in which a window is given to the pixels of its crop."""
    matrix = np.stack([crop.x / (crop.x @ crop.x), crop.y / (crop.y @ crop.y)]) * (size / 2)
    offset = size / 2 - 0.5 - matrix @ crop.centre
    return np.concatenate([matrix, offset[:, None]], 1)


def project(points: F64, pose: Pose) -> F64:
    """(N, 2) normalised coordinates: ±1 at the edges of the camera's square field."""
    focal = 2 * pose.distance / pose.field_height
    projected: F64 = points[:, :2] / points[:, 2:] * focal
    return projected


def render(
    head: HeadParams, size: int, *, aligned: bool = False, crop: Window | None = None
) -> Rendered:
    """Draw one head.

    Args:
        head: What to draw.
        size: Side of the picture, pixels, at least 16.
        aligned: The FFHQ crop of this head instead of the camera's whole field.
        crop: A window in normalised camera coordinates instead, see :func:`ffhq_window`.

    Raises:
        RecipeError: A size that cannot be drawn.
    """
    if not 16 <= size <= 4096:
        raise RecipeError(f"size: expected 16 … 4096 pixels, got {size}", stage="synth")
    posed = assemble(head)
    if crop is None and aligned:
        crop = window(project(posed.landmarks, head.pose))
    view = crop_view(crop, size) if crop is not None else np.array([[size / 2, 0, size / 2 - 0.5], [0, size / 2, size / 2 - 0.5]])
    return _picture(head, posed, view, size)


def ffhq_window(head: HeadParams) -> Window:
    """FFHQ crop window of a head in normalised camera coordinates, for :func:`render`."""
    return window(project(assemble(head).landmarks, head.pose))


def _picture(head: HeadParams, posed: Posed, view: F64, size: int) -> Rendered:
    wide = size * SAMPLES
    fine = view * SAMPLES
    fine[:, 2] += (SAMPLES - 1) / 2
    points = posed.mesh.points
    where = project(points.astype(np.float64), head.pose) @ fine[:, :2].T + fine[:, 2]
    screen = np.concatenate([where, 1 / points[:, 2:]], 1).astype(np.float32)
    buffers = empty(wide, wide)
    _draw_all(posed.mesh, screen, buffers, 100 * head.scene.hair_seed)
    light, labels = np.empty((wide, wide, 3), np.float32), np.zeros((wide, wide), np.uint8)
    inverse = np.linalg.inv(np.vstack([fine, [0, 0, 1]]))[:2].astype(np.float32)
    fill(background(head.scene), inverse, buffers, light)
    looks = (paint(head), lamp(head.light), cast(posed.mesh, head.light))
    shade_samples(buffers, posed.mesh, looks, light, labels)
    return _truth(head, posed, (light, labels, buffers.inverse), view)


def _draw_all(mesh: Mesh, screen: F32, buffers: Buffers, seed: float) -> None:
    hair = np.flatnonzero(mesh.material == parts.HAIR)
    rest = mesh.triangles if not len(hair) else np.delete(mesh.triangles, hair, axis=0)
    if len(hair):
        # The hair is drawn last, so that the triangles before it keep their numbers.
        over = empty(*buffers.triangle.shape)
        draw(screen, mesh.triangles[hair], over)
        draw(screen, rest, buffers)
        comb(buffers, over, mesh, int(hair[0]), seed)
    else:
        draw(screen, rest, buffers)


def _truth(head: HeadParams, posed: Posed, samples: tuple[F32, U8, F32], view: F64) -> Rendered:
    size = samples[0].shape[0] // SAMPLES
    rgb, labels = np.empty((size, size, 3), np.uint8), np.empty((size, size), np.uint8)
    depth = np.empty((size, size), np.float32)
    rng = np.random.default_rng([4, int(head.scene.noise_seed * 1e6)])
    grain = rng.standard_normal(rgb.shape, np.float32) * np.float32(8 * head.scene.noise)
    resolve(samples, grain, rgb, labels, depth)
    flat = project(posed.landmarks, head.pose) @ view[:, :2].T + view[:, 2]
    unit = np.hypot(*view[:, 0]) * 2 / head.pose.field_height
    deep = (posed.landmarks[:, 2:] - posed.landmarks[:, 2].mean()) * unit
    eyes = [flat[list(e)].mean(0) for e in ((33, 133), (362, 263))]
    return Rendered(
        rgb=rgb, labels=labels, depth=depth, mesh=np.concatenate([flat, deep], 1).astype(np.float32),
        points=np.array([*eyes, flat[1], flat[61], flat[291]], np.float32),
        pose=np.array([head.pose.yaw, head.pose.pitch, head.pose.roll], np.float32),
        expression=head.expression.vector(), identity=head.identity.vector(),
    )  # fmt: skip
