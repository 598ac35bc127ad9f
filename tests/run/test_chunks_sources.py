"""Runs in chunks whose source or disk fails them: one clear error, nothing lost, nothing mixed."""

import json
import os
import resource
import signal
import subprocess
import sys
from dataclasses import replace

import pytest

from tests.run.chunked import (
    EMPTY,
    FRAMES,
    OPTIONS,
    SIZE,
    ask,
    interrupted,
)
from vidswap.errors import MediaError, StateError
from vidswap.run import session as sessions
from vidswap.run.jobfile import jobs_in
from vidswap.run.request import Watch
from vidswap.run.swap import swap
from vidswap.testing import Audio, Clip, write_clip


def test_a_read_error_in_mid_file_keeps_what_was_before_it(clip, analysed, tmp_path, monkeypatch):
    work, digest = analysed
    output = tmp_path / "o.mp4"
    real = sessions.open_reader

    class Failing:
        def __init__(self, *args):
            self.reader = real(*args)

        def frames(self, start, stop):
            for frame in self.reader.frames(start, stop):
                if frame.index == 3 * SIZE + 2:
                    raise MediaError("input/output error", path=clip, stage="decode")
                yield frame

        def close(self):
            self.reader.close()

    with monkeypatch.context() as patch:
        patch.setattr(sessions, "open_reader", Failing)
        with pytest.raises(MediaError) as caught:
            swap(ask(clip, output, work))
    assert (caught.value.stage, caught.value.exit_code) == ("decode", 3)
    found = swap(ask(clip, output, work))
    assert found["chunks"]["kept"] in (2, 3)  # the last one may still have been in the encoder
    assert found["sha256"] == digest


@pytest.mark.parametrize("stage", ["render", "join", "verify"])
def test_a_source_that_changes_is_named_and_no_output_appears(clip, analysed, tmp_path, stage):
    work, digest = analysed
    output, source = tmp_path / "o.mp4", tmp_path / "clip.mp4"
    source.write_bytes(clip.read_bytes())
    touched = []

    def progress(now, done, total):
        if now == stage and (done >= total / 2 or stage == "verify") and not touched:
            touched.append(True)
            os.utime(source, ns=(1, 1))

    with pytest.raises(StateError) as caught:
        swap(replace(ask(source, output, work), watch=Watch(progress=progress)))
    assert touched
    assert (caught.value.path, caught.value.exit_code) == (str(source), 6)
    assert not output.exists()
    assert swap(ask(source, output, work))["sha256"] == digest


@pytest.mark.parametrize("kind", ["touched", "replaced", "cut short"])
def test_a_source_that_changes_in_pass_one_leaves_nothing_of_it(clip, analysed, tmp_path, kind):
    _, digest = analysed
    output, source, other = tmp_path / "o.mp4", tmp_path / "clip.mp4", tmp_path / "other.mp4"
    source.write_bytes(clip.read_bytes())
    write_clip(other, Clip(frames=FRAMES, matrix=6, audio=(Audio(seconds=1.3),)))
    changed = []

    def progress(stage, done, total):
        if stage == "analyse" and done >= total / 2 and not changed:
            changed.append(stage)
            if kind == "replaced":
                other.replace(source)
            elif kind == "cut short":
                os.truncate(source, source.stat().st_size // 3)
            else:
                os.utime(source, ns=(1, 1))

    with pytest.raises(StateError, match="was changed") as caught:
        swap(replace(ask(source, output), watch=Watch(progress=progress)))
    assert (changed, caught.value.path) == (["analyse"], str(source))
    assert not output.exists()
    assert not list(tmp_path.glob("o.mp4.vidswap/analysis.json"))
    source.write_bytes(clip.read_bytes())
    assert swap(ask(source, output))["sha256"] == digest


def test_a_source_with_other_content_begins_anew(clip, analysed, tmp_path):
    _, digest = analysed
    output, source = tmp_path / "o.mp4", tmp_path / "clip.mp4"
    source.write_bytes(clip.read_bytes())
    interrupted(source, tmp_path / "work", output)
    write_clip(source, Clip(frames=FRAMES, matrix=6))
    found = swap(ask(source, output, tmp_path / "work"))
    assert found["chunks"]["kept"] == 0
    assert found["sha256"] != digest
    assert len(jobs_in(tmp_path / "work")) == 1  # the chunks of the old content are gone


@pytest.mark.parametrize(("limit", "kept"), [(6_000, 0), (60_000, 5)])
def test_a_full_disk_ends_a_run_that_can_go_on(clip, analysed, tmp_path, limit, kept):
    work, digest = analysed
    output = tmp_path / "o.mp4"

    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    recipe = tmp_path / "recipe.toml"
    recipe.write_text('[engine]\nname = "identity"\n')
    sets = [a for option in (*OPTIONS, EMPTY) for a in ("--set", option)]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "vidswap", "run", clip, "-p", recipe, "-o", output, *sets),
            *("--work", work, "--allow-no-face", "--log-format", "json"),
        ],
        preexec_fn=limited,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 3, done.stderr
    error = json.loads(done.stderr.splitlines()[-1])
    assert (error["stage"], error["path"]) == ("write", str(output))
    assert not output.exists()
    found = swap(ask(clip, output, work))
    assert found["chunks"]["kept"] == kept
    assert found["sha256"] == digest
