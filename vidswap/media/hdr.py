"""HDR10 static metadata: read from the first frame, written in each encoder's own words.

Layouts: FFmpeg's ``AVMasteringDisplayMetadata`` (88 bytes: ten rationals, two flags) and
``AVContentLightMetadata`` (two 32-bit integers); units of the x265 strings: SMPTE ST 2086 in steps
of 0.00002 (chromaticity) and 0.0001 cd/m² (luminance).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from fractions import Fraction

from vidswap.media.probe import first_frame
from vidswap.media.tags import side_data
from vidswap.types import VideoInfo


@dataclass(frozen=True, slots=True)
class Static:
    """What an HDR10 stream says of its mastering display and its brightest pictures."""

    primaries: tuple[Fraction, ...] = ()
    """Red x, y, green x, y, blue x, y, white x, y."""
    luminance: tuple[Fraction, ...] = ()
    """Darkest and brightest, cd/m²."""
    light: tuple[int, ...] = ()
    """MaxCLL and MaxFALL, cd/m²."""

    def __bool__(self) -> bool:
        return bool(self.primaries or self.light)


def read(info: VideoInfo) -> Static:
    """Static metadata of a clip; empty where it has none or is not HDR."""
    colour = info.colour
    if colour.transfer not in (16, 18) and colour.primaries != 9:
        return Static()
    frame = first_frame(info)
    display = side_data(frame, "MASTERING_DISPLAY_METADATA")
    level = side_data(frame, "CONTENT_LIGHT_LEVEL")
    primaries: tuple[Fraction, ...] = ()
    luminance: tuple[Fraction, ...] = ()
    if len(display) >= 88:
        numbers = struct.unpack("<20i2i", display[:88])
        pairs = zip(numbers[0:20:2], numbers[1:20:2], strict=True)
        values = [Fraction(n, d) if d else Fraction(0) for n, d in pairs]
        if numbers[20] and numbers[21]:
            primaries, luminance = tuple(values[:8]), tuple(values[8:10])
    light = struct.unpack("<2I", level[:8]) if len(level) >= 8 else ()
    return Static(primaries, luminance, light)


def _display(static: Static, colour: Fraction, light: Fraction, whole: bool) -> str:
    """``G(x,y)B(x,y)R(x,y)WP(x,y)L(max,min)`` in multiples of two units."""

    def text(value: Fraction, unit: Fraction) -> str:
        return str(round(value / unit)) if whole else f"{float(value):.6g}"

    red, green, blue, white = (static.primaries[i : i + 2] for i in (0, 2, 4, 6))
    points = zip(["G", "B", "R", "WP"], (green, blue, red, white), strict=True)
    out = "".join(f"{n}({text(x, colour)},{text(y, colour)})" for n, (x, y) in points)
    low, high = static.luminance
    return f"{out}L({text(high, light)},{text(low, light)})"


def _pairs(static: Static, display: str, light: str, *, whole: bool = True) -> list[str]:
    out = []
    if static.primaries:
        value = _display(static, Fraction(1, 50000), Fraction(1, 10000), whole)
        out.append(f"{display}={value}")
    if static.light:
        out.append(f"{light}={static.light[0]},{static.light[1]}")
    return out


def x264(static: Static) -> list[str]:
    """Entries of ``x264-params``."""
    return _pairs(static, "mastering-display", "cll")


def x265(static: Static) -> list[str]:
    """Entries of ``x265-params``."""
    return [*_pairs(static, "master-display", "max-cll"), *(["hdr10=1"] if static else [])]


def svtav1(static: Static) -> list[str]:
    """Entries of ``svtav1-params``."""
    return _pairs(static, "mastering-display", "content-light", whole=False)
