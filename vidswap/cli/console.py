"""What goes to stdout (results), what goes to stderr (everything else), and in which form."""

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass, field
from typing import IO, Any, Literal, TextIO

from vidswap.cli.progress import Bars
from vidswap.errors import VidswapError

JSON_LOGS = "json"
LogFormat = Literal["auto", "text", "json"]


@dataclass(frozen=True, slots=True)
class Console:
    """Streams of one command.

    Attributes:
        out: Results only.
        err: Progress, remarks and errors.
        json_result: Results and errors are JSON.
        json_logs: Progress and remarks are JSON lines.
        quiet: Neither progress nor remarks.
        bars: Progress on ``err``.
    """

    out: TextIO
    err: TextIO
    json_result: bool = False
    json_logs: bool = False
    quiet: bool = False
    bars: Bars = field(init=False)

    def __post_init__(self) -> None:
        """Bars share the streams and the format."""
        bars = Bars(self.err, as_json=self.json_logs, silent=self.quiet)
        object.__setattr__(self, "bars", bars)

    @classmethod
    def for_errors(cls, as_json: bool) -> "Console":
        """The console that reports how a command ended, before any option is known."""
        return cls(sys.stdout, sys.stderr, json_result=as_json, json_logs=as_json)

    def result(self, data: Mapping[str, Any], text: str) -> None:
        """Print a command's result: ``data`` with ``--json``, else the lines of ``text``, if any."""
        self.bars.close()
        if not (text or self.json_result):
            return  # an empty line would be a name to whoever reads names
        body = json.dumps(data, default=_plain, ensure_ascii=False) if self.json_result else text
        self.out.write(f"{body}\n")
        self.out.flush()

    def note(self, message: str, *, level: str = "info") -> None:
        """One remark; warnings pass ``--quiet``."""
        if self.quiet and level != "warning":
            return
        self.bars.clear()
        if self.json_logs:
            self._line({"event": "log", "level": level, "message": message})
        else:
            self._write(f"{level}: {message}" if level == "warning" else message)

    def error(self, error: VidswapError) -> None:
        """The one error that ended the command."""
        if self.json_logs:
            envelope = {
                "event": "error",
                "code": error.code,
                "stage": error.stage,
                "message": error.message,
                "path": error.path,
                "hint": error.hint,
                "exit_code": error.exit_code,
            }
            self._line(envelope)
            return
        self._write(f"error: {error}")
        if error.hint:
            self._write(f"hint: {error.hint}")

    def interrupted(self, name: str, exit_code: int) -> None:
        """A signal stopped the command."""
        message = f"stopped by {name}; no output was written"
        if self.json_logs:
            fields = {"event": "error", "code": "cancelled", "message": message}
            self._line({**fields, "exit_code": exit_code})
        else:
            self._write(f"error: {message}")

    def bug(self, trace: str) -> None:
        """A bug: everything that helps to find it."""
        if self.json_logs:
            self._line({"event": "error", "code": "bug", "message": trace, "exit_code": 1})
        else:
            self._write(f"{trace}\nThis is a bug in vidswap, not in what you did.")

    def _line(self, fields: Mapping[str, Any]) -> None:
        stamped = {"time": round(time.time(), 3), **fields}
        self._write(json.dumps(stamped, default=_plain, ensure_ascii=False))

    def _write(self, text: str) -> None:
        # A closed terminal must not hide how the command ended.
        with suppress(OSError, ValueError):
            self.err.write(f"{text}\n")
            self.err.flush()


def _plain(value: Any) -> Any:
    """What ``json`` does not know: numpy scalars and arrays, paths, fractions."""
    for method in ("tolist", "item"):
        if hasattr(value, method):
            return getattr(value, method)()
    return str(value)


@contextmanager
def console(log_format: LogFormat, *, as_json: bool, quiet: bool) -> Iterator[Console]:
    """The console of a command, with everything that libraries print kept out of it.

    MediaPipe, FFmpeg and TensorFlow write to the file descriptors from C++, insightface prints;
    all of that goes to a temporary file, whose end is shown when a bug ends the command.

    Args:
        log_format: ``auto`` is text on a terminal and JSON lines elsewhere.
        as_json: ``--json`` was given.
        quiet: ``--quiet`` was given.
    """
    out, err = sys.stdout, sys.stderr
    json_logs = log_format == JSON_LOGS or (log_format == "auto" and not err.isatty())
    with tempfile.TemporaryFile("w+", errors="replace") as chatter:
        own_out, own_err, restore = _divert(out, err, chatter)
        try:
            opened = Console(own_out, own_err, as_json, json_logs, quiet)
            with redirect_stdout(chatter), redirect_stderr(chatter), closing(opened.bars):
                yield opened
        except Exception as error:
            if not isinstance(error, VidswapError):
                chatter.seek(0)
                own_err.write(chatter.read()[-4000:])
            raise
        finally:
            own_out.flush()
            own_err.flush()
            restore()


def _divert(out: TextIO, err: TextIO, chatter: IO[str]) -> tuple[TextIO, TextIO, Any]:
    """Point descriptors 1 and 2 at ``chatter``; returns our own streams and how to undo it."""
    if _descriptor(out) != 1 or _descriptor(err) != 2:
        return out, err, lambda: None  # a test has replaced the streams
    out.flush()
    err.flush()
    saved = os.dup(1), os.dup(2)
    os.dup2(chatter.fileno(), 1)
    os.dup2(chatter.fileno(), 2)
    streams = [os.fdopen(os.dup(fd), "w", encoding="utf-8", errors="replace") for fd in saved]

    def restore() -> None:
        for target, handle in zip((1, 2), saved, strict=True):
            os.dup2(handle, target)
            os.close(handle)
        for stream in streams:
            with suppress(OSError):
                stream.close()

    return streams[0], streams[1], restore


def _descriptor(stream: TextIO) -> int | None:
    with suppress(OSError, ValueError, AttributeError):
        return stream.fileno()
    return None
