"""``vidswap compare``: a swapped file next to its original."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from vidswap.cli.console import Console
from vidswap.cli.options import (
    FILE,
    console_options,
    input_argument,
    photos_option,
    recipe_options,
    trim_options,
    work_option,
)
from vidswap.cli.requests import build_request

SHOWN = {
    "pose_degrees": "head pose, mean difference in degrees",
    "mouth_correlation": "mouth opening, correlation",
    "mouth_amplitude": "mouth opening, amplitude",
    "eyes_correlation": "eye opening, correlation",
    "eyes_amplitude": "eye opening, amplitude",
    "shimmer": "texture change beyond motion",
    "seam": "gradient along the outline",
    "detail": "fine detail of the skin",
    "expression_leak": "expression that is not the clip's",
    "identity": "identity, cosine to the source",
    "nearer": "looks nearer to the source",
}


@click.command()
@input_argument
@click.argument("swapped", metavar="SWAPPED", type=FILE)
@photos_option("Photograph that was put in: tells how like it the faces are (needs an embedder).")
@work_option
@trim_options
@recipe_options
@console_options
def compare(console: Console, input_path: Path, swapped: Path, **options: Any) -> None:
    """Measure a SWAPPED file against its original INPUT, face by face.

    Whatever made it, faces are found anew in both: does the head turn as it did, do mouth and eyes
    follow, is the skin as calm and as sharp, is there a seam. Figures are ratios to the original
    where nothing else is said; those that a good swap would not show are marked.

    On stdout: a table for each track, or with --json all of it.
    """
    from vidswap.run.compare import compare as measure

    request = build_request(console, input_path, output=swapped, **options)
    found = measure(request, swapped)
    lines = [line for track in found["tracks"] for line in _lines(track, found["limits"])]
    console.result(found, "\n".join(lines))


def _lines(track: Mapping[str, Any], limits: Mapping[str, Any]) -> list[str]:
    lost = f", {len(track['lost'])} without a face" if track["lost"] else ""
    head = f"track {track['index']}, frames {track['start']}-{track['stop'] - 1}"
    lines = [f"{head}: looked at {track['looks'] + len(track['lost'])}{lost}"]
    for name, meaning in SHOWN.items():
        value = track.get(name)
        if value is None:
            continue
        low, high = limits.get(name, (None, None))
        wanted = f"at least {low}" if high is None else f"{low} to {high}"
        wanted = "" if low is None else wanted if low else f"up to {high}"
        mark = "!" if name in track["beyond"] else " "
        lines.append(f"  {mark} {meaning:40} {value:7.3f}   {wanted}".rstrip())
    return lines
