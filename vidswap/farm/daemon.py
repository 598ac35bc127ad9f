"""A process that keeps the engine for the tasks of one session of a scheduler.

Sessions are killed, and then nobody tells the daemon to end. So it looks once a second whether the
process that began the session still runs and whether its own file is still there, and ends itself
when either is gone. It is started as ``python -m vidswap.farm.daemon PLACE PARENT``.

``PLACE`` holds its port and a secret, readable by its user alone. Messages are JSON.
"""

import json
import os
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import Any

from vidswap.errors import MediaError, StateError
from vidswap.farm.owner import Owner, is_gone, process
from vidswap.farm.renderer import Renderer, unwrapped
from vidswap.farm.steps import run_chunk
from vidswap.run.jobfile import encode_request
from vidswap.run.request import Request

START_SECONDS = 120.0
LOOK_SECONDS = 1.0
ORPHANED = 1
"""Exit status when the session is gone."""
HELPERS = ("sudo", "su", "setsid", "sh", "bash", "dash", "env")
"""Programs that only start a session's command for it and end with it."""


def start(place: Path, request: Request) -> int:
    """Start a daemon and wait until it answers; returns its process id.

    Args:
        place: File that tells others where it is.
        request: What it renders chunks of, planned already.

    Raises:
        StateError: It does not start, or something is at that place.
        MediaError: The place cannot be written to.
    """
    if place.exists():
        raise StateError(
            "is taken: a daemon is there, or something else", path=place, stage="daemon"
        )
    parent = ancestor(os.getppid())
    log = place.with_name(f"{place.name}.log")
    try:
        place.with_name(f"{place.name}.request").write_text(json.dumps(encode_request(request)))
        with log.open("wb") as file:
            command = [sys.executable, "-m", "vidswap.farm.daemon", str(place), str(parent)]
            child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True
            )
    except OSError as error:
        message = f"cannot be written: {error.strerror or error}"
        raise MediaError(message, path=place, stage="daemon") from error
    until = time.monotonic() + START_SECONDS
    while not place.exists():
        if child.poll() is not None or time.monotonic() > until:
            child.kill()
            tail = log.read_text(errors="replace")[-1000:].strip()
            raise StateError(f"the daemon does not start: {tail}", path=place, stage="daemon")
        time.sleep(0.05)
    return child.pid


def ask(place: Path, request: Request, index: int) -> dict[str, Any]:
    """Have a chunk rendered; one whose daemon dies is rendered here.

    Raises:
        VidswapError: As ``run_chunk``.
    """
    try:
        with _connected(place) as line:
            _send(line, {"index": index})
            while True:
                message = json.loads(line.recv_bytes())
                if "answer" in message:
                    return unwrapped(message["answer"])
                _hear(request, message)
    except (OSError, EOFError, ValueError, KeyError, AuthenticationError) as error:
        request.watch.warn(f"the daemon is gone ({type(error).__name__}); rendering without it")
    return run_chunk(request, index)


def end(place: Path) -> bool:
    """End a daemon; whether it was there."""
    try:
        with _connected(place) as line:
            _send(line, {"end": True})
            with suppress(EOFError, OSError):
                line.recv_bytes()
    except (OSError, EOFError, ValueError, KeyError, AuthenticationError):
        return False
    return True


def serve(place: Path, parent: Owner) -> None:
    """Answer until told to end, or until nobody can need it any more."""
    beside = place.with_name(f"{place.name}.request")
    renderer = Renderer(json.loads(beside.read_text(encoding="utf-8")))
    secret = secrets.token_bytes(32)
    with Listener(("127.0.0.1", 0), authkey=secret) as listener:
        draft = place.with_name(f".{place.name}.part")
        handle = os.open(draft, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump({"address": listener.address, "secret": secret.hex()}, file)
        draft.replace(place)
        threading.Thread(target=_watch, args=(place, parent), daemon=True).start()
        while True:
            with suppress(OSError, EOFError, AuthenticationError), listener.accept() as line:
                if not _answer(line, renderer):
                    break
    for path in (place, beside):
        path.unlink(missing_ok=True)


def ancestor(pid: int) -> int:
    """The process that a session belongs to: the next one up that is no mere helper."""
    while pid > 1:
        try:
            text = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return pid
        name, _, rest = text.partition("(")[2].rpartition(")")
        if name not in HELPERS:
            return pid
        pid = int(rest.split()[1])
    return pid


def _answer(line: "Connection[Any, Any]", renderer: Renderer) -> bool:
    """Answer one connection; whether to go on."""
    question = json.loads(line.recv_bytes())
    if "end" in question:
        _send(line, {"ended": True})
        return False
    answer: dict[str, Any] = {}
    work = threading.Thread(target=lambda: answer.update(renderer.chunk(int(question["index"]))))
    work.start()
    while work.is_alive():
        work.join(LOOK_SECONDS)
        with suppress(OSError):  # whoever asked is gone; the chunk is worth finishing
            _send(line, {"news": renderer.news()})
    _send(line, {"answer": answer})
    return True


def _hear(request: Request, message: Mapping[str, Any]) -> None:
    stage, done, total = message["news"]["stage"]
    if total:
        request.watch.progress(stage, done, total)
    for kind, text in message["news"]["remarks"]:
        (request.watch.warn if kind == "warn" else request.watch.note)(text)


def _connected(place: Path) -> "Connection[Any, Any]":
    table = json.loads(place.read_text(encoding="utf-8"))
    host, port = table["address"]
    return Client((host, port), authkey=bytes.fromhex(table["secret"]))


def _send(line: "Connection[Any, Any]", message: Mapping[str, Any]) -> None:
    line.send_bytes(json.dumps(message, default=str).encode())


def _watch(place: Path, parent: Owner) -> None:
    known = parent.started or not parent.system
    while known and place.exists() and not is_gone(parent):
        time.sleep(LOOK_SECONDS)
    os._exit(ORPHANED)  # whatever the codecs are doing: nobody waits for it


if __name__ == "__main__":
    serve(Path(sys.argv[1]), process(int(sys.argv[2])))
    sys.stdout.flush()
    os._exit(0)  # a codec's thread may still be busy
