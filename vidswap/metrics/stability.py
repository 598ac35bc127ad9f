"""The report on steadiness. It cannot be made without motion fidelity: a frozen face is steady too."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vidswap.checks import check_shape
from vidswap.metrics.identity import over_shots, tg_id, tl_id
from vidswap.metrics.motion import Fidelity, MotionFidelity, motion_fidelity
from vidswap.metrics.temporal import brightness_flicker, flicker, jerk_ratio, ratio
from vidswap.metrics.warping import changed, flow
from vidswap.types import F32, F64


@dataclass(frozen=True, slots=True)
class Stability:
    """How steady a result is, next to the untouched clip, and whether it still moves."""

    motion: MotionFidelity
    tl_id: float
    """1 is as steady as the source."""
    tg_id: float
    warping: float
    """Warping error of the result minus the source's; 0 is as good."""
    flicker: float
    """Relative to the source's; 1 is as calm."""
    brightness: float
    """Flicker of the whole face's brightness, relative to the source's."""
    jerk: float
    """0.8 to 1.1 is right."""

    def __post_init__(self) -> None:
        """Refuse to stand without motion fidelity."""
        if not isinstance(self.motion, MotionFidelity):
            raise TypeError("stability is never reported without motion fidelity")

    def rows(self) -> dict[str, Any]:
        """Every figure by name, ready for JSON; NaN is None."""
        figures: dict[str, float] = {
            "tl_id": self.tl_id,
            "tg_id": self.tg_id,
            "warping": self.warping,
            "flicker": self.flicker,
            "brightness": self.brightness,
            "jerk": self.jerk,
            **_named("jaw", self.motion.jaw),
            **_named("eyes", self.motion.eyes),
            "blink_recall": self.motion.blink_recall,
        }
        known = {k: round(float(v), 5) if np.isfinite(v) else None for k, v in figures.items()}
        return {**known, "motion_kept": self.motion.kept}

    def __str__(self) -> str:
        kept = "motion kept" if self.motion.kept else "MOTION LOST"
        return (
            f"TL-ID {self.tl_id:.3f}, TG-ID {self.tg_id:.3f}, warping {self.warping:+.5f}, "
            f"flicker × {self.flicker:.2f}, jerk × {self.jerk:.2f}; {kept} (jaw "
            f"{self.motion.jaw.correlation:.2f}/{self.motion.jaw.amplitude:.2f}, eyes "
            f"{self.motion.eyes.correlation:.2f}/{self.motion.eyes.amplitude:.2f}, blinks "
            f"{self.motion.blink_recall:.2f})"
        )


def _named(name: str, f: Fidelity) -> dict[str, float]:
    return {
        f"{name}_correlation": f.correlation,
        f"{name}_amplitude": f.amplitude,
        f"{name}_lag": f.lag,
    }


@dataclass(frozen=True, slots=True, eq=False)
class Observed:
    """What was seen of one face in a clip."""

    crops: F32
    """(T, S, S, 3) in [0, 1], cut with windows that follow the face smoothly; the same windows for
    the result and the untouched clip."""
    embeddings: F32
    """(T, D) unit identity vectors."""
    meshes: F32
    """(T, V ≥ 468, ≥ 2) vertices, found anew in this clip."""


def stability(
    output: Observed,
    source: Observed,
    masks: F32,
    seconds: F64,
    shots: Sequence[tuple[int, int]] | None = None,
) -> Stability:
    """Every figure of the report, per shot, then averaged by length.

    Args:
        output: The result.
        source: The untouched clip.
        masks: (T, S, S) where the face is.
        seconds: (T,) ascending.
        shots: Half-open ranges of frames; one by default.
    """
    check_shape(
        "T S S 3, T S S 3, T S S, T",
        output=output.crops,
        source=source.crops,
        masks=masks,
        seconds=seconds,
    )
    cuts = shots or [(0, len(seconds))]
    eyes = np.linalg.norm(source.meshes[:, 33, :2] - source.meshes[:, 263, :2], axis=-1).mean()

    def ids(part: slice) -> tuple[F32, F32]:
        return output.embeddings[part], source.embeddings[part]

    def points(part: slice) -> tuple[F32, F32]:
        return tuple(o.meshes[part, :, :2] / eyes for o in (output, source))  # type: ignore[return-value]

    def shimmer(part: slice) -> float:
        return ratio(
            flicker(output.crops[part], masks[part]), flicker(source.crops[part], masks[part])
        )

    def brightness(part: slice) -> float:
        top, bottom = (
            brightness_flicker(o.crops[part], masks[part], seconds[part]) for o in (output, source)
        )
        return ratio(top, bottom)

    return Stability(
        motion=_motion(output, source, cuts),
        tl_id=over_shots(lambda part: tl_id(*ids(part)), cuts),
        tg_id=over_shots(lambda part: tg_id(*ids(part)), cuts),
        warping=over_shots(lambda part: _warping(output, source, masks, part), cuts),
        flicker=over_shots(shimmer, cuts, 3),
        brightness=over_shots(brightness, cuts, 3),
        jerk=over_shots(lambda part: jerk_ratio(*points(part), seconds[part]), cuts, 4),
    )


def _warping(output: Observed, source: Observed, masks: F32, part: slice) -> float:
    """Flows are used at once and dropped: those of a long clip would fill the memory."""
    excess = []
    for t in range(part.start, part.stop - 1):
        x, y, move = source.crops, output.crops, flow(source.crops[t], source.crops[t + 1])
        own = changed(x[t], x[t + 1], move, masks[t])
        excess.append(changed(y[t], y[t + 1], move, masks[t]) - own)
    known = [e for e in excess if np.isfinite(e)]
    return float(np.mean(known)) if known else float("nan")


def _motion(output: Observed, source: Observed, shots: Sequence[tuple[int, int]]) -> MotionFidelity:
    """Figures of the shots averaged by length; the lag is the largest of any shot."""
    found = [(motion_fidelity(output.meshes[a:b], source.meshes[a:b]), b - a) for a, b in shots]

    def mean(figures: Sequence[float]) -> float:
        pairs = [(f, n) for f, (_, n) in zip(figures, found, strict=True) if np.isfinite(f)]
        total = sum(n for _, n in pairs)
        return sum(f * n for f, n in pairs) / total if total else float("nan")

    def joined(parts: Sequence[Fidelity]) -> Fidelity:
        return Fidelity(
            mean([p.correlation for p in parts]),
            mean([p.amplitude for p in parts]),
            max((p.lag for p in parts), key=abs, default=0),
        )

    return MotionFidelity(
        joined([m.jaw for m, _ in found]),
        joined([m.eyes for m, _ in found]),
        mean([m.blink_recall for m, _ in found]),
    )
