"""Clips made once per process, and a rewrite of one with the real writer."""

import io
from pathlib import Path

import pytest
from PIL import Image

from vidswap.media.containers import muxer
from vidswap.media.decode import open_reader
from vidswap.media.encode import plan_encoder
from vidswap.media.mux import Writer
from vidswap.media.probe import probe
from vidswap.recipe import DecodeOptions, EncodeOptions
from vidswap.testing import Clip, write_clip

FAST = EncodeOptions(preset="ultrafast", crf=12)


@pytest.fixture(scope="session")
def make(tmp_path_factory):
    """``make(suffix, **fields of Clip)`` → path of a clip; equal requests share one file."""
    folder = tmp_path_factory.mktemp("clips")
    made = {}

    def build(suffix: str, **fields) -> Path:
        clip = Clip(**fields)
        key = (suffix, repr(clip))
        if key not in made:
            made[key] = write_clip(folder / f"{len(made):03}{suffix}", clip)
        return made[key]

    return build


@pytest.fixture
def rewrite(tmp_path):
    """``rewrite(path, suffix, …)`` → (info, output, writer): decode, edit, encode, mux."""

    def run(path, suffix, options=FAST, edit=None, start=0, stop=None, metadata=None):
        info = probe(path)
        output = tmp_path / f"out{suffix}"
        plan = plan_encoder(info, options, output)
        writer = Writer(
            info, plan, output, container=muxer(output), start=start, stop=stop, metadata=metadata
        )
        try:
            with open_reader(info, DecodeOptions()) as reader:
                for frame in reader.frames(start, stop):
                    if edit:
                        edit(frame)
                    writer.write(frame)
            writer.finish()
        except BaseException:
            writer.abort()
            raise
        return info, output, writer

    return run


@pytest.fixture(scope="session")
def png() -> bytes:
    """A small picture, for cover art."""
    data = io.BytesIO()
    Image.new("RGB", (64, 64), (200, 30, 30)).save(data, "PNG")
    return data.getvalue()
