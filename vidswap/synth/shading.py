"""Light on every sample: soft key light with shadows, sky, rim, skin's red terminator, highlights."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vidswap.synth import materials
from vidswap.synth.jit import inline, jit
from vidswap.synth.noise import Vector, bell, index, noise, single, step
from vidswap.synth.paint import RGB, Paint
from vidswap.synth.raster import Buffers
from vidswap.synth.shadow import Shadow, reach
from vidswap.synth.skin import Albedo, skin
from vidswap.types import F32, F64, U8


class Mesh(NamedTuple):
    """All parts as one."""

    triangles: NDArray[np.int32]
    material: NDArray[np.int32]
    """(M,)"""
    points: F32
    """(V, 3) against the camera."""
    normals: F32
    """(V, 3)"""
    rest: F32
    """(V, 3)"""
    attributes: F32
    """(V, 4) lid rim, lips, distance inside the hairline, the part's own."""


class Lamp(NamedTuple):
    """Light of one picture."""

    key: RGB
    """Direction towards it."""
    colour: RGB
    sky: RGB
    ground: RGB
    rim: float
    soft: float
    catch: RGB
    """Direction in which the eyes' highlight stands."""


@inline
def albedo(material: int, rest: Vector, attributes: Vector, p: Paint) -> Albedo:
    """Look of a material at a point."""
    if material == 0:
        return skin(rest, attributes, p)
    if material == 8:
        return materials.hair(rest, p.hair)
    if material == 2:
        return materials.eye(rest, p.iris)
    if material == 5:
        look = materials.ear(rest, p.skin)
    elif material == 6:
        look = materials.neck(rest, p.skin, p.marks[1])
    elif material == 7:
        look = materials.cloth(rest, p.skin, p.cloth, (p.wear[0], p.wear[1]))
    else:
        look = materials.other(material, rest, p.frame)
    return look


@inline
def strand(normal: Vector, view: Vector, key: RGB) -> float:
    """Highlight of hair whose strands fall along the surface (Kajiya and Kay 1989)."""
    tx, ty, tz = -normal[0] * normal[1], 1 - normal[1] * normal[1], -normal[2] * normal[1]
    length = np.sqrt(tx * tx + ty * ty + tz * tz) + 1e-6
    hx, hy, hz = key[0] + view[0], key[1] + view[1], key[2] + view[2]
    size = np.sqrt(hx * hx + hy * hy + hz * hz) + 1e-6
    along = (tx * hx + ty * hy + tz * hz) / (length * size)
    return max(1 - along * along, 0.0) ** 14


@inline
def occlusion(material: int, rest: Vector, normal: Vector, extra: float) -> float:
    """Share of the sky that a point sees, as a plausible guess."""
    if material == 0:
        x, y = abs(rest[0]), rest[1]
        below = step(0.0, 0.8, normal[1]) * step(0.5, 0.85, y)
        if rest[2] >= 0.6:
            return 1 - 0.35 * below
        socket = bell(((x - 0.27) / 0.13) ** 2 + ((y + 0.39) / 0.09) ** 2)
        nose = bell((x / 0.15) ** 2 + ((y - 0.17) / 0.05) ** 2)
        side = bell(((x - 0.15) / 0.06) ** 2 + ((y + 0.25) / 0.16) ** 2)
        return 1 - (0.38 * socket + 0.35 * nose + 0.22 * side + 0.5 * below)
    share = 1.0
    if material == 1:
        share = 0.5
    elif material in (3, 4):
        share = 0.62
    elif material == 2:
        share = 0.84 - 0.35 * step(-0.15, -0.5, rest[1]) - 0.25 * step(0.5, 0.9, abs(rest[0]))
    elif material == 6:
        share = 0.5 + 0.5 * step(0.35, 0.85, extra)
    elif material == 8:
        share = 0.55 + 0.45 * step(0.0, -0.8, normal[1]) + 0.15 * (1 - extra)
    return share


@inline
def blend(a: Albedo, parts: tuple[float, float, float], lamp: Lamp) -> RGB:
    """Albedo, (key, sky share up, highlight) and lamp into light that leaves the surface."""
    key, up, shine = parts
    r = (
        a[0] * (key * lamp.colour[0] + lamp.ground[0] + (lamp.sky[0] - lamp.ground[0]) * up)
        + shine * lamp.colour[0]
    )
    g = (
        a[1] * (key * lamp.colour[1] + lamp.ground[1] + (lamp.sky[1] - lamp.ground[1]) * up)
        + shine * lamp.colour[1]
    )
    b = (
        a[2] * (key * lamp.colour[2] + lamp.ground[2] + (lamp.sky[2] - lamp.ground[2]) * up)
        + shine * lamp.colour[2]
    )
    return r, g, b


@inline
def glow(material: int, a: Albedo, n: Vector, view: Vector, light: tuple[Lamp, float]) -> RGB:
    """Light from one sample to the camera: normal, direction of the camera, lamp and its free share."""
    lamp, free = light
    key = lamp.key
    facing = n[0] * key[0] + n[1] * key[1] + n[2] * key[2]
    wrap = 0.25 if material in (0, 5, 6, 8) else 0.05
    diffuse = max((facing + wrap) / (1 + wrap), 0.0) * free
    hx, hy, hz = key[0] + view[0], key[1] + view[1], key[2] + view[2]
    size = np.sqrt(hx * hx + hy * hy + hz * hz) + 1e-6
    half = max((n[0] * hx + n[1] * hy + n[2] * hz) / size, 0.0)
    edge = 1 - min(max(n[0] * view[0] + n[1] * view[1] + n[2] * view[2], 0.0), 1.0)
    shine = a[3] * (0.10 * half**18 + 0.10 * half**60) * free
    shine += lamp.rim * edge**3 * 0.35 * step(-0.2, 0.8, -n[1] + 0.8 * abs(n[0]))
    if material == 8:
        shine += (0.03 + 0.25 * a[0]) * strand(n, view, key) * (0.3 + 0.7 * free)
    if material == 2:
        c = lamp.catch
        glint = n[0] * c[0] + n[1] * c[1] + n[2] * c[2]
        shine = 1.1 * step(0.984, 0.993, glint) + 0.02
    up = 0.5 - 0.5 * n[1]
    r, g, b = blend(a, (diffuse, up, shine), lamp)
    if material in (0, 5, 6):
        # Light that travels through skin comes out red around the terminator.
        red = bell(((facing - 0.05) / 0.28) ** 2) * (0.4 + 0.6 * free) * 0.10
        r += a[0] * red * lamp.colour[0]
        g += a[1] * 0.25 * red * lamp.colour[1]
    return r, g, b


@jit
def comb(head: Buffers, over: Buffers, mesh: Mesh, first: int, seed: float) -> None:
    """Lay the hair over the head; towards its edge single strands show instead of a cut.

    Args:
        head: All but the hair; drawn into.
        over: The hair, where it is in front of the head.
        mesh: The head.
        first: Number of the hair's first triangle in the mesh.
        seed: Which strands end early.
    """
    for y in range(head.triangle.shape[0]):
        for x in range(head.triangle.shape[1]):
            if over.triangle[y, x] < 0:
                continue
            m = over.triangle[y, x] + first
            i, j, k = mesh.triangles[m, 0], mesh.triangles[m, 1], mesh.triangles[m, 2]
            u, v = over.first[y, x], over.second[y, x]
            w = 1 - u - v
            down = u * mesh.attributes[i, 3] + v * mesh.attributes[j, 3] + w * mesh.attributes[k, 3]
            if down > 0.8:
                a, b, c = mesh.rest[i, 0], mesh.rest[j, 0], mesh.rest[k, 0]
                if max(a, b, c) - min(a, b, c) > 3:
                    a, b, c = a % 6.2831853, b % 6.2831853, c % 6.2831853
                around = u * a + v * b + w * c
                strand = 0.6 * noise(around * 58 + seed, 2.2 * down, 8.0) + 0.4 * noise(
                    around * 14 + seed, down, 9.0
                )
                if strand < step(0.82, 1.0, down) * 0.66:
                    continue
            head.triangle[y, x], head.inverse[y, x] = m, over.inverse[y, x]
            head.first[y, x], head.second[y, x] = u, v


def shade_samples(
    buffers: Buffers, mesh: Mesh, looks: tuple[Paint, Lamp, Shadow], out: F32, labels: U8
) -> None:
    """Colour every sample that shows the head.

    Args:
        buffers: From :func:`vidswap.synth.raster.draw`.
        mesh: The head.
        looks: Colours, light and shadow.
        out: (H, W, 3) linear light, background already in it; drawn into.
        labels: (H, W) drawn into.
    """
    p, lamp, shadow = looks
    free = reach(buffers, (mesh.triangles, mesh.points), shadow, 0.6 + 1.8 * lamp.soft)
    colour(buffers, mesh, (p, lamp), free, (out, labels))


@inline
def corner_mix(
    rows: F32, corners: tuple[int, int, int], weights: tuple[float, float, float]
) -> Vector:
    """Three numbers of a triangle's corners, mixed."""
    (i, j, k), (u, v, w) = corners, weights
    return (
        single(u * rows[i, 0] + v * rows[j, 0] + w * rows[k, 0]),
        single(u * rows[i, 1] + v * rows[j, 1] + w * rows[k, 1]),
        single(u * rows[i, 2] + v * rows[j, 2] + w * rows[k, 2]),
    )


@jit
def colour(
    buffers: Buffers, mesh: Mesh, looks: tuple[Paint, Lamp], free: F64, out: tuple[F32, U8]
) -> None:
    """:func:`shade_samples`, once it is known where the key light falls.

    Args:
        buffers: What is seen.
        mesh: The head.
        looks: Colours and light.
        free: (N,) from :func:`vidswap.synth.shadow.reach`.
        out: (H, W, 3) linear light and (H, W) labels.
    """
    p, lamp = looks
    light, labels = out
    seen = 0
    for y in range(labels.shape[0]):
        for x in range(labels.shape[1]):
            m = buffers.triangle[y, x]
            if m < 0:
                continue
            t = mesh.triangles
            at = index(t[m, 0]), index(t[m, 1]), index(t[m, 2])
            u, v = buffers.first[y, x], buffers.second[y, x]
            shares = u, v, 1 - u - v
            material = mesh.material[m]
            point, rest = corner_mix(mesh.points, at, shares), corner_mix(mesh.rest, at, shares)
            n = corner_mix(mesh.normals, at, shares)
            attributes = corner_mix(mesh.attributes, at, shares)
            far = np.sqrt(point[0] ** 2 + point[1] ** 2 + point[2] ** 2)
            size = np.sqrt(n[0] ** 2 + n[1] ** 2 + n[2] ** 2) + 1e-9
            flip = -1.0 if n[0] * point[0] + n[1] * point[1] + n[2] * point[2] > 0 else 1.0
            view = -point[0] / far, -point[1] / far, -point[2] / far
            n = (
                single(n[0] * flip / size),
                single(n[1] * flip / size),
                single(n[2] * flip / size),
            )
            a = albedo(material, rest, attributes, p)
            r, g, b = glow(material, a, n, view, (lamp, free[seen]))
            seen += 1
            e = mesh.attributes
            extra = single(u * e[at[0], 3] + v * e[at[1], 3] + shares[2] * e[at[2], 3])
            f = occlusion(material, rest, n, extra)
            light[y, x, 0], light[y, x, 1], light[y, x, 2] = r * f, g * f, b * f
            labels[y, x] = a[4]
