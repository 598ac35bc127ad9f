"""``VideoInfo`` to JSON and back."""

from dataclasses import fields
from fractions import Fraction
from typing import Any

from vidswap.types import I64, Colour, StreamInfo, VideoInfo

_ARRAYS = ("pts", "keyframes")


def encode_info(info: VideoInfo) -> dict[str, Any]:
    """Everything but the time stamps, which are stored as arrays."""
    table: dict[str, Any] = {}
    for field in fields(info):
        if field.name in _ARRAYS:
            continue
        value = getattr(info, field.name)
        if isinstance(value, Fraction):
            value = [value.numerator, value.denominator]
        elif isinstance(value, Colour):
            value = _plain(value)
        elif field.name == "streams":
            value = [_plain(s) for s in value]
        table[field.name] = list(value) if isinstance(value, tuple) else value
    return table


def decode_info(table: dict[str, Any], pts: I64, keyframes: I64) -> VideoInfo:
    """The inverse of ``encode_info``."""
    values = dict(table)
    for name in ("sample_aspect", "time_base", "frame_rate"):
        values[name] = Fraction(*values[name])
    values["colour"] = Colour(**values["colour"])
    values["streams"] = tuple(StreamInfo(**s) for s in values["streams"])
    values["warnings"] = tuple(values["warnings"])
    return VideoInfo(pts=pts, keyframes=keyframes, **values)


def _plain(value: Colour | StreamInfo) -> dict[str, Any]:
    return {f.name: getattr(value, f.name) for f in fields(value)}
