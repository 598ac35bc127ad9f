"""Plain-text subtitles from one container's codec to another's."""

from __future__ import annotations

import html
import re

ASS_HEADER = b"""[Script Info]
ScriptType: v4.00+
PlayResX: 384
PlayResY: 288

[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, \
Italic, Underline, StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, \
Alignment, MarginL, MarginR, MarginV, Encoding
Style: Default,Arial,16,&Hffffff,&Hffffff,&H0,&H0,0,0,0,0,100,100,0,0,1,1,0,2,10,10,10,1

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
"""
"""FFmpeg's text encoders want a style sheet before they open; this is its default one."""

_TAG = re.compile(r"</?[^<>]+>|\{\\[^{}]*\}")


def convert_text(data: bytes, source: str, target: str) -> bytes | None:
    """Rewrite the payload of one packet.

    Markup survives between SubRip and WebVTT, which share it, and is taken out otherwise.

    Args:
        data: Payload as the source codec stores it.
        source: ``subrip``, ``text``, ``webvtt`` or ``mov_text``.
        target: ``subrip``, ``webvtt`` or ``mov_text``.

    Returns:
        The new payload, or None for a packet that only says that nothing is shown.
    """
    if source == "mov_text":
        length = int.from_bytes(data[:2], "big")
        data = data[2 : 2 + length]
    text = data.decode("utf-8", "replace").strip("\0\r\n ")
    if not text:
        return None
    if target == "mov_text":
        plain = html.unescape(_TAG.sub("", text)).encode()
        return len(plain).to_bytes(2, "big") + plain
    if source == "mov_text" and target == "webvtt":
        text = html.escape(text, quote=False)
    return text.encode()
