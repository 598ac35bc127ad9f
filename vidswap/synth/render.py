"""From parameters to a picture and its truth."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from vidswap.errors import RecipeError
from vidswap.ops.ffhq import Window, window
from vidswap.synth import parts
from vidswap.synth.assembly import Posed, assemble, cast, lamp
from vidswap.synth.camera import View, crop_view, field_view, focal, onto, to_pixels
from vidswap.synth.paint import paint
from vidswap.synth.params import HeadParams
from vidswap.synth.raster import Buffers, draw, empty
from vidswap.synth.resolve import CLASSES, fill, nearer, resolve
from vidswap.synth.scenery import background
from vidswap.synth.shading import Mesh, comb, shade_samples
from vidswap.types import F32, F64, U8

SAMPLES = 2
"""Samples per pixel along each side."""
SMALLEST, LARGEST = 16, 4096
"""Allowed sides of a picture, pixels."""


@dataclass(frozen=True, slots=True, eq=False)
class FaceTruth:
    """What is true of one head in a picture."""

    mesh: F32
    """(478, 3) landmarks in the face mesh's order, pixels; z in the same unit, negative towards the
    camera. Hidden ones are where they would be seen."""
    points: F32
    """(5, 2) image-left eye, image-right eye, nose tip, image-left and image-right mouth corner, pixels."""
    pose: F32
    """(3,) yaw, pitch, roll in degrees, signs as in :mod:`vidswap.types`."""
    expression: F32
    """(E,) vector of :class:`vidswap.synth.params.Expression`, [0, 1]."""
    identity: F32
    """(I,) vector of :class:`vidswap.synth.params.Identity`, [0, 1]."""


@dataclass(frozen=True, slots=True, eq=False)
class Rendered:
    """A picture and everything that is true of it."""

    rgb: U8
    """(H, W, 3)"""
    labels: U8
    """(H, W) the 12 classes of ``vidswap.models.bisenet.REGIONS``; clothes and occluders are background."""
    depth: F32
    """(H, W) distance along the view axis, outer eye corner distances; infinite on the background."""
    owner: NDArray[np.int8]
    """(H, W) number of the head that most of a pixel shows, -1 on the background."""
    faces: tuple[FaceTruth, ...]
    """One for each head, in the order given."""

    @property
    def face(self) -> FaceTruth:
        """The first head."""
        return self.faces[0]

    @property
    def mesh(self) -> F32:
        """Landmarks of the first head."""
        return self.face.mesh

    @property
    def points(self) -> F32:
        """Five points of the first head."""
        return self.face.points

    @property
    def pose(self) -> F32:
        """Pose of the first head."""
        return self.face.pose

    @property
    def expression(self) -> F32:
        """Expression of the first head."""
        return self.face.expression

    @property
    def identity(self) -> F32:
        """Identity of the first head."""
        return self.face.identity


def render(
    head: HeadParams, size: int, *, aligned: bool = False, crop: Window | None = None
) -> Rendered:
    """Draw one head into a square picture.

    Args:
        head: What to draw.
        size: Side of the picture, pixels, 16 … 4096.
        aligned: The FFHQ crop of this head instead of the camera's whole field.
        crop: A crop with this window instead, such as :func:`ffhq_window` of another picture.

    Raises:
        RecipeError: A size that cannot be drawn.
    """
    _check_size(size, size)
    posed = _assembled(head)
    if crop is None and aligned:
        crop = window(posed.flat)
    view = field_view(size, size) if crop is None else crop_view(crop, size)
    return _picture([(head, posed)], view)


def render_frame(heads: Sequence[HeadParams], width: int, height: int) -> Rendered:
    """Draw the camera's whole field with any number of heads in it.

    Args:
        heads: What to draw; background and noise are those of the first one's scene.
        width: Of the picture, pixels, 16 … 4096.
        height: Of the picture, pixels, 16 … 4096.

    Raises:
        RecipeError: No head, heads of cameras that differ, or a size that cannot be drawn.
    """
    _check_size(width, height)
    if not heads:
        raise RecipeError("expected at least one head", stage="synth")
    focal = [h.pose.distance / h.pose.field_height for h in heads]
    if max(focal) > min(focal) * (1 + 1e-6):
        raise RecipeError(
            "heads of one picture need one camera: distance / field_height must agree, got "
            + ", ".join(f"{f:.4g}" for f in focal), stage="synth",
        )  # fmt: skip
    return _picture([(h, assemble(h)) for h in heads], field_view(width, height))


def ffhq_window(head: HeadParams) -> Window:
    """FFHQ crop window of a head in normalised camera coordinates, for :func:`render`."""
    return window(_assembled(head).flat)


@lru_cache(maxsize=1)
def _assembled(head: HeadParams) -> Posed:
    """The last head again: a crop is often asked for before the picture."""
    return assemble(head)


def _check_size(width: int, height: int) -> None:
    if not (SMALLEST <= width <= LARGEST and SMALLEST <= height <= LARGEST):
        raise RecipeError(
            f"picture size: expected {SMALLEST} … {LARGEST} pixels a side, got {width}x{height}",
            stage="synth",
        )


def _picture(drawn: list[tuple[HeadParams, Posed]], view: View) -> Rendered:
    head = drawn[0][0]
    shape = view.height * SAMPLES, view.width * SAMPLES
    light, labels = np.zeros((*shape, 3), np.float32), np.zeros(shape, np.uint8)
    inverse, owner = np.zeros(shape, np.float32), np.full(shape, -1, np.int8)
    for number, (one, posed) in enumerate(drawn):
        screen = np.empty_like(posed.mesh.points)
        onto(posed.mesh.points, focal(one.pose), view.matrix, SAMPLES, screen)
        buffers = _draw(posed.mesh, screen, shape, 100 * one.scene.hair_seed)
        nearer(buffers, inverse, owner, number)
        looks = (paint(one), lamp(one.light), cast(posed, one.light))
        shade_samples(buffers, posed.mesh, looks, light, labels)
    back = np.linalg.inv(np.vstack([view.matrix, [0, 0, 1]]))[:2]
    # Samples lie at (s + .5) / SAMPLES - .5 pixels.
    back[:, 2] += back[:, :2].sum(1) * (0.5 / SAMPLES - 0.5)
    back[:, :2] /= SAMPLES
    back[0] /= max(1.0, view.width / view.height)
    fill(background(head.scene), back.astype(np.float32), inverse, light)
    return _finish(drawn, view, (light, labels, inverse, owner))


def _draw(mesh: Mesh, screen: F32, shape: tuple[int, int], seed: float) -> Buffers:
    hair = np.flatnonzero(mesh.material == parts.HAIR)
    buffers = empty(*shape)
    # The hair's triangles come last, so that those before keep their numbers.
    draw(screen, mesh.triangles[: hair[0]] if len(hair) else mesh.triangles, buffers)
    if len(hair):
        # What lies behind the head need not be looked at.
        over = empty(*shape)._replace(inverse=buffers.inverse.copy())
        draw(screen, mesh.triangles[hair[0] :], over)
        comb(buffers, over, mesh, int(hair[0]), seed)
    return buffers


def _finish(
    drawn: list[tuple[HeadParams, Posed]],
    view: View,
    samples: tuple[F32, U8, F32, NDArray[np.int8]],
) -> Rendered:
    shape, scene = (view.height, view.width), drawn[0][0].scene
    rgb, labels = np.empty((*shape, 3), np.uint8), np.empty(shape, np.uint8)
    depth, owner = np.empty(shape, np.float32), np.empty(shape, np.int8)
    rng = np.random.default_rng([4, int(scene.noise_seed * 1e6)])
    grain = rng.standard_normal(rgb.shape, np.float32) * np.float32(8 * scene.noise)
    resolve(samples, grain, (rgb, labels, depth, owner), np.zeros(CLASSES, np.int64))
    faces = tuple(_truth(head, posed, view) for head, posed in drawn)
    return Rendered(rgb, labels, depth, owner, faces)


def _truth(head: HeadParams, posed: Posed, view: View) -> FaceTruth:
    flat: F64 = to_pixels(posed.flat, view)
    unit = view.scale * 2 / head.pose.field_height
    deep = (posed.landmarks[:, 2:] - posed.landmarks[:, 2].mean()) * unit
    eyes = [flat[list(e)].mean(0) for e in ((33, 133), (362, 263))]
    return FaceTruth(
        mesh=np.concatenate([flat, deep], 1).astype(np.float32),
        points=np.array([*eyes, flat[1], flat[61], flat[291]], np.float32),
        pose=np.array([head.pose.yaw, head.pose.pitch, head.pose.roll], np.float32),
        expression=head.expression.vector(),
        identity=head.identity.vector(),
    )
