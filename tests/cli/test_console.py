"""Streams: results on stdout, everything else on stderr, libraries' chatter on neither."""

import io
import json
import signal
import subprocess
import sys
from contextlib import suppress

import pytest

from vidswap.cli.console import Console
from vidswap.cli.outcome import run_command, wants_json
from vidswap.cli.progress import Bars
from vidswap.cli.signals import Interrupted
from vidswap.errors import (
    MediaError,
    NoFaceError,
    PartialBatchError,
    RecipeError,
    StateError,
    VidswapError,
    WeightsError,
)


class Fake:
    """A command that ends as it is told."""

    def __init__(self, ending):
        self.ending = ending

    def main(self, *args, **kwargs):
        if isinstance(self.ending, BaseException):
            raise self.ending
        return self.ending


CLASSES = [
    (VidswapError, 1),
    (RecipeError, 2),
    (MediaError, 3),
    (WeightsError, 4),
    (NoFaceError, 5),
    (StateError, 6),
    (PartialBatchError, 7),
]


@pytest.mark.parametrize(("kind", "code"), CLASSES)
def test_every_error_class_has_its_code_and_one_line(kind, code, capsys):
    error = kind("went wrong", path="clip.mp4", stage="decode", hint="do better")
    assert run_command(Fake(error), []) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "error: clip.mp4: decode: went wrong\nhint: do better\n"


@pytest.mark.parametrize(("kind", "code"), CLASSES)
def test_json_errors(kind, code, capsys):
    error = kind("went wrong", path="clip.mp4", stage="decode", hint="do better")
    assert run_command(Fake(error), ["run", "--json"]) == code
    out, err = capsys.readouterr()
    assert out == ""
    fields = json.loads(err)
    assert fields.pop("time") > 0
    assert fields == {
        "event": "error",
        "code": kind.code,
        "stage": "decode",
        "message": "went wrong",
        "path": "clip.mp4",
        "hint": "do better",
        "exit_code": code,
    }


def test_a_bug_keeps_its_traceback(capsys):
    assert run_command(Fake(ZeroDivisionError("oops")), []) == 1
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert "This is a bug" in err


def test_codes_of_the_rest(capsys):
    assert run_command(Fake(None), []) == 0
    assert run_command(Fake(4), []) == 4
    assert run_command(Fake(KeyboardInterrupt()), []) == 130
    assert "stopped by SIGINT" in capsys.readouterr().err


def test_a_stop_that_native_code_made_an_error_of_is_a_stop(capsys):
    """A library that a signal finds while it is loaded fails with an error of its own."""

    class Loading:
        def main(self, *args, **kwargs):
            with suppress(Interrupted):
                signal.raise_signal(signal.SIGTERM)
            raise WeightsError("mediapipe does not load: initialization failed")

    assert run_command(Loading(), ["--json"]) == 143
    assert json.loads(capsys.readouterr().err)["code"] == "cancelled"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["run", "--json"], True),
        (["run", "--log-format", "json"], True),
        (["run", "--log-format=json"], True),
        (["run", "--log-format", "text"], False),
        (["run", "json"], False),
    ],
)
def test_json_is_recognised_before_parsing(arguments, expected):
    assert wants_json(arguments) is expected


def console(**options):
    return Console(io.StringIO(), io.StringIO(), **options)


def test_results_go_to_stdout():
    plain, coded = console(), console(json_result=True)
    plain.result({"a": 1}, "text")
    coded.result({"a": 1}, "text")
    assert plain.out.getvalue() == "text\n"
    assert json.loads(coded.out.getvalue()) == {"a": 1}
    assert plain.err.getvalue() == coded.err.getvalue() == ""


def test_no_result_is_no_line():
    plain = console()
    plain.result({"outputs": []}, "")
    assert plain.out.getvalue() == ""


def test_quiet_keeps_warnings():
    quiet = console(quiet=True)
    quiet.note("remark")
    quiet.note("danger", level="warning")
    assert quiet.err.getvalue() == "warning: danger\n"


def test_json_progress_is_throttled_and_complete():
    stream = io.StringIO()
    bars = Bars(stream, as_json=True, silent=False)
    for done in range(1, 1001):
        bars("render", done, 1000)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert 1 <= len(lines) <= 5
    assert lines[-1]["done"] == lines[-1]["total"] == 1000
    assert {"stage", "frames_per_second", "seconds_left", "event"} <= set(lines[-1])


def test_json_progress_says_nothing_twice():
    stream = io.StringIO()
    bars = Bars(stream, as_json=True, silent=False)
    for total in (2, 3):  # a daemon that waits for clips looks three times a second, for ever
        for _ in range(1000):
            bars("batch", 2, total)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [(line["done"], line["total"]) for line in lines] in ([(2, 2)], [(2, 2), (2, 3)])
    assert "clips_per_second" in lines[0]


def test_a_bar_shows_stage_rate_and_total():
    stream = io.StringIO()
    bars = Bars(stream, as_json=False, silent=False)
    bars("analyse", 5, 10)
    bars("render", 10, 10)
    bars.close()
    text = stream.getvalue()
    assert "analyse" in text
    assert "render" in text
    assert "10/10" in text


def test_silent_bars_write_nothing():
    stream = io.StringIO()
    Bars(stream, as_json=True, silent=True)("render", 1, 1)
    assert stream.getvalue() == ""


CHATTER = """
import os, sys
from vidswap.cli.console import console
from vidswap.errors import MediaError
with console("auto", as_json=True, quiet=False) as c:
    os.write(1, b"native out"); os.write(2, b"native err"); print("python out")
    print("python err", file=sys.stderr)
    c.note("remark")
    c.result({"ok": 1}, "")
    if "bug" in sys.argv: raise ZeroDivisionError
print("after")
"""


def test_chatter_of_libraries_reaches_neither_stream():
    done = subprocess.run([sys.executable, "-c", CHATTER], capture_output=True, text=True)
    assert done.stdout == '{"ok": 1}\nafter\n'
    assert json.loads(done.stderr)["message"] == "remark"


def test_a_bug_shows_what_libraries_said():
    done = subprocess.run([sys.executable, "-c", CHATTER, "bug"], capture_output=True, text=True)
    assert done.returncode == 1
    assert "native err" in done.stderr
    assert "ZeroDivisionError" in done.stderr
