"""One face of one frame: move, texture, light, blend."""

from dataclasses import dataclass

import cv2
import numpy as np

from vidswap.engines.mesh.light import light_change
from vidswap.engines.mesh.occlude import occluded
from vidswap.engines.mesh.plan import GRAIN_LIMIT, MeshPlan, aperture, parted
from vidswap.engines.mesh.regions import smoothstep
from vidswap.faces.appearance import IRISES
from vidswap.faces.facemesh import EYE, MOUTH, SKIN, SURFACE, FaceMesh, affine, fit_pose, rasterise
from vidswap.types import F32, U8, U16, Bool, TargetFace


@dataclass(frozen=True, slots=True, eq=False)
class Geometry:
    """A frame's mesh before and after the move."""

    source: F32
    """(542, 2) where each vertex lies in the target's picture, px of the box."""
    moved: F32
    """(542, 2) where it is drawn."""
    depth: F32
    """(542,) px, larger is farther."""
    facing: F32
    """(542,) [0, 1] how squarely the surface faces the camera."""


def geometry(face: TargetFace, plan: MeshPlan, mesh: FaceMesh, strength: float) -> Geometry:
    """Place the mesh in the box and move its features by the canonical offset."""
    surface = face.at.mesh[: len(mesh.shape)]
    pose = fit_pose(plan.shape, surface, mesh.rigid)
    vertices = mesh.extend(surface)
    vertices[:, :2] -= (face.box.left, face.box.top)
    awake = np.clip(aperture(face.at.mesh) / np.maximum(aperture(plan.shape), 0.05), 0, 1)
    offset = plan.offset + (awake[:, None, None] * plan.lids).sum(0)
    moved = vertices + strength * pose.scale * (offset @ pose.rotation.T)
    facing = -mesh.normals(moved)[:, 2]
    return Geometry(vertices[:, :2], moved[:, :2], moved[:, 2], facing.astype(np.float32))


@dataclass(frozen=True, slots=True, eq=False)
class Maps:
    """What each pixel of the box shows, at coarse size until ``widen``."""

    uv: F32
    """(h, w, 2) layout coordinates."""
    shift: F32
    """(h, w, 2) px from a drawn pixel to where the target has it."""
    alpha: F32
    """(h, w) [0, 1] geometry's share: 0 outside the skin, at grazing angles and at folds."""


def coarse_maps(g: Geometry, mesh: FaceMesh, size: tuple[int, int], step: int) -> Maps:
    """Rasterise uv, shift and visibility on every ``step``-th pixel.

    Args:
        g: Geometry in px of the box.
        mesh: The mesh's constants.
        size: Height and width of the box.
        step: Pixels per coarse cell.
    """
    rows, cols = -(-size[0] // step) + 1, -(-size[1] // step) + 1
    points = (g.moved + 0.5) / step - 0.5
    order = np.argsort(
        -g.depth[mesh.triangles].mean(1) + 1e6 * (mesh.labels > MOUTH), kind="stable"
    )
    order = order[np.argsort(mesh.labels[order] <= MOUTH, kind="stable")]
    tri = rasterise(points, mesh.triangles, (rows, cols), order)
    corner = mesh.triangles
    values = np.concatenate([mesh.uv, g.source - g.moved, g.facing[:, None]], 1)[corner]
    values = values.astype(np.float32)
    table = affine(points, corner, values)
    inside = tri >= 0
    index = np.maximum(tri, 0)
    yy, xx = np.mgrid[0:rows, 0:cols].astype(np.float32)
    plane = table[index]
    value = plane[..., 0] * xx[..., None] + plane[..., 1] * yy[..., None] + plane[..., 2]
    # A sliver covers cells whose centre it misses: its plane must not run away there.
    value = np.clip(value, values.min(1)[index], values.max(1)[index])
    label = mesh.labels[index]
    skin = inside & ((label == SKIN) | (label == EYE) | (label == MOUTH))
    alpha = skin * smoothstep(0.12, 0.42, value[..., 4])
    whole = (alpha * ~_folds(value[..., :2], skin)).astype(np.float32)
    # Never more than before, but without the stairs of whole cells.
    alpha = np.minimum(alpha, cv2.GaussianBlur(whole, (0, 0), 1.3))
    value[~inside] = 0
    # Where the cheek hides the oval the move jumps; the target's outline must not tear for it.
    shift = cv2.GaussianBlur(value[..., 2:4], (0, 0), 1.5)
    return Maps(value[..., :2], shift * inside[..., None], alpha.astype(np.float32))


def _folds(uv: F32, skin: Bool) -> Bool:
    """Cells where the layout jumps: there one sheet of skin hides another, and interpolation would smear."""
    right = np.abs(uv[:, 1:] - uv[:, :-1]).max(-1) * (skin[:, 1:] & skin[:, :-1])
    down = np.abs(uv[1:] - uv[:-1]).max(-1) * (skin[1:] & skin[:-1])
    known = right[right > 0]
    limit = 6 * float(np.median(known)) + 0.01 if len(known) else 1.0
    jump = np.zeros(skin.shape, np.uint8)
    jump[:, 1:] |= right > limit
    jump[:, :-1] |= right > limit
    jump[1:] |= down > limit
    jump[:-1] |= down > limit
    return cv2.dilate(jump, np.ones((3, 3), np.uint8)) > 0


def openings_mask(
    g: Geometry, mesh: FaceMesh, size: tuple[int, int], origin: tuple[int, int], soft: float
) -> F32:
    """(h, w) 0 inside eyes and mouth, drawn at full size: their edge is where viewers look.

    Args:
        g: Geometry in px of the box.
        mesh: The mesh's constants.
        size: Height and width of the part to draw.
        origin: (x, y) of that part in the box.
        soft: Standard deviation of the edge, px.
    """
    picture = np.zeros(size, np.uint8)
    chosen = np.flatnonzero((mesh.labels == EYE) | (mesh.labels == MOUTH))
    for triangle in np.round((g.moved - origin) * 16).astype(np.int32)[mesh.triangles[chosen]]:
        cv2.fillConvexPoly(picture, triangle, 255, cv2.LINE_AA, 4)
    return 1 - cv2.GaussianBlur(picture, (0, 0), soft) * np.float32(1 / 255)


def _resize(values: F32, step: int) -> F32:
    """Coarse cells → pixels, cell centres where ``coarse_maps`` put them."""
    if step == 1:
        return values
    size = (values.shape[1] * step, values.shape[0] * step)
    return cv2.resize(values, size, interpolation=cv2.INTER_LINEAR)


@dataclass(frozen=True, slots=True)
class Window:
    """The part of the box that holds skin, on whole coarse cells."""

    top: int
    bottom: int
    left: int
    right: int
    step: int

    @classmethod
    def around(cls, alpha: F32, step: int) -> "Window | None":
        """Bounding cells of a coarse alpha with a margin of two; None when it is empty."""
        rows, cols = np.flatnonzero(alpha.any(1)), np.flatnonzero(alpha.any(0))
        if not len(rows):
            return None
        height, width = alpha.shape
        return cls(
            max(int(rows[0]) - 2, 0), min(int(rows[-1]) + 3, height),
            max(int(cols[0]) - 2, 0), min(int(cols[-1]) + 3, width), step,
        )  # fmt: skip

    def cells(self, values: F32) -> F32:
        """The window of a coarse array."""
        return values[self.top : self.bottom, self.left : self.right]

    def pixels(self, picture: F32 | U8 | U16) -> F32 | U8 | U16:
        """The window of a full-size array; smaller at the far edges of the box."""
        s = self.step
        return picture[self.top * s : self.bottom * s, self.left * s : self.right * s]

    @property
    def origin(self) -> tuple[int, int]:
        """(x, y) of the first pixel."""
        return self.left * self.step, self.top * self.step


def render(face: TargetFace, plan: MeshPlan, mesh: FaceMesh, strength: float) -> U8 | U16:
    """New pixels of the box.

    Args:
        face: Untouched pixels and the smoothed mesh.
        plan: Constants of the track.
        mesh: Constants of the mesh.
        strength: [0, 1] overall share of the swap.
    """
    top = np.float32(255 if face.rgb.dtype == np.uint8 else 65535)
    g = geometry(face, plan, mesh, strength)
    extent = float(np.ptp(g.moved[:, 0]))
    step = int(np.clip(round(extent / 110), 1, 8))
    maps = coarse_maps(g, mesh, (face.rgb.shape[0], face.rgb.shape[1]), step)
    moved = _move(face.rgb, maps, step)
    window = Window.around(maps.alpha, step)
    if window is None:
        return moved
    part = window.pixels(moved)
    size = (part.shape[0], part.shape[1])
    target = part.astype(np.float32) * (1 / top)
    _recolour_irises(target, face, g, plan, mesh, strength, window.origin)
    source, narrow = _texture(
        plan, _resize(window.cells(maps.uv), step)[: size[0], : size[1]], extent
    )
    if _uncover(plan, maps, part, window):
        moved[:] = _move(face.rgb, maps, step)
        target = part.astype(np.float32) * (1 / top)
        _recolour_irises(target, face, g, plan, mesh, strength, window.origin)
    slow = [
        _resize(v, step)[: size[0], : size[1]] for v in _slow(plan, maps, face, window, strength)
    ]
    source *= slow[0]
    free = openings_mask(g, mesh, size, window.origin, max(extent / 500, 0.6))
    alpha = narrow * slow[1] * free
    result = _blend(target, source, alpha, slow[2] * free, max(step * 2, 4))
    if plan.grain > 0.02:
        result += (alpha * plan.grain * _grain(target))[..., None]
    np.clip(result * top + 0.5, 0, top, out=result)
    part[:] = result.astype(face.rgb.dtype)
    return moved


def _uncover(plan: MeshPlan, maps: Maps, part: F32 | U8 | U16, window: Window) -> bool:
    """Take what stands in front of the face out of alpha and shift, in place; whether there is such."""
    if plan.looks is None:
        return False
    alpha = window.cells(maps.alpha)
    cells = cv2.resize(part, alpha.shape[::-1], interpolation=cv2.INTER_AREA)
    hidden = occluded(plan.looks, cells, window.cells(maps.uv), alpha)
    if hidden is None:
        return False
    alpha *= 1 - hidden
    # A hand that is bent along with the features would look like rubber.
    still = cv2.GaussianBlur(cv2.dilate(hidden, np.ones((5, 5), np.uint8)), (0, 0), 2)
    shift = window.cells(maps.shift)
    shift *= (1 - still)[..., None]
    return True


def _recolour_irises(
    target: F32,
    face: TargetFace,
    g: Geometry,
    plan: MeshPlan,
    mesh: FaceMesh,
    strength: float,
    origin: tuple[int, int],
) -> None:
    """Give the target's irises the source's colour, in place; gaze, lids and highlights stay."""
    if not plan.iris.any() or len(face.at.mesh) <= SURFACE:
        return
    eyes = np.flatnonzero(mesh.labels == EYE)
    # Nothing to colour on a shut lid; and in a narrow slit lashes would be brightened, not the iris.
    low = 0.12 if plan.iris.mean() < 0 else 0.17
    awake = smoothstep(low, low + 0.08, aperture(face.at.mesh))
    for (centre, *rim), part, opened in zip(IRISES, np.split(eyes, 2), awake, strict=True):
        middle = mesh.triangles[part].max()
        place = np.add(origin, (face.box.left, face.box.top))
        point = face.at.mesh[centre, :2] - place + (g.moved - g.source)[middle]
        radius = float(
            np.linalg.norm(face.at.mesh[rim, :2] - face.at.mesh[centre, :2], axis=1).mean()
        )
        corner = np.maximum(np.floor(point - 1.3 * radius).astype(int), 0)
        high = np.ceil(point + 1.3 * radius).astype(int) + 1
        view = target[corner[1] : high[1], corner[0] : high[0]]
        if radius < 1.0 or view.size == 0:
            continue
        opening = np.zeros(view.shape[:2], np.uint8)
        for triangle in np.round((g.moved - origin - corner)[mesh.triangles[part]] * 16).astype(
            np.int32
        ):
            cv2.fillConvexPoly(opening, triangle, 255, cv2.LINE_AA, 4)
        yy, xx = np.mgrid[
            corner[1] : corner[1] + view.shape[0], corner[0] : corner[0] + view.shape[1]
        ]
        far = np.hypot(xx - point[0], yy - point[1]) / radius
        share = (
            (1 - smoothstep(0.85, 1.12, far))
            * opening
            / np.float32(255)
            * np.float32(strength * opened)
        )
        bright = smoothstep(
            0.45, 0.8, view.max(-1)
        )  # highlights belong to the lamp, not to the eye
        gain = (
            plan.iris if plan.iris.mean() < 0 else plan.iris * smoothstep(0.3, 0.55, far)[..., None]
        )
        view *= np.exp(gain * (share * (1 - bright))[..., None])


def _move(rgb: U8 | U16, maps: Maps, step: int) -> U8 | U16:
    """The target with its features at their new places; pixels that do not move stay bit-equal."""
    height, width = rgb.shape[:2]
    shift = _resize(maps.shift, step)[:height, :width]
    x = shift[..., 0] + np.arange(width, dtype=np.float32)
    y = shift[..., 1] + np.arange(height, dtype=np.float32)[:, None]
    return cv2.remap(rgb, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


def _texture(plan: MeshPlan, uv: F32, extent: float) -> tuple[F32, F32]:
    """Source colours [0, 1] and the narrow alpha at each pixel."""
    texels = 0.9 * len(plan.levels[0]) / max(extent, 1)
    level = plan.levels[min(max(int(np.floor(np.log2(max(texels, 1)) + 0.3)), 0), 2)]
    rgba = cv2.remap(
        level, uv * len(level) - 0.5, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    rgba = rgba * np.float32(1 / 255)
    return rgba[..., :3], rgba[..., 3]


def _slow(
    plan: MeshPlan, maps: Maps, face: TargetFace, window: Window, strength: float
) -> tuple[F32, F32, F32]:
    """On the window's coarse cells: light gain, alpha of the details, alpha of the slow colours."""
    side = len(plan.wide)
    field = np.zeros((side, side, 3), np.float32)
    if "light" in face.at.data:
        row = np.asarray(face.at.data["light"], np.float32)
        change = light_change(row, plan.light_mean, plan.light_skin)
        field = cv2.resize(change, (side, side), interpolation=cv2.INTER_LINEAR)
    # A photo's open lid has no texture for a shut one: near closure the target's lid takes over.
    shut = 1 - smoothstep(0.3, 0.62, aperture(face.at.mesh) / np.maximum(plan.aperture, 0.05))
    # And a shut mouth's line has no place along an open one: there the target's lip shows its edge.
    apart = smoothstep(0.02, 0.1, np.array([parted(face.at.mesh)], np.float32))
    awake = np.float32(strength) * (1 - (plan.zones * np.concatenate([shut, apart])).max(-1))
    fields = np.dstack([np.exp(field), awake])
    uv = window.cells(maps.uv) * side - 0.5
    value = cv2.remap(fields, uv, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    wide = cv2.remap(plan.wide, uv, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    alpha = window.cells(maps.alpha) * value[..., 3]
    return value[..., :3], alpha, alpha * wide


def _blend(target: F32, source: F32, narrow: F32, wide: F32, cell: int) -> F32:
    """Two bands: slow differences fade over the wide alpha, details over the narrow one (Burt, Adelson 1983)."""
    difference = source - target
    height, width = narrow.shape
    small = (max(width // cell, 1), max(height // cell, 1))
    coarse = cv2.resize(difference * narrow[..., None], small, interpolation=cv2.INTER_AREA)
    weight = cv2.resize(narrow, small, interpolation=cv2.INTER_AREA)
    coarse = cv2.GaussianBlur(coarse, (0, 0), 2.0)
    weight = cv2.GaussianBlur(weight, (0, 0), 2.0)
    slow = cv2.resize(
        coarse / (weight + 1e-3)[..., None], (width, height), interpolation=cv2.INTER_LINEAR
    )
    difference *= narrow[..., None]
    difference += slow * (wide - narrow)[..., None]
    difference += target
    return difference


def _grain(target: F32) -> F32:
    luma = cv2.cvtColor(target, cv2.COLOR_RGB2GRAY)
    return np.clip(luma - cv2.GaussianBlur(luma, (0, 0), 1.2), -GRAIN_LIMIT, GRAIN_LIMIT)
