"""Several workers on one clip.

A long clip is handed out more than once. The first time its owner cuts pass one into spans and gives
the clip back until they are done; then it joins them, cuts pass two into chunks, and gives it back
again; the last time all that is left is to join, verify and let the output appear. Spans and chunks
are items like any other. Both grids come from the recipe alone, so the output has the same bytes
whoever did which part.
"""

import hashlib
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidswap.errors import StateError, VidswapError
from vidswap.farm.claim import Claim
from vidswap.farm.clip import Clip, renamed, staged_request
from vidswap.farm.memory import halving
from vidswap.farm.task import Bench, Outcome, check_machine
from vidswap.farm.token import KEY_DIGITS, FencedError, Item
from vidswap.recipe import Recipe
from vidswap.run.request import Request, Watch

if TYPE_CHECKING:  # neither is needed to queue clips
    from vidswap.run.prepare import Target
    from vidswap.run.session import Session
    from vidswap.run.spans import SpanTask

SPAN, CHUNK = "span", "chunk"
LONG = 8
"""Chunks in a clip from which ``auto`` shares it: about a minute."""
PARTS_LANE = 3
"""After the clips that only need to be joined, before new ones."""


def parts_to_do(claim: Claim, clip: Clip, request: Request) -> tuple[str, ...]:
    """Queue the parts of a clip that can be done now; their keys, none if the rest is one worker's.

    Args:
        claim: Of the clip.
        clip: The clip.
        request: Into its stage folder.

    Raises:
        VidswapError: As ``prepare`` and ``obtain``.
    """
    if clip.share == "clips":
        return ()
    from vidswap.run.prepare import open_target

    target = open_target(request)
    chunks = (target.stop - target.start) / request.recipe.run.chunk
    if chunks < (LONG if clip.share == "auto" else 1.5):
        return ()
    spans = _spans(request, target)
    found = spans if len(spans) > 1 else _chunks(clip, request)
    keys = []
    for kind, number in found:
        key = part_key(clip, kind, number)
        claim.queue.renew(key, _part(claim, clip, kind, number))
        keys.append(key)
    return tuple(keys) if len(keys) > 1 else ()


def part_key(clip: Clip, kind: str, number: int) -> str:
    """Key of a part; those of one clip lie in one folder of the queue."""
    name = hashlib.sha256(f"{clip.key} {kind} {number}".encode()).hexdigest()
    return (clip.key[:2] + name)[:KEY_DIGITS]


def _part(claim: Claim, clip: Clip, kind: str, number: int) -> Item:
    payload = {
        "clip": claim.token.key,
        "number": number,
        "name": f"{clip.request.input}, {kind} {number}",
        "stage": str(clip.stage),
    }
    return Item(kind, payload, claim.item.attempts, PARTS_LANE)


def _spans(request: Request, target: "Target") -> list[tuple[str, int]]:
    """Spans that are missing; none where the analysis is whole."""
    from vidswap.run.passes import require
    from vidswap.run.spans import pending

    task = span_task(request, target)
    try:
        require(request, target, task.needs)
    except StateError:
        return [(SPAN, span.number) for span in pending(task)]
    return []


def span_task(request: Request, target: "Target") -> "SpanTask":
    """Pass one of a request, as every worker on a span of it sees it.

    Raises:
        VidswapError: The engine cannot be made, no detector is installed.
    """
    from vidswap.run.prepare import engine_of
    from vidswap.run.spans import SpanTask

    needs = engine_of(request).needs
    frames = (target.start, target.stop)
    return SpanTask.of(target.info, request.recipe, target.work, needs, frames)


def _chunks(clip: Clip, request: Request) -> list[tuple[str, int]]:
    """Finish pass one here, store the job, and list the chunks that are missing."""
    from vidswap.run.jobs import begin
    from vidswap.run.latents import prepare_latents
    from vidswap.run.passes import cast_of, obtain
    from vidswap.run.prepare import prepare
    from vidswap.run.session import chunk_folder

    job = prepare(request)
    target, engine = job.ready.target, job.ready.engine
    analysis = obtain(request, target, engine.needs)
    cast = cast_of(request, analysis, job.ready)
    prepare_latents(request, target, analysis, engine, cast)
    file = begin(request, job)
    file.save()
    (clip.stage / "job").write_text(str(file.folder.relative_to(clip.stage)), encoding="utf-8")
    folder = chunk_folder(file)
    # Sizes do; who joins compares the digests.
    missing = folder.pending(seen=request.report is not None, check=False)
    return [(CHUNK, chunk.index) for chunk in missing]


class Parts:
    """How spans and chunks are done; keeps what the parts of one clip have in common."""

    def __init__(self) -> None:
        self._key: tuple[object, ...] = ()
        self._kept: Any = None
        self._open = ExitStack()

    def run_span(self, claim: Claim, bench: Bench) -> Outcome:
        """Analyse one span of a clip.

        Raises:
            VidswapError: It cannot be done.
        """
        from vidswap.run.analyse_span import analyse_span
        from vidswap.run.spans import pending

        clip, number = _clip_of(claim, bench)
        try:
            task = self._task(clip)
            for span in pending(task):
                if span.number == number:
                    analyse_span(task, span, lambda _: bench.pulse())
        except VidswapError as error:
            raise _said(error, clip) from error
        return Outcome(result={"span": number})

    def run_chunk(self, claim: Claim, bench: Bench) -> Outcome:
        """Render one chunk of a clip.

        Raises:
            VidswapError: It cannot be done.
        """
        clip, number = _clip_of(claim, bench)

        def fence(_: object) -> None:
            if claim.is_lost():
                claim.check()

        def rendered(recipe: Recipe) -> int:
            session = self._session(clip, recipe, bench)
            chunk = session.chunks[number]
            if chunk in session.pending(check=False):
                session.render([chunk], advance=lambda _: bench.pulse(), fence=fence)
            return chunk.frames

        try:
            frames = halving(clip.request.recipe, rendered, bench.note)
        except VidswapError as error:
            self.close()
            raise _said(error, clip) from error
        return Outcome(result={"chunk": number, "frames": frames})

    def close(self) -> None:
        """Let go of the clip."""
        self._open.close()
        self._key, self._kept = (), None

    def _task(self, clip: Clip) -> "SpanTask":
        key = (SPAN, clip.key)
        if self._key != key:
            self.close()
            from vidswap.run.prepare import open_target

            request = staged_request(clip)
            self._kept, self._key = span_task(request, open_target(request)), key
        task: SpanTask = self._kept
        return task

    def _session(self, clip: Clip, recipe: Recipe, bench: Bench) -> "Session":
        from vidswap.run.jobfile import NAME, read_job
        from vidswap.run.session import open_session

        folder = clip.stage / _job_folder(clip.stage)
        changed = (folder / NAME).stat().st_mtime_ns if (folder / NAME).exists() else 0
        key = (CHUNK, clip.key, folder, changed, recipe)
        if self._key != key:
            self.close()
            file = read_job(folder)
            file = replace(file, request=replace(file.request, recipe=recipe))
            watch = Watch(note=bench.note, warn=bench.warn)
            self._kept = self._open.enter_context(open_session(file, watch))
            self._key = key
        session: Session = self._kept
        return session


def _job_folder(stage: Path) -> str:
    try:
        return (stage / "job").read_text(encoding="utf-8")
    except OSError as error:
        raise StateError("no job is here any more", path=stage, stage="chunk") from error


def _clip_of(claim: Claim, bench: Bench) -> tuple[Clip, int]:
    """The clip that a part belongs to, unchanged, and the part's number.

    Raises:
        OutdatedError: The clip has changed.
    """
    bench.pulse()
    payload = claim.item.payload
    clip = Clip.decode(claim.queue.item(payload["clip"]).payload)
    check_machine(clip.request.recipe)
    clip.check_input()
    return clip, int(payload["number"])


def _said(error: VidswapError, clip: Clip) -> VidswapError:
    if isinstance(error, FencedError):
        return error
    clip.check_input()
    return renamed(error, clip)
