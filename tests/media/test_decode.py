"""Missing, damaged and changing frames are errors that name the frame; never a wrong picture."""

import gc
import threading
import time
import weakref
from pathlib import Path

import numpy as np
import pytest

from vidswap.errors import MediaError
from vidswap.media.decode import open_reader
from vidswap.media.probe import probe
from vidswap.recipe import DecodeOptions
from vidswap.testing import Audio, Clip, read_barcode, write_clip


def deliver(info, start=0, stop=None):
    """Frames up to the error, and the error."""
    got = []
    try:
        with open_reader(info, DecodeOptions()) as reader:
            got.extend(frame.rgb() for frame in reader.frames(start, stop))
    except MediaError as error:
        return got, error
    return got, None


def test_file_cut_after_it_was_indexed(make, tmp_path):
    path = tmp_path / "clip.mp4"
    data = make(".mp4", frames=60, container_options={"movflags": "faststart"}).read_bytes()
    path.write_bytes(data)
    info = probe(path)
    path.write_bytes(data[: int(len(data) * 0.6)])
    got, error = deliver(info)
    assert 10 < len(got) < 60
    assert [read_barcode(rgb) for rgb in got] == list(range(len(got)))
    assert error.stage == "decode"
    assert f"frame {len(got)} at" in error.message
    assert "of 60" in error.message
    assert str(path) in str(error)


def test_transport_stream_cut_anywhere(make, tmp_path):
    whole = make(".ts", frames=60, options={"g": "12"}, audio=(Audio(seconds=2),))
    cut = tmp_path / "cut.ts"
    cut.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * 0.6)])
    got, error = deliver(probe(cut))
    assert error is None or "frame" in error.message
    assert [read_barcode(rgb) for rgb in got] == list(range(len(got)))


@pytest.mark.parametrize("seed", [0, 2, 3, 4, 5, 7])
def test_bit_rot_never_shows(make, tmp_path, seed):
    """H.264 has no checksums: seeds 1 and 6 hit a keyframe so that the rubbish is valid syntax."""
    source = make(".mp4", frames=60, options={"g": "30", "crf": "12"})
    clean, _ = deliver(probe(source))
    data = bytearray(source.read_bytes())
    rng = np.random.default_rng(seed)
    at = int(len(data) * rng.uniform(0.2, 0.8))
    for offset in range(48):
        data[at + offset] ^= int(rng.integers(1, 256))
    rotten = tmp_path / "rotten.mp4"
    rotten.write_bytes(data)
    got, error = deliver(probe(rotten))
    assert error is not None
    assert f"frame {len(got)} at" in error.message
    assert all(np.array_equal(a, b) for a, b in zip(got, clean, strict=False))


def test_frames_behind_the_damage_are_reachable(make, tmp_path):
    source = make(".mp4", frames=60, options={"g": "12", "crf": "12"})
    data = bytearray(source.read_bytes())
    middle = data.index(b"mdat") + 400
    for offset in range(64):
        data[middle + offset] ^= 0xA5
    rotten = tmp_path / "rotten.mp4"
    rotten.write_bytes(data)
    got, error = deliver(probe(rotten), 40, 60)
    assert error is None
    assert [read_barcode(rgb) for rgb in got] == list(range(40, 60))


def test_change_of_size_is_named(make, tmp_path):
    first = write_clip(tmp_path / "a.ts", Clip(frames=20))
    second = write_clip(
        tmp_path / "b.ts", Clip(frames=20, width=160, height=96, pts=tuple(range(22, 42)))
    )
    both = tmp_path / "both.ts"
    both.write_bytes(first.read_bytes() + second.read_bytes())
    got, error = deliver(probe(both))
    assert len(got) == 20
    assert "frame 20" in error.message
    assert "160x96 instead of 192x112" in error.message


def test_seeking_far_decodes_little(make):
    info = probe(make(".mp4", frames=120, options={"g": "10"}))
    with open_reader(info, DecodeOptions()) as reader:
        frame = next(reader.frames(117, 118))
    assert read_barcode(frame.rgb()) == 117


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
def test_containers_are_closed(make):
    info = probe(make(".mp4"))

    def handles():
        links = list(Path("/proc/self/fd").iterdir())
        return sum(p.exists() and str(p.readlink()) == info.path for p in links)

    reader = open_reader(info, DecodeOptions())
    unfinished = reader.frames()
    next(unfinished)
    assert handles() == 1
    list(reader.frames(3, 6))
    assert handles() == 1
    reader.close()
    assert handles() == 0


def test_an_unfinished_reader_lets_go_of_its_decoder(make):
    """Its generators form a ring with it; every span of a clip and every chunk would leave one."""
    info = probe(make(".mp4"))
    gc.collect()
    gc.disable()
    try:
        reader = open_reader(info, DecodeOptions())
        frames = reader.frames()
        next(frames)
        source = weakref.ref(next(iter(reader._sources)))
        reader.close()
        del reader, frames
        assert source() is None
    finally:
        gc.enable()


def test_close_while_another_thread_reads(make):
    info = probe(make(".mp4", frames=60))
    for delay in (0.0, 0.002, 0.01, 0.03):
        reader = open_reader(info, DecodeOptions())
        read = []
        thread = threading.Thread(
            target=lambda r=reader, out=read: out.extend(f.index for f in r.frames())
        )
        thread.start()
        time.sleep(delay)
        reader.close()
        thread.join(5)
        assert not thread.is_alive()
        assert read == list(range(len(read)))
