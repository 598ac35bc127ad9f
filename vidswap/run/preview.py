"""Frames before and after, without a video: a short analysis around each moment."""

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from vidswap.errors import NoFaceError
from vidswap.media.decode import open_reader
from vidswap.run.job import check_distinct, check_output
from vidswap.run.latents import prepare_latents
from vidswap.run.passes import cast_of, obtain, plans_for
from vidswap.run.prepare import Ready, Target, make_ready
from vidswap.run.recorder import thumbnail
from vidswap.run.render import FaceBatches
from vidswap.run.request import Request
from vidswap.run.sheet import MARGIN, Page, check_png
from vidswap.run.trim import Moment, frame_at
from vidswap.types import U8, VideoInfo

WINDOW = 0.5
"""Seconds analysed on each side of a moment."""
SIDE = 960
"""Longer side of a shown frame, pixels."""
GAP = 8
"""Pixels between the two."""


def preview(
    request: Request, moments: Sequence[Moment], picture: Path | None, *, overwrite: bool
) -> dict[str, Any]:
    """Draw frames before and after.

    Args:
        request: The clip and the photos.
        moments: Times to show; none means three, evenly over the clip.
        picture: PNG to write; None is ``<stem>_preview.png`` beside the input.
        overwrite: Whether an existing one may be replaced.

    Returns:
        Path of the picture and what was swapped where, ready for JSON.

    Raises:
        NoFaceError: Nobody is swapped at any of the moments.
    """
    path = picture or request.input.with_name(f"{request.input.stem}_preview.png")
    check_png(path)
    check_distinct(path, [request.input, *request.sources])
    check_output(path, overwrite=overwrite)
    ready = make_ready(request)
    target = ready.target
    wanted = [min(frame_at(target.info, m), target.info.frames - 1) for m in moments]
    wanted = wanted or [int(f * (target.info.frames - 1)) for f in (0.25, 0.5, 0.75)]
    wanted = list(dict.fromkeys(wanted))
    width = shown_width(target.info)
    page = Page(2 * MARGIN + 2 * width + GAP)
    shown = []
    with tempfile.TemporaryDirectory(prefix="vidswap-preview-") as folder:
        for place, index in enumerate(wanted):
            window = replace(_window(target, index), work=Path(folder) / str(place))
            before, after, faces = _swapped(request, ready, window, index)
            _row(page, width, (before, after), f"frame {index}, {target.info.seconds(index):.3f} s")
            shown.append({"frame": index, "seconds": target.info.seconds(index), "faces": faces})
            request.watch.progress("preview", place + 1, len(wanted))
    if not any(row["faces"] for row in shown) and not request.allow_no_face:
        raise NoFaceError(
            "no wanted face at " + ", ".join(f"frame {row['frame']}" for row in shown),
            path=request.input,
            stage="preview",
            hint="choose other moments with --time; vidswap inspect shows who is where",
        )
    page.save(path, overwrite=overwrite)
    return {"output": str(path), "input": str(request.input), "frames": shown}


def _window(target: Target, index: int) -> Target:
    info = target.info
    ticks = int(WINDOW / info.time_base)
    low, high = info.pts.searchsorted([info.pts[index] - ticks, info.pts[index] + ticks + 1])
    return replace(target, start=int(low), stop=int(high))


def _swapped(request: Request, prepared: Ready, window: Target, index: int) -> tuple[U8, U8, int]:
    """One frame before and after, and how many faces changed in it."""
    analysis = obtain(request, window, prepared.engine.needs)
    cast = cast_of(replace(request, allow_no_face=True), analysis, prepared)
    prepare_latents(request, window, analysis, prepared.engine, cast)
    plans = plans_for(analysis, prepared, cast)
    batches = FaceBatches(analysis, prepared.engine, plans, request.recipe.run)
    with open_reader(window.info, request.recipe.decode) as reader:
        frame = next(iter(reader.frames(index, index + 1)))
        before = thumbnail(frame.rgb(), SIDE)
        after = [*batches.push(frame), *batches.flush()][0]
        return before, thumbnail(after.rgb(), SIDE), batches.done.swapped


def shown_width(info: VideoInfo) -> int:
    """Pixels that a frame is wide on the page."""
    return max(round(info.width * min(SIDE / max(info.width, info.height), 1.0)), 1)


def _row(page: Page, width: int, pictures: tuple[U8, U8], label: str) -> None:
    before, after = pictures
    page.need(before.shape[0] + 30)
    page.text(MARGIN, 0, label, 15)
    page.picture(MARGIN, 22, before)
    page.picture(MARGIN + width + GAP, 22, after)
    page.top += before.shape[0] + 30
