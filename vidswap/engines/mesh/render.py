"""One face of one frame: move, texture, light, blend.

What changes slowly over a face is worked out on coarse cells, what a viewer looks at on pixels.
"""

import cv2
import numpy as np

from vidswap.engines.mesh.blend import Drawn, Slow, blend
from vidswap.engines.mesh.irises import recolour_irises
from vidswap.engines.mesh.light import light_change
from vidswap.engines.mesh.maps import (
    JUTTING,
    Geometry,
    Maps,
    Window,
    coarse_maps,
    geometry,
    juts_out,
)
from vidswap.engines.mesh.occlude import occluded
from vidswap.engines.mesh.openings import openings, recolour_lips, softness
from vidswap.engines.mesh.plan import MeshPlan
from vidswap.engines.mesh.regions import smoothstep
from vidswap.engines.mesh.shape import parted
from vidswap.engines.mesh.strips import Grid, rows_of, strips
from vidswap.faces.facemesh import FaceMesh
from vidswap.types import F32, I8, U8, U16, TargetFace

STILL = 1 / 64
"""Px of a shift that ``cv2.remap``, which rounds to a 32nd, does not see."""
MOVED = 1 << 15
"""Pixels that are moved at a time, about."""


def render(
    face: TargetFace, plan: MeshPlan, mesh: FaceMesh, strength: float
) -> tuple[U8 | U16, I8 | None]:
    """New pixels of the box.

    Args:
        face: Untouched pixels and the smoothed mesh.
        plan: Constants of the track.
        mesh: Constants of the mesh.
        strength: [0, 1] overall share of the swap.

    Returns:
        What a ``Patch`` holds of them: ``rgb`` and ``rest``.
    """
    g = geometry(face, plan, mesh, strength)
    extent = float(np.ptp(g.moved[:, 0]))
    held = plan.extent(face.at.index, extent)
    step = int(np.clip(round(held / 110), 1, 8))
    # Rigid parts of the face carry the cells along.
    grid = Grid.on(step, (mesh.rigid[:, None] * g.moved[: len(mesh.rigid)]).sum(0))
    size = (face.rgb.shape[0], face.rgb.shape[1])
    maps = coarse_maps(g, mesh, size, grid, plan.levels[-1])
    moved = _move(face.rgb, maps, grid)
    window = Window.around(maps.alpha, grid)
    if window is None:
        return moved, None
    part = moved[window.pixels]
    uv = window.cells(maps.uv)
    cells = window.inner.means(part, (uv.shape[0], uv.shape[1]))
    if _uncover(plan, maps, cells, window):
        moved[:] = _move(face.rgb, maps, grid)
    recolour_irises(part, face, g, plan, mesh, strength, window.origin)
    share = window.cells(maps.alpha) * np.float32(strength)
    recolour_lips(part, g, plan, share, window.origin, step)
    size = (part.shape[0], part.shape[1])
    shut = openings(g, mesh, size, window.origin, softness(g))
    shares = window.cells(maps.alpha), window.cells(maps.closed)
    slow = _slow(plan, uv, shares, face, g, strength)
    rest = np.zeros(moved.shape, np.int8) if moved.dtype == np.uint8 else None
    drawn = Drawn(part, None if rest is None else rest[window.pixels])
    blend(drawn, cells, slow, plan, shut, held, window.inner)
    return moved, rest


def _uncover(plan: MeshPlan, maps: Maps, cells: U8 | U16, window: Window) -> bool:
    """Take what stands in front of the face out of alpha and shift, in place; whether there is such."""
    if plan.looks is None:
        return False
    alpha = window.cells(maps.alpha)
    hidden = occluded(plan.looks, cells, window.cells(maps.uv), alpha)
    if hidden is None:
        return False
    alpha *= 1 - hidden
    closed = window.cells(maps.closed)
    closed *= 1 - hidden
    # A hand that is bent along with the features would look like rubber.
    still = cv2.GaussianBlur(cv2.dilate(hidden, np.ones((5, 5), np.uint8)), (0, 0), 2)
    shift = window.cells(maps.shift)
    shift *= (1 - still)[..., None]
    return True


def _move(rgb: U8 | U16, maps: Maps, grid: Grid) -> U8 | U16:
    """The target with its features at their new places; pixels that do not move stay bit-equal."""
    out = rgb.copy()
    planes = cv2.split(maps.shift)
    restless = np.maximum(*map(np.abs, planes)) >= STILL
    places = rows_of(planes, grid, rgb.shape[1])
    # Where pixels come from is as straight between two cells as how far they move.
    places[0] += np.arange(rgb.shape[1], dtype=np.float32)
    places[1] += grid.middles(places.shape[1])[:, None]
    for strip in strips(restless, (rgb.shape[0], rgb.shape[1]), grid, MOVED):
        x, y = strip.place(places)
        out[strip.at] = cv2.remap(rgb, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return out


def _slow(
    plan: MeshPlan,
    uv: F32,
    shares: tuple[F32, F32],
    face: TargetFace,
    g: Geometry,
    strength: float,
) -> Slow:
    """Light and both alphas on the window's coarse cells, from geometry's shares for either."""

    def laid(field: F32) -> F32:
        where = uv * len(field) - 0.5
        return cv2.remap(field, where, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)

    gain = np.ones((*uv.shape[:2], 3), np.float32)
    if "light" in face.at.data:
        row = np.asarray(face.at.data["light"], np.float32)
        gain = np.exp(laid(light_change(row, plan.light_mean, plan.light_skin)))
    # A photo's open lid has no texture for a shut one: near closure the target's lid takes over.
    shut = 1 - smoothstep(0.3, 0.62, g.aperture / np.maximum(plan.aperture, 0.05))
    # And a shut mouth's line has no place along an open one: there the target's lip shows its edge, in
    # the source's colour.
    apart = smoothstep(0.02, 0.1, np.array([parted(face.at.mesh)], np.float32))
    *lids, lips = (s * z for s, z in zip((*shut, *apart), cv2.split(plan.zones), strict=True))
    shut_lids = np.maximum(*lids)
    alpha, closed = (share * np.float32(strength) for share in shares)
    narrow, wide = 1 - np.maximum(shut_lids, lips), (1 - shut_lids) * plan.wide
    narrow, wide, above = cv2.split(laid(cv2.merge([narrow, wide, plan.above])))
    on_nose = juts_out(uv[..., 0], uv[..., 1], JUTTING[0])
    gap = np.where(on_nose, closed - alpha, above * closed)
    return Slow(uv, gain, alpha * narrow, closed * wide, gap)
