"""The kind of item that is one whole clip.

Everything unfinished lies in one hidden folder beside the output, which later generations carry on
from. The output and its entry in the ledger appear by renames that the commit names.
"""

import glob
import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from vidswap import schema
from vidswap.errors import MediaError, RecipeError, StateError, VidswapError
from vidswap.farm import ledger
from vidswap.farm.claim import Claim
from vidswap.farm.ledger import Entry, Identity
from vidswap.farm.memory import halving
from vidswap.farm.task import Bench, Outcome, OutdatedError, check_machine
from vidswap.farm.token import FencedError, Item, key_of
from vidswap.recipe import Recipe
from vidswap.run.job import check_output, default_work
from vidswap.run.jobfile import decode_request, encode_request
from vidswap.run.request import Request, Watch

KIND = "clip"
Share = Literal["auto", "chunks", "clips"]
FACTS = (
    "sha256",
    "frames",
    "faces",
    "swapped",
    "tracks",
    "engine",
    "encoder",
    "seconds",
    "warnings",
)


@dataclass(frozen=True, slots=True)
class Clip:
    """One clip, as it was when it was queued."""

    request: Request
    """With an output."""
    identity: Identity
    settings: str
    slot: Path
    """Entry of its output in the ledger."""
    keep_work: bool = False
    """Keep the analysis beside the output, for ``vidswap render``."""
    share: Share = "auto"
    """Whether several workers may do parts of it."""

    @property
    def output(self) -> Path:
        """The video that will appear."""
        if self.request.output is None:
            raise RecipeError("an item without output", path=self.request.input, stage="queue")
        return self.request.output

    @property
    def key(self) -> str:
        """Key of the item: another for another clip, output or settings."""
        return key_of(
            {
                "kind": KIND,
                "input": str(self.request.input),
                "digest": self.identity.digest,
                "output": str(self.output),
                "settings": self.settings,
                # What failed without these may succeed with them.
                "allowed": [
                    self.request.overwrite,
                    self.request.allow_no_face,
                    self.request.commercial,
                ],
            }
        )

    @property
    def stage(self) -> Path:
        """Folder of everything unfinished, on the output's file system."""
        return self.output.with_name(f".{self.output.name}.{self.key[:8]}.stage")

    def encode(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "request": encode_request(self.request),
            "identity": asdict(self.identity),
            "settings": self.settings,
            "slot": str(self.slot),
            "keep_work": self.keep_work,
            "share": self.share,
            "name": str(self.request.input),
            "stage": str(self.stage),
        }

    @classmethod
    def decode(cls, table: Mapping[str, Any], watch: Watch | None = None) -> "Clip":
        """The inverse.

        Raises:
            StateError: Not a clip of this version.
        """
        try:
            return cls(
                decode_request(table["request"], watch),
                schema.decode(Identity, table["identity"]),
                str(table["settings"]),
                Path(table["slot"]),
                bool(table["keep_work"]),
                table["share"],
            )
        except (KeyError, TypeError, ValueError, RecipeError) as error:
            message = f"an item of another version of vidswap ({type(error).__name__}: {error})"
            raise StateError(message, stage="queue") from error

    def item(self, attempts: int) -> Item:
        """What goes into the queue."""
        return Item(KIND, self.encode(), attempts)

    def check_input(self) -> None:
        """Refuse a clip that is not what was queued.

        Raises:
            OutdatedError: It has changed.
            MediaError: It cannot be read.
        """
        if self.identity.same_stamp(*ledger.stamp(self.request.input)):
            return
        if ledger.identify(self.request.input).digest != self.identity.digest:
            raise OutdatedError(
                "has changed since it was queued; nothing was written",
                path=self.request.input,
                stage="input",
                hint="the next vidswap batch takes it as it is then",
            )

    def check_output(self) -> None:
        """Refuse an output that came from elsewhere.

        Raises:
            StateError: It exists.
            MediaError: Its folder cannot be written to.
        """
        check_output(self.output, overwrite=self.request.overwrite)


Cut = Callable[[Claim, "Clip", Request], tuple[str, ...]]
"""Queues parts of a clip for all workers and tells their keys; none where one worker is to do it."""


def in_one(_claim: Claim, _clip: Clip, _request: Request) -> tuple[str, ...]:
    """Cut nothing."""
    return ()


def run_clip(claim: Claim, bench: Bench, cut: Cut = in_one) -> Outcome:
    """Swap one clip into its stage folder; a long one is first cut into parts for all workers.

    Raises:
        VidswapError: It cannot be done.
    """
    watch = Watch(progress=_progress(bench), note=bench.note, warn=bench.warn)
    clip = Clip.decode(claim.item.payload, watch)
    check_machine(clip.request.recipe)
    clip.check_input()
    clip.check_output()
    _take_over(clip, claim)
    staged = staged_request(clip)

    def swapped(recipe: Recipe) -> dict[str, Any] | tuple[str, ...]:
        from vidswap.run.swap import swap

        bench.pulse()
        request = replace(staged, recipe=recipe)
        return cut(claim, clip, request) or swap(request)

    try:
        result = halving(clip.request.recipe, swapped, bench.note)
        if isinstance(result, tuple):
            return Outcome(after=result)
    except FencedError:
        raise
    except VidswapError as error:
        with suppress(OSError):
            clip.stage.rmdir()  # only if nothing is worth keeping in it
        clip.check_input()  # a file that changes fails in many ways; this one says why
        raise renamed(error, clip) from error
    clip.check_input()
    clip.check_output()
    return outcome(clip, result)


def staged_request(clip: Clip) -> Request:
    """The same request with everything it writes inside the stage folder."""
    report = None if clip.request.report is None else clip.stage / "report"
    staged = clip.stage / clip.output.name
    return replace(clip.request, output=staged, work=None, report=report, overwrite=True)


def outcome(clip: Clip, result: Mapping[str, Any]) -> Outcome:
    """The renames that let a finished clip appear, and its facts."""
    staged = clip.stage / clip.output.name
    size = staged.stat().st_size
    identity = replace(clip.identity, modified=ledger.stamp(clip.request.input)[1])
    entry = Entry(clip.key, str(clip.request.input), identity, clip.settings, size)
    clip.slot.parent.mkdir(parents=True, exist_ok=True)
    drafted = clip.slot.with_name(f".{clip.key}.part")
    drafted.write_bytes(entry.encode())
    moves = [(staged, clip.output), (drafted, clip.slot)]
    if clip.keep_work:
        moves.append(_replacing(default_work(staged), default_work(clip.output)))
    if clip.request.report is not None:
        _say_output(clip)
        moves.append(_replacing(clip.stage / "report", clip.request.report))
    facts = {name: result[name] for name in FACTS if name in result}
    named = {"input": str(clip.request.input), "output": str(clip.output), "bytes": size}
    return Outcome(tuple(moves), (clip.stage, *_older(clip)), named | facts)


def _older(clip: Clip) -> list[Path]:
    """What was begun of the same output with another clip or other settings."""
    pattern = f".{glob.escape(clip.output.name)}.*.stage"
    return [path for path in clip.output.parent.glob(pattern) if path != clip.stage]


def renamed(error: VidswapError, clip: Clip) -> VidswapError:
    """The same error about the output that the user knows instead of the staged one."""

    def said(text: str | None) -> str | None:
        return text and text.replace(str(clip.stage / clip.output.name), str(clip.output))

    message, path = said(error.message) or "", said(error.path)
    return type(error)(message, path=path, stage=error.stage, hint=said(error.hint))


def _progress(bench: Bench) -> Any:
    def told(stage: str, done: int, total: int) -> None:
        bench.pulse()
        bench.progress(stage, done, total)

    return told


def _take_over(clip: Clip, claim: Claim) -> None:
    """Open the stage folder and, unless this is the first generation, the locks of the last one.

    Its owner has ended or is fenced off. If it wakes up in mid-work it meets this generation's files,
    but all of them arrive by rename and carry digests of what they were made from.
    """
    try:
        clip.stage.mkdir(exist_ok=True)
    except OSError as error:
        message = f"cannot be written to: {error.strerror or error}"
        raise MediaError(message, path=clip.output.parent, stage="output") from error
    if claim.token.generation > 1:
        for path in clip.stage.rglob(".*.lock"):
            path.unlink(missing_ok=True)


def _replacing(source: Path, target: Path) -> tuple[Path, Path]:
    """A rename of folders; one that is in the way goes aside into the stage folder first."""
    if target.exists():
        aside = source.with_name(f"old-{target.name}-{os.getpid()}")
        target.replace(aside)
    target.parent.mkdir(parents=True, exist_ok=True)
    return source, target


def _say_output(clip: Clip) -> None:
    """Let a report speak of the output where it lies in the end."""
    staged, final = str(clip.stage / clip.output.name), str(clip.output)
    for name in ("report.json", "report.html"):
        path = clip.stage / "report" / name
        text = path.read_text(encoding="utf-8")
        quoted = json.dumps(staged, ensure_ascii=False)[1:-1]
        text = text.replace(quoted, json.dumps(final, ensure_ascii=False)[1:-1])
        path.write_text(text.replace(staged, final), encoding="utf-8")
