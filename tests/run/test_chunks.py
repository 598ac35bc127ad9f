"""Grid, records, job files and the board: the parts of a resumable render, one by one."""

import json
import os
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidswap import recipe as recipes
from vidswap.errors import MediaError, StateError
from vidswap.media.segment import Segment, digest_of
from vidswap.run.atomic import write_json
from vidswap.run.chunks import Chunk, ChunkFolder, Counts, grid
from vidswap.run.guard import Guard
from vidswap.run.jobfile import JobFile, jobs_in, read_job
from vidswap.run.processes import ATTEMPTS, Board
from vidswap.run.request import Request
from vidswap.run.trim import Moment


@given(st.integers(0, 500), st.integers(1, 2000), st.integers(1, 300))
def test_the_grid_covers_the_range_once(start, length, size):
    chunks = grid(start, start + length, size)
    assert [c.index for c in chunks] == list(range(len(chunks)))
    assert chunks[0].start == start
    assert chunks[-1].stop == start + length
    assert all(a.stop == b.start for a, b in pairwise(chunks))
    assert all(c.frames == size and c.start == start + c.index * size for c in chunks[:-1])
    assert len(chunks) == 1 or size / 2 <= chunks[-1].frames < 1.5 * size + 1


@pytest.mark.parametrize(("start", "stop", "size"), [(0, 10, 0), (5, 5, 3), (6, 5, 3)])
def test_no_grid_over_nothing(start, stop, size):
    with pytest.raises(ValueError, match="no grid"):
        grid(start, stop, size)


@pytest.fixture
def folder(tmp_path):
    return ChunkFolder(tmp_path / "job", "key", grid(0, 40, 10))


def commit(folder, chunk, content=b"packets", seen=None, fence=None):
    part = folder.part(chunk)
    part.write_bytes(content)
    segment = Segment(digest_of(part), len(content), chunk.frames, (0, 9), "headers")
    return folder.commit(chunk, part, segment, Counts(3, 2), seen, fence)


def test_a_committed_chunk_is_done_and_nothing_else(folder):
    first, second = folder.chunks[:2]
    assert folder.pending() == folder.chunks
    record = commit(folder, first)
    assert folder.record(first) == record
    assert folder.pending() == folder.chunks[1:]
    assert folder.record(second) is None
    again = commit(folder, first)
    assert again == record
    assert sorted(p.name for p in folder.path.iterdir()) == [
        "chunk-00000.json",
        "chunk-00000.video",
    ]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda f, c: f.video(c).write_bytes(b"pockets"),
        lambda f, c: f.video(c).write_bytes(b"packet"),
        lambda f, c: f.video(c).unlink(),
        lambda f, c: (f.path / "chunk-00000.json").write_text("{"),
        lambda f, c: (f.path / "chunk-00000.json").write_text("{}"),
        lambda f, c: (f.path / "chunk-00000.json").write_text("[1]"),
        lambda f, c: (f.path / "chunk-00000.json").unlink(),
        lambda f, c: setattr(f, "key", "another"),
        lambda f, c: f.discard(c),
    ],
)
def test_a_spoiled_chunk_is_rendered_anew(folder, spoil):
    chunk = folder.chunks[0]
    commit(folder, chunk)
    spoil(folder, chunk)
    assert folder.record(chunk) is None
    assert chunk in folder.pending()
    with pytest.raises(StateError, match="is not rendered"):
        folder.records()
    commit(folder, chunk)
    assert folder.record(chunk) is not None


def test_a_chunk_without_what_the_report_needs_does_not_count_for_one(folder, tmp_path):
    chunk = folder.chunks[0]
    commit(folder, chunk)
    assert folder.record(chunk, seen=True) is None
    seen = tmp_path / "seen.part"
    seen.write_bytes(b"seen")
    commit(folder, chunk, seen=seen)
    assert folder.record(chunk, seen=True) is not None
    folder.seen(chunk).write_bytes(b"been")
    assert folder.record(chunk, seen=True) is None
    assert folder.record(chunk) is not None


def test_a_fence_keeps_a_late_worker_out(folder):
    chunk = folder.chunks[0]

    def fence():
        raise StateError("not yours any more")

    with pytest.raises(StateError, match="not yours"):
        commit(folder, chunk, fence=fence)
    assert folder.pending() == folder.chunks
    assert not folder.video(chunk).exists()
    folder.clear()
    assert not list(folder.path.iterdir())


def test_parts_of_dead_runs_are_swept_and_chunks_stay(folder):
    commit(folder, folder.chunks[0])
    mine = folder.part(folder.chunks[1])
    mine.write_bytes(b"half")
    elsewhere = mine.with_name("chunk-00001.1@another.host.abcd.part")
    dead = mine.with_name(mine.name.replace(f".{os.getpid()}@", f".{(1 << 22) + 1}@"))
    for part in (elsewhere, dead):
        part.write_bytes(b"half")
    folder.sweep()
    assert [p.exists() for p in (mine, elsewhere, dead)] == [True, True, False]
    assert folder.record(folder.chunks[0]) is not None
    folder.clear()
    assert not list(folder.path.iterdir())


def test_a_failed_json_leaves_the_old_one(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert json.loads(path.read_text()) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


@pytest.fixture
def request_(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("ref.png").write_bytes(b"photo")
    return Request(
        Path("clip.mp4"),
        recipes.load("mesh", ["run.workers=3", "encode.crf=20"]),
        sources=(Path("a.png"), Path("/b.png")),
        faces="ref.png",
        mapping=(("0", Path("c.png")), ("ref.png", Path("d.png"))),
        start=Moment(seconds=1.5),
        end=Moment(frame=90),
        overwrite=True,
    )


def test_a_job_file_holds_the_whole_request(request_, tmp_path):
    file = JobFile(tmp_path / "render-1", request_, tmp_path / "o.mp4", {"a": "b"}, (5, 90))
    file.save()
    read = read_job(file.folder)
    assert (read.output, read.key, read.frames, read.phase) == (
        tmp_path / "o.mp4",
        {"a": "b"},
        (5, 90),
        "running",
    )
    got = read.request
    assert got.input == tmp_path / "clip.mp4"
    assert got.sources == (tmp_path / "a.png", Path("/b.png"))
    assert got.faces == str(tmp_path / "ref.png")
    assert got.mapping == (
        ("0", tmp_path / "c.png"),
        (str(tmp_path / "ref.png"), tmp_path / "d.png"),
    )
    assert got.recipe == request_.recipe
    assert (got.start, got.end, got.overwrite) == (request_.start, request_.end, True)
    done = read.moved_to("finished", sha256="x")
    assert read_job(file.folder).phase == done.phase == "finished"
    assert jobs_in(tmp_path)[0].result == {"sha256": "x"}


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"format": 1}', '{"format": 99}'])
def test_a_damaged_job_file_is_named(tmp_path, text):
    folder = tmp_path / "render-1"
    folder.mkdir()
    (folder / "job.json").write_text(text)
    with pytest.raises(StateError) as caught:
        read_job(folder)
    assert caught.value.path == str(folder / "job.json")


def test_guard_names_the_file_that_changed(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    a.write_bytes(b"1")
    b.write_bytes(b"2")
    guard = Guard([a, b])
    guard.check()
    os.utime(b, ns=(1, 1))
    with pytest.raises(StateError) as caught:
        guard.check()
    assert caught.value.path == str(b)
    b.unlink()
    with pytest.raises(MediaError):
        guard.check()


def test_the_board_hands_out_each_chunk_once_and_runs_where_it_can():
    chunks = grid(0, 120, 10)
    board = Board(chunks)
    first, second = board.take(1, None), board.take(2, None)
    assert (first.index, second.index) == (0, 6)
    assert board.take(1, 0).index == 1
    got = [first.index, second.index, 1]
    while (chunk := board.take(2, None)) is not None:
        got.append(chunk.index)
    assert sorted(got) == list(range(12))
    assert not board.free
    for index in got:
        assert board.open
        board.done(index)
    assert not board.open


def test_the_board_never_gives_a_chunk_that_is_taken_as_the_next_one():
    board = Board(grid(0, 40, 10))
    assert board.take(1, None).index == 0
    assert board.take(2, 0).index == 1
    assert board.take(1, 0) is None


def test_a_dead_workers_chunks_come_back_but_not_for_ever():
    board = Board(grid(0, 40, 10))
    for attempt in range(1, ATTEMPTS):
        assert board.take(attempt, None).index == 0
        assert [c.index for c in board.died(attempt)] == [0]
    board.take(9, None)
    with pytest.raises(MediaError, match="frames 0 to 9"):
        board.died(9)


def test_the_records_name_what_they_are_of(folder):
    record = commit(folder, folder.chunks[2])
    table = json.loads((folder.path / "chunk-00002.json").read_text())
    assert table["key"] == "key"
    assert (table["start"], table["stop"], table["frames"]) == (20, 30, 10)
    assert (table["faces"], table["swapped"]) == (3, 2)
    assert replace(record, index=1) != record
    assert folder.record(Chunk(2, 20, 31)) is None
