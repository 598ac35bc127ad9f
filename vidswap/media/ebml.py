"""How long a Matroska or WebM file must be, from its first bytes (RFC 8794, RFC 9559)."""

from pathlib import Path

_HEADER, _SEGMENT = bytes.fromhex("1A45DFA3"), bytes.fromhex("18538067")


def promised_size(path: Path) -> int | None:
    """Bytes up to the end of the segment; None where the file does not say, as in live recordings.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(4096)
    if head[:4] != _HEADER:
        return None
    length, width = _vint(head[4:])
    at = 4 + width + (length or 0)
    if length is None or head[at : at + 4] != _SEGMENT:
        return None
    size, width = _vint(head[at + 4 :])
    return None if size is None else at + 4 + width + size


def _vint(data: bytes) -> tuple[int | None, int]:
    """A variable-length size and its own width; None for the reserved value "unknown"."""
    if not data or not data[0]:
        return None, 1
    width = 9 - data[0].bit_length()
    bits = int.from_bytes(data[:width], "big") & ((1 << 7 * width) - 1)
    return (None if bits == (1 << 7 * width) - 1 else bits), width
