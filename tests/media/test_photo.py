"""Photographs of every kind, and what is not one."""

import numpy as np
import pytest
from PIL import Image, ImageCms

from vidswap.errors import MediaError
from vidswap.media.photo import read_photo

QUADRANTS = np.zeros((48, 64, 3), np.uint8)
QUADRANTS[:24, :32] = (200, 40, 40)
QUADRANTS[:24, 32:] = (40, 200, 40)
QUADRANTS[24:, :32] = (40, 40, 200)
QUADRANTS[24:, 32:] = (220, 220, 220)


def near(a, b, tolerance=12):
    return np.abs(a.astype(int) - b).max() <= tolerance


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".webp", ".jpg"])
def test_formats(tmp_path, suffix):
    path = tmp_path / f"photo{suffix}"
    options = {".jpg": {"quality": 98, "subsampling": 0}, ".webp": {"lossless": True}}
    Image.fromarray(QUADRANTS).save(path, **options.get(suffix, {}))
    assert near(read_photo(path)[4:20, 4:28], (200, 40, 40))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path, orientation):
    """A camera stores the sensor's picture and how to turn it."""
    stored = {
        1: QUADRANTS,
        2: QUADRANTS[:, ::-1],
        3: QUADRANTS[::-1, ::-1],
        4: QUADRANTS[::-1],
        5: QUADRANTS.transpose(1, 0, 2),
        6: np.rot90(QUADRANTS),
        7: np.rot90(QUADRANTS, 2).transpose(1, 0, 2),
        8: np.rot90(QUADRANTS, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "photo.png"
    Image.fromarray(np.ascontiguousarray(stored)).save(path, exif=exif)
    assert np.array_equal(read_photo(path), QUADRANTS)


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "RGBA", "LA", "1", "I;16", "I", "F"])
def test_modes(tmp_path, mode):
    grey = np.linspace(0, 255, 64 * 48).reshape(48, 64).astype(np.uint8)
    if mode in ("I;16", "I"):
        made = Image.fromarray(grey.astype(np.uint16 if mode == "I;16" else np.int32) * 257)
    elif mode == "F":
        made = Image.fromarray(grey.astype(np.float32))
    else:
        made = Image.fromarray(grey).convert("L" if mode == "P" else "RGB").convert(mode)
    path = tmp_path / "photo.tif"
    made.save(path)
    got = read_photo(path)
    assert got.shape == (48, 64, 3)
    assert got.dtype == np.uint8
    if mode != "1":
        assert np.abs(got.astype(int) - grey[..., None]).max() <= 6


def test_alpha_lies_over_white(tmp_path):
    made = np.dstack([QUADRANTS, np.zeros((48, 64), np.uint8)])
    path = tmp_path / "photo.png"
    Image.fromarray(made).save(path)
    assert (read_photo(path) == 255).all()


def test_colour_profile_is_applied(tmp_path):
    lab = ImageCms.createProfile("LAB")
    srgb = ImageCms.createProfile("sRGB")
    plain, tagged = tmp_path / "a.png", tmp_path / "b.png"
    Image.fromarray(QUADRANTS).save(plain)
    Image.fromarray(QUADRANTS).save(tagged, icc_profile=ImageCms.ImageCmsProfile(srgb).tobytes())
    assert near(read_photo(plain), read_photo(tagged), 2)
    broken = tmp_path / "c.png"
    Image.fromarray(QUADRANTS).save(broken, icc_profile=b"rubbish" * 40)
    assert np.array_equal(read_photo(broken), read_photo(plain))
    wrong = tmp_path / "d.png"
    Image.fromarray(QUADRANTS).save(wrong, icc_profile=ImageCms.ImageCmsProfile(lab).tobytes())
    assert read_photo(wrong).shape == QUADRANTS.shape


def test_twelve_megapixels_are_reduced(tmp_path):
    path = tmp_path / "photo.jpg"
    Image.fromarray(np.tile(QUADRANTS, (63, 63, 1))).resize((4032, 3024)).save(path, quality=60)
    assert read_photo(path, 1024).shape == (768, 1024, 3)
    assert read_photo(path).shape == (3024, 4032, 3)


def test_what_is_not_a_photo(tmp_path, make):
    path = tmp_path / "photo.jpg"
    with pytest.raises(MediaError, match="no such photo"):
        read_photo(path)
    path.touch()
    with pytest.raises(MediaError, match="empty"):
        read_photo(path)
    path.write_bytes(b"this is no picture at all, only text")
    with pytest.raises(MediaError, match="not a picture"):
        read_photo(path)
    path.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    with pytest.raises(MediaError, match="HEIC"):
        read_photo(path)
    with pytest.raises(MediaError, match="video, not a photo"):
        read_photo(make(".mp4"))


def test_truncated(tmp_path):
    path = tmp_path / "photo.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (200, 200, 3), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:9000])
    with pytest.raises(MediaError, match="damaged"):
        read_photo(path)


def test_too_small(tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray(QUADRANTS[:31]).save(path)
    with pytest.raises(MediaError, match="64x31 is too small"):
        read_photo(path)
