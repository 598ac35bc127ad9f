"""Getting a published file: from its addresses, or with instructions for a person."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vidswap.errors import WeightsError
from vidswap.weights.cache import Progress, Store, no_progress
from vidswap.weights.download import (
    STAGE,
    Download,
    GiveUpError,
    Opener,
    Part,
    Patience,
    web_opener,
)
from vidswap.weights.manifest import Manifest


def offline_by_environment() -> bool:
    """Whether ``VIDSWAP_OFFLINE`` forbids the network."""
    return os.environ.get("VIDSWAP_OFFLINE", "").strip().lower() not in {"", "0", "false", "no"}


def fetch(
    manifest: Manifest,
    store: Store,
    *,
    offline: bool = False,
    force: bool = False,
    patience: Patience | None = None,
    opener: Opener | None = None,
    progress: Progress = no_progress,
) -> Path:
    """Download a published file into the weights folder.

    Bytes go to ``FILE.part`` and are hashed as they come; an interrupted download goes on where it
    stopped. The file gets its name only after its digest was checked.

    Args:
        manifest: What to download.
        store: The weights folder.
        offline: Do not open a connection (also ``VIDSWAP_OFFLINE=1``).
        force: Download again although the file is there.
        patience: Timeouts and retries.
        opener: Opens requests.
        progress: Told about bytes.

    Returns:
        The published file.

    Raises:
        WeightsError: Offline; no address a program can use (the hint says what to do by hand); no
            address delivered the right file (each with its reason); the disk is full.
    """
    target = store.original(manifest)
    if target.exists() and not force:
        return target
    if not manifest.urls:
        raise by_hand(manifest)
    if offline or offline_by_environment():
        raise WeightsError(
            f"offline, and the weights {manifest.name} are not here",
            path=target,
            stage=STAGE,
            hint=f"download {manifest.urls[0]} on another machine, then: vidswap weights add FILE "
            f"--as {manifest.name}",
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WeightsError(f"cannot be created: {error.strerror}", path=target.parent) from error
    with _alone(target):
        reasons = _try_all(manifest, target, store, patience, opener, progress)
    if not reasons:
        return target
    raise WeightsError(
        f"no address delivered {manifest.name}: " + "; ".join(reasons),
        path=target,
        stage=STAGE,
        hint="run the same command again to go on, or download it with a browser and then: "
        f"vidswap weights add FILE --as {manifest.name}",
    )


def _try_all(
    manifest: Manifest,
    target: Path,
    store: Store,
    patience: Patience | None,
    opener: Opener | None,
    progress: Progress,
) -> list[str]:
    """Why each address failed; empty when one delivered."""
    stated = (manifest.size, *(v.size for v in manifest.variants))
    sizes = [size for size in stated if isinstance(size, int)]
    job = Download(
        target,
        Part(target),
        store.digests(manifest),
        frozenset(sizes if len(sizes) == len(stated) else ()),
        patience or Patience(),
        opener or web_opener(),
        progress,
    )
    reasons = []
    for url in manifest.urls:
        try:
            job.from_url(url)
        except GiveUpError as error:
            reasons.append(f"{url}: {error}")
        else:
            return []
    return reasons


def by_hand(manifest: Manifest) -> WeightsError:
    """The error that tells what to do where no program can download."""
    if manifest.pages:
        steps = ["open " + " or ".join(manifest.pages) + " in a browser"]
        steps.append(manifest.instructions or f"save the file ({manifest.file})")
    else:
        steps = [f"get {manifest.file} from its publisher: {manifest.source}"]
        steps += [manifest.instructions] if manifest.instructions else []
    steps.append(f"run: vidswap weights add FILE --as {manifest.name}")
    text = "; ".join(f"{i}) {step.rstrip('.')}" for i, step in enumerate(steps, start=1))
    return WeightsError(
        f"{manifest.name} cannot be downloaded by a program, only by hand", stage=STAGE, hint=text
    )


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    """Keep a second process from writing the same part; the lock dies with its process."""
    with target.with_name(f"{target.name}.part.lock").open("wb") as handle:
        try:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except ImportError:
            pass  # Windows: the digest still catches what two writers would spoil.
        except OSError:
            raise WeightsError(
                "another process is downloading it", path=target, stage=STAGE
            ) from None
        yield
