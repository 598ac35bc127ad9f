"""A finished file that is not what it must be is caught, whatever is wrong with it."""

from dataclasses import replace

import av
import numpy as np
import pytest

from vidswap.errors import MediaError
from vidswap.media.verify import verify
from vidswap.testing import Audio
from vidswap.types import Box


@pytest.fixture
def done(make, rewrite):
    source = make(".mp4", audio=(Audio(),), chapters=((0, 1, "one"),), options={"bf": "3"})
    return rewrite(source, ".mp4")


def test_a_good_file_passes(done):
    info, output, writer = done
    verify(output, info, 0, 30, "mp4", writer.record)
    verify(output, info, 0, 30)


def test_name_does_not_matter(done):
    info, output, writer = done
    verify(output.rename(output.with_suffix(".part")), info, 0, 30, ".mp4", writer.record)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda i: {"pts": np.append(i.pts, i.pts[-1] + 512)}, "31 frames expected, 30 found"),
        (lambda i: {"pts": i.pts + np.arange(30)}, "frame 1 lies"),
        (lambda i: {"duration": i.duration * 2}, "it ends at"),
        (lambda i: {"width": 200}, "size"),
        (lambda i: {"rotation": 180}, "rotation"),
        (lambda i: {"sample_aspect": i.sample_aspect * 2}, "sample aspect"),
        (lambda i: {"colour": replace(i.colour, transfer=16)}, "colour tags"),
        (lambda i: {"streams": i.streams + i.streams[:1]}, "streams expected"),
    ],
)
def test_every_difference_is_named(done, change, message):
    info, output, _ = done
    info = replace(info, **change(info))
    with pytest.raises(MediaError, match=message) as caught:
        verify(output, info, 0, info.frames)
    assert caught.value.stage == "verify"


def test_lost_packets_and_chapters(done):
    info, output, writer = done
    kept = writer.record.packets[1]
    for changed in ((kept[0] + 1, kept[1]), (kept[0], kept[1] + 1)):
        writer.record.packets[1] = changed
        with pytest.raises(MediaError, match="copied packets"):
            verify(output, info, 0, 30, "mp4", writer.record)
    writer.record.packets[1] = kept
    writer.record.chapters = 4
    with pytest.raises(MediaError, match="4 chapters expected"):
        verify(output, info, 0, 30, "mp4", writer.record)


def test_black_frame_that_the_input_did_not_have(make, rewrite):
    def blacken(frame):
        if frame.index == 7:
            frame.paste(Box(0, 0, 192, 112), np.zeros((112, 192, 3), np.uint8))

    info, output, writer = rewrite(make(".mp4"), ".mp4", edit=blacken)
    verify(output, info, 0, 30, "mp4", writer.record)  # it was written so
    writer.record.luma[7] = 100.0
    with pytest.raises(MediaError, match="frame 7 has mean luma"):
        verify(output, info, 0, 30, "mp4", writer.record)


@pytest.mark.parametrize("share", [0.4, 0.9])
def test_cut_and_damaged_files(done, share):
    info, output, writer = done
    data = output.read_bytes()
    output.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(MediaError, match="cut short"):
        verify(output, info, 0, 30, "mp4", writer.record)
    output.write_bytes(data[:200])
    with pytest.raises(MediaError):
        verify(output, info, 0, 30, "mp4", writer.record)


def test_rotten_frame(done):
    info, output, writer = done
    data = output.read_bytes()
    with av.open(str(output)) as container:
        sizes = {(p.stream_index, p.pts): (p.pos, p.size) for p in container.demux() if p.size}
    for stream, pts in ((0, 4608), (1, 10240)):
        rotten = bytearray(data)
        at, size = sizes[stream, pts]
        for offset in range(at + 20, at + size):
            rotten[offset] ^= 0x5A
        output.write_bytes(rotten)
        with pytest.raises(MediaError) as caught:
            verify(output, info, 0, 30, "mp4", writer.record)
        assert caught.value.stage == "verify"
