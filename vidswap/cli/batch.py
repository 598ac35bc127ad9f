"""``vidswap batch``: many clips, resumable, on one machine or many."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vidswap.cli.console import Console
from vidswap.cli.farm_options import limit_options, ray_options, take_ray
from vidswap.cli.options import (
    FILE,
    KEYS,
    console_options,
    encode_options,
    recipe_options,
    source_options,
    trim_options,
)
from vidswap.cli.requests import build_request
from vidswap.errors import PartialBatchError, RecipeError

if TYPE_CHECKING:
    from vidswap.farm.batch import BatchOptions, Told
    from vidswap.farm.jobs import Job
    from vidswap.farm.plan import Wanted
    from vidswap.farm.pool import Start
    from vidswap.farm.ray_cluster import RayOptions

TEMPLATE = "{relpath}/{stem}_swapped{suffix}"
LIMITS = ("max_ram", "max_vram", "max_disk", "deadline", "nice")
SHARED = ("max_ram", "max_vram")
"""Limits of all local workers together."""


@click.command()
@click.argument("places", metavar="[IN] OUT", nargs=-1, type=FILE)
@source_options
@click.option(
    "--jobs",
    "jobs_path",
    type=FILE,
    metavar="FILE",
    help="Clips with settings of their own, instead of IN: [[job]] tables of a .toml file or lines "
    "of a .jsonl file, with input and any of output, source, pipeline, set, faces, map, start, end, "
    "allow_no_face; paths are relative to the file.",
)
@click.option(
    "--glob",
    "patterns",
    metavar="PATTERN",
    multiple=True,
    help="Clips to take, such as '*.mov' or 'day1/**/*.mp4' [default: every video].",
)
@click.option(
    "--template",
    default=TEMPLATE,
    show_default=True,
    help="Output below OUT, from {relpath}, {stem}, {suffix}, {source} and {pipeline}.",
)
@click.option(
    "--workers", type=click.IntRange(0), default=1, show_default=True,
    help="Local processes; 0 only queues, for workers elsewhere.",
)  # fmt: skip
@click.option(
    "--attempts", type=click.IntRange(1), default=3, show_default=True,
    help="Failures after which a clip goes to quarantine.",
)  # fmt: skip
@click.option("--retry", is_flag=True, help="Try what is in quarantine again.")
@click.option("--watch", is_flag=True, help="Go on for ever, taking new clips as they come.")
@click.option(
    "--interval", type=click.FloatRange(0.1), default=10.0, show_default=True,
    help="Seconds between two looks with --watch.",
)  # fmt: skip
@click.option(
    "--settle", type=click.FloatRange(0), default=3.0, show_default=True,
    help="Seconds a young clip must not change before it is taken.",
)  # fmt: skip
@click.option(
    "--queue", type=FILE, metavar="DIR", help="Folder of the queue [default: OUT/.vidswap/queue]."
)
@click.option(
    "--share", type=click.Choice(["auto", "chunks", "clips"]), default="auto", show_default=True,
    help="Let several workers do parts of one clip; auto does so with long ones.",
)  # fmt: skip
@click.option("--overwrite", is_flag=True, help="Redo clips that changed, replace foreign outputs.")
@click.option(
    "--allow-no-face", is_flag=True, help="Write a video even if nobody is swapped in it."
)
@click.option("--commercial", is_flag=True, help="Refuse weights not licensed for commercial use.")
@click.option(
    "--report", type=FILE, metavar="DIR", help="A report for each clip, in folders like OUT's."
)
@click.option(
    "--keep-work", is_flag=True, help="Keep each analysis beside its output, for vidswap render."
)
@trim_options
@recipe_options
@encode_options
@limit_options
@ray_options
@console_options
def batch(console: Console, places: tuple[Path, ...], **options: Any) -> int:
    """Swap the faces of every clip in IN, and write the videos to OUT.

    A second call does nothing for what is done, so cron may call it every minute; two at once share
    the work. One bad clip stops no other: after --attempts it is in quarantine with its error,
    and OUT/.vidswap/summary.html tells. Hidden files, .part files and files that are still growing
    are left alone. Further machines join in with `vidswap worker OUT/.vidswap/queue`.

    On stdout: the videos that were made, or with --json the summary. Exit code 7: some clips failed,
    or are left after --deadline; with --workers 0 those that wait for workers elsewhere do not count.
    """
    from vidswap.farm.batch import Batch, failed_text, outputs_of
    from vidswap.farm.stopping import Stop

    source, out = _places(places, options["jobs_path"])
    find = _Finder(console, source, out, options)
    stop = Stop(options["grace"])
    with _starting(take_ray(options)) as start, stop.signals():
        batch_options = _batch_options(out, options)
        summary = Batch(batch_options, find.clips, stop, _told(console), start).run()
    console.result(summary.describe(), "\n".join(outputs_of(summary)))
    if stop.code:
        console.note(f"stopped: {failed_text(summary)}; the same command goes on", level="warning")
        return stop.code
    if summary.counts["failed"] or (summary.counts["left"] and options["workers"]):
        page = f"{out / '.vidswap' / 'summary.html'} tells why; --retry tries them again"
        again = "the same command goes on with what is left"
        hint = page if summary.counts["failed"] else again
        raise PartialBatchError(failed_text(summary), path=out, stage="batch", hint=hint)
    return 0


@contextmanager
def _starting(cluster: "RayOptions | None") -> Iterator["Start"]:
    """How workers are started: here, or on a cluster that lasts as long as the block."""
    from vidswap.farm.pool import start_here

    if cluster is None:
        yield start_here
        return
    from vidswap.farm.ray_cluster import connected, crew_size
    from vidswap.farm.ray_pool import starting_on

    with connected(cluster) as ray:
        crew_size(ray, cluster)
        yield starting_on(ray, cluster)


def _places(places: tuple[Path, ...], jobs: Path | None) -> tuple[Path | None, Path]:
    """IN and OUT; with a jobs file there is no IN.

    Raises:
        RecipeError: Too few or too many, or IN is OUT.
    """
    wanted = 1 if jobs is not None else 2
    if len(places) != wanted:
        expected = "OUT and no IN with --jobs" if jobs is not None else "IN and OUT"
        raise RecipeError(f"expected {expected}, got {len(places)} folders", stage="usage")
    source, out = (None if jobs is not None else places[0]), places[-1]
    if source is not None and os.path.realpath(source) == os.path.realpath(out):
        hint = "its outputs would be taken for clips; give another folder, even one inside IN"
        raise RecipeError("IN and OUT are the same folder", path=out, stage="usage", hint=hint)
    return source, Path(os.path.abspath(out))  # noqa: PTH100 - links stay what they are


class _Finder:
    """Finds the clips that are wanted, each with its request."""

    def __init__(
        self, console: Console, source: Path | None, out: Path, options: dict[str, Any]
    ) -> None:
        from vidswap.farm.folder import check_template

        check_template(options["template"])
        self._console, self._source, self._out, self._options = console, source, out, options
        self._jobs = options["jobs_path"]
        self._requests: dict[str, Any] = {}
        self._common = {
            name: options[name]
            for name in (
                *("sources", "faces", "mapping", "start", "end", "pipeline", "overrides"),
                *(key for key in KEYS if key != "workers"),
                *("overwrite", "allow_no_face", "commercial"),
            )
        }

    def clips(self) -> Iterator["Wanted"]:
        """Every clip that is there now.

        Raises:
            VidswapError: The folder or the jobs file cannot be read.
        """
        if self._jobs is not None:
            from vidswap.farm.jobs import read_jobs

            return map(self._of_job, read_jobs(self._jobs))
        return self._of_folder(Path(os.path.abspath(self._source or "")))  # noqa: PTH100

    def _of_folder(self, folder: Path) -> Iterator["Wanted"]:
        from vidswap.farm.folder import find
        from vidswap.farm.plan import Wanted

        base = self._request({})
        for path in find(folder, self._options["patterns"], [self._out]):
            report = self._report(path, folder)
            yield Wanted(
                replace(base, input=path, report=report), self._options["pipeline"], folder
            )

    def _of_job(self, job: "Job") -> "Wanted":
        from vidswap.farm.plan import Wanted

        folder = Path(os.path.abspath(self._jobs)).parent  # noqa: PTH100
        own: dict[str, Any] = {"overrides": (*self._common["overrides"], *job.set)}
        if job.sources or job.map:
            own["sources"] = tuple(folder / photo for photo in job.sources)
            own["mapping"] = tuple(_pair_from(pair, folder) for pair in job.map)
        if job.faces is not None:
            photo = folder / job.faces
            own["faces"] = str(photo) if photo.is_file() else job.faces
        pipeline = job.pipeline or self._common["pipeline"]
        own["pipeline"] = str(folder / pipeline) if (folder / pipeline).is_file() else pipeline
        for name in ("start", "end", "allow_no_face"):
            if getattr(job, name) is not None:
                own[name] = getattr(job, name)
        clip = folder / job.input
        request = replace(self._request(own), input=clip, report=self._report(clip, clip.parent))
        if job.output is not None:
            request = replace(request, output=self._out / job.output)
        return Wanted(request, pipeline, clip.parent)

    def _request(self, own: dict[str, Any]) -> Any:
        """A request with some settings of its own; one that was read before is not read again."""
        name = repr(own)
        if name not in self._requests:
            self._requests[name] = build_request(
                self._console, Path("-"), **(self._common | own)
            )  # fmt: skip
        return self._requests[name]

    def _report(self, clip: Path, folder: Path) -> Path | None:
        root = self._options["report"]
        if root is None:
            return None
        relative = clip.relative_to(folder)
        return Path(os.path.abspath(root)) / relative.parent / relative.name  # noqa: PTH100


def _pair_from(pair: str, folder: Path) -> str:
    """``REF=PHOTO`` of a jobs file, with files relative to it."""
    from vidswap.cli.options import parse_mapping

    ((who, photo),) = parse_mapping([pair])
    reference = str(folder / who) if (folder / who).is_file() else who
    return f"{reference}={folder / photo}"


def _batch_options(out: Path, options: dict[str, Any]) -> "BatchOptions":
    from vidswap.farm.batch import BatchOptions
    from vidswap.farm.budget import parse_bytes, parse_seconds

    passed: list[str] = []
    for name in LIMITS:
        value = options[name]
        if value is None:
            continue
        flag = f"--{name.replace('_', '-')}"
        if name.startswith("max_"):
            value = parse_bytes(value, flag)
            value //= max(options["workers"], 1) if name in SHARED else 1
        if name != "deadline":  # the batch itself sees to that
            passed += [flag, str(value)]
    deadline = options["deadline"]
    keys = ("template", "queue", "workers", "attempts", "lease", "grace", "watch", "interval",
            "settle", "retry", "keep_work", "share")  # fmt: skip
    return BatchOptions(
        out,
        worker_options=passed,
        seconds=None if deadline is None else parse_seconds(deadline, "--deadline"),
        **{key: options[key] for key in keys},
    )


def _told(console: Console) -> "Told":
    from vidswap.farm.batch import Told
    from vidswap.farm.summary import Row

    def warn(message: str) -> None:
        console.note(message, level="warning")

    def row(found: Row) -> None:
        if found.error is not None:
            path = found.error.get("path")
            where = f"{path}: " if path and path != found.input else ""
            warn(f"{found.input}: failed: {where}{found.error['message']}")
        elif found.fate == "unstable":
            console.note(f"{found.input}: still being written; left for another call")
        elif found.fate == "done":
            console.note(f"{found.input}: done: {found.output}")

    return Told(console.bars, console.note, warn, row)
