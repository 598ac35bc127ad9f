"""The steps of one run in one process that lives longer than a step, so that the engine is loaded once."""

import os
import socket
import threading
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from vidswap import errors
from vidswap.errors import StateError, VidswapError
from vidswap.recipe import Recipe

TERM = "term"
"""File in the work folder that names the driver whose workers may commit."""


class Renderer:
    """One worker of a run: an actor of Ray, or a daemon of a session.

    Every method but ``news`` answers ``{"found": …}`` or ``{"error": …}``: errors keep their kind
    however they are carried.

    Args:
        request: From ``encode_request``; its paths are those that all machines see.
        term: Content of the term file for as long as this worker may commit; None is for ever.
    """

    def __init__(self, request: Mapping[str, Any], term: str | None = None) -> None:
        from vidswap.run.jobfile import decode_request
        from vidswap.run.request import Watch

        watch = Watch(self._progress, self._note, self._warn)
        self._request = decode_request(request, watch)
        self._term = term
        self._lock = threading.Lock()
        self._stage: tuple[str, int, int] = ("", 0, 0)
        self._part = -1
        self._remarks: list[tuple[str, str]] = []
        self._kept: tuple[Recipe, Any] | None = None

    def news(self) -> dict[str, Any]:
        """How it gets on, and remarks since the last time; called while other methods run."""
        with self._lock:
            remarks, self._remarks = self._remarks, []
            where = {"pid": os.getpid(), "host": socket.gethostname()}
            return {**where, "part": self._part, "stage": self._stage, "remarks": remarks}

    def span(self, number: int) -> dict[str, Any]:
        """Analyse a span."""
        from vidswap.farm.steps import run_span

        return self._told(lambda: run_span(self._request, number), number)

    def plan(self, expected: int) -> dict[str, Any]:
        """Finish the analysis and store the job."""
        from vidswap.farm.steps import run_plan

        return self._told(lambda: run_plan(self._request, expected, take_over=True))

    def chunk(self, index: int) -> dict[str, Any]:
        """Render a chunk."""
        return self._told(lambda: self._chunk(index), index)

    def join(self) -> dict[str, Any]:
        """Join, verify, publish."""
        from vidswap.farm.steps import run_join

        self._close()
        return self._told(lambda: run_join(self._request, take_over=True))

    def _chunk(self, index: int) -> dict[str, Any]:
        from vidswap.farm.memory import halving
        from vidswap.farm.steps import find_job, render_one
        from vidswap.run.session import open_session

        def rendered(recipe: Recipe) -> dict[str, Any]:
            if self._kept is None or self._kept[0] != recipe:
                self._close()
                request = replace(self._request, recipe=recipe)
                file = replace(find_job(request), request=request)
                self._kept = recipe, open_session(file, self._request.watch)
            return render_one(self._kept[1], index, self._fence)

        try:
            return halving(self._request.recipe, rendered, self._note)
        except BaseException:
            self._close()
            raise

    def _fence(self, _chunk: object) -> None:
        """Keep chunks out once another driver has begun."""
        from vidswap.farm.steps import work_of

        if self._term is None:
            return
        with suppress(OSError):
            if (work_of(self._request) / TERM).read_text(encoding="utf-8") == self._term:
                return
        raise StateError("another run has taken this job over", stage="fence")

    def _close(self) -> None:
        if self._kept is not None:
            self._kept[1].close()
            self._kept = None

    def _told(self, work: Callable[[], dict[str, Any]], part: int = -1) -> dict[str, Any]:
        with self._lock:
            self._part, self._stage = part, ("", 0, 0)
        try:
            return {"found": work()}
        except VidswapError as error:
            fields = ("message", "path", "stage", "hint")
            kind = next(k for k in type(error).__mro__ if hasattr(errors, k.__name__))
            table = {name: getattr(error, name) for name in fields}
            return {"error": {"kind": kind.__name__, **table}}
        except Exception:  # noqa: BLE001 - a bug, told to the driver that can show it
            return {"error": {"kind": "bug", "message": traceback.format_exc()}}

    def _progress(self, stage: str, done: int, total: int) -> None:
        with self._lock:
            self._stage = (stage, done, total)

    def _note(self, message: str) -> None:
        with self._lock:
            self._remarks.append(("note", message))

    def _warn(self, message: str) -> None:
        with self._lock:
            self._remarks.append(("warn", message))


def unwrapped(answer: Mapping[str, Any]) -> dict[str, Any]:
    """What a method of ``Renderer`` found.

    Raises:
        VidswapError: What it met.
        RuntimeError: A bug that it met.
    """
    if "error" not in answer:
        return dict(answer["found"])
    table = dict(answer["error"])
    kind = getattr(errors, str(table.pop("kind")), None)
    if isinstance(kind, type) and issubclass(kind, VidswapError):
        raise kind(table.pop("message"), **table)
    raise RuntimeError(f"a worker met a bug:\n{table['message']}")
