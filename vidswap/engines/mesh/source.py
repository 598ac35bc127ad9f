"""A person as the mesh engine sees them: a texture, where it can be trusted, and a face shape."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from vidswap.engines.mesh.bare import without_glasses
from vidswap.engines.mesh.glasses import find_glasses
from vidswap.engines.mesh.hair import hair, trusted
from vidswap.engines.mesh.light import smooth
from vidswap.engines.mesh.mask import skin_mask
from vidswap.engines.mesh.regions import features, polygon, smoothstep
from vidswap.engines.mesh.shade import clean_shadows, even_light
from vidswap.faces.appearance import iris_contrast
from vidswap.faces.facemesh import Atlas, FaceMesh, fit_pose, frontalise
from vidswap.faces.vertices import BROWS, EYES, LIPS_INNER
from vidswap.types import F32, U8, SourceFace

TEXTURE = 512
"""Side of the source texture in texels."""
PROFILE = 0.3, 0.55
"""Sine of yaw from which a photo's far side gives way to the near one's mirror image, and to which."""
FLANK = 0.02, 0.1, 0.39, 0.56
"""A nose's flanks in the layout: from where and how far to both sides of its ridge, top and bottom."""
BETTER = 0.1, 0.35
"""How much better the other flank of a nose must be seen to begin to serve for both, and to serve in full.
What lies at grazing angles is a dark line in a photo, and would be a stain on the skin."""
CLEANED = 0.45
"""Share of such a stain that goes: with all of it goes some of the form, and of the likeness."""
STAIN = 0.0, 0.04
"""By how much that other flank must be lighter for the same: a shadow is not doubled."""
SLANT = 0.5, 0.9
"""Trust below which a texel was seen at a slant, and from which on it was not."""
EVEN = 0.5
"""Most of a light from one side that is taken off a photo whose near half has to serve for both."""

DRAWN = 0.1, 0.4
"""Trust from which on a texel is drawn, and drawn in full."""

GLASSES = "the glasses are left off; a photo without them keeps more of the person"
BROW_ROOM = 0.075
"""How far around the photo's brows there has to be skin, in layout units."""


@dataclass(frozen=True, slots=True, eq=False)
class Identity:
    """One person, from one or more photographs."""

    texture: F32
    """(512, 512, 3) RGB in [0, 1]."""
    valid: F32
    """(512, 512) [0, 1] where the texture is this person's skin or features."""
    slant: F32
    """(512, 512) [0, 1] where photographs saw it at so grazing an angle that its detail is smeared."""
    shape: F32
    """(468, 3) in canonical units."""
    iris: F32
    """(3,) log iris colour against the cheeks, NaN when it cannot be seen."""
    remarks: tuple[str, ...] = ()
    """What was made of the photographs that their owner may not expect."""


@dataclass(frozen=True, slots=True, eq=False)
class _View:
    texture: F32
    trust: F32
    shape: F32
    facing: F32
    scale: float
    glasses: bool


def identify(
    sources: Sequence[SourceFace], mesh: FaceMesh, atlas: Atlas, coarse: Atlas
) -> Identity:
    """Merge photographs: each texel from the view that sees it best, hidden sides from the mirror image."""
    views = [_unwrap(source, mesh, atlas, coarse) for source in sources]
    reference = max(views, key=lambda v: float(v.trust.sum()) * min(v.scale, 200.0))
    texture, trust = _merge(views, reference)
    flipped, flipped_trust = texture[:, ::-1], trust[:, ::-1]
    mirrored = _match_light(flipped, flipped_trust, texture, trust)
    # The far side of a turned head is imprecise long before it is invisible.
    own = np.clip(np.maximum((trust - 0.05) / 0.25, 0.5 + (trust - flipped_trust) / 0.2), 0, 1)
    better = smoothstep(*BETTER, flipped_trust - trust) * _flanks(TEXTURE)
    lighter = cv2.GaussianBlur((mirrored - texture).mean(2), (0, 0), 6)
    own *= 1 - CLEANED * better * smoothstep(*STAIN, lighter)
    own = cv2.GaussianBlur(own.astype(np.float32), (0, 0), 8)
    texture = own[..., None] * texture + (1 - own[..., None]) * mirrored
    best = own * trust + (1 - own) * flipped_trust
    valid = np.clip((best - DRAWN[0]) / (DRAWN[1] - DRAWN[0]), 0, 1).astype(np.float32)
    # Narrow gaps, as where a nose hid its own flank: the texture there is good enough.
    gap = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (TEXTURE // 24 | 1, TEXTURE // 24 | 1))
    valid = cv2.morphologyEx(valid, cv2.MORPH_CLOSE, gap)
    texture = clean_shadows(texture.astype(np.float32), best.astype(np.float32))
    texture, valid = _over_brows(texture, valid)
    texture = _close_openings(texture)
    shape = _mean_shape(views, mesh)
    irises = [i for i in (iris_contrast(s.rgb, s.mesh) for s in sources) if np.isfinite(i).all()]
    iris = np.mean(irises, 0).astype(np.float32) if irises else np.full(3, np.nan, np.float32)
    remarks = tuple(
        f"{source.path}: {GLASSES}" for source, v in zip(sources, views, strict=True) if v.glasses
    )
    slant = (1 - smoothstep(*SLANT, best)).astype(np.float32)
    return Identity(
        texture.astype(np.float32), valid.astype(np.float32), slant, shape, iris, remarks
    )


def _flanks(size: int) -> F32:
    """(S, S) 1 on both flanks of the nose, soft at the edges."""
    inner, outer, top, bottom = FLANK
    place = (np.arange(size, dtype=np.float32) + 0.5) / size
    aside = np.abs(place - 0.5)
    across = smoothstep(0, inner, aside) * (1 - smoothstep(outer, outer + 0.03, aside))
    down = smoothstep(top - 0.03, top, place) * (1 - smoothstep(bottom, bottom + 0.03, place))
    return np.asarray(down[:, None] * across, np.float32)


def _over_brows(texture: F32, valid: F32) -> tuple[F32, F32]:
    """Skin as far above the brows as another's may stand, where hair or a scarf ends the photo's.

    Else the target's raised brows would show above the source's.
    """
    room, zone = (
        cv2.GaussianBlur(
            np.max([polygon(brow, TEXTURE, grow) for brow in BROWS], 0) / np.float32(255),
            (0, 0),
            0.008 * TEXTURE,
        )
        for grow in (BROW_ROOM, 2 * BROW_ROOM)
    )
    if np.maximum(room - valid, 0).max() < 0.05:
        return texture, valid
    # Where a texture begins to be doubted there are strands and their shadows already.
    sure = np.clip((valid - 0.6) / 0.4, 0, 1) * (1 - features(TEXTURE, 0.01))
    # No darker than skin around is: what is sure there lies in the shadow of what is not.
    skin = np.maximum(*(smooth(texture, sure.astype(np.float32), sigma) for sigma in (0.03, 0.15)))
    marks = cv2.GaussianBlur(features(TEXTURE, 0.012), (0, 0), 5)
    doubt = cv2.dilate(smoothstep(0.0, 0.45, 1 - valid), np.ones((15, 15), np.uint8))
    share = zone * cv2.GaussianBlur(doubt, (0, 0), 6) * (1 - marks * valid)
    # A fringe ends in points: as an edge of the swap they would show as a line on the forehead.
    whole = cv2.erode(np.maximum(valid, room), np.ones((13, 13), np.uint8))
    valid = valid + zone * (cv2.GaussianBlur(whole, (0, 0), 7) - valid)
    return texture + share[..., None] * (skin - texture), valid


def _close_openings(texture: F32) -> F32:
    """Eyeballs, teeth and lips' gap give way to the colour of the rim around them.

    They are never shown: eyes and mouth are the target's. But where a lid or lip nearly shuts, the soft
    edge of the opening would let them through as a bright slit.
    """
    opening = np.max([polygon(p, TEXTURE) for p in (*EYES, LIPS_INNER)], 0)
    ring = cv2.dilate(opening, np.ones((7, 7), np.uint8)) - opening
    weight = (ring / np.float32(255))[..., None]
    known = np.concatenate([texture * weight, weight], 2)
    near = cv2.GaussianBlur(known, (0, 0), 5)
    small = cv2.resize(known, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    far = cv2.resize(cv2.GaussianBlur(small, (0, 0), 5), known.shape[1::-1])
    both = near + 0.01 * far
    rim = both[..., :3] / np.maximum(both[..., 3:], 1e-6)
    inside = cv2.GaussianBlur(cv2.erode(opening, np.ones((3, 3), np.uint8)), (0, 0), 1)
    share = (inside / np.float32(255))[..., None]
    result: F32 = (texture + share * (rim - texture)).astype(np.float32)
    return result


def _unwrap(source: SourceFace, mesh: FaceMesh, atlas: Atlas, coarse: Atlas) -> _View:
    surface = source.mesh[: len(mesh.shape)]
    vertices = mesh.extend(source.mesh)
    facing = np.clip(mesh.spread(-mesh.normals(vertices)[:, 2:], 6), 0, 1)
    pose = fit_pose(mesh.shape, surface, mesh.rigid)
    texture, seen = _sample(source.rgb, vertices, facing, atlas)
    small, small_seen = _sample(source.rgb, vertices, facing, coarse)
    weight = np.round(255 * np.clip(small_seen / 0.35, 0, 1)).astype(np.uint8)
    coarse_view = np.round(small * 255).astype(np.uint8)
    frame = find_glasses(coarse_view, weight)
    if frame is not None:
        # They have no temples on another head.
        coarse_view = without_glasses(coarse_view, frame)
        whole = np.round(np.clip(texture, 0, 1) * 255).astype(np.uint8)
        texture = without_glasses(whole, frame).astype(np.float32) / 255
    normals = mesh.spread(mesh.normals(vertices) @ pose.rotation, 2)
    skin = skin_mask(coarse_view, weight)
    skin *= trusted(hair(coarse_view, weight, coarse.spread(normals)), *DRAWN)
    skin = cv2.resize(skin, (TEXTURE, TEXTURE))
    # Grazing texels are smeared, and hair bleeds in. A turned head has no others on its far side: there
    # they are still more like the person than the mirrored near side.
    turned = float(pose.rotation[0, 2])
    trust = skin * np.clip((seen - 0.28 + 0.25 * abs(turned)) / 0.5, 0, 1)
    trust = (trust * _near_side(turned, TEXTURE)).astype(np.float32)
    even = EVEN * smoothstep(*PROFILE, np.array([abs(turned)], np.float32))[0]
    if even > 0:
        texture = even_light(texture, trust, atlas.spread(normals), float(even))
    return _View(
        texture,
        trust,
        frontalise(surface, pose),
        facing[: len(surface), 0],
        pose.scale,
        frame is not None,
    )


def _near_side(turned: float, size: int) -> F32:
    """(S, S) 1, but less on the far side of a head that is turned by ``turned`` (sine of yaw).

    There the mesh misses the outline by as much as an eye is wide: background would be taken for lids.
    """
    across = (np.arange(size, dtype=np.float32) + 0.5) / size - 0.5
    far = smoothstep(0.08, 0.18, across * np.float32(-np.sign(turned)))
    far = far * smoothstep(*PROFILE, np.array([abs(turned)], np.float32))
    return np.broadcast_to(1 - 0.97 * far, (size, size)).astype(np.float32)


def _sample(rgb: U8, vertices: F32, facing: F32, atlas: Atlas) -> tuple[F32, F32]:
    """Unwrapped picture and how squarely each texel was seen."""
    grid = atlas.spread(np.concatenate([vertices[:, :2], facing], 1))
    shrink = max(1.0, float(np.ptp(vertices[:, 0])) / (0.9 * atlas.size))
    small = cv2.resize(rgb, None, fx=1 / shrink, fy=1 / shrink, interpolation=cv2.INTER_AREA)
    where = (grid[..., :2] + 0.5) / np.float32(shrink) - 0.5
    texture = cv2.remap(small, where, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    height, width = small.shape[:2]
    inside = (
        (where[..., 0] > 0)
        & (where[..., 0] < width - 1)
        & (where[..., 1] > 0)
        & (where[..., 1] < height - 1)
    )
    seen = grid[..., 2] * inside * (atlas.triangle >= 0)
    return texture.astype(np.float32) / 255, seen.astype(np.float32)


def _merge(views: Sequence[_View], reference: _View) -> tuple[F32, F32]:
    if len(views) == 1:
        return reference.texture, reference.trust
    textures = [
        v.texture
        if v is reference
        else _match_light(v.texture, v.trust, reference.texture, reference.trust)
        for v in views
    ]
    # A steep power picks one view nearly everywhere, so that details of two photos never ghost.
    power = np.stack(
        [cv2.GaussianBlur((v.trust * min(v.scale, 150) / 150) ** 6, (0, 0), 5) for v in views]
    )
    share = power / np.maximum(power.sum(0), 1e-9)
    texture = sum(s[..., None] * t for s, t in zip(share, textures, strict=True))
    trust = np.max([v.trust for v in views], 0)
    return np.asarray(texture, np.float32), trust.astype(np.float32)


def _match_light(texture: F32, trust: F32, onto: F32, onto_trust: F32) -> F32:
    """Give one texture the slow light of another, where both are skin; continued where only one is."""
    both = (trust * onto_trust * (1 - features(TEXTURE)))[..., None]
    ratio = np.log(np.maximum(onto, 0.02) / np.maximum(texture, 0.02)) * both
    small = cv2.resize(np.concatenate([ratio, both], 2), (64, 64), interpolation=cv2.INTER_AREA)
    local = cv2.GaussianBlur(small, (0, 0), 6, borderType=cv2.BORDER_CONSTANT)
    whole = small.sum((0, 1))
    mean = whole[:3] / max(float(whole[3]), 1e-3)
    field = (local[..., :3] + 0.02 * mean) / (local[..., 3:] + 0.02)
    gain = np.exp(np.clip(cv2.resize(field, (TEXTURE, TEXTURE)), -1.2, 1.2))
    result: F32 = np.clip(texture * gain, 0, 1).astype(np.float32)
    return result


def _mean_shape(views: Sequence[_View], mesh: FaceMesh) -> F32:
    """Average of all views and their mirror images, each vertex weighted by how squarely it was seen."""
    total = np.zeros_like(mesh.shape)
    weight = np.full((len(mesh.shape), 1), 1e-6, np.float32)
    for view in views:
        for shape, facing in (
            (view.shape, view.facing),
            (view.shape[mesh.mirror] * [-1, 1, 1], view.facing[mesh.mirror] * 0.7),
        ):
            w = (0.05 + np.clip(facing, 0, 1))[:, None] ** 2
            total += (w * shape).astype(np.float32)
            weight += w.astype(np.float32)
    return (total / weight).astype(np.float32)
