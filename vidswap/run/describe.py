"""A clip in words and numbers, for ``vidswap probe`` and reports."""

from pathlib import Path
from typing import Any

import numpy as np

from vidswap.media.probe import probe
from vidswap.run.job import check_input
from vidswap.types import VideoInfo


def describe_clip(path: Path) -> dict[str, Any]:
    """Everything a demux scan tells, as plain values.

    Raises:
        MediaError: The file cannot be read.
    """
    check_input(path)
    return describe(probe(path))


def describe(info: VideoInfo) -> dict[str, Any]:
    """An index as plain values."""
    colour = info.colour
    steps = np.diff(info.pts)
    return {
        "path": info.path,
        "container": info.container,
        "codec": info.codec,
        "width": info.width,
        "height": info.height,
        "rotation": info.rotation,
        "sample_aspect": str(info.sample_aspect),
        "field_order": info.field_order or "progressive",
        "pix_fmt": info.pix_fmt,
        "bits": colour.bits,
        "colour": {
            "primaries": colour.primaries,
            "transfer": colour.transfer,
            "matrix": colour.matrix,
            "range": "full" if colour.full_range else "limited",
            "assumed": colour.assumed,
        },
        "frames": info.frames,
        "seconds": round(float(info.duration * info.time_base), 6),
        "frame_rate": str(info.frame_rate),
        "variable_rate": bool(len(steps) and steps.max() - steps.min() > 1),
        "time_base": str(info.time_base),
        "first_pts": int(info.pts[0]),
        "keyframes": len(info.keyframes),
        "streams": [
            " ".join(filter(None, (f"{s.index}:{s.kind}", s.codec, s.language, s.title)))
            for s in info.streams
        ],
        "warnings": list(info.warnings),
    }
