"""One face in one frame of an original and of its swap: what both show."""

from dataclasses import dataclass

import cv2
import numpy as np

from vidswap.faces.appearance import high_pass
from vidswap.faces.embed import Embedder, five_points
from vidswap.faces.facemesh import SKIN, FaceMesh, rasterise
from vidswap.faces.landmarks import Landmarker, region_of
from vidswap.faces.mirrored import both_ways
from vidswap.metrics.pictures import edge_strength
from vidswap.metrics.warping import flow, luma, texture_change
from vidswap.types import F32, U8, Bool

PASSES = 8
"""Landmark passes over slightly moved regions of a picture and of its mirror image each, averaged. The network
reads a mirrored face otherwise: how far the eyes of a clip are open without a blink, read from the clip and from
its mirror image, correlates by no more than .91. What it makes of one side alone is not the face's."""


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """A pair of pictures of one face."""

    meshes: tuple[F32, F32]
    """(478, 3) pixels of the crop, found anew in the original and in the swap."""
    edges: tuple[float, float]
    """Mean gradient along the face's outline."""
    details: tuple[float, float]
    """Fine detail of the skin, edges left out."""
    vectors: tuple[F32, F32] | None
    """(512,) identities, where an embedder is installed."""


class Looker:
    """Looks at pairs of pictures, with networks that are loaded once.

    Args:
        embedder: Gives identities, if there is one.
    """

    def __init__(self, embedder: Embedder | None = None) -> None:
        self.mesh = FaceMesh.load()
        self._landmarker = Landmarker()
        self._embedder = embedder

    def close(self) -> None:
        """Stop the network's threads."""
        self._landmarker.close()

    def look(self, pair: tuple[U8, U8], guess: F32) -> Look | None:
        """Measure a pair.

        Args:
            pair: (H, W, 3) the original's and the swap's pixels of one place.
            guess: (478, 3) about where the face is, pixels of the crop.

        Returns:
            None where either shows no face.
        """
        found = [self._find(picture, guess) for picture in pair]
        if found[0] is None or found[1] is None:
            return None
        meshes = (found[0], found[1])
        skin = self._skin(meshes[0], pair[0])
        edges, details = [], []
        for picture, mesh in zip(pair, meshes, strict=True):
            edges.append(edge_strength(luma(picture / np.float32(255)), mesh[self.mesh.oval, :2]))
            details.append(high_pass(picture, skin)[0])
        return Look(
            meshes, (edges[0], edges[1]), (details[0], details[1]), self._identify(pair, meshes)
        )

    def change(self, first: tuple[U8, U8], second: tuple[U8, U8], mesh: F32) -> tuple[float, float]:
        """How much the original and the swap change from one frame to the next, beyond the motion.

        Args:
            first: (H, W, 3) the pair of a frame.
            second: Of the frame after it, of the same place.
            mesh: (478, 3) the face in the first frame, pixels of the crop.
        """
        before, after = ([p.astype(np.float32) / 255 for p in pair] for pair in (first, second))
        inside = np.zeros(before[0].shape[:2], np.uint8)
        hull = cv2.convexHull(mesh[:468, :2].astype(np.float32))
        cv2.fillConvexPoly(inside, np.round(hull).astype(np.int32), 1)
        move, mask = flow(before[0], after[0]), inside.astype(np.float32)
        own, new = (texture_change(a, b, move, mask) for a, b in zip(before, after, strict=True))
        return own, new

    def _find(self, picture: U8, guess: F32) -> F32 | None:
        first = self._landmarker.mesh(picture, region_of(guess))
        if first is None:
            return None
        region = region_of(first.mesh)
        found = both_ways(self._landmarker, picture, region, PASSES, self.mesh)
        return None if found is None else found.mesh

    def _skin(self, mesh: F32, picture: U8) -> Bool:
        size = (picture.shape[0], picture.shape[1])
        points = self.mesh.extend(mesh)[:, :2].astype(np.float32)
        skin = np.flatnonzero(self.mesh.labels == SKIN)
        cover = rasterise(points, self.mesh.triangles, size, skin) >= 0
        inner = cv2.erode(cover.astype(np.uint8), np.ones((5, 5), np.uint8))
        return np.asarray(inner > 0, np.bool_)

    def _identify(self, pair: tuple[U8, U8], meshes: tuple[F32, F32]) -> tuple[F32, F32] | None:
        if self._embedder is None:
            return None
        first, second = (
            self._embedder.embed(picture, five_points(mesh))
            for picture, mesh in zip(pair, meshes, strict=True)
        )
        return first, second
