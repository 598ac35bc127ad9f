"""``vidswap run --ray``: the steps of one run on a Ray cluster, driven from here.

Workers are actors, each with an engine on its share of a machine. Ray starts a dead one again and
gives it its chunk a few more times, never for ever: a chunk that kills its worker each time ends the
run with an error that names it, as it does without Ray. The driver holds nothing that cannot be found
in the work folder, which all machines have to see; started again, it goes on from there.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from vidswap.errors import MediaError, StateError
from vidswap.farm.ray_cluster import RayOptions, connected, crew_size
from vidswap.farm.renderer import TERM, Renderer, unwrapped
from vidswap.farm.steps import Size, check_request, find_job, size, work_of
from vidswap.run.chunks import Chunk, grid
from vidswap.run.job import check_output, writing
from vidswap.run.jobfile import encode_request
from vidswap.run.jobs import settle
from vidswap.run.lock import locked
from vidswap.run.prepare import open_target, output_of
from vidswap.run.processes import ATTEMPTS, Board
from vidswap.run.request import Request, Watch
from vidswap.run.session import chunk_folder
from vidswap.run.spans import spans

LOOK_SECONDS = 0.5
NEWS = "news"


def swap_on_ray(request: Request, options: RayOptions) -> dict[str, Any]:
    """As ``swap``, with the same bytes; spans and chunks are done by workers of a cluster.

    Args:
        request: Its paths have to mean the same on all machines.
        options: The cluster and what a worker gets of it.

    Raises:
        VidswapError: As ``swap``; what is done stays.
        StateError: No cluster, or another driver is at it.
    """
    if (settled := settle(request)) is not None:
        return settled
    output = output_of(request)
    check_request(request)
    check_output(output, overwrite=request.overwrite)
    found, work = size(request), work_of(request)
    with writing(work):
        work.mkdir(parents=True, exist_ok=True)
    try:
        with locked(work / "ray"), connected(options) as ray, _term(work) as term:
            count = min(crew_size(ray, options), max(found.spans, found.chunks))
            crew = Crew(ray, request, options, (count, term), request.watch)
            return _carry_out(crew, request, found)
    finally:
        with suppress(OSError):
            work.rmdir()  # only if nothing is in it


def _carry_out(crew: "Crew", request: Request, found: Size) -> dict[str, Any]:
    target = open_target(request)
    frames = target.start, target.stop
    if found.spans > 1:
        parts = [Chunk(*span) for span in spans(*frames, request.recipe.track.span)]
        crew.spread("span", "analyse", parts, found.frames)
    crew.ask("plan", found.chunks)
    folder = chunk_folder(find_job(request))
    pending = folder.pending(seen=request.report is not None)
    kept = len(folder.chunks) - len(pending)
    if kept:
        request.watch.note(f"resuming: {kept} of {len(folder.chunks)} chunks are done")
    crew.spread("chunk", "render", pending, found.frames)
    result = crew.ask("join")
    result["chunks"] = {"all": len(grid(*frames, request.recipe.run.chunk)), "kept": kept}
    return result


@contextmanager
def _term(work: Path) -> Iterator[str]:
    """A name for this driver that its workers compare before they commit."""
    term, path = uuid4().hex, work / TERM
    part = path.with_name(f".{TERM}.{os.getpid()}.part")
    with writing(path):
        part.write_text(term, encoding="utf-8")
        part.replace(path)
    try:
        yield term
    finally:
        path.unlink(missing_ok=True)


class Crew:
    """The workers of one run.

    Args:
        ray: The connected module.
        request: What they work on.
        options: What each gets of a machine.
        count_and_term: How many, and the name of this driver.
        watch: Who is told how they get on.
    """

    def __init__(
        self,
        ray: Any,
        request: Request,
        options: RayOptions,
        count_and_term: tuple[int, str],
        watch: Watch,
    ) -> None:
        count, term = count_and_term
        actor = ray.remote(
            max_restarts=ATTEMPTS * 1000,
            max_task_retries=ATTEMPTS - 1,
            concurrency_groups={NEWS: 1},
            **options.needs,
        )(Renderer)
        table = encode_request(request)
        self._ray, self._watch = ray, watch
        self._actors = [actor.remote(table, term) for _ in range(count)]
        self._news: dict[Any, int] = {}
        self._stages: dict[int, tuple[str, int, int]] = {}
        self._parts: dict[int, int] = {}
        self._pids: dict[int, tuple[str, int]] = {}
        self._said: set[str] = set()

    def ask(self, method: str, *arguments: Any) -> dict[str, Any]:
        """One step by the first worker.

        Raises:
            VidswapError: What it met.
            StateError: The worker cannot be kept alive.
        """
        reference = getattr(self._actors[0], method).remote(*arguments)
        while not self._wait([reference]):
            self._listen([0])
            stage = self._stages.get(0, ("", 0, 0))
            if stage[2]:
                self._watch.progress(*stage)
        self._listen([0])
        return self._found(reference, method)

    def spread(self, method: str, stage: str, parts: Sequence[Chunk], total: int) -> None:
        """Have parts done by all workers, each one at a time: nothing piles up anywhere.

        Args:
            method: ``span`` or ``chunk``.
            stage: Its name for people.
            parts: What is to be done.
            total: Frames in all.

        Raises:
            VidswapError: What a worker met; nothing more is handed out.
            MediaError: One part has cost too many workers.
        """
        board, busy = Board(parts), dict[Any, tuple[int, Chunk]]()
        done, last = total - sum(part.frames for part in parts), dict[int, int]()
        idle = list(range(len(self._actors)))
        while board.open:
            while idle and board.free:
                worker = idle.pop(0)
                after = last.get(worker)
                part = None if after is None else board.take(worker, after)
                part = part or board.take(worker, None)
                if part is None:
                    break
                reference = getattr(self._actors[worker], method).remote(part.index)
                busy[reference] = worker, part
            for reference in self._wait(list(busy)):
                worker, part = busy.pop(reference)
                self._found(reference, f"frames {part.start} to {part.stop - 1}")
                board.done(part.index)
                last[worker] = part.index
                done += part.frames
                idle.append(worker)
            self._listen([worker for worker, _ in busy.values()])
            ahead = sum(self._ahead(worker, stage, part) for worker, part in busy.values())
            self._watch.progress(stage, done + ahead, total)

    def _ahead(self, worker: int, stage: str, part: Chunk) -> int:
        """Frames of a part that is not done; what was heard of the one before does not count."""
        name, done, _ = self._stages.get(worker, ("", 0, 0))
        current = name == stage and self._parts.get(worker) == part.index
        return min(done, part.frames) if current else 0

    def _wait(self, references: list[Any]) -> list[Any]:
        ready, _ = self._ray.wait(references, num_returns=1, timeout=LOOK_SECONDS)
        return list(ready)

    def _found(self, reference: Any, what: str) -> dict[str, Any]:
        try:
            answer: Mapping[str, Any] = self._ray.get(reference)
        except self._ray.exceptions.RayActorError as error:
            reason = str(error).strip().splitlines()[0]
            raise MediaError(
                f"{what} cost {ATTEMPTS} workers their lives ({reason})",
                stage="ray",
                hint="memory may be short: more --cpus-per-worker, or without --ray to see the cause",
            ) from error
        except self._ray.exceptions.RayError as error:
            reason = str(error).strip().splitlines()[-1]
            raise StateError(f"the cluster failed: {reason}", stage="ray") from error
        return unwrapped(answer)

    def _listen(self, workers: Sequence[int]) -> None:
        """Collect remarks and progress, without waiting for anybody."""
        for worker in set(workers) - set(self._news.values()):
            call = self._actors[worker].news.options(concurrency_group=NEWS)
            self._news[call.remote()] = worker
        ready, _ = self._ray.wait(list(self._news), num_returns=len(self._news), timeout=0)
        for reference in ready:
            worker = self._news.pop(reference)
            with suppress(self._ray.exceptions.RayError):
                self._heard(worker, self._ray.get(reference))

    def _heard(self, worker: int, news: Mapping[str, Any]) -> None:
        self._stages[worker], self._parts[worker] = news["stage"], news["part"]
        where = news["host"], news["pid"]
        if worker not in self._pids:
            self._watch.note(f"worker {worker}: process {where[1]} on {where[0]}")
        elif self._pids[worker] != where:
            old = self._pids[worker]
            self._watch.warn(
                f"worker {worker}: process {old[1]} on {old[0]} died; its part is done again by "
                f"process {where[1]} on {where[0]}"
            )
        self._pids[worker] = where
        for kind, text in news["remarks"]:
            if text in self._said:
                continue  # every worker says the same of one clip
            self._said.add(text)
            (self._watch.warn if kind == "warn" else self._watch.note)(f"worker {worker}: {text}")
