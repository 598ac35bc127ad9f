"""Source photographs: whatever a camera or a painter's scan delivers, as upright sRGB."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from vidswap.errors import MediaError
from vidswap.types import U8

SMALLEST = 32
"""Pixels of the shorter side below which no face can be told."""

_DEEP = ("I", "I;16", "I;16L", "I;16B", "F")


def read_photo(path: Path, max_side: int = 4096) -> U8:
    """Read a photograph.

    The EXIF orientation is applied, alpha is laid over white, an embedded colour profile is
    converted to sRGB, and every colour mode becomes RGB.

    Args:
        path: JPEG, PNG, WebP, TIFF, BMP, or whatever else Pillow reads.
        max_side: A longer picture is reduced to this longer side.

    Returns:
        (H, W, 3)

    Raises:
        MediaError: Missing, empty, not a picture, damaged, or smaller than 32 pixels.
    """
    path = Path(path)
    if not path.is_file():
        raise MediaError("no such photo", path=path, stage="photo")
    if path.stat().st_size == 0:
        raise MediaError("the photo is empty", path=path, stage="photo")
    try:
        with Image.open(path) as opened:
            # JPEG decodes at a half or a quarter for a fraction of the time.
            opened.draft("RGB", (max_side, max_side))
            picture = _upright_rgb(opened)
    except UnidentifiedImageError:
        raise MediaError(_why_not(path), path=path, stage="photo") from None
    except Image.DecompressionBombError as error:
        raise MediaError(f"too large to be a photo: {error}", path=path, stage="photo") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise MediaError(f"the photo is damaged: {error}", path=path, stage="photo") from error
    if min(picture.size) < SMALLEST:
        width, height = picture.size
        raise MediaError(
            f"{width}x{height} is too small; at least {SMALLEST} pixels each way are needed",
            path=path,
            stage="photo",
        )
    if max(picture.size) > max_side:
        picture.thumbnail((max_side, max_side), Image.Resampling.LANCZOS, reducing_gap=3.0)
    return np.array(picture, np.uint8)


def _why_not(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(16)
    if head[4:8] == b"ftyp" and head[8:12] in (
        b"heic",
        b"heix",
        b"mif1",
        b"heif",
        b"hevc",
        b"msf1",
    ):
        return "HEIC photos are not supported; save it as JPEG or PNG"
    if head[4:8] == b"ftyp" or head[:4] == b"\x1aE\xdf\xa3":
        return "this is a video, not a photo"
    return "not a picture in a known format"


def _upright_rgb(opened: Image.Image) -> Image.Image:
    opened.load()
    profile = opened.info.get("icc_profile")
    picture = ImageOps.exif_transpose(opened)
    if picture.mode in _DEEP:
        picture = _eight_bits(picture)
    if picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info:
        over = picture.convert("RGBA")
        picture = Image.new("RGB", over.size, "white")
        picture.paste(over, mask=over.getchannel("A"))
    if profile and picture.mode in ("RGB", "CMYK", "L"):
        picture = _to_srgb(picture, profile)
    return picture.convert("RGB")


def _eight_bits(picture: Image.Image) -> Image.Image:
    """Scale 16-bit, 32-bit or float grey; Pillow's own conversion clips it to white."""
    values = np.asarray(picture, np.float64)
    top = 65535.0 if picture.mode != "F" else (255.0 if values.max() > 1 else 1.0)
    return Image.fromarray(np.rint((values / top).clip(0, 1) * 255).astype(np.uint8))


def _to_srgb(picture: Image.Image, profile: bytes) -> Image.Image:
    """Phones write Display P3, and Adobe RGB is common; taken as sRGB both look pale."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted = ImageCms.profileToProfile(
            picture, source, ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    except (ImageCms.PyCMSError, OSError):
        return picture  # a broken profile is no reason to refuse a sound picture
    return converted if converted is not None else picture
