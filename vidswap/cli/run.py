"""``vidswap run``: analyse and render in one go."""

from pathlib import Path
from typing import Any

import click

from vidswap.cli.console import Console
from vidswap.cli.farm_options import ray_options, take_ray
from vidswap.cli.options import (
    console_options,
    encode_options,
    input_argument,
    output_options,
    recipe_options,
    source_options,
    trim_options,
    work_option,
    workers_option,
)
from vidswap.cli.requests import build_request, show_plan, show_result


@click.command()
@input_argument
@source_options
@output_options
@work_option
@trim_options
@recipe_options
@encode_options
@workers_option
@ray_options
@console_options
def run(console: Console, input_path: Path, dry_run: bool, **options: Any) -> None:
    """Swap the faces of INPUT and write a new video.

    Everything but the swapped faces stays as it is: frames, timestamps, audio, subtitles, tags. The
    analysis is kept in the work folder; `vidswap render` uses it again with another photo, engine
    or encoder. A frame without a face passes through untouched.

    On stdout: the path of the video, or with --json its facts.
    """
    cluster = take_ray(options)
    request = build_request(console, input_path, **options)
    if dry_run:
        from vidswap.run.estimate import plan_run

        show_plan(console, plan_run(request))
        return
    if cluster is not None:
        from vidswap.farm.ray_run import swap_on_ray

        show_result(console, swap_on_ray(request, cluster))
        return
    from vidswap.run.swap import swap

    show_result(console, swap(request))
