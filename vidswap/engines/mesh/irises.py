"""The colour of the irises."""

from collections.abc import Iterator

import cv2
import numpy as np

from vidswap.engines.mesh.maps import Geometry
from vidswap.engines.mesh.openings import fill, redness, thickness
from vidswap.engines.mesh.plan import MeshPlan
from vidswap.engines.mesh.regions import median, smoothstep
from vidswap.faces.appearance import IRISES
from vidswap.faces.facemesh import SURFACE, FaceMesh
from vidswap.types import F32, U8, U16, TargetFace

WAKING = (0.35, 0.6), (0.3, 0.5)
"""Shares of its usual height from which, and at which, an eye's iris is coloured: lighter, and darker."""
SLITS = (0.17, 0.25), (0.06, 0.11)
"""The same in heights of an eye against its width. In a slit lashes would be lightened, not the iris; one that is
to be darker would flash up in the target's colour as a blink begins."""
LIMBUS = 0.85, 1.12
"""From an iris's centre, by its radius, where its colour ends."""
EDGE = 0.1
"""Standard deviation of its colour's edge at the lids, by its radius or by how far they are apart."""
SHADE = 0.4
"""How much darker an iris may be than it usually is to be, for each log unit that darkening it would make it."""
FLESH = 0.06, 0.25
"""Log redness against an iris's from which on, and at which, it is not its colour that is seen."""


def recolour_irises(
    part: U8 | U16,
    face: TargetFace,
    g: Geometry,
    plan: MeshPlan,
    mesh: FaceMesh,
    strength: float,
    origin: tuple[int, int],
) -> None:
    """Give the target's irises the source's colour, in place; gaze, lids and highlights stay.

    Args:
        part: Pixels of the target, moved.
        face: What the engine was given.
        g: Geometry in px of the box.
        plan: Constants of the track.
        mesh: Constants of the mesh.
        strength: [0, 1].
        origin: (x, y) of ``part`` in the box.
    """
    if not plan.iris.any() or len(face.at.mesh) <= SURFACE:
        return
    top = np.float32(255 if part.dtype == np.uint8 else 65535)
    dark = bool(plan.iris.mean() < 0)
    # Nothing to colour on a shut lid.
    awake = smoothstep(*SLITS[dark], g.aperture)
    awake *= smoothstep(*WAKING[dark], g.opened)
    least = _usual(face, plan)
    for corner, point, radius, eye, opened in _irises(face, g, mesh, awake, origin):
        high = np.ceil(point + 1.3 * radius).astype(int) + 1
        view = part[corner[1] : high[1], corner[0] : high[0]]
        if radius < 1.0 or view.size == 0 or opened <= 0:
            continue
        opening = np.zeros(view.shape[:2], np.uint8)
        fill(opening, eye - corner)
        # An edge as sharp as a polygon's would be seen in a picture that is not.
        soft = EDGE * min(radius, thickness(eye))
        opening = cv2.GaussianBlur(opening, (0, 0), max(soft, 0.3))
        x = (np.arange(view.shape[1]) + corner[0] - point[0]).astype(np.float32)
        y = (np.arange(view.shape[0]) + corner[1] - point[1]).astype(np.float32)
        far = np.hypot(x, y[:, None]) / np.float32(radius)
        share = (1 - smoothstep(*LIMBUS, far)) * opening * np.float32(strength * opened / 255)
        colour = view.astype(np.float32) / top
        bright = np.maximum.reduce(list(cv2.split(colour)))
        # Of dark pixels rounding alone changes the hue.
        red = redness(np.stack(cv2.split(cv2.blur(colour, (3, 3)))))
        inside = share > 0
        usual, rosy = (median(v[inside]) if inside.any() else 1.0 for v in (bright, red))
        # Highlights belong to the lamp, not to the eye; and the flesh of its corner is no iris.
        share *= 1 - smoothstep(1.25, 1.9, bright / max(usual, 0.04))
        share *= 1 - smoothstep(*FLESH, red - rosy)
        if not dark:
            share *= smoothstep(0.3, 0.55, far)
        lighter = plan.iris.mean()
        hue = share[..., None] * (plan.iris - lighter)
        if dark and np.isfinite(least):
            share *= _unshaded(bright, share * lighter, least)
        gain = np.exp(hue + share[..., None] * lighter)
        view[:] = np.clip(colour * gain * top + 0.5, 0, top).astype(part.dtype)


def _usual(face: TargetFace, plan: MeshPlan) -> float:
    """Log brightness of the drawn irises in this frame's light, -inf when it is not known."""
    weight = float(plan.light_skin.sum())
    if "light" not in face.at.data or weight <= 0:
        return -np.inf
    light = np.asarray(face.at.data["light"], np.float32)
    skin = (light * plan.light_skin[..., None]).sum((0, 1)) / weight
    return float((np.log(np.maximum(skin, 0.01)) + plan.eyes).max())


def _unshaded(bright: F32, change: F32, least: float) -> F32:
    """(h, w) [0, 1] how much of a log change pixels take that is to make them darker.

    Lashes, pupils and the shade of a lid are as dark already as the iris is to be: darkened once more,
    an eye that has just begun to open would be a black bar.

    Args:
        bright: (h, w) brightness in [0, 1].
        change: (h, w) of its logarithm.
        least: Log brightness down to which all of it is taken.
    """
    own = np.log(np.maximum(bright, np.float32(0.004)))
    drawn = own + change
    kept = np.maximum(drawn, np.minimum(own, least + SHADE * (drawn - least)))
    result: F32 = (own - kept) / np.maximum(-change, np.float32(1e-4))
    return np.clip(result, 0, 1)


def _irises(
    face: TargetFace, g: Geometry, mesh: FaceMesh, awake: F32, origin: tuple[int, int]
) -> Iterator[tuple[F32, F32, float, F32, float]]:
    """For each eye: first pixel, centre, radius, (N, 3, 2) triangles and how far it is open."""
    eyes = mesh.openings[:2]
    for (centre, *rim), part, opened in zip(IRISES, eyes, awake.tolist(), strict=True):
        middle = part.max()
        place = np.add(origin, (face.box.left, face.box.top))
        point = face.at.mesh[centre, :2] - place + (g.moved - g.source)[middle]
        radius = float(np.hypot(*(face.at.mesh[rim, :2] - face.at.mesh[centre, :2]).T).mean())
        corner = np.maximum(np.floor(point - 1.3 * radius).astype(int), 0)
        # An eye that the nose hides is put before the background.
        seen = float(smoothstep(0.05, 0.25, g.facing[middle, None])[0])
        yield corner, point, radius, (g.moved - origin)[part], seen * opened
