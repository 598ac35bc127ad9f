"""Paths are proved distinct, outputs appear whole or not at all, one run holds one output."""

import errno
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vidswap.errors import MediaError, RecipeError, StateError
from vidswap.run import job
from vidswap.run.lock import lock_path, locked, tidy


def write_through(output, body=b"video", overwrite=False):
    with job.producing_output(output, overwrite=overwrite) as part:
        part.write_bytes(body)
        assert part.parent == output.parent
        assert part.name == f".{output.name}.{os.getpid()}.part"


def test_default_names():
    assert job.default_output(Path("/a/clip.one.mkv")) == Path("/a/clip.one_swapped.mkv")
    assert job.default_work(Path("/a/out.mp4")) == Path("/a/out.mp4.vidswap")


def test_output_appears_and_nothing_else(tmp_path):
    write_through(tmp_path / "out.mp4")
    assert [p.name for p in tmp_path.iterdir()] == ["out.mp4"]
    assert (tmp_path / "out.mp4").read_bytes() == b"video"


def test_existing_output_needs_overwrite(tmp_path):
    output = tmp_path / "out.mp4"
    output.write_bytes(b"old")
    with pytest.raises(StateError, match="exists already"):
        write_through(output)
    assert output.read_bytes() == b"old"
    write_through(output, overwrite=True)
    assert output.read_bytes() == b"video"


def fail_writing(output, error, overwrite=False):
    with job.producing_output(output, overwrite=overwrite) as part:
        part.write_bytes(b"half")
        raise error


def meet_another_file(output):
    with job.producing_output(output, overwrite=False) as part:
        part.write_bytes(b"mine")
        output.write_bytes(b"theirs")


def test_an_output_that_appears_meanwhile_is_kept(tmp_path):
    output = tmp_path / "out.mp4"
    with pytest.raises(StateError, match="exists already"):
        meet_another_file(output)
    assert output.read_bytes() == b"theirs"
    assert [p.name for p in tmp_path.iterdir()] == ["out.mp4"]


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt()])
def test_a_failed_block_leaves_nothing_and_keeps_the_old_output(tmp_path, error):
    output = tmp_path / "out.mp4"
    output.write_bytes(b"old")
    with pytest.raises(type(error)):
        fail_writing(output, error, overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ["out.mp4"]
    assert output.read_bytes() == b"old"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS])
def test_disk_trouble_is_an_error_that_names_the_output(tmp_path, code):
    output = tmp_path / "out.mp4"
    with pytest.raises(MediaError) as caught:
        fail_writing(output, OSError(code, os.strerror(code)))
    assert caught.value.stage == "write"
    assert caught.value.path == str(output)
    assert not list(tmp_path.iterdir())


def test_other_system_errors_stay_bugs(tmp_path):
    with pytest.raises(BlockingIOError):
        fail_writing(tmp_path / "out.mp4", OSError(errno.EAGAIN, "again"))


def test_missing_folder_and_folder_as_output(tmp_path):
    with pytest.raises(MediaError, match="folder does not exist") as caught:
        job.check_output(tmp_path / "no" / "out.mp4", overwrite=False)
    assert "mkdir" in caught.value.hint
    (tmp_path / "dir.mp4").mkdir()
    with pytest.raises(StateError, match="is a folder"):
        job.check_output(tmp_path / "dir.mp4", overwrite=True)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_unwritable_folder(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(MediaError, match="not writable"):
        job.check_output(tmp_path / "out.mp4", overwrite=False)


def test_inputs_that_cannot_be_read(tmp_path):
    with pytest.raises(MediaError, match="no such file"):
        job.check_input(tmp_path / "none.mp4")
    with pytest.raises(MediaError, match="is a folder"):
        job.check_input(tmp_path)


def test_output_equal_to_an_input_is_seen_through_every_disguise(tmp_path):
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"x")
    (tmp_path / "sub").mkdir()
    (tmp_path / "link.mp4").symlink_to(clip)
    (tmp_path / "hard.mp4").hardlink_to(clip)
    (tmp_path / "folder").symlink_to(tmp_path)
    for disguise in (
        "clip.mp4",
        "sub/../clip.mp4",
        "link.mp4",
        "hard.mp4",
        "folder/clip.mp4",
        "CLIP.MP4",
        "Clip.mp4",
    ):
        with pytest.raises(RecipeError, match="never overwritten"):
            job.check_distinct(tmp_path / disguise, [tmp_path / "face.jpg", clip])
    job.check_distinct(tmp_path / "clip2.mp4", [clip])


def test_unicode_spellings_of_one_name_are_one_file(tmp_path):
    with pytest.raises(RecipeError):
        job.check_distinct(tmp_path / "cafe\u0301.mp4", [tmp_path / "caf\u00e9.mp4"])


def test_the_second_run_stops_at_the_lock(tmp_path):
    output = tmp_path / "out.mp4"
    with locked(output):
        with pytest.raises(StateError, match="another run") as caught, locked(output):
            pass
        assert str(os.getpid()) in str(caught.value)
        assert lock_path(output).exists()
    assert not list(tmp_path.iterdir())


def leave_lock(output, **changes):
    owner = {"pid": os.getpid(), "host": socket.gethostname(), "started": "0"} | changes
    lock_path(output).write_text(json.dumps(owner))


def test_a_dead_owner_is_taken_over(tmp_path):
    output = tmp_path / "out.mp4"
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True)  # fmt: skip
    leave_lock(output, pid=int(gone.stdout))
    with locked(output):
        assert json.loads(lock_path(output).read_text())["pid"] == os.getpid()
    leave_lock(output, started="1")  # a pid that was given to another process
    with locked(output):
        pass
    assert not list(tmp_path.iterdir())


def test_a_dead_lock_is_tidied_up_and_a_living_one_is_not(tmp_path):
    output = tmp_path / "out.mp4"
    with locked(output):
        tidy(output)
        assert lock_path(output).exists()
    tidy(output)
    leave_lock(output, started="1")
    tidy(output)
    assert not list(tmp_path.iterdir())


def test_what_a_killed_contender_moved_aside_is_removed(tmp_path):
    output = tmp_path / "out.mp4"
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True)  # fmt: skip
    name, host = lock_path(output).name, socket.gethostname()
    theirs = [f"{name}.{os.getppid()}@{host}", f"{name}.1@elsewhere", f"{name}.note"]
    for left in (f"{name}.{int(gone.stdout)}@{host}", *theirs):
        (tmp_path / left).write_text("{}")
    with locked(output):
        pass
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(theirs)


def test_a_lock_of_another_host_is_respected(tmp_path):
    leave_lock(tmp_path / "out.mp4", pid=1, host="elsewhere")
    with pytest.raises(StateError, match="elsewhere") as caught, locked(tmp_path / "out.mp4"):
        pass
    assert "delete" in caught.value.hint


def test_a_damaged_lock_is_fresh_or_dead_by_age(tmp_path):
    path = lock_path(tmp_path / "out.mp4")
    path.write_text("{")
    with pytest.raises(StateError), locked(tmp_path / "out.mp4"):
        pass
    os.utime(path, (time.time() - 60,) * 2)
    with locked(tmp_path / "out.mp4"):
        pass


def test_parts_of_killed_runs_are_removed(tmp_path):
    (tmp_path / ".out.mp4.99.part").write_bytes(b"old")
    (tmp_path / ".other.mp4.99.part").write_bytes(b"keep")
    write_through(tmp_path / "out.mp4")
    assert sorted(p.name for p in tmp_path.iterdir()) == [".other.mp4.99.part", "out.mp4"]


def test_brackets_in_a_name_are_no_pattern(tmp_path):
    (tmp_path / ".o1.mp4.99.part").write_bytes(b"keep")
    write_through(tmp_path / "o[1].mp4")
    assert (tmp_path / ".o1.mp4.99.part").exists()
