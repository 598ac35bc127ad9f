"""``python bomb.py PHASE N FILE ARGUMENTS``: runs ``vidswap`` and kills it at its N-th operation in PHASE.

Operations are those that a crash could come before: flushing, renaming or removing a file, every frame
of every pass, every batch of codes. ``any`` is every phase. How many there were in which phase is
written to FILE, by a run that is killed too.
"""

import json
import os
import pathlib
import signal
import sys
import threading

BATCH, CHECKPOINT = 2, 4
"""Crops encoded at once and frames between checkpoints, so that a short clip has many."""


class Bomb:
    """Counts operations by phase, and goes off at one of them."""

    def __init__(self, phase, number, file):
        self.target, self.number, self.file = phase, number, pathlib.Path(file)
        self.phase, self.counts, self.lock = "prepare", {}, threading.Lock()

    def count(self):
        with self.lock:
            self.counts[self.phase] = self.counts.get(self.phase, 0) + 1
            here = self.target in ("any", self.phase)
            seen = sum(self.counts.values()) if self.target == "any" else self.counts[self.phase]
            if here and seen == self.number:
                self.write()
                os.kill(os.getpid(), signal.SIGKILL)

    def write(self):
        self.file.write_text(json.dumps(self.counts))

    def at(self, owner, name):
        """Every call of a function is an operation."""
        real = getattr(owner, name)

        def operation(*arguments, **options):
            self.count()
            return real(*arguments, **options)

        setattr(owner, name, operation)

    def during(self, owner, name, before, after=None):
        """A phase begins with a call, and another one when it returns."""
        real = getattr(owner, name)

        def operation(*arguments, **options):
            self.phase = before
            found = real(*arguments, **options)
            self.phase = after or before
            return found

        setattr(owner, name, operation)


def main(phase, number, file, *arguments):
    bomb = Bomb(phase, int(number), file)
    bomb.at(os, "fsync")
    for name in ("replace", "rename", "unlink", "rmdir"):
        bomb.at(pathlib.Path, name)

    from vidswap.cli import cli
    from vidswap.cli.outcome import run_command
    from vidswap.faces.shots import ShotSplitter
    from vidswap.media import join
    from vidswap.media.frame import Frame
    from vidswap.run import assemble, latents, swap
    from vidswap.run.latents_store import LatentStore

    latents.BATCH, latents.CHECKPOINT = BATCH, CHECKPOINT
    bomb.at(Frame, "mean_luma")  # every frame, rendered and verified
    bomb.at(join, "read_table")
    bomb.at(ShotSplitter, "add")
    for name in ("append", "finish"):
        bomb.at(LatentStore, name)
    bomb.during(swap, "obtain", "analyse")
    bomb.during(swap, "prepare_latents", "invert", "render")
    bomb.during(swap, "assemble", "render", "rename")
    bomb.during(assemble, "join_chunks", "join")
    bomb.during(assemble, "_verify", "verify", "rename")
    code = run_command(cli, list(arguments))
    bomb.write()
    sys.stdout.flush()
    os._exit(code)


if __name__ == "__main__":
    main(*sys.argv[1:])
