"""A run as an Open Job Description template (specification 2023-09), for farms that read it.

Steps: Analyse (a task for each span, where there is more than one) → Plan → Render (a task for each
chunk) → Join. A task's value is an index on the grid and never a frame number, so that a farm which
groups or splits tasks cannot move the grid. The number of chunks stands in the template; ``plan``
refuses a clip that falls into another.

https://github.com/OpenJobDescription/openjd-specifications/wiki/2023-09-Template-Schemas
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from vidswap.errors import MediaError, RecipeError
from vidswap.farm.steps import Size
from vidswap.run.job import default_work
from vidswap.run.prepare import output_of
from vidswap.run.request import Request
from vidswap.run.trim import Moment

VERSION = "jobtemplate-2023-09"
NOTIFY_SECONDS = 30
"""Between SIGTERM and SIGKILL when a task is cancelled."""
DAEMON = "{{Session.WorkingDirectory}}/engine.json"
Kind = Literal["FILE", "DIRECTORY"]
Flow = Literal["IN", "OUT", "INOUT"]


@dataclass(frozen=True, slots=True)
class Hosts:
    """What the machines of a farm must have."""

    cpus: int = 1
    memory_gib: float = 4.0
    gpus: int = 0
    """For every step but Join."""
    gpu_memory_gib: float = 0.0

    def require(self, *, gpu: bool) -> dict[str, Any]:
        """``hostRequirements`` of a step."""
        amounts: list[dict[str, Any]] = [
            {"name": "amount.worker.vcpu", "min": self.cpus},
            {"name": "amount.worker.memory", "min": round(self.memory_gib * 1024)},
        ]
        if gpu and self.gpus:
            amounts.append({"name": "amount.worker.gpu", "min": self.gpus})
            if self.gpu_memory_gib:
                memory = round(self.gpu_memory_gib * 1024)
                amounts.append({"name": "amount.worker.gpu.memory", "min": memory})
        return {"amounts": amounts}


@dataclass(frozen=True, slots=True)
class Template:
    """A job template and the values of its parameters for the request it was made of."""

    table: Mapping[str, Any]
    values: Mapping[str, str]

    def write(self, path: Path) -> Path:
        """Write the template, and its values beside it; returns the path of the values.

        Raises:
            MediaError: The folder cannot be written to.
        """
        beside = path.with_name(f"{path.stem}.parameters.json")
        try:
            for target, table in ((path, self.table), (beside, self.values)):
                part = target.with_name(f".{target.name}.{os.getpid()}.part")
                part.write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")
                part.replace(target)
        except OSError as error:
            message = f"cannot be written: {error.strerror or error}"
            raise MediaError(message, path=path, stage="template") from error
        return beside


def template(
    request: Request, size: Size, recipe: str, hosts: Hosts, *, daemon: bool = False
) -> Template:
    """Describe a request.

    Args:
        request: What is to be done.
        size: Its parts.
        recipe: Its recipe as TOML, which every task gets as a file.
        hosts: What the machines must have.
        daemon: Keep the engine in a process that the tasks of a session share.

    Raises:
        RecipeError: A value cannot stand in a template.
    """
    words = _Words(request)
    say = _Say(words.arguments(), recipe, hosts)
    plan = say.step("Plan", "plan", ["--expect", str(size.chunks), "--take-over"])
    steps = [plan]
    if size.spans > 1:
        spans = say.step("Analyse", "span", tasks=("Span", size.spans))
        steps = [spans, _after(plan, spans)]
    chunks = say.step("Render", "chunk", tasks=("Chunk", size.chunks), daemon=daemon)
    join = say.step("Join", "join", ["--take-over"])
    steps += [_after(chunks, plan), _after(join, chunks)]
    table = {
        "specificationVersion": VERSION,
        "name": _plain(f"vidswap {request.input.name}")[:128],
        "description": f"{size.frames} frames in {size.chunks} chunks.",
        "parameterDefinitions": words.definitions,
        "steps": steps,
    }
    return Template(table, words.values)


class _Words:
    """The command line of a request, with files as parameters."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self.definitions: list[dict[str, Any]] = []
        self.values: dict[str, str] = {}

    def arguments(self) -> list[str]:
        """What follows ``vidswap farm STEP``."""
        request, output = self._request, output_of(self._request)
        words = [self._path("Input", request.input, "Video to read.")]
        for number, photo in enumerate(request.sources, 1):
            words += ["--source", self._path(f"Source{number}", photo, "Photo of a face.")]
        for number, (who, photo) in enumerate(request.mapping, 1):
            whom = self._who(f"Person{number}", who)
            words += ["--map", f"{whom}={self._path(f'Source{number}', photo, 'Photo of a face.')}"]
        words += ["--faces", self._who("Faces", request.faces)]
        words += ["-o", self._path("Output", output, "Video to write.", flow="OUT")]
        work = request.work or default_work(output)
        words += [
            "--work",
            self._path("Work", work, "Folder that all tasks share.", "DIRECTORY", "INOUT"),
        ]
        if request.report is not None:
            words += [
                "--report",
                self._path("Report", request.report, "Report.", "DIRECTORY", "OUT"),
            ]
        self.definitions.append(
            {
                "name": "Vidswap",
                "type": "STRING",
                "default": "vidswap",
                "description": "The program, by name or path.",
            }
        )
        self.values["Vidswap"] = "vidswap"
        return [*words, *flags(request), "--pipeline", "{{Task.File.Recipe}}"]

    def _who(self, name: str, who: str) -> str:
        if Path(who).is_file():
            return self._path(f"{name}Photo", Path(who), "Photo of a person in the video.")
        return _plain(who)

    def _path(
        self, name: str, path: Path, text: str, kind: Kind = "FILE", flow: Flow = "IN"
    ) -> str:
        self.definitions.append(
            {
                "name": name,
                "type": "PATH",
                "objectType": kind,
                "dataFlow": flow,
                "description": text,
            }
        )
        self.values[name] = os.path.abspath(path)  # noqa: PTH100 - links stay what they are
        return f"{{{{Param.{name}}}}}"


def flags(request: Request) -> list[str]:
    """Options of a request that name no file."""
    words = []
    for option, moment in (("--start", request.start), ("--end", request.end)):
        if moment is not None:
            words += [option, _moment(moment)]
    for option, given in (
        ("--overwrite", request.overwrite),
        ("--allow-no-face", request.allow_no_face),
        ("--commercial", request.commercial),
    ):
        words += [option] if given else []
    return words


def _moment(moment: Moment) -> str:
    return f"{moment.seconds}" if moment.frame is None else f"{moment.frame}f"


def _plain(text: str) -> str:
    """Text without the brackets that mean something in a template.

    Raises:
        RecipeError: It has some.
    """
    if "{{" in text or any(ord(letter) < 32 for letter in text):
        raise RecipeError(f"{text!r} cannot stand in a template", stage="template")
    return text


@dataclass(frozen=True, slots=True)
class _Say:
    """Writes steps."""

    words: Sequence[str]
    recipe: str
    hosts: Hosts

    def step(
        self,
        name: str,
        command: str,
        options: Sequence[str] = (),
        *,
        tasks: tuple[str, int] | None = None,
        daemon: bool = False,
    ) -> dict[str, Any]:
        """One step; with ``tasks``, (parameter, count), one of many tasks."""
        args = ["farm", command, *self.words, *options, "--openjd"]
        found: dict[str, Any] = {"name": name}
        if tasks is not None:
            parameter, count = tasks
            args += ["--index", f"{{{{Task.Param.{parameter}}}}}"]
            values = f"0-{count - 1}" if count > 1 else "0"
            space = {"name": parameter, "type": "INT", "range": values}
            found["parameterSpace"] = {"taskParameterDefinitions": [space]}
        if daemon:
            args += ["--daemon", DAEMON]
            found["stepEnvironments"] = [self._engine()]
        found["hostRequirements"] = self.hosts.require(gpu=command in ("plan", "chunk"))
        found["script"] = {"actions": {"onRun": _action(args)}, "embeddedFiles": [self._file()]}
        return found

    def _engine(self) -> dict[str, Any]:
        words = [word.replace("{{Task.File.", "{{Env.File.") for word in self.words]
        actions = {
            "onEnter": _action(["farm", "daemon", "start", DAEMON, *words]),
            "onExit": _action(["farm", "daemon", "end", DAEMON]),
        }
        return {
            "name": "Engine",
            "description": "One process that keeps the engine for the tasks of a session.",
            "script": {"actions": actions, "embeddedFiles": [self._file()]},
        }

    def _file(self) -> dict[str, str]:
        text = "".join(f"{_plain(line)}\n" for line in self.recipe.splitlines())
        return {"name": "Recipe", "type": "TEXT", "filename": "recipe.toml", "data": text}


def _action(args: Sequence[str]) -> dict[str, Any]:
    mode = {"mode": "NOTIFY_THEN_TERMINATE", "notifyPeriodInSeconds": NOTIFY_SECONDS}
    return {"command": "{{Param.Vidswap}}", "args": list(args), "cancelation": mode}


def _after(step: dict[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    return {**step, "dependencies": [{"dependsOn": before["name"]}]}
