"""Small runs in chunks, for the tests of what may happen to them."""

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from vidswap import recipe as recipes
from vidswap.run.jobfile import jobs_in
from vidswap.run.request import Request, Watch
from vidswap.run.swap import swap

FRAMES, SIZE = 40, 8
OPTIONS = ("track.samples=1", f"run.chunk={SIZE}", 'encode.preset="ultrafast"')
EMPTY = "detect.min_face=200"
"""No face is in most clips: small ones need not be looked for."""


class StopError(Exception):
    """A run is ended from outside."""


def ask(clip, output, work=None, *options, **fields):
    recipe = recipes.load("mesh", [*OPTIONS, EMPTY, *options])
    recipe = replace(recipe, engine=recipes.IdentityEngine())
    return Request(clip, recipe, output=output, work=work, allow_no_face=True, **fields)


def stopping(chunks, kind=StopError):
    """A watch that ends a run once some chunks are on the disk."""

    def progress(stage, done, total):
        if stage == "render" and done >= (chunks + 1) * SIZE:
            raise kind

    return Watch(progress=progress)


def notes(request):
    said = []
    return replace(request, watch=Watch(note=said.append)), said


def interrupted(clip, work, output, chunks=2):
    with pytest.raises(StopError):
        swap(replace(ask(clip, output, work), watch=stopping(chunks)))
    for thread in threading.enumerate():
        # A stopped run waits for a codec for less than a second; a busy machine may take longer.
        if thread.name.startswith("vidswap-"):
            thread.join(60)
    (file,) = [f for f in jobs_in(work) if f.output == output]
    return file


def workers_of(pid):
    """Processes that render for a process; zombies do not count."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            stat = (path / "stat").read_text().rpartition(")")[2].split()
            command = (path / "cmdline").read_bytes()
        except OSError:
            continue
        if stat[0] != "Z" and int(stat[1]) == pid and b"vidswap.run.worker" in command:
            found.append(int(path.name))
    return found
