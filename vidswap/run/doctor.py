"""Read-only checks of a machine, each with advice."""

import importlib
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from vidswap import __version__, recipe
from vidswap.errors import MediaError, VidswapError, WeightsError
from vidswap.recipe import DecodeOptions, DetectOptions

LOW_DISK = 5 << 30
"""Bytes below which free space is remarked on."""
PACKAGES = ("av", "numpy", "scipy", "opencv-contrib-python", "torch", "mediapipe", "insightface")


@dataclass(frozen=True, slots=True)
class Check:
    """One finding."""

    name: str
    mark: Literal["ok", "warn", "fail"]
    found: str
    advice: str = ""
    exit_code: int = 0
    """What ``doctor`` exits with because of it; 0 when a run is possible."""


def examine(clip: Path | None = None) -> list[Check]:
    """Run every check; a check that breaks is a finding, not an error.

    Args:
        clip: A clip whose first frame is to be decoded.
    """
    checks: list[tuple[str, Callable[[], Check], type[VidswapError]]] = [
        ("python", _python, VidswapError),
        ("packages", _packages, VidswapError),
        ("opencv", _opencv, MediaError),
        ("encoders", _encoders, MediaError),
        ("detector", _detector, WeightsError),
        ("scrfd", _scrfd, VidswapError),
        ("devices", _devices, VidswapError),
        ("disk", _disk, VidswapError),
        ("pipelines", _pipelines, VidswapError),
        ("weights", _weights, WeightsError),
    ]
    if clip is not None:
        checks.append(("first frame", lambda: _first_frame(clip), MediaError))
    return [_guarded(*check) for check in checks]


def _guarded(name: str, check: Callable[[], Check], kind: type[VidswapError]) -> Check:
    try:
        return check()
    except VidswapError as error:
        return Check(name, "fail", str(error), error.hint or "", error.exit_code)
    except Exception as error:  # noqa: BLE001 - whatever a broken installation raises is the finding
        found = f"{type(error).__name__}: {error}"
        return Check(name, "fail", found, "install vidswap again", kind.exit_code)


def _python() -> Check:
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if sys.version_info >= (3, 13):
        advice = "mediapipe has no wheel for it: use Python 3.11 or 3.12, or --detector scrfd"
        return Check("python", "warn", found, advice)
    return Check("python", "ok", f"{found}, vidswap {__version__}")


def _packages() -> Check:
    return Check("packages", "ok", ", ".join(f"{p} {_version(p)}" for p in PACKAGES))


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"


def _opencv() -> Check:
    try:
        cv2 = importlib.import_module("cv2")
    except ImportError as error:
        advice = (
            "a system library is missing; on Debian and Ubuntu: apt-get install libgl1 libglib2.0-0"
        )
        return Check("opencv", "fail", str(error), advice, MediaError.exit_code)
    return Check("opencv", "ok", str(cv2.__version__))


def _encoders() -> Check:
    from vidswap.media.encoders import available_encoders, is_hardware, opens

    found = available_encoders()
    if "libx264" not in found:
        advice = "install the av wheel from PyPI, which carries its own FFmpeg"
        listed = ", ".join(found) or "none"
        return Check("encoders", "fail", listed, advice, MediaError.exit_code)
    # Wheels carry hardware encoders for machines that have the hardware.
    asleep = [name for name in found if is_hardware(name) and not opens(name)]
    awake = ", ".join(name for name in found if name not in asleep)
    note = f"; built in, but without a device here: {', '.join(asleep)}" if asleep else ""
    return Check("encoders", "ok", awake + note)


def _detector() -> Check:
    from vidswap.faces.detect import detector_digest, open_detector

    options = DetectOptions()
    open_detector(options).close()
    return Check("detector", "ok", f"{options.name}, models {detector_digest(options)}")


def _scrfd() -> Check:
    from vidswap.faces.detect import open_detector

    try:
        detector = open_detector(DetectOptions(name="scrfd"))
    except VidswapError as error:
        return Check("scrfd", "ok", f"optional, absent: {error.message}", error.hint or "")
    detector.close()
    return Check("scrfd", "ok", "present (--detector scrfd); it brings an identity embedder too")


def _devices() -> Check:
    import torch

    names = ["cpu"]
    if torch.cuda.is_available():
        names += [
            f"cuda:{i} {torch.cuda.get_device_name(i)}" for i in range(torch.cuda.device_count())
        ]
    elif torch.backends.mps.is_available():
        names.append("mps")
    advice = ""
    if find_spec("numba") is None:
        advice = 'optional: pip install "vidswap[fast]" makes large networks quicker on the CPU'
    return Check("devices", "ok", ", ".join(names), advice)


def _disk() -> Check:
    places = {"here": Path.cwd(), "temporary": Path(tempfile.gettempdir())}
    free = {name: shutil.disk_usage(place).free for name, place in places.items()}
    found = ", ".join(f"{name} {size / (1 << 30):.1f} GiB free" for name, size in free.items())
    if min(free.values()) < LOW_DISK:
        return Check("disk", "warn", found, "outputs and analyses need room beside the input")
    return Check("disk", "ok", found)


def _pipelines() -> Check:
    names = recipe.names()
    for name in names:
        recipe.load(name)
    return Check("pipelines", "ok", ", ".join(names))


def _weights() -> Check:
    from vidswap.weights.cache import Store

    store = Store.default()
    found, missing = [], []
    for pipeline in recipe.names():
        wanted = dict.fromkeys(recipe.engine_weights(recipe.load(pipeline)).values())
        absent = [name for name in wanted if store.ready(name) is None]
        missing += absent
        if wanted:
            found.append(f"{pipeline}: {'lacks ' + ', '.join(absent) if absent else 'all here'}")
    advice = "; ".join(f"vidswap weights fetch {name}" for name in dict.fromkeys(missing))
    return Check("weights", "ok", "; ".join(found) or "no pipeline needs any", advice)


def _first_frame(clip: Path) -> Check:
    from vidswap.media.decode import open_reader
    from vidswap.media.probe import probe

    info = probe(clip)
    with open_reader(info, DecodeOptions()) as reader:
        frame = next(reader.frames(0, 1))
        picture, _ = frame.small(64)
    remark = "; ".join(info.warnings)
    black = " (black)" if picture.max() < 24 else ""
    found = f"{info.codec} {info.width}x{info.height}, {info.frames} frames, decoded{black}"
    return Check("first frame", "warn" if remark else "ok", found, remark)
