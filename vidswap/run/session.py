"""A prepared job in one process: renders chunks of it, any of them, in any order.

Workers of every kind use this: the run itself, its local processes, queue workers, clusters.

    folder = swap.plan(request).folder          # once: analysis and job.json
    session = open_session(read_job(folder))    # once in each process
    session.render([session.chunks[7]])         # any chunks, anywhere
    swap.swap(read_job(folder).request)         # once: joins, verifies, publishes

What is rendered depends on the job alone, never on who renders what, so that a chunk may be
rendered twice without harm.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Self

from vidswap.allocator import give_back
from vidswap.engines import Plan
from vidswap.errors import MediaError, StateError, VidswapError
from vidswap.media.decode import Reader, open_reader
from vidswap.media.frame import Frame
from vidswap.media.segment import SegmentWriter
from vidswap.run.analysis import Analysis
from vidswap.run.chunks import Chunk, ChunkFolder, ChunkRecord, grid
from vidswap.run.guard import Guard
from vidswap.run.job import writing
from vidswap.run.jobfile import JobFile
from vidswap.run.jobkey import chunk_key, job_key
from vidswap.run.latents import prepare_latents
from vidswap.run.passes import cast_of, plans_for, require
from vidswap.run.people import Likeness, likeness_of
from vidswap.run.prepare import Job, photos_of, prepare
from vidswap.run.render import FaceBatches, Rendered, render
from vidswap.run.request import Request, Watch
from vidswap.run.witness import Witness

Fence = Callable[[Chunk], None]
"""Called right before a chunk counts; raises ``StateError`` to keep it out."""


def _silent(*_: object) -> None:
    """Tell nobody."""


class Session:
    """One job that chunks are rendered of.

    Args:
        request: What was asked for.
        job: Clip, engine, people and encoder.
        analysis: Pass one.
        plans: By track id.
        folder: Where the chunks go.
        likeness: For the report, if the request wants one.

    Attributes:
        folder: Chunks and their records.
        guard: Whether the inputs are still those that were opened.
    """

    def __init__(
        self,
        request: Request,
        job: Job,
        analysis: Analysis,
        plans: Mapping[int, Plan],
        folder: ChunkFolder,
        likeness: Likeness | None = None,
    ) -> None:
        self.request, self.job, self.analysis, self.plans = request, job, analysis, plans
        self.folder, self.likeness = folder, likeness
        self.reports = request.report is not None
        # The clip as it was probed: pass one may have taken hours since.
        self.guard = job.ready.target.guard.joined(Guard(photos_of(request)))
        self._reader: Reader | None = None
        give_back()  # a pass of its own: what pass one and the plans took is not needed beside it

    @property
    def chunks(self) -> tuple[Chunk, ...]:
        """The whole grid."""
        return self.folder.chunks

    def pending(self, *, check: bool = True) -> tuple[Chunk, ...]:
        """Chunks that are not done, in order; ``check`` compares the digests of those that are."""
        return self.folder.pending(seen=self.reports, check=check)

    def render(
        self,
        chunks: Iterable[Chunk],
        *,
        advance: Callable[[int], None] = _silent,
        committed: Callable[[ChunkRecord], None] = _silent,
        fence: Fence = _silent,
    ) -> Rendered:
        """Render chunks and make them count, each as soon as it is whole.

        Decoding and swapping go on with the next chunk while the last one is still being encoded.
        Chunks of ``chunks`` are rendered even if they are done.

        Args:
            chunks: Ascending; asked for in the decoder's thread, as late as possible.
            advance: Called with 1 for each frame handed to the encoder.
            committed: Called in the encoder's thread for each chunk that counts now.
            fence: Called in the encoder's thread right before that.

        Raises:
            MediaError: Decoding, encoding or the disk fails; finished chunks stay.
            StateError: An input has changed, or from ``fence``.
            ValueError: The chunks do not ascend.
        """
        begun: deque[Chunk] = deque()
        witness = Witness(self.chunks, self.analysis, self.plans, self.likeness, self.reports)
        options = self.request.recipe.run
        batches = FaceBatches(
            self.analysis, self.job.ready.engine, self.plans, options, witness.observe
        )
        sink = _ChunkSink(self, begun, witness, committed, fence)
        try:
            with writing(self.job.output):
                frames = self._frames(chunks, begun)
                return render(frames, batches, sink, options.queue, advance)
        except VidswapError:
            self.guard.check()  # a file that changes fails in many ways; this one says why
            raise

    def close(self) -> None:
        """Close the clip."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _frames(self, chunks: Iterable[Chunk], begun: deque[Chunk]) -> Iterator[Frame]:
        """Frames of the chunks; one that follows the last needs no seek and no decoding twice."""
        if self._reader is None:
            self._reader = open_reader(self.job.ready.target.info, self.request.recipe.decode)
        frames: Iterator[Frame] = iter(())
        at = -1
        for chunk in chunks:
            if chunk.start < at:
                raise ValueError(f"chunk {chunk.index} does not come after frame {at}")
            begun.append(chunk)
            if chunk.start != at:
                frames = self._reader.frames(chunk.start, self.job.ready.target.stop)
            yield from islice(frames, chunk.frames)
            at = chunk.stop


class _ChunkSink:
    """Encodes frames into one segment after the other; lives in the encoder's thread."""

    def __init__(
        self,
        session: Session,
        begun: deque[Chunk],
        witness: Witness,
        committed: Callable[[ChunkRecord], None],
        fence: Fence,
    ) -> None:
        self._session, self._begun, self._witness = session, begun, witness
        self._committed, self._fence = committed, fence
        self._open: tuple[Chunk, Path, SegmentWriter] | None = None

    def write(self, frame: Frame) -> None:
        """Encode a frame; the last one of a chunk makes it count."""
        chunk, part, writer = self._open or self._begin()
        writer.write(frame)
        if frame.index + 1 == chunk.stop:
            segment = writer.finish()
            self._open = None
            del writer
            give_back()  # the next chunk's encoder finds other holes than this one's leaves
            try:
                self._session.guard.check()
                counts, seen = self._witness.close(chunk, part)
                record = self._session.folder.commit(
                    chunk, part, segment, counts, seen, lambda: self._fence(chunk)
                )
            except BaseException:
                part.unlink(missing_ok=True)
                raise
            self._committed(record)

    def finish(self) -> None:
        """All frames were written."""
        if self._open is not None:
            chunk, part, _ = self._open
            message = f"the frames of chunk {chunk.index} ended before frame {chunk.stop}"
            raise MediaError(message, path=part, stage="render")

    def abort(self) -> None:
        """Drop the chunk that is not whole."""
        if self._open is not None:
            self._open[2].abort()
            self._open = None

    def _begin(self) -> tuple[Chunk, Path, SegmentWriter]:
        chunk, job = self._begun.popleft(), self._session.job
        part = self._session.folder.part(chunk)
        writer = SegmentWriter(
            job.ready.target.info, job.encoder, part,
            container=job.output.suffix.lower(), start=chunk.start, stop=chunk.stop,
        )  # fmt: skip
        self._open = chunk, part, writer
        return self._open


def chunk_folder(file: JobFile) -> ChunkFolder:
    """The chunks of a job whose analysis is there.

    Raises:
        StateError: It has none yet.
    """
    chunks = grid(*file.frames, file.request.recipe.run.chunk)
    return ChunkFolder(file.folder, chunk_key(file.digest, file.folder.parent), chunks)


def open_session(file: JobFile, watch: Watch | None = None) -> Session:
    """A session in another process than the one that wrote the job.

    Args:
        file: From ``read_job``.
        watch: Who is told of remarks.

    Raises:
        StateError: There is no matching analysis, or an input, the recipe or this machine's
            software is not what the job was begun with; names what differs.
        VidswapError: As ``prepare``.
    """
    request = replace(file.request, watch=watch or Watch())
    # An output that came in between is the business of whoever joins.
    job = prepare(replace(request, overwrite=True))
    key = job_key(request, job)
    if wrong := [name for name, value in key.items() if file.key.get(name) != value]:
        raise StateError(
            f"this job was begun with another {', '.join(wrong)}",
            path=file.folder,
            stage="job",
            hint="run the command itself again: it begins anew where it has to",
        )
    analysis = require(request, job.ready.target, job.ready.engine.needs)
    cast = cast_of(request, analysis, job.ready)
    prepare_latents(request, job.ready.target, analysis, job.ready.engine, cast)
    likeness = None if request.report is None else likeness_of(cast)
    plans = plans_for(analysis, job.ready, cast)
    folder = chunk_folder(file)
    return Session(request, job, analysis, plans, folder, likeness)
