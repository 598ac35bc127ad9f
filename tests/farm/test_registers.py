"""What the queue stands on: files that settle a question once, and owners that are known to be gone."""

import errno
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from vidswap.farm import register
from vidswap.farm.owner import Owner, decode, is_gone, this_process

ELSEWHERE = Owner("another-machine", "its boot", 1, "1")


class TestRegisters:
    def test_the_first_content_stays(self, tmp_path):
        path = tmp_path / "deep" / "register"
        assert register.read(path) is None
        assert register.settle(path, b"first")
        assert not register.settle(path, b"second")
        assert register.read(path) == b"first"
        assert [p.name for p in path.parent.iterdir()] == ["register"]

    def test_without_hard_links(self, tmp_path, monkeypatch):
        def refuse(*_):
            raise OSError(errno.EPERM, "no hard links here")

        monkeypatch.setattr(os, "link", refuse)
        path = tmp_path / "register"
        assert register.settle(path, b"first")
        assert not register.settle(path, b"second")
        assert not register._settle_folder(path, b"third")
        assert register.read(path) == b"first"
        assert [p.name for p in tmp_path.iterdir()] == ["register"]

    @pytest.mark.parametrize("links", [True, False])
    def test_one_of_many_threads_wins(self, tmp_path, links):
        settle = register.settle if links else register._settle_folder
        path, won = tmp_path / "register", []
        gate = threading.Barrier(8)

        def contend(number):
            gate.wait()
            if settle(path, b"%d" % number):
                won.append(number)

        threads = [threading.Thread(target=contend, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1
        assert register.read(path) == b"%d" % won[0]

    def test_moving_twice_is_moving_once(self, tmp_path):
        source, target = tmp_path / "a", tmp_path / "new" / "b"
        source.write_text("x")
        register.move(source, target)
        register.move(source, target)
        assert target.read_text() == "x"

    def test_moving_to_another_file_system(self, tmp_path, monkeypatch):
        source, target = tmp_path / "a", tmp_path / "b"
        source.write_text("x")
        replace_ = Path.replace

        def refuse(self, to):
            if self == source:
                raise OSError(errno.EXDEV, "another device")
            return replace_(self, to)

        monkeypatch.setattr(Path, "replace", refuse)
        register.move(source, target)
        assert target.read_text() == "x"


class TestOwners:
    def test_this_process_is_here_and_others_are_not_judged(self):
        me = this_process()
        assert not is_gone(me)
        assert decode(me.describe()) == me
        assert not is_gone(ELSEWHERE)
        assert decode({"pid": "x"}) is None

    @pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
    def test_a_dead_process_is_gone_even_before_it_is_reaped(self):
        process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        stat = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        other = replace(this_process(), pid=process.pid, started=stat[19])
        assert not is_gone(other)
        process.kill()
        deadline = time.monotonic() + 5
        while not is_gone(other) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert is_gone(other)
        process.communicate()
        assert is_gone(replace(this_process(), started="1"))  # the pid is another process's now
