"""``vidswap bench memory``: how much memory a whole run takes, and whether it grows with the clip.

Each clip is swapped by ``vidswap run`` in processes of its own, as a user would, and those are watched
from outside. The clip is a few seconds of a talking head, repeated without encoding it again.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

from PIL import Image

from vidswap.errors import MediaError, RecipeError
from vidswap.faces.photo_faces import source_face
from vidswap.faces.puppet import Puppet, talk
from vidswap.media.pictures import repeat, write_pictures
from vidswap.run.bench_clip import HEIGHT, WIDTH, portrait
from vidswap.types import U8

Watch = Callable[[str, int, int], None]

PERIOD = 2
"""Seconds of the clip that is repeated: there and back, so that it has no cut. Lengths are rounded up
to it."""
LIMIT = 600.0
"""Megabytes that one process may take at 1080p."""
GROWTH = 1.05
"""What the longest clip may take of what the shortest takes."""
EVERY = 0.1
"""Seconds between two looks at the processes."""


def measure(
    lengths: Sequence[float], rate: int, preset: str | None, watch: Watch | None = None
) -> dict[str, Any]:
    """Swap one clip at several lengths and note the peak of resident memory.

    Args:
        lengths: Seconds of the clips.
        rate: Their frames per second.
        preset: Of the encoder, None for the usual one: slower ones look farther ahead, at 7 MB a frame
            of 1080p.
        watch: Told (stage, clips done, clips in all).

    Returns:
        ``runs``, one for each length with ``seconds``, ``frames``, ``largest_mb`` (the largest that
        any one process grew to) and ``together_mb`` (all at one time, what they share counted in
        each); ``growth`` of the longest over the shortest, and the settings; ready for JSON.

    Raises:
        RecipeError: There is no ``/proc``, or no photograph to make a clip from.
        WeightsError: No detector is installed.
        MediaError: A run failed; what it said is in the message.
    """
    if not Path("/proc/self/status").is_file():
        raise RecipeError("memory is measured by /proc, which Linux has")
    runs = []
    with tempfile.TemporaryDirectory(prefix="vidswap-memory-") as name:
        folder = Path(name)
        loop, photo = folder / "loop.mp4", folder / "photo.png"
        _write_loop(loop, photo, rate)
        for done, seconds in enumerate(lengths):
            clip = folder / f"{seconds:g}s.mp4"
            frames = repeat(loop, clip, max(round(seconds * rate), 1))
            peaks = _run(clip, photo, preset)
            runs.append({"seconds": seconds, "frames": frames, **peaks})
            clip.unlink()
            if watch:
                watch("bench", done + 1, len(lengths))
    peaks_mb = [run["largest_mb"] for run in sorted(runs, key=lambda run: run["seconds"])]
    return {
        "clip": f"made: {WIDTH}x{HEIGHT}, {rate} frames/s, one face",
        "settings": f"preset {preset or 'as usual'}",
        "runs": runs,
        "growth": round(peaks_mb[-1] / peaks_mb[0], 3),
        "limit_mb": LIMIT,
    }


def table(result: Mapping[str, Any]) -> str:
    """The result for eyes."""
    lines = [
        f"{result['clip']}; {result['settings']}",
        f"{'seconds':>8}{'frames':>8}{'largest process MB':>20}{'all processes MB':>18}",
    ]
    lines += [
        f"{run['seconds']:8g}{run['frames']:8}{run['largest_mb']:20.0f}{run['together_mb']:18.0f}"
        for run in result["runs"]
    ]
    lines.append(
        f"longest over shortest {result['growth']:.3f} (target ≤ {GROWTH}), "
        f"each process ≤ {result['limit_mb']:.0f} MB"
    )
    return "\n".join(lines)


def _write_loop(clip: Path, photo: Path, rate: int) -> None:
    face = source_face(portrait(), "astronaut")
    Image.fromarray(face.rgb).save(photo)
    puppet = Puppet(face.rgb, face.mesh, (WIDTH, HEIGHT))
    half = PERIOD * rate // 2
    there: list[U8] = [puppet.frame(talk(i / rate))[0] for i in range(half)]
    options = {"preset": "veryfast", "crf": "16"}
    write_pictures(clip, there + there[::-1], rate=Fraction(rate), options=options)


def _run(clip: Path, photo: Path, preset: str | None) -> dict[str, float]:
    """Peaks of ``vidswap run`` on a clip.

    Raises:
        MediaError: It failed.
    """
    output, said = clip.with_suffix(".out.mp4"), clip.with_suffix(".txt")
    arguments = ["run", str(clip), "-s", str(photo), "-o", str(output), "--quiet"]
    arguments += ["--preset", preset] if preset else []
    command = [sys.executable, "-m", "vidswap", *arguments]
    largest = together = 0.0
    with said.open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            while process.poll() is None:
                now = [_status(pid) for pid in _family(process.pid)]
                largest = max([largest, *(peak for peak, _ in now)])
                together = max(together, sum(size for _, size in now))
                time.sleep(EVERY)
        except BaseException:
            process.terminate()
            raise
    if process.returncode:
        message = f"vidswap run failed: {said.read_text(errors='replace')[-2000:]}"
        raise MediaError(message, path=clip, stage="bench")
    output.unlink()
    return {"largest_mb": round(largest, 1), "together_mb": round(together, 1)}


def _family(pid: int) -> Iterator[int]:
    """A process and all that it has started."""
    yield pid
    # Any of these may be gone by the time it is read.
    with suppress(OSError):
        for task in sorted(Path(f"/proc/{pid}/task").iterdir()):
            for child in (task / "children").read_text().split():
                yield from _family(int(child))


def _status(pid: int) -> tuple[float, float]:
    """Largest and present resident megabytes of a process; zeros once it is gone."""
    with suppress(OSError, KeyError):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        found = dict(line.split(":", 1) for line in lines if line.startswith("Vm"))
        peak, size = (int(found[name].split()[0]) / 1024 for name in ("VmHWM", "VmRSS"))
        return peak, size
    return 0.0, 0.0
