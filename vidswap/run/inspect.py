"""Who is in a clip: a contact sheet of its tracks, and the same as data."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vidswap.engines import needs_of
from vidswap.media.decode import open_reader
from vidswap.run.analysis import Analysis
from vidswap.run.job import check_distinct, check_output
from vidswap.run.passes import obtain
from vidswap.run.pick import pick
from vidswap.run.prepare import Target, open_target
from vidswap.run.recorder import thumbnail
from vidswap.run.report import ranges
from vidswap.run.request import Request
from vidswap.run.sheet import ACCENT, ALARM, MARGIN, PALE, Page, check_png, square
from vidswap.types import U8, Box, Track

DRAWN = 40
"""Tracks on the sheet at most, the longest; the JSON has all of them."""
SHOWN = 6
"""Pictures of each track."""
SIDE = 120
WIDTH = 2 * MARGIN + 150 + SHOWN * (SIDE + 6)
LINE = 22
"""Height of the timeline's bar; confidence fills it."""
AROUND = 0.35
"""Shown around a face, as a share of its box."""


def inspect(request: Request, sheet: Path | None, *, overwrite: bool) -> dict[str, Any]:
    """Analyse where needed and draw the tracks.

    Args:
        request: The clip.
        sheet: PNG to write; None is ``<stem>_tracks.png`` beside the input.
        overwrite: Whether an existing one may be replaced.

    Returns:
        Path of the sheet and the facts of every track, ready for JSON.
    """
    path = sheet or request.input.with_name(f"{request.input.stem}_tracks.png")
    check_png(path)
    check_distinct(path, [request.input])
    check_output(path, overwrite=overwrite)
    target = open_target(request)
    analysis = obtain(request, target, needs_of(request.recipe.engine))
    chosen = sorted(analysis.tracks, key=lambda t: -t.frames)[:DRAWN]
    chosen.sort(key=lambda t: t.id)
    page = _title(request, target, analysis)
    faces = _faces(request, target, chosen)
    for track in chosen:
        _row(page, track, faces[track.id], target)
    page.save(path, overwrite=overwrite)
    return {
        "output": str(path),
        "input": str(request.input),
        "work": str(target.work),
        "frames": target.stop - target.start,
        "shots": [{"start": s.start, "stop": s.stop} for s in analysis.shots],
        "tracks": [facts(track, target) for track in analysis.tracks],
    }


def facts(track: Track, target: Target) -> dict[str, Any]:
    """One track as plain values."""
    info = target.info
    heights = track.boxes[:, 3] - track.boxes[:, 1]
    middle = track.boxes[:, [0, 2]].mean() / info.width
    return {
        "index": track.id,
        "shot": track.shot,
        "person": track.person,
        "start": track.start,
        "stop": track.stop,
        "frames": track.frames,
        "start_seconds": round(info.seconds(track.start), 3),
        "end_seconds": round(info.seconds(track.stop - 1), 3),
        "height": round(float(heights.mean()), 1),
        "place": round(float(middle), 3),
        "confidence": round(float(track.confidence.mean()), 4),
        "missed": ranges(~track.seen, track.start),
        "yaw": [round(float(track.pose[:, 0].min()), 1), round(float(track.pose[:, 0].max()), 1)],
    }


def _title(request: Request, target: Target, analysis: Analysis) -> Page:
    page = Page(WIDTH)
    page.need(66)
    count = len(analysis.tracks)
    hidden = f", the {DRAWN} longest are drawn" if count > DRAWN else ""
    page.text(MARGIN, 0, request.input.name, 20)
    found = f"{_many(count, 'track')} in {_many(len(analysis.shots), 'shot')}"
    page.text(MARGIN, 26, f"{found}, frames {target.start}-{target.stop - 1}{hidden}", 13)
    legend = "bar: the whole clip from left to right, as high as the face is sure, red where it was not seen"
    page.text(MARGIN, 44, legend, 13)
    page.top += 74
    return page


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _faces(request: Request, target: Target, tracks: Sequence[Track]) -> dict[int, list[U8]]:
    """Pictures of every track, evenly over its length, with one pass over the clip."""
    places = {
        t.id: sorted({int(i) for i in np.linspace(t.start, t.stop - 1, SHOWN + 2)[1:-1]})
        for t in tracks
    }
    found: dict[int, list[U8]] = {t.id: [] for t in tracks}
    with open_reader(target.info, request.recipe.decode) as reader:
        for frame in pick(reader, (i for wanted in places.values() for i in wanted)):
            for track in tracks:
                if frame.index in places[track.id]:
                    box = around(track, frame.index).clip(frame.width, frame.height)
                    found[track.id].append(thumbnail(frame.rgb(box), SIDE))
    return found


def around(track: Track, index: int) -> Box:
    """The face's box in one frame, with some of its surroundings."""
    left, top, right, bottom = (float(v) for v in track.boxes[index - track.start])
    pad = AROUND * max(right - left, bottom - top)
    return Box(int(left - pad), int(top - pad), int(right + pad), int(bottom + pad))


def _row(page: Page, track: Track, pictures: Sequence[U8], target: Target) -> None:
    height = SIDE + LINE + 30
    page.need(height)
    row = facts(track, target)
    page.text(MARGIN, 0, str(track.id), 34)
    for line, text in enumerate(
        (
            f"shot {track.shot}",
            f"frames {track.start}-{track.stop - 1}",
            f"{row['start_seconds']:.2f}-{row['end_seconds']:.2f} s",
            f"{row['height']:.0f} px",
        )
    ):
        page.text(MARGIN, 42 + 17 * line, text, 13)
    for place, picture in enumerate(pictures):
        page.picture(MARGIN + 150 + place * (SIDE + 6), 0, square(picture, SIDE))
    _timeline(page, track, target, SIDE + 8)
    page.top += height


def _timeline(page: Page, track: Track, target: Target, top: int) -> None:
    """The clip as a pale bar; the track in it as high as its confidence, red where missed."""
    left, right = MARGIN, page.width - MARGIN
    page.bar(Box(left, top, right, top + LINE), PALE)
    total = target.stop - target.start
    for x in range(left, right):
        first = target.start + (x - left) * total // (right - left)
        last = max(target.start + (x + 1 - left) * total // (right - left), first + 1)
        rows = slice(max(first - track.start, 0), max(last - track.start, 0))
        sure = track.confidence[rows]
        if len(sure):
            tall = max(round(LINE * float(sure.mean())), 1)
            colour = ACCENT if track.seen[rows].all() else ALARM
            page.bar(Box(x, top + LINE - tall, x + 1, top + LINE), colour)
