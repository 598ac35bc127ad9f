"""What a batch has to do: outputs proved distinct, done work recognised, the rest queued."""

import hashlib
import json
import os
import time
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from vidswap.errors import MediaError, RecipeError, StateError, VidswapError
from vidswap.farm import ledger
from vidswap.farm.clip import Clip, Share
from vidswap.farm.folder import check_template, fill
from vidswap.farm.queue import Queue
from vidswap.farm.token import State, describe_error
from vidswap.recipe import Recipe, engine_weights
from vidswap.run.job import check_input, same_file
from vidswap.run.prepare import photos_of
from vidswap.run.request import Request

YOUNG_SECONDS = 3600.0
"""A file that was changed longer ago is not being copied. Generous: clocks of file servers differ."""

Standing = Literal["queued", "done", "failed", "unstable"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """One clip of a batch."""

    request: Request
    """Without an output, unless the user named one."""
    pipeline: str
    """Name or file, for the template."""
    folder: Path
    """That the input was found in, for ``{relpath}``."""


@dataclass(frozen=True, slots=True)
class Planned:
    """What becomes of one clip."""

    wanted: Wanted
    standing: Standing
    key: str = ""
    error: Mapping[str, Any] | None = None

    @property
    def output(self) -> Path:
        """The video that will appear."""
        return self.wanted.request.output or Path()


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """How a batch is planned."""

    out: Path
    template: str
    attempts: int = 3
    settle: float = 3.0
    """Seconds for which a clip must not change before it is taken."""
    retry: bool = False
    """Take clips out of quarantine."""
    keep_work: bool = False
    share: Share = "auto"


class Planner:
    """Compares what is wanted with what is there.

    Args:
        queue: Where work goes.
        entries: Folder of the ledger.
        options: Template and attempts.
    """

    def __init__(self, queue: Queue, entries: Path, options: PlanOptions) -> None:
        self._queue, self._entries, self._options = queue, entries, options
        self._settings: dict[tuple[object, ...], str] = {}
        self._photos: dict[Path, str] = {}

    def plan(
        self, wanted: Sequence[Wanted], sleep: Callable[[float], object] = time.sleep
    ) -> Iterator[Planned]:
        """Queue what is new; one clip that cannot be done says so and stops no other.

        Args:
            wanted: With distinct outputs, from ``with_outputs``.
            sleep: Waits until young files have shown that they do not grow.
        """
        fresh: list[tuple[Wanted, Clip]] = []
        for one in wanted:
            try:
                stamp = ledger.stamp(one.request.input)
                found = None if self._is_done(one, stamp) else self._looked_up(one)
                if found is None:
                    yield Planned(one, "done")
                elif found[1] in ("unknown", "done"):
                    fresh.append((one, found[0]))
                else:
                    yield self._met(one, *found)
            except VidswapError as error:
                yield Planned(one, "failed", error=describe_error(error))
        since = (time.time() - YOUNG_SECONDS) * 1e9
        if any(clip.identity.modified > since for _, clip in fresh):
            sleep(self._options.settle)
        for one, clip in fresh:
            try:
                if clip.identity.same_stamp(*ledger.stamp(one.request.input)):
                    yield self._queued(one, clip)
                else:
                    yield Planned(one, "unstable")
            except VidswapError as error:
                yield Planned(one, "failed", error=describe_error(error))

    def _is_done(self, one: Wanted, stamp: tuple[int, int]) -> bool:
        entry = ledger.read(ledger.slot(self._entries, one.request.output or Path()))
        if entry is None or not entry.identity.same_stamp(*stamp):
            return False
        return entry.settings == self.settings(one.request) and self._stands(one, entry)

    def _stands(self, one: Wanted, entry: ledger.Entry) -> bool:
        """Whether the output is the one that the ledger speaks of."""
        output = one.request.output or Path()
        try:
            return output.stat().st_size == entry.size
        except OSError:
            return False

    def _looked_up(self, one: Wanted) -> tuple[Clip, State] | None:
        """The clip with its state in the queue; None if it was only touched, not changed."""
        output = one.request.output or Path()
        slot = ledger.slot(self._entries, output)
        identity, settings = ledger.identify(one.request.input), self.settings(one.request)
        entry = ledger.read(slot)
        if entry is not None and self._stands(one, entry):
            same = entry.identity.digest == identity.digest
            if same and entry.settings == settings:
                return None
        options = self._options
        clip = Clip(one.request, identity, settings, slot, options.keep_work, options.share)
        state = self._queue.state(clip.key)
        if state in ("unknown", "done", "quarantined"):
            _check_output(one.request, entry, identity, settings)
        return clip, state

    def _met(self, one: Wanted, clip: Clip, state: State) -> Planned:
        """A clip that the queue knows."""
        if state != "quarantined":
            return Planned(one, "queued", clip.key)
        if not self._options.retry:
            end = self._queue.end(clip.key, self._queue.last(clip.key))
            return Planned(one, "failed", clip.key, None if end is None else end.error)
        # Settings that change no picture, such as the device, may be others now.
        self._queue.renew(clip.key, clip.item(self._options.attempts))
        return Planned(one, "queued", clip.key)

    def _queued(self, one: Wanted, clip: Clip) -> Planned:
        """Queue a clip that is new, or was done and yet has no output that is its own."""
        clip.output.parent.mkdir(parents=True, exist_ok=True)
        self._queue.renew(clip.key, clip.item(self._options.attempts))
        return Planned(one, "queued", clip.key)

    def settings(self, request: Request) -> str:
        """Digest of everything but the clip that decides the output.

        Raises:
            MediaError: A photo cannot be read.
        """
        known = (request.recipe, request.sources, request.faces, request.mapping,
                 request.start, request.end)  # fmt: skip
        if known not in self._settings:
            photos = {str(photo): self._digest(photo) for photo in photos_of(request)}
            table = [
                request.recipe.analyse_key(),
                request.recipe.render_key(),
                weights_digest(request.recipe),
                photos.get(request.faces, request.faces),
                [photos[str(photo)] for photo in request.sources],
                [[photos.get(who, who), photos[str(photo)]] for who, photo in request.mapping],
                str(request.start),
                str(request.end),
            ]
            self._settings[known] = hashlib.sha256(json.dumps(table).encode()).hexdigest()[:32]
        return self._settings[known]

    def _digest(self, photo: Path) -> str:
        if photo not in self._photos:
            check_input(photo, "photo")
            self._photos[photo] = hashlib.sha256(photo.read_bytes()).hexdigest()
        return self._photos[photo]


def with_outputs(wanted: Iterable[Wanted], options: PlanOptions) -> list[Wanted]:
    """Give every clip its output, and refuse two for one before any work begins.

    Raises:
        RecipeError: Two clips have one output, or an output is a file that is read.
    """
    check_template(options.template)
    outputs: dict[str, Wanted] = {}
    for one in wanted:
        output = one.request.output or expand(one, options)
        whole = replace(one, request=replace(one.request, output=output))
        folded = unicodedata.normalize("NFC", os.path.abspath(output)).casefold()  # noqa: PTH100
        other = outputs.setdefault(folded, whole)
        if other is not whole:
            raise RecipeError(
                f"two clips would be written to it: {other.request.input} and {one.request.input}",
                path=output,
                stage="plan",
                hint="a --template that tells them apart, such as "
                "'{relpath}/{stem}_{source}{suffix}', or other outputs in the jobs file",
            )
    inputs = {os.path.realpath(one.request.input) for one in outputs.values()}
    for one in outputs.values():
        _check_not_read(one.request, inputs)
    return list(outputs.values())


def _check_not_read(request: Request, inputs: set[str]) -> None:
    output = request.output or Path()
    read = os.path.realpath(output) in inputs
    if read or (output.exists() and same_file(output, request.input)):
        raise RecipeError(
            "is also read in this batch: an input is never overwritten",
            path=output,
            stage="plan",
            hint="another OUT folder or another --template",
        )


def expand(one: Wanted, options: PlanOptions) -> Path:
    """The output that the template gives a clip; Matroska where its container cannot be written.

    Raises:
        RecipeError: It leads out of the folder.
    """
    from vidswap.media.containers import SUFFIXES

    source = one.request.input
    photos = [*one.request.sources, *(photo for _, photo in one.request.mapping)]
    suffix = source.suffix if source.suffix.lower() in SUFFIXES else ".mkv"
    values = {
        "stem": source.stem,
        "suffix": suffix,
        "source": photos[0].stem if photos else "none",
        "pipeline": Path(one.pipeline).stem,
        "relpath": source.parent.relative_to(one.folder).as_posix(),
    }
    output = fill(options.template, values, options.out)
    if output.suffix.lower() not in SUFFIXES:
        raise RecipeError(
            f"--template {options.template} gives {output.name}, which names no container; "
            f"end it in {{suffix}} or one of {', '.join(SUFFIXES)}",
            stage="usage",
        )
    return output


def check_people(request: Request) -> None:
    """Refuse what no clip of the batch could be done with.

    Raises:
        RecipeError: Nobody to swap in.
        MediaError: A photo cannot be read.
    """
    photos = photos_of(request)
    if not photos and request.recipe.engine.name != "identity":
        hint = "give a photo of a face with --source"
        raise RecipeError("nobody to swap in", path=request.input, stage="usage", hint=hint)
    for photo in photos:
        check_input(photo, "photo")


def check_weights(recipes: Iterable[Recipe]) -> None:
    """Refuse a batch whose weights are not on this machine.

    Raises:
        WeightsError: Naming those that are missing, and how to get them.
    """
    for recipe in recipes:
        for name in engine_weights(recipe).values():
            from vidswap.weights.cache import Store
            from vidswap.weights.manifest import get

            store = Store.default()
            store.require(get(name, store.root))


def weights_digest(recipe: Recipe) -> str:
    """Digest of the weights that a recipe names, as they were imported on this machine.

    Raises:
        WeightsError: A record is damaged.
    """
    from vidswap.run.licence import weights_in_use
    from vidswap.weights.cache import Store

    names = {manifest.name for manifest in weights_in_use(recipe)}
    names |= set(engine_weights(recipe).values())
    store = Store.default()
    records = {name: store.record(name) for name in names}
    found = sorted((n, "" if r is None else r.stored_sha256) for n, r in records.items())
    return hashlib.sha256(json.dumps(found).encode()).hexdigest()[:32]


def _check_output(
    request: Request, entry: ledger.Entry | None, identity: ledger.Identity, settings: str
) -> None:
    """Refuse an output that is there already and is not to be replaced."""
    output = request.output or Path()
    if not output.exists() or request.overwrite:
        return
    if output.is_dir():
        raise MediaError("is a folder, expected a file name", path=output, stage="output")
    reason = "it exists already and is not of this batch"
    if entry is not None and entry.identity.digest != identity.digest:
        reason = f"the clip {request.input} has changed since this was made of it"
    elif entry is not None and entry.settings != settings:
        reason = "it was made with another recipe, photo or weights"
    elif entry is not None:
        reason = "it is not the file any more that this batch has written"
    raise StateError(reason, path=output, stage="output", hint="--overwrite makes it anew")
