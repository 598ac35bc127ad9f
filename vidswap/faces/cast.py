"""Who gets swapped: rules to tracks.

A rule is ``all``, ``largest``, ``most-seen``, ``left``, ``right``, one or more track indices
(``0`` or ``0,2``), or a reference photograph. The four that compare faces apply to each shot on its
own, and pick again where the chosen face is not there.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from vidswap.errors import RecipeError
from vidswap.faces.embed import SAME_PERSON, cluster
from vidswap.types import F32, Track

RULES = ("all", "largest", "most-seen", "left", "right")
DEFAULT = "all"
SHARED = 0.1
"""Share of its frames for which a second choice may be seen together with the first."""

Recognise = Callable[[str], F32]
"""Reference photograph → (512,) identity; raises WeightsError where no embedder is installed."""


def is_reference(rule: str) -> bool:
    """Whether a rule names a photograph."""
    return rule not in RULES and not _is_indices(rule)


def select(rules: Sequence[str], tracks: Sequence[Track], recognise: Recognise) -> dict[int, str]:
    """Which tracks the rules pick.

    With identities at hand, an index means that person wherever they appear; without, that track
    alone. A track wanted by several references goes to the one it is most like; otherwise the first
    rule that wants it has it.

    Args:
        rules: In order of precedence.
        tracks: Of the analysis.
        recognise: Called for reference photographs only.

    Returns:
        Track id → the rule that picked it.

    Raises:
        RecipeError: An index that no track has.
        WeightsError: A reference, and nothing to recognise it with.
    """
    picked: dict[int, str] = {}
    references = [r for r in rules if is_reference(r)]
    alike = _alike(references, tracks, recognise) if references else {}
    for rule in rules:
        found = (
            [i for i, r in alike.items() if r == rule]
            if rule in references
            else _pick(rule, tracks)
        )
        for index in found:
            picked.setdefault(index, rule)
    return picked


def people(tracks: Sequence[Track]) -> Mapping[int, int]:
    """Person number of each track id; without identities every track is a person of its own."""
    numbers = cluster([t.embedding for t in tracks])
    return {t.id: n for t, n in zip(tracks, numbers, strict=True)}


def _is_indices(rule: str) -> bool:
    return all(part.strip().isdigit() for part in rule.split(","))


def _pick(rule: str, tracks: Sequence[Track]) -> list[int]:
    if rule == "all":
        return [t.id for t in tracks]
    if _is_indices(rule):
        return _indexed([int(part) for part in rule.split(",")], tracks)
    worth = {
        "largest": lambda t: float(np.median(t.boxes[:, 3] - t.boxes[:, 1])),
        "most-seen": lambda t: float(t.seen.sum()),
        "left": lambda t: -_middle(t),
        "right": _middle,
    }[rule]
    out: list[int] = []
    for shot in sorted({t.shot for t in tracks}):
        chosen: list[Track] = []
        for track in sorted((t for t in tracks if t.shot == shot), key=worth, reverse=True):
            # A face that was lost and found again is two tracks: take both, they do not meet.
            if all(_together(track, other) <= SHARED * track.frames for other in chosen):
                chosen.append(track)
        out += [t.id for t in chosen]
    return out


def _indexed(indices: list[int], tracks: Sequence[Track]) -> list[int]:
    known = {t.id for t in tracks}
    if unknown := [i for i in indices if i not in known]:
        last = f"0 to {max(known)}" if known else "none"
        message = f"no track {unknown[0]}; there are {last}"
        raise RecipeError(message, stage="cast", hint="vidswap inspect shows the tracks")
    person = people(tracks)
    wanted = {person[i] for i in indices}
    return [t.id for t in tracks if person[t.id] in wanted]


def _alike(
    references: Sequence[str], tracks: Sequence[Track], recognise: Recognise
) -> dict[int, str]:
    """Track id → the reference it is most like, where it is like any."""
    vectors = np.stack([recognise(r) for r in references])
    out = {}
    for track in tracks:
        if track.embedding is None:
            continue
        likeness = vectors @ track.embedding
        best = int(likeness.argmax())
        if likeness[best] >= SAME_PERSON:
            out[track.id] = references[best]
    return out


def _middle(track: Track) -> float:
    return float(np.median(track.boxes[:, 0] + track.boxes[:, 2]) / 2)


def _together(a: Track, b: Track) -> int:
    return max(min(a.stop, b.stop) - max(a.start, b.start), 0)
