"""Figures of one swap against its truth."""

from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np

from vidswap.bench.quality_methods import Swapped
from vidswap.bench.quality_set import Drawn
from vidswap.engines.crops import as_float
from vidswap.errors import WeightsError
from vidswap.faces.landmarks import Landmarker, region_of
from vidswap.faces.pose import PoseFit, eye_opening, mouth_opening
from vidswap.metrics.pictures import psnr, seam_contrast, ssim
from vidswap.metrics.stability import Observed, stability
from vidswap.models.irse import ArcFace
from vidswap.ops.ffhq import CropOptions, crop, window
from vidswap.types import F32, F64, U8, Bool

EMBEDDER = "vidswap-identity-64"
SIDE = 128
"""Side of the FFHQ crops that distances and temporal figures are measured on, pixels."""
PASSES = 4
"""Landmark passes over jittered crops, averaged."""
SURE = 0.5
"""Score from which landmarks are a face's."""
UNTOUCHED = 6
"""Grey levels that a pixel may differ by and still be the target's."""
ENOUGH = 0.5
"""Share of frames whose face must be found for temporal figures."""
EYES = ((33, 133, 468), (362, 263, 473))
"""Corners and iris of each eye, image-left first."""

Figures = dict[str, float]


@dataclass(frozen=True, slots=True, eq=False)
class Looked:
    """What is seen in a clip."""

    meshes: F32
    """(T, 478, 3); NaN where no face was found."""
    crops: U8
    """(T, S, S, 3) FFHQ crops, at windows of the true swap."""
    embeddings: F32
    """(T, D) unit vectors, or (T, 0) without an embedder."""

    @property
    def found(self) -> Bool:
        """(T,) where a face was found."""
        seen: Bool = ~np.isnan(self.meshes[:, 0, 0])
        return seen

    def filled(self) -> F32:
        """Meshes; frames without a face repeat the one before, or the first one that has one."""
        known = np.flatnonzero(self.found)
        rows = np.searchsorted(known, np.arange(len(self.meshes)), "right") - 1
        return np.asarray(self.meshes[known[np.maximum(rows, 0)]])


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """What results of a case are compared with."""

    drawn: Drawn
    truth: Looked
    target: F32
    """(T, D) embeddings."""
    source: F32
    """(D,)"""


@dataclass(slots=True, eq=False)
class Judge:
    """Looks at clips with the default landmarker and the embedder that comes with vidswap.

    Close it to stop the landmarker's threads.
    """

    landmarker: Landmarker = field(default_factory=Landmarker)
    pose: PoseFit = field(default_factory=PoseFit)
    embedder: ArcFace | None = field(default_factory=lambda: _embedder())

    def close(self) -> None:
        """Stop the landmarker."""
        self.landmarker.close()

    @property
    def distance(self) -> str | None:
        """What stands in for LPIPS; None where nothing does."""
        return None if self.embedder is None else f"features of {EMBEDDER}, in place of LPIPS"

    def reference(self, drawn: Drawn) -> Reference:
        """Look at the truth, the target and the source of a case."""
        photo = np.array(crop(drawn.source.rgb, _quad(drawn.source.mesh), CropOptions(SIDE)))
        target = np.stack(
            [
                crop(f, _quad(m), CropOptions(SIDE))
                for f, m in zip(drawn.target, drawn.target_mesh, strict=True)
            ]
        )
        source = self._embed(photo[None])[0]
        return Reference(drawn, self.look(drawn.truth, drawn), self._embed(target), source)

    def look(self, frames: U8, drawn: Drawn) -> Looked:
        """Find points, cut crops, recognise.

        Args:
            frames: (T, H, W, 3) a result.
            drawn: The case.
        """
        meshes, crops = [], []
        for frame, mesh in zip(frames, drawn.mesh, strict=True):
            found = self.landmarker.mesh(frame, region_of(mesh), PASSES)
            good = found is not None and found.score >= SURE
            meshes.append(found.mesh if found is not None and good else np.full_like(mesh, np.nan))
            crops.append(crop(frame, _quad(mesh), CropOptions(SIDE)))
        cut = np.stack(crops)
        return Looked(np.stack(meshes).astype(np.float32), cut, self._embed(cut))

    def score(self, swapped: Swapped, reference: Reference) -> dict[str, Any]:
        """Every figure of one result; NaN where it has no meaning.

        Returns:
            Figures by name, see ``vidswap.bench.quality.COLUMNS``.
        """
        same = swapped.frames is reference.drawn.truth
        looked = reference.truth if same else self.look(swapped.frames, reference.drawn)
        return {
            "missed": swapped.missed,
            "seconds": swapped.seconds,
            **_pictures(swapped.frames, reference.drawn),
            "distance": self._distance(looked, reference),
            **self._geometry(looked, reference),
            **self.seen(looked, reference),
        }

    def seen(self, looked: Looked, reference: Reference) -> dict[str, Any]:
        """The figures of identity and of time alone."""
        return {**_identity(looked, reference), **_temporal(looked, reference)}

    def _geometry(self, looked: Looked, reference: Reference) -> Figures:
        wanted = reference.truth.found
        both = looked.found & wanted & ~reference.drawn.hidden
        figures = {"lost": float((wanted & ~looked.found).sum() / max(wanted.sum(), 1))}
        a, b = looked.meshes[both], reference.truth.meshes[both]
        if not len(a):
            return {**figures, **dict.fromkeys(("pose", "expression", "gaze"), np.nan)}
        open_eyes = reference.drawn.looking[both]
        moved = np.linalg.norm(_gaze(a) - _gaze(b), axis=-1)[open_eyes]
        lips = np.abs(mouth_opening(a) - mouth_opening(b))
        lids = np.abs(eye_opening(a) - eye_opening(b)).mean(-1)
        return {
            **figures,
            "pose": float(np.abs(self.pose.angles(a) - self.pose.angles(b)).mean()),
            "expression": float((lips + lids).mean() / 2),
            "gaze": float(moved.mean()) if moved.size else np.nan,
        }

    def _distance(self, looked: Looked, reference: Reference) -> float:
        if self.embedder is None:
            return float("nan")
        import torch

        from vidswap.models.lpips import FeatureDistance
        from vidswap.train.evaluate import tensor
        from vidswap.train.losses import fitted

        network = self.embedder
        measure = FeatureDistance(network.trunk, EMBEDDER)
        inner = masks(reference.drawn)[..., None]
        truth = reference.truth.crops
        inside = np.rint(truth + inner * (looked.crops.astype(np.float32) - truth)).astype(np.uint8)
        with torch.inference_mode():
            # At the size it was trained at.
            pair = [fitted(tensor(pictures), network) for pictures in (inside, truth)]
            parts = [
                measure(*some) for some in zip(*(torch.split(x, 8) for x in pair), strict=True)
            ]
        return float(torch.cat(parts).mean())

    def _embed(self, crops: U8) -> F32:
        if self.embedder is None:
            return np.zeros((len(crops), 0), np.float32)
        from vidswap.train.evaluate import embed

        return embed(self.embedder, crops)


def _embedder() -> ArcFace | None:
    """The embedder that comes with vidswap, None where its weights are not here."""
    from vidswap import zoo

    try:
        network = zoo.load_named(EMBEDDER)
    except WeightsError:
        return None
    return network.eval().requires_grad_(False) if isinstance(network, ArcFace) else None


def _quad(mesh: F32) -> F64:
    return window(mesh[:, :2].astype(np.float64)).quad


def masks(drawn: Drawn, side: int = SIDE) -> F32:
    """(T, S, S) the face in crops of that side at windows of the true swap."""
    options = CropOptions(side, padding=False)
    return np.stack(
        [
            crop(np.repeat(face[..., None] * np.uint8(255), 3, -1), _quad(mesh), options)[..., 0]
            for face, mesh in zip(drawn.face, drawn.mesh, strict=True)
        ]
    ).astype(np.float32) / np.float32(255)


def _pictures(frames: U8, drawn: Drawn) -> Figures:
    rows = []
    for frame, truth, target, face, hidden in zip(
        frames, drawn.truth, drawn.target, drawn.face, drawn.occluded, strict=True
    ):
        a, b, c = (as_float(x) for x in (frame, truth, target))
        mask = face.astype(np.float32)
        changed = np.abs(frame.astype(np.int16) - target).max(-1) > UNTOUCHED
        kept = 1 - float(changed[hidden].mean()) if hidden.any() else np.nan
        toned = psnr(_toned(a, b, mask), b, mask)
        seam = _seam(a, (b, c), changed)
        rows.append((psnr(a, b, mask), toned, ssim(a, b, mask), kept, seam))
    columns = np.array(rows, np.float64).T
    names = ("psnr", "toned", "ssim", "occluder", "seam")
    return dict(zip(names, map(mean, columns), strict=True))


def _toned(frame: F32, truth: F32, mask: F32) -> F32:
    """The frame with each channel's mean and contrast in the mask as in the truth."""
    if np.array_equal(frame, truth):
        return frame  # rounding would make a large figure of an infinite one
    share = (mask / max(float(mask.sum()), 1e-9))[..., None]
    spread = []
    for picture in (frame, truth):
        middle = (share * picture).sum((0, 1))
        spread.append((middle, np.sqrt((share * (picture - middle) ** 2).sum((0, 1)))))
    (here, has), (there, wanted) = spread
    return ((frame - here) * (wanted / np.maximum(has, 1e-4)) + there).astype(np.float32)


def _seam(frame: F32, known: tuple[F32, F32], changed: Bool) -> float:
    """Step of colour along the border of the changed region, beyond those that truth and target have.

    Holes in the region, where colours agree by chance, count as changed.
    """
    closed = cv2.morphologyEx(changed.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((7, 7), np.uint8))
    outlines, _ = cv2.findContours(closed, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not outlines:
        return 0.0
    region = np.zeros(changed.shape, np.float32)
    cv2.drawContours(region, [max(outlines, key=cv2.contourArea)], -1, 1.0, cv2.FILLED)
    return min(seam_contrast(frame, other, region).excess for other in known)


def _identity(looked: Looked, reference: Reference) -> Figures:
    if not looked.embeddings.shape[1]:
        return dict.fromkeys(("to_source", "to_target", "closer"), np.nan)
    to_source = looked.embeddings @ reference.source
    to_target = (looked.embeddings * reference.target).sum(1)
    return {
        "to_source": float(to_source.mean()),
        "to_target": float(to_target.mean()),
        "closer": float((to_source > to_target).mean()),
    }


def _gaze(meshes: F32) -> F64:
    """(T, 2, 2) irises from the middles of their eyes, along and across, in eye widths."""
    found = []
    for left, right, iris in EYES:
        points = meshes[:, [left, right, iris], :2].astype(np.float64)
        axis = points[:, 1] - points[:, 0]
        wide = np.maximum((axis**2).sum(-1, keepdims=True), 1e-9)
        away = points[:, 2] - points[:, :2].mean(1)
        across = away[:, 0] * axis[:, 1] - away[:, 1] * axis[:, 0]
        found.append(np.stack([(away * axis).sum(-1), across], -1) / wide)
    return np.stack(found, 1)


def _temporal(looked: Looked, reference: Reference) -> dict[str, Any]:
    """Steadiness next to the true clip, shot by shot; motion only where it can be read."""
    drawn, truth = reference.drawn, reference.truth
    if len(drawn.target) < 4 or min(looked.found.mean(), truth.found.mean()) < ENOUGH:
        return {}
    found = stability(_observed(looked), _observed(truth), masks(drawn), drawn.seconds, drawn.shots)
    figures = {name: np.nan if value is None else value for name, value in found.rows().items()}
    unread = []
    if drawn.hidden.any():
        unread += ["jerk", "motion_kept", "blink_recall", "jaw_", "eyes_"]
    elif drawn.looking.all():
        unread += ["eyes_"]  # nobody blinks: what is left is noise
    return {n: v for n, v in figures.items() if not n.startswith(tuple(unread))}


def _observed(looked: Looked) -> Observed:
    return Observed(as_float(looked.crops), looked.embeddings, looked.filled())


def mean(values: Any) -> float:
    """Mean of what is known; NaN for nothing."""
    known = np.asarray(values, np.float64)
    known = known[~np.isnan(known)]
    return float(known.mean()) if known.size else float("nan")
