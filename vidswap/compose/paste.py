"""Patches into frames, in an order that does not depend on how faces were batched."""

from collections.abc import Sequence

from vidswap.errors import ShapeError
from vidswap.media.frame import Frame
from vidswap.types import Box, Patch


def overlap(a: Box, b: Box) -> bool:
    """Whether two boxes share a pixel; an empty box shares none."""
    return a.left < b.right and b.left < a.right and a.top < b.bottom and b.top < a.bottom


def waves(boxes: Sequence[Box]) -> list[list[int]]:
    """Group the faces of one frame so that no two of a group overlap.

    Small faces are farther away and come first; a face that overlaps an earlier one waits for a
    later wave, so that it reads pixels with the earlier face already pasted. The groups follow
    from the boxes alone, never from the batch size.

    Args:
        boxes: Non-empty footprints in one frame.

    Returns:
        Indices into ``boxes`` by wave.
    """
    order = sorted(range(len(boxes)), key=lambda i: (boxes[i].width * boxes[i].height, boxes[i], i))
    level: dict[int, int] = {}
    for place, i in enumerate(order):
        below = [level[j] for j in order[:place] if overlap(boxes[i], boxes[j])]
        level[i] = max(below, default=-1) + 1
    return [[i for i in order if level[i] == n] for n in range(max(level.values(), default=-1) + 1)]


def paste(frame: Frame, patch: Patch, footprint: Box) -> None:
    """Write one patch; every pixel outside its box keeps its coded value.

    Args:
        frame: Changed in place.
        patch: What an engine returned.
        footprint: The box the engine was given.

    Raises:
        ShapeError: The patch leaves its footprint or its array does not fill its box: a bug in
            the engine.
    """
    box = patch.box
    inside = box == box.clip(frame.width, frame.height) and (
        footprint.left <= box.left <= box.right <= footprint.right
        and footprint.top <= box.top <= box.bottom <= footprint.bottom
    )
    if not inside or patch.rgb.shape != (box.height, box.width, 3):
        raise ShapeError(f"patch {tuple(box)} of shape {patch.rgb.shape} in footprint {footprint}")
    if box.width and box.height:
        frame.paste(box, patch.rgb, patch.rest)
