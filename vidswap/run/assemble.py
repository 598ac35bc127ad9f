"""Pass two of a job: its chunks rendered, here or in processes, then joined and verified."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

from vidswap.errors import VidswapError
from vidswap.media.join import Joined, Piece, Target, join
from vidswap.media.verify import verify
from vidswap.run.chunks import Chunk, ChunkRecord
from vidswap.run.processes import Dispatcher
from vidswap.run.session import Session


@dataclass(frozen=True, slots=True)
class Assembled:
    """What pass two did."""

    frames: int
    faces: int
    swapped: int
    chunks: int
    kept: int
    """Chunks that an earlier run had finished."""
    rendered: int
    """Frames rendered by this one."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Busy wall-clock time of each stage; stages of one process overlap."""


def assemble(session: Session, part: Path, folder: Path | None = None) -> Assembled:
    """Render what is missing, join, verify.

    Args:
        session: The job.
        part: Temporary file to write; errors about it name the job's output instead.
        folder: The job's own, where ``job.json`` lies: other processes need it. None renders here.

    Raises:
        VidswapError: Finished chunks stay, and the next call goes on from there.
    """
    pending = session.pending()
    kept = len(session.chunks) - len(pending)
    if kept:
        session.request.watch.note(f"resuming: {kept} of {len(session.chunks)} chunks are done")
    seconds = render_pending(session, pending, folder)
    began = perf_counter()
    with naming(part, session.job.output):
        records, joined = join_chunks(session, part)
        seconds["join"] = perf_counter() - began
        seconds["verify"] = _verify(session, part, joined)
    return Assembled(
        frames=sum(r.frames for r in records),
        faces=sum(r.faces for r in records),
        swapped=sum(r.swapped for r in records),
        chunks=len(records),
        kept=kept,
        rendered=sum(c.frames for c in pending),
        seconds=seconds,
    )


def render_pending(
    session: Session, pending: tuple[Chunk, ...], folder: Path | None
) -> dict[str, float]:
    """Render chunks with as many processes as the recipe says; seconds by stage.

    Raises:
        VidswapError: As ``Session.render``.
    """
    request, began = session.request, perf_counter()
    total = session.job.ready.target.stop - session.job.ready.target.start
    done = [total - sum(c.frames for c in pending)]

    def advance(count: int) -> None:
        done[0] += count
        request.watch.progress("render", done[0], total)

    advance(0)
    if not pending:
        return {}
    workers = min(request.recipe.run.workers, len(pending))
    if workers == 1 or folder is None:
        return dict(session.render(pending, advance=advance).seconds)
    Dispatcher(folder, advance, request.watch.warn).render(pending, workers)
    return {"render": perf_counter() - began}


def join_chunks(session: Session, part: Path) -> tuple[tuple[ChunkRecord, ...], Joined]:
    """Join the chunks of a job, all of which have to be done.

    Raises:
        StateError: One is missing or damaged (it is forgotten then), or an input has changed.
        MediaError: A stream does not fit, or the disk fails.
    """
    job, request = session.job, session.request
    target = job.ready.target
    records = session.folder.records()
    pieces = [
        Piece(session.folder.video(chunk), record.sha256, record.frames)
        for chunk, record in zip(session.chunks, records, strict=True)
    ]
    total, done = target.stop - target.start, [0]

    def advance(count: int) -> None:
        done[0] += count
        request.watch.progress("join", done[0], total)

    session.guard.check()
    into = Target(part, job.output.suffix.lower(), target.start, target.stop)
    try:
        joined = join(target.info, job.encoder, pieces, into, advance)
    except VidswapError as error:
        session.guard.check()
        for chunk in session.chunks:
            if error.path == str(session.folder.video(chunk)):
                session.folder.discard(chunk)
        raise
    for remark in joined.notes:
        request.watch.note(remark)
    return records, joined


def _verify(session: Session, part: Path, joined: Joined) -> float:
    target, watch = session.job.ready.target, session.request.watch
    total = target.stop - target.start
    watch.progress("verify", 0, total)
    began = perf_counter()
    suffix = session.job.output.suffix.lower()
    verify(part, target.info, target.start, target.stop, suffix, joined.record)
    session.guard.check()
    watch.progress("verify", total, total)
    return perf_counter() - began


@contextmanager
def naming(part: Path, output: Path) -> Iterator[None]:
    """Errors about the temporary file name the output instead: the other is gone when one reads."""
    try:
        yield
    except VidswapError as error:
        if error.path != str(part):
            raise
        raise type(error)(error.message, path=output, stage=error.stage, hint=error.hint) from error
