"""Reading and writing parts of frames in their native planes."""

from fractions import Fraction

import av
import numpy as np
import pytest
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from hypothesis import given, settings
from hypothesis import strategies as st

from vidswap.errors import MediaError, ShapeError
from vidswap.media.convert import Converter, packed
from vidswap.media.frame import Frame, FrameFormat
from vidswap.media.planes import layout, planar_format, view
from vidswap.testing import picture, read_barcode
from vidswap.types import REST, Box, Colour, VideoInfo


def clip_info(pix_fmt="yuv420p", size=(64, 48), matrix=1, full=False, rotation=0):
    return VideoInfo(
        path="none",
        container="mp4",
        codec="h264",
        pix_fmt=pix_fmt,
        width=size[0],
        height=size[1],
        rotation=rotation,
        sample_aspect=Fraction(1),
        colour=Colour(1, 1, matrix, full, layout(planar_format(pix_fmt)).bits, False),
        time_base=Fraction(1, 30),
        pts=np.zeros(1, np.int64),
        keyframes=np.zeros(1, np.int64),
        frame_rate=Fraction(30),
        duration=1,
        stream_index=0,
    )


def make_frame(pix_fmt="yuv420p", size=(64, 48), rotation=0, matrix=1, full=False, spread=0.06):
    """Random blocks of colours that RGB can hold; with a large ``spread`` of chroma, not all."""
    turned = size[::-1] if rotation in (90, 270) else size
    native = av.VideoFrame(*turned, pix_fmt)
    rng = np.random.default_rng(0)
    form = layout(pix_fmt)
    for index in range(len(native.planes)):
        plane = view(native, index)
        wide = 0.2 if index == 0 or form.kind == "rgb" else spread
        coarse = rng.uniform(
            0.5 - wide, 0.5 + wide, (plane.shape[0] // 4 + 2, plane.shape[1] // 4 + 2)
        )
        plane[:] = (
            np.kron(coarse, np.ones((4, 4)))[: plane.shape[0], : plane.shape[1]] * form.top
        ).astype(plane.dtype)
    return Frame(0, 0, native, FrameFormat(clip_info(pix_fmt, size, matrix, full, rotation)))


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("bits", [8, 9, 10, 12, 14, 16])
def test_rgb_is_what_packed_pixels_hold(bits, full):
    """Planes are converted apart, because that is quicker; every value comes out as by the usual way."""
    deep = bits > 8
    name = f"yuv444p{bits}le" if deep else "yuv444p"
    for matrix in (1, 6, 9):
        converter = Converter(Colour(1, 1, matrix, full, bits, False), layout(name))
        source = av.VideoFrame(131, 97, name)
        samples = np.random.default_rng(matrix).integers(0, 1 << bits, (3, 97, 131))
        for index, plane in enumerate(samples):
            view(source, index)[:] = plane
        got = converter.rgb(*(plane.astype(np.uint16 if deep else np.uint8) for plane in samples))
        usual = packed(converter.reformat(source, "rgb48le" if deep else "rgb24"))
        np.testing.assert_array_equal(got, usual)


@pytest.mark.parametrize(
    ("pix_fmt", "rotation"),
    [("yuv420p", 0), ("yuv420p", 90), ("yuv422p", 180), ("yuv444p10le", 0), ("yuv411p", 0),
     ("gray", 0), ("gbrp", 270)],
)  # fmt: skip
@pytest.mark.parametrize(("factor", "corner"), [(2, (8, 6)), (4, (8, 6)), (3, (5, 3)), (2, (9, 7))])
def test_a_reduced_part_is_the_mean_of_its_pixels(pix_fmt, rotation, factor, corner):
    frame = make_frame(pix_fmt, (160, 128), rotation, spread=0.03)
    left, top = corner
    for box in (Box(left, top, left + 97, top + 90), Box(left, top, 160, 128)):
        got = frame.reduced(box, factor)
        width, height = box.width // factor, box.height // factor
        assert got.shape == (height, width, 3)
        assert got.dtype == np.uint8
        whole = frame.rgb(Box(left, top, left + width * factor, top + height * factor))
        mean = whole.reshape(height, factor, width, factor, 3).mean((1, 3))
        gap = got - mean / (257 if frame.bits == 16 else 1)
        # Rounding before and after, and chroma between its samples.
        assert np.abs(gap).max() < 6
        assert np.abs(gap).mean() < 1
        assert np.abs(gap.mean((0, 1))).max() < 0.6


def planes(frame):
    return [view(frame.native, i).copy() for i in range(len(frame.native.planes))]


ALL = ["yuv420p", "yuv422p", "yuv444p", "yuv411p", "yuv440p", "yuvj420p", "gray", "gbrp"]
DEEP = ["yuv420p10le", "yuv422p10le", "yuv444p12le", "yuv420p16le", "gbrp10le", "gray10le"]


@pytest.mark.parametrize("pix_fmt", [*ALL, *DEEP])
@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_a_box_is_a_part_of_the_whole(pix_fmt, rotation):
    frame = make_frame(pix_fmt, (65, 47), rotation)
    whole = frame.rgb()
    assert whole.shape == (47, 65, 3)
    assert whole.dtype == (np.uint16 if pix_fmt in DEEP else np.uint8)
    for box in (Box(0, 0, 65, 47), Box(3, 5, 20, 18), Box(40, 30, 65, 47), Box(-5, -5, 7, 9)):
        inside = box.clip(65, 47)
        fresh = Frame(
            0, 0, frame.native, FrameFormat(clip_info(pix_fmt, (65, 47), rotation=rotation))
        )
        part = fresh.rgb(box)
        assert np.array_equal(part, whole[inside.top : inside.bottom, inside.left : inside.right])
    assert frame.rgb(Box(70, 2, 80, 9)).shape == (7, 0, 3)


@pytest.mark.parametrize("pix_fmt", [*ALL, *DEEP])
@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_pasting_what_was_read_changes_nothing(pix_fmt, rotation):
    frame = make_frame(pix_fmt, (65, 47), rotation)
    before = planes(frame)
    box = Box(3, 5, 40, 31)
    frame.paste(box, frame.rgb(box))
    assert all(np.array_equal(a, b) for a, b in zip(before, planes(frame), strict=True))


@pytest.mark.parametrize("pix_fmt", [*ALL, *DEEP])
@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_pasted_pixels_come_back(pix_fmt, rotation):
    frame = make_frame(pix_fmt, (64, 48), rotation)
    box = Box(8, 4, 48, 36)
    old = frame.rgb(box).astype(np.float64)
    top = 65535 if pix_fmt in DEEP else 255
    y, x = np.mgrid[0:32, 0:40]
    bump = np.sin(np.pi * (y + 0.5) / 32) * np.sin(np.pi * (x + 0.5) / 40)
    grey = "gray" in pix_fmt
    change = np.array([0.1, 0.1, 0.1] if grey else [0.12, -0.06, 0.05]) * top
    new = np.clip(old + bump[..., None] * change, 0, top).astype(frame.rgb().dtype)
    frame.paste(box, new)
    got = frame.rgb(box).astype(np.float64)
    assert np.abs(got - new).mean() < 0.006 * top
    assert np.abs(got - new).max() < 0.03 * top


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv444p", "gray", "yuv420p10le"])
def test_the_luma_of_replaced_pixels_is_that_of_the_new_picture(pix_fmt):
    """Nothing of how the old picture was rounded stays in a new one, which would tremble with it."""
    frame, box = make_frame(pix_fmt), Box(8, 4, 56, 44)
    level = np.rint(np.linspace(90, 170, 48))
    deep = 257 if frame.bits == 16 else 1
    new = np.empty((40, 48, 3), frame.rgb().dtype)
    new[:] = (level * deep)[:, None]
    far = np.abs(new.astype(int) - frame.rgb(box)).max(-1) >= 4 * deep
    assert far.mean() > 0.5
    frame.paste(box, new)
    wanted = (16 + 219 * level / 255) * (4 if frame.bits == 16 else 1)
    assert np.abs(planes(frame)[0][4:44, 8:56] - wanted)[far].max() <= 0.51


@pytest.mark.parametrize(("pix_fmt", "rotation"), [("yuv420p", 0), ("yuv444p", 180)])
def test_what_rounding_took_reaches_the_coded_samples(pix_fmt, rotation):
    """A slow ramp is coded as if its pixels had never been rounded; unchanged ones stay bit for bit."""
    frame, box = make_frame(pix_fmt, rotation=rotation), Box(8, 4, 56, 44)
    old, before = frame.rgb(box), planes(frame)
    exact = np.linspace(90, 110, 48, dtype=np.float32)[None, :, None] + np.zeros(
        (40, 48, 3), np.float32
    )
    new = np.rint(exact).astype(np.uint8)
    rest = np.rint((exact - new) * REST).astype(np.int8)
    new[:10], rest[:10] = old[:10], 127
    far = (np.abs(new.astype(int) - old) >= 4).any(-1)
    wanted = 16 + 219 * exact[..., 0] / 255

    def error(rest):
        frame = make_frame(pix_fmt, rotation=rotation)
        frame.paste(box, new, rest)
        upright = [np.rot90(plane, rotation // 90) for plane in planes(frame)]
        return upright, np.abs(upright[0][4:44, 8:56] - wanted)[far]

    coded, with_rest = error(rest)
    _, without = error(None)
    assert far.mean() > 0.4
    assert with_rest.max() <= 0.51 < without.max()
    old_luma = np.rot90(before[0], rotation // 90)
    np.testing.assert_array_equal(coded[0][:14], old_luma[:14])


def test_colours_beyond_rgb_are_kept_or_replaced_but_not_added():
    frame = make_frame("yuv444p", spread=0.3)
    box = Box(0, 0, 64, 48)
    old, before = frame.rgb(box), planes(frame)
    assert (old == 0).any()
    assert (old == 255).any()
    half = old.copy()
    half[:, :32] = np.roll(old, 7, axis=0)[:, :32]
    frame.paste(box, half)
    assert np.abs(frame.rgb(box).astype(int) - half).max() <= 16
    assert np.abs(frame.rgb(box).astype(int) - half).mean() < 1
    for now, then in zip(planes(frame), before, strict=True):
        assert np.array_equal(now[:, 32:], then[:, 32:])


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p10le", "yuv444p", "yuv411p", "gbrp"])
@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@settings(max_examples=12, deadline=None, database=None, derandomize=True)
@given(
    left=st.integers(0, 40),
    top=st.integers(0, 30),
    width=st.integers(1, 30),
    height=st.integers(1, 25),
)
def test_nothing_outside_the_box_changes(pix_fmt, rotation, left, top, width, height):
    size = (65, 47)
    frame = make_frame(pix_fmt, size, rotation)
    box = Box(left, top, left + width, top + height).clip(*size)
    before = planes(frame)
    new = np.full((box.height, box.width, 3), 65535 if frame.bits == 16 else 255, frame.rgb().dtype)
    frame.paste(box, new)
    coded = FrameFormat(clip_info(pix_fmt, size, rotation=rotation)).coded_box(box)
    form = layout(pix_fmt)
    for index, (old, now) in enumerate(zip(before, planes(frame), strict=True)):
        chroma = index and form.kind == "yuv"
        sx, sy = (form.shift_x, form.shift_y) if chroma else (0, 0)
        inside = np.zeros(old.shape, bool)
        inside[
            coded.top >> sy : -(-coded.bottom >> sy), coded.left >> sx : -(-coded.right >> sx)
        ] = True
        assert np.array_equal(old[~inside], now[~inside])


def test_an_odd_edge_keeps_the_neighbours_chroma():
    frame = make_frame("yuv420p")
    before = planes(frame)
    frame.paste(Box(9, 8, 21, 20), np.zeros((12, 12, 3), np.uint8))
    u, old = planes(frame)[1], before[1]
    assert np.array_equal(u[:, 4], old[:, 4])  # shared by columns 8 (outside) and 9
    assert np.array_equal(u[:, 10], old[:, 10])  # shared by 20 and 21, both outside or edge
    assert not np.array_equal(u[4:10, 5:10], old[4:10, 5:10])


def test_single_changed_pixel_touches_one_block():
    frame = make_frame("yuv420p")
    before = planes(frame)
    box = Box(10, 10, 30, 30)
    rgb = frame.rgb(box)
    rgb[7, 8] = (255, 0, 0)
    frame.paste(box, rgb)
    changed = [np.argwhere(a != b) for a, b in zip(before, planes(frame), strict=True)]
    assert changed[0].tolist() == [[17, 18]]
    assert changed[1].tolist() == [[8, 9]]
    assert changed[2].tolist() == [[8, 9]]


def test_read_array_belongs_to_the_caller():
    frame = make_frame()
    box = Box(4, 4, 20, 20)
    first = frame.rgb(box)
    kept = first.copy()
    first[:] = 0
    assert np.array_equal(frame.rgb(box), kept)
    frame.paste(box, first)  # really black now, though the caller scribbled on what it was given
    assert frame.rgb(Box(8, 8, 16, 16)).max() < 12


def test_paste_reaches_over_the_frame_edge():
    frame = make_frame()
    frame.paste(Box(-4, -4, 12, 12), np.full((16, 16, 3), 255, np.uint8))
    assert view(frame.native, 0)[:12, :12].min() > 200
    assert frame.rgb(Box(0, 0, 10, 10)).min() > 200


def test_wrong_shapes_and_depths_are_refused():
    frame = make_frame()
    with pytest.raises(ShapeError):
        frame.paste(Box(0, 0, 8, 8), np.zeros((8, 9, 3), np.uint8))
    with pytest.raises(TypeError, match="uint8"):
        frame.paste(Box(0, 0, 8, 8), np.zeros((8, 8, 3), np.uint16))
    with pytest.raises(ShapeError):
        frame.paste(Box(0, 0, 8, 8), np.zeros((8, 8, 3), np.uint8), np.zeros((8, 9, 3), np.int8))
    deep = make_frame("yuv420p10le")
    with pytest.raises(TypeError, match="has none"):
        deep.paste(Box(0, 0, 8, 8), np.zeros((8, 8, 3), np.uint16), np.zeros((8, 8, 3), np.int8))


@pytest.mark.parametrize("matrix", [1, 6, 9])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("pix_fmt", ["yuv444p", "yuv444p10le"])
def test_colours_by_the_book(matrix, full, pix_fmt):
    """Against ITU-T H.273 worked out in double precision."""
    kr, kb = {1: (0.2126, 0.0722), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}[matrix]
    frame = make_frame(pix_fmt, matrix=matrix, full=full)
    bits, top = frame._form.layout.bits, frame._form.layout.top
    y, u, v = (p.astype(np.float64) for p in planes(frame))
    scale = 2.0 ** (bits - 8)
    if full:
        y, u, v = y / top, (u - 128 * scale) / top, (v - 128 * scale) / top
    else:
        y, u, v = (y / scale - 16) / 219, (u / scale - 128) / 224, (v / scale - 128) / 224
    red, blue = y + 2 * (1 - kr) * v, y + 2 * (1 - kb) * u
    wanted = np.stack([red, (y - kr * red - kb * blue) / (1 - kr - kb), blue], -1).clip(0, 1)
    got = frame.rgb() / (65535.0 if frame.bits == 16 else 255.0)
    assert np.abs(got - wanted).max() < (2.5 / 255 if bits == 8 else 1.0 / 255)


def test_assumed_matrix_is_used_both_ways():
    """An untagged HD clip means BT.709: FFmpeg would silently take BT.601."""
    rgb = np.full((48, 64, 3), (188, 62, 45), np.uint8)
    native = VideoReformatter().reformat(
        av.VideoFrame.from_ndarray(rgb),
        format="yuv420p",
        src_colorspace=Colorspace.ITU709,
        dst_colorspace=Colorspace.ITU709,
        src_color_range=ColorRange.JPEG,
        dst_color_range=ColorRange.MPEG,
    )
    native.colorspace, native.color_range = 2, 0
    frame = Frame(0, 0, native, FrameFormat(clip_info()))
    assert np.abs(frame.rgb().astype(int) - rgb).max() <= 2
    assert np.abs(frame.small(64)[0].astype(int) - rgb).max() <= 3
    assert (native.colorspace, native.color_range) == (2, 0)


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p10le", "gbrp", "gray"])
def test_small_pictures_are_upright(rotation, pix_fmt):
    upright = picture(1234, 320, 180)
    coded = np.ascontiguousarray(np.rot90(upright, rotation // 90))
    native = av.VideoFrame.from_ndarray(coded).reformat(
        format=pix_fmt, dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
    )
    frame = Frame(0, 0, native, FrameFormat(clip_info(pix_fmt, (320, 180), rotation=rotation)))
    small, scale = frame.small(160)
    assert small.shape == (90, 160, 3)
    assert scale == 0.5
    assert frame.luma(64).shape == (36, 64)
    assert read_barcode(frame.rgb()) == 1234
    assert read_barcode(small) == 1234
    assert read_barcode(np.repeat(frame.luma(160)[..., None], 3, axis=2)) == 1234
    assert frame.small(4000)[1] == 1.0
    assert abs(frame.mean_luma() - upright.mean()) < 12


@pytest.mark.parametrize(
    ("packed", "planar"),
    [
        ("nv12", "yuv420p"),
        ("p010le", "yuv420p10le"),
        ("yuyv422", "yuv422p"),
        ("rgb24", "gbrp"),
        ("bgra", "gbrap"),
        ("yuv422p10be", "yuv422p10le"),
    ],
)
def test_packed_formats_lose_nothing(packed, planar):
    assert planar_format(packed) == planar
    source = make_frame(planar)
    native = source.native.reformat(format=packed, src_color_range=1, dst_color_range=1)
    frame = Frame(0, 0, native, FrameFormat(clip_info(packed)))
    assert frame.native.format.name == planar
    assert all(np.array_equal(a, b) for a, b in zip(planes(source), planes(frame), strict=True))


def test_unknown_pixel_formats_are_refused():
    with pytest.raises(MediaError, match="xyz12le"):
        planar_format("xyz12le")
