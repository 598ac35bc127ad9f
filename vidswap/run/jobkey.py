"""What decides the bytes of a job's video, by name, so that a difference can be named too."""

import hashlib
import json
from pathlib import Path

from vidswap import __version__
from vidswap.errors import StateError
from vidswap.media.encode import EncoderPlan
from vidswap.media.encoders import build
from vidswap.media.segment import digest_of
from vidswap.run.analysis import NAME, analysis_key
from vidswap.run.licence import weights_in_use
from vidswap.run.prepare import Job, photos_of
from vidswap.run.request import Request
from vidswap.weights.cache import Store
from vidswap.weights.manifest import Manifest


def job_key(request: Request, job: Job) -> dict[str, str]:
    """The key of a job, before it has an analysis.

    The analysis's own key counts (input, range, options, weights of pass one), the engine and its
    weights, the photos by content, the encoder with all settings, the grid, and the versions.

    Raises:
        MediaError, StateError: An input cannot be read.
        WeightsError: Weights are missing.
    """
    target, recipe = job.ready.target, request.recipe
    frames = (target.start, target.stop)
    analysis = analysis_key(target.info, recipe, job.ready.engine.needs, frames)
    weights = sorted(f"{m.name}:{_weights_digest(m)}" for m in weights_in_use(recipe))
    return {
        "version": f"{__version__} {build()}",
        "analysis": _digest(analysis),
        "recipe": recipe.render_key(),
        "weights": _digest(weights),
        "people": _digest(_people(request)),
        "encoder": _digest(_encoder(job.encoder, job.output)),
        "frames": f"{target.start}-{target.stop}",
        "chunk": str(recipe.run.chunk),
    }


def chunk_key(key: str, work: Path) -> str:
    """The key of a job's chunks: an analysis that was made anew makes the old ones worthless.

    Args:
        key: The job's.
        work: Folder of the analysis.

    Raises:
        StateError: There is no analysis.
    """
    try:
        return _digest([key, digest_of(work / NAME)])
    except OSError as error:
        raise StateError("no analysis here", path=work, stage="job") from error


def _weights_digest(manifest: Manifest) -> str:
    """Of the file that is here; a user's own weights have no published one."""
    record = Store.default().record(manifest.name)
    return record.stored_sha256 if record else manifest.sha256


def _people(request: Request) -> list[object]:
    photos = {str(photo): digest_of(photo) for photo in photos_of(request)}

    def who(rule: str) -> str:
        return photos.get(str(Path(rule)), rule)

    pairs = [[who(rule), digest_of(photo)] for rule, photo in request.mapping]
    return [who(request.faces), [photos[str(s)] for s in request.sources], pairs]


def _encoder(plan: EncoderPlan, output: Path) -> list[object]:
    return [plan.encoder, plan.pix_fmt, plan.options, output.suffix.lower()]


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:32]
