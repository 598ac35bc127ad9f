"""What is fixed for one person on one track."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from vidswap.engines.mesh.bare import without_glasses
from vidswap.engines.mesh.glasses import find_glasses
from vidswap.engines.mesh.light import relight
from vidswap.engines.mesh.mask import skin_mask
from vidswap.engines.mesh.occlude import Looks, usual_looks
from vidswap.engines.mesh.regions import (
    depth_inside,
    features,
    lid_zone,
    lip_zone,
    polygon,
    smoothstep,
)
from vidswap.engines.mesh.shape import (
    WIDER,
    aperture,
    foreign_lines,
    shape_offset,
    smiling,
    under_brows,
)
from vidswap.engines.mesh.source import TEXTURE, Identity
from vidswap.faces.appearance import LIGHT, high_pass
from vidswap.faces.facemesh import SKIN, FaceMesh, affine, rasterise
from vidswap.faces.vertices import BROWS, EYES, LIP_MIDDLES
from vidswap.recipe import MeshEngine
from vidswap.types import F32, U8, Bool

LUMA = np.array((0.3, 0.59, 0.11), np.float32)
"""Shares of red, green and blue in brightness (BT.601)."""
RAISED = 0.06
"""How far above their usual place the target's brows may go, in layout units: there they are not to show."""
HIGHER = 0.12
"""How far they may go beyond it, at the most: there only thin dark parts of them are lifted."""
GRAIN_LIMIT = 6 / 255
"""Largest grain taken from the target's high-pass, in [0, 1]."""

GRID = 128
"""Side of the slow alpha and of the zones."""
TEXTURED = 0.82
"""Share of the footage's finest detail that comes from the photo at most, brows, lids and all. What lacks is the
target's own, which moves with its skin exactly: more of the photo's shimmers, less is a blurred brow."""
COARSE = 1.2
"""Times the footage's contrast that a photo may have at 1.2 to 3 px, where canvas and film grain lie."""
ROUNDING = 0.25 / 255
"""What rounding luma to eight bits, limited range, adds to that measure of detail: it needs no grain."""
HOLD = 1.15
"""Ratio by which a face changes its size until its cells and its texture are chosen anew."""
ACROSS, UPRIGHT = 1.4, 0.8
"""Width of the mesh with its rings by that of the face, and that of the face by its height."""
STRETCH = 1.4
"""How much farther than on the photo a brow may stand from the skin under it: less than that is not seen."""
PARTING = 1.08
"""How far lips part against the target's: of lips that are paler than theirs a little less is seen."""
SOFT = 0.05
"""To both sides of a texture's border, in layout units: over this its slow colours fade."""


@dataclass(frozen=True, slots=True, eq=False)
class MeshPlan:
    """Constants of (track, identity)."""

    levels: tuple[F32, ...]
    """Textures (S, S, 4) at 512, 256 and 128: RGB and the narrow alpha, 0 to 255 and not rounded."""
    wide: F32
    """(128, 128) wide alpha of the slow colours."""
    light_mean: F32
    """(24, 24, 3) what the per-frame light is compared with."""
    light_skin: F32
    """(24, 24) skin cells."""
    shape: F32
    """(468, 3) the target's own canonical shape."""
    offset: F32
    """(542, 3) canonical move of the features, eyes shut."""
    lids: F32
    """(2, 542, 3) what each open eye adds, image-left first."""
    wider: F32
    """(2, 542, 3) what an eye adds that is opened by its usual height once more."""
    above: F32
    """(128, 128) room that nothing is drawn in: above the brows, where the target may raise its own, and beside the
    eyes, where their liner may end."""
    zones: F32
    """(128, 128, 3) zone of each eye's lids, image-left first, and of the lips' inner edge."""
    aperture: F32
    """(2,) how far the source's eyes are open, against their width."""
    usual: F32
    """(2,) the same of the target's own shape."""
    brows: F32
    """(2,) how far the drawn brows may be from the skin under them, canonical."""
    parting: float
    """How much farther than the target's lips the drawn ones part, as a share."""
    iris: F32
    """(3,) log gain of the irises."""
    eyes: F32
    """(3,) log colour of the drawn irises against the target's skin, -inf when it is not known."""
    lips: F32
    """(2, 3) log gain from the target's upper and lower lip to the source's."""
    grain: float
    """Share of the target's high-pass that is added."""
    looks: Looks | None
    """How the target's own face usually looks, to know what stands in front of it."""
    start: int = 0
    """First frame of the track."""
    extents: F32 = field(default_factory=lambda: np.zeros(0, np.float32))
    """(T,) px across the mesh, as far as cells and texture are chosen by it."""

    def extent(self, frame: int, seen: float) -> float:
        """Px across the mesh by which cells and texture of a frame are chosen; ``seen`` where none is known."""
        row = frame - self.start
        return float(self.extents[row]) if 0 <= row < len(self.extents) else seen


def plan_track(
    static: Mapping[str, NDArray[np.generic]],
    identity: Identity,
    mesh: FaceMesh,
    options: MeshEngine,
) -> MeshPlan:
    """Fit one identity to one track.

    Args:
        static: What ``AppearanceCollector.finish`` returned for the track.
        identity: From ``identify``.
        mesh: The mesh's constants.
        options: The engine's recipe section.
    """
    target = np.asarray(static["texture"], np.uint8)
    seen = np.asarray(static["texture_weight"], np.uint8)
    target, bare = _bare(target, seen)
    skin = skin_mask(target, seen, RAISED)
    trusted = skin * np.clip(seen.astype(np.float32) / 90, 0, 1)
    own = np.asarray(static["shape"], np.float32)
    smile = smiling(identity.shape - own, mesh)
    lit = _relit(identity, target, trusted, smile, options.light)
    offset, lids, wider = shape_offset(identity.shape, own, mesh, options.shape)
    detail = np.asarray(static["detail"], np.float32)
    drawn = mesh.extend(own) + offset + lids.sum(0)
    # What is smeared holds no detail: measured with it, all the rest would be left too sharp.
    clear = identity.valid * (1 - identity.slant)
    texture, grain = match_detail(lit, clear, detail, drawn, mesh, options.detail)
    free = _spread(skin * bare, seen)
    narrow = identity.valid * free * smoothstep(0.02, 0.08, depth_inside(TEXTURE))
    rgba = np.dstack([np.clip(texture, 0, 1), narrow])
    eyes = np.asarray(static["iris"], np.float32)
    iris = iris_gain(identity.iris, eyes)
    return MeshPlan(
        levels=_levels(rgba),
        wide=wide_alpha(identity.valid, free).astype(np.float32),
        light_mean=np.asarray(static["light_mean"], np.float32),
        light_skin=cv2.resize(trusted, (LIGHT, LIGHT), interpolation=cv2.INTER_AREA),
        shape=own,
        offset=offset,
        lids=lids,
        wider=wider / WIDER,
        above=_above(narrow),
        zones=np.dstack([*(lid_zone(eye, GRID) for eye in EYES), lip_zone(GRID)]),
        aperture=aperture(identity.shape),
        usual=np.maximum(aperture(own), np.float32(0.05)),
        brows=np.float32(STRETCH) * under_brows(identity.shape),
        parting=_parting(drawn, own),
        iris=iris,
        eyes=np.nan_to_num(eyes + iris, nan=-np.inf),
        lips=lip_gain(rgba, target, mesh),
        grain=grain,
        looks=usual_looks(static),
    )


def _relit(identity: Identity, target: U8, trusted: F32, smile: float, strength: float) -> F32:
    """The photo's texture in the target's light, without lines about the mouth that are not the target's."""
    return relight(
        identity.texture,
        identity.valid,
        target.astype(np.float32) / 255,
        trusted,
        strength,
        foreign_lines(smile),
        identity.slant,
    )


def held_extents(boxes: F32) -> F32:
    """(T,) px across the mesh, held until they have changed by a good deal.

    Cells and textures come in a few sizes. Where a face is as large as between two of them, they would
    change with every frame, and all its details with them.

    Args:
        boxes: (T, 4) of the face, smoothed.
    """
    width, height = (boxes[:, 2:] - boxes[:, :2]).T
    # A head that turns or nods is no smaller for it.
    sizes = ACROSS * np.maximum(width, UPRIGHT * height)
    held, last = np.empty(len(sizes), np.float32), 0.0
    for row, size in enumerate(np.maximum(sizes, 1).tolist()):
        if not last / HOLD < size < last * HOLD:
            last = size
        held[row] = last
    return held


def _levels(rgba: F32) -> tuple[F32, ...]:
    """A texture and its cover, from [0, 1] to [0, 255], at 512, 256 and 128.

    Sampling whole levels would round in every frame anew, which shimmers.
    """
    scaled = 255 * rgba.astype(np.float32)
    return tuple(
        np.asarray(cv2.resize(scaled, (size, size), interpolation=cv2.INTER_AREA), np.float32)
        for size in (TEXTURE, TEXTURE // 2, TEXTURE // 4)
    )


def _bare(texture: U8, seen: U8) -> tuple[U8, F32 | float]:
    """The target's texture without glasses, and (256, 256) 0 where they stay in front of the new face."""
    frame = find_glasses(texture, seen)
    return (texture, 1.0) if frame is None else (without_glasses(texture, frame), 1 - frame)


def _parting(drawn: F32, own: F32) -> float:
    """How much farther lips part in a face that is drawn larger: its mouth would be small otherwise.

    Args:
        drawn: (542, 3) canonical shape as it will be drawn.
        own: (468, 3) the target's.
    """
    wide, usual = (float(np.linalg.norm(v[263, :2] - v[33, :2])) for v in (drawn, own))
    return PARTING * float(np.sqrt(np.clip(wide / max(usual, 1e-6), 1.0, 1.2))) - 1


def iris_gain(source: F32, target: F32) -> F32:
    """(3,) log gain from the target's eye colour to the source's, 0 when either is unknown.

    Bounded, as pupils and highlights must stay to be seen, and dark eyes lifted far look blind; colour
    moves less than brightness, and never towards a purple that no eye has.
    """
    change = np.nan_to_num(source - target)
    bright = float(np.clip(change.mean(), -0.7, 0.15))
    colour = np.clip(change - change.mean(), -0.2, 0.2)
    colour[1] = max(colour[1], (colour[0] + colour[2]) / 2)
    result: F32 = (bright + colour).astype(np.float32)
    return result


def lip_gain(drawn: F32, target: U8, mesh: FaceMesh) -> F32:
    """(2, 3) log gain from the target's upper and lower lip to the ones that are drawn.

    Never brighter: of parted lips the target shows what lies deepest.

    Args:
        drawn: (S, S, 4) texture and its alpha, in [0, 1].
        target: (256, 256, 3) median texture.
        mesh: The mesh's constants.
    """
    size = len(target)
    source = cv2.resize(drawn, (size, size), interpolation=cv2.INTER_AREA)
    both = np.dstack([source, target.astype(np.float32) / 255])
    gain = np.zeros((2, 3), np.float32)
    for lip, vertices in zip(gain, LIP_MIDDLES, strict=True):
        x, y = np.round(mesh.uv[list(vertices)] * size - 0.5).astype(int).T
        seen = both[y, x]
        if np.median(seen[:, 3]) > 0.5:
            logs = np.median(np.log(seen + 0.03), 0)
            change = logs[:3] - logs[4:]
            lip[:] = np.maximum(change - max(float(change @ LUMA), 0.0), -1.0)
    return gain


def _spread(skin: F32, seen: U8) -> F32:
    """Target validity at texture size; a side the camera never saw is no reason to hold back."""
    unseen = np.clip(1 - seen.astype(np.float32) / 60, 0, 1)
    return cv2.resize(np.maximum(skin, unseen), (TEXTURE, TEXTURE), interpolation=cv2.INTER_LINEAR)


def _above(narrow: F32) -> F32:
    """(128, 128) [0, 1] room above brows and around eyes that ``narrow``, (S, S), leaves to the target."""
    room = np.zeros((GRID, GRID), np.float32)
    for brow in BROWS:
        left, right = np.flatnonzero(polygon(brow, GRID).any(0))[[0, -1]]
        near = polygon(brow, GRID, HIGHER)[:, left : right + 1]
        room[:, left : right + 1] = np.maximum(room[:, left : right + 1], near / np.float32(255))
    for eye in EYES:
        room = np.maximum(room, polygon(eye, GRID, HIGHER) / np.float32(255))
    free = 1 - cv2.resize(narrow, (GRID, GRID), interpolation=cv2.INTER_AREA)
    return cv2.GaussianBlur(room, (0, 0), 1.0) * smoothstep(0.0, 0.3, free)


def wide_alpha(valid: F32, skin: F32) -> F32:
    """(128, 128) where slow colours change: to both sides of where the source's texture ends, inside the skin.

    Args:
        valid: (S, S) of the source.
        skin: (S, S) of the target.
    """
    small, skin = (cv2.resize(v, (GRID, GRID), interpolation=cv2.INTER_AREA) for v in (valid, skin))
    known = (small > 0.5).astype(np.uint8)
    inside, beyond = (cv2.distanceTransform(m, cv2.DIST_L2, 5) for m in (known, 1 - known))
    end = smoothstep(-SOFT, SOFT, (inside - beyond) / GRID)
    return end * skin * smoothstep(0.005, 0.11, depth_inside(GRID))


def frontal_view(shape: F32, mesh: FaceMesh, scale: float) -> tuple[float, F32, Bool]:
    """The face from the front at the footage's size, where sharpness can be compared.

    Args:
        shape: (542, 3) canonical.
        mesh: The mesh's constants.
        scale: Pixels between the outer eye corners.

    Returns:
        Pixels per texel, (h, w, 2) texel coordinates, and (h, w) where there is skin.
    """
    points = shape[:, :2] * scale
    points = (points - points.min(0)).astype(np.float32)
    width, height = np.ceil(points.max(0)).astype(int) + 1
    skin = np.flatnonzero(mesh.labels == SKIN)
    triangle = rasterise(points, mesh.triangles, (int(height), int(width)), skin)
    table = affine(points, mesh.triangles, mesh.uv[mesh.triangles])[np.maximum(triangle, 0)]
    yy, xx = np.mgrid[0:height, 0:width].astype(np.float32)
    uv = np.clip(
        table[..., 0] * xx[..., None] + table[..., 1] * yy[..., None] + table[..., 2], 0, 1
    )
    texels = float(np.linalg.norm(mesh.uv[263] - mesh.uv[33])) * TEXTURE
    return scale / texels, (uv * TEXTURE - 0.5).astype(np.float32), triangle >= 0


def match_detail(
    texture: F32, valid: F32, detail: F32, shape: F32, mesh: FaceMesh, strength: float
) -> tuple[F32, float]:
    """Bring a relit texture to the footage's sharpness.

    Too sharp: blurred. Too contrasty at 1.2–3 px, as with canvas or film grain: that band is scaled.
    Too soft: the share of the target's own high-pass that is missing.

    Args:
        texture: (512, 512, 3) in [0, 1].
        valid: (512, 512) where it is measured.
        detail: (4,) as ``AppearanceCollector`` measures it.
        shape: (542, 3) canonical shape as it will be drawn.
        mesh: The mesh's constants.
        strength: [0, 1].

    Returns:
        (512, 512, 3) texture, and the grain share [0, 1].
    """
    wanted = float(detail[0]), float(detail[1]), float(detail[3])
    ratio, uv, skin = frontal_view(shape, mesh, float(detail[2]))
    inside = ((valid > 0.5) & (depth_inside(TEXTURE) > 0.03) & (features(TEXTURE) < 0.5)).astype(
        np.float32
    )
    whole = ((valid > 0.5) & (depth_inside(TEXTURE) > 0.03)).astype(np.float32)

    def measure(candidate: F32, where: F32) -> tuple[float, float, float]:
        seen = cv2.remap(where, uv, None, cv2.INTER_LINEAR) > 0.5
        drawn = cv2.remap(np.clip(candidate, 0, 1), uv, None, cv2.INTER_LINEAR)
        return high_pass(np.round(drawn * 255).astype(np.uint8), seen & skin)

    best = texture
    middle = measure(best, inside)[1]
    if middle > COARSE * wanted[1]:
        slow = cv2.GaussianBlur(texture, (0, 0), 3 / ratio)
        best = slow + max(COARSE * wanted[1] / middle, 0.35) * (texture - slow)
    sharp = best
    have = measure(best, inside)[0]
    for sigma in (0.5, 0.8, 1.1, 1.5, 2.0, 2.7, 3.6):
        if have <= wanted[0]:
            break
        best = cv2.GaussianBlur(sharp, (0, 0), max(sigma / ratio, 0.3))
        have = measure(best, inside)[0]
    # Brows, lids and lips carry the likeness: they are blurred like the skin, but keep their contrast.
    mark = cv2.GaussianBlur(features(TEXTURE, 0.006), (0, 0), 4)[..., None]
    best = best + mark * 0.6 * (texture - sharp)
    for one in (2, 0):
        # Brows and all: the finest band is turned down as a whole.
        have = float(np.hypot(measure(best, whole)[one], ROUNDING))
        excess = have / max(TEXTURED * wanted[one], 1e-6)
        if excess > 1.0:
            best = best - (1 - 1 / excess) * (best - cv2.GaussianBlur(best, (0, 0), 2 / ratio))
    best = texture + strength * (best - texture)
    # The footage's measure holds brows and lids, too.
    lacking = wanted[0] ** 2 - measure(best, whole)[0] ** 2 - ROUNDING**2
    missing = float(np.sqrt(max(lacking, 0.0))) / max(wanted[0], 1e-6)
    return best.astype(np.float32), strength * missing
