"""An encoder does not take the machine for itself."""

import os
from fractions import Fraction
from pathlib import Path

import av
import pytest

from vidswap.media.priority import open_codec

pytestmark = pytest.mark.skipif(not hasattr(os, "sched_getscheduler"), reason="no POSIX scheduling")


@pytest.mark.parametrize("encoder", ["libsvtav1", "libx264"])
def test_opening_an_encoder_leaves_every_thread_as_it_was(encoder, monkeypatch):
    monkeypatch.setenv("SVT_LOG", "1")
    if encoder not in av.codecs_available:
        pytest.skip(f"FFmpeg was built without {encoder}")
    context = av.CodecContext.create(encoder, "w")
    context.width = context.height = 64
    context.pix_fmt, context.framerate = "yuv420p", 25
    context.time_base = Fraction(1, 25)
    before = os.sched_getscheduler(0)
    open_codec(context)
    assert context.is_open
    assert os.sched_getscheduler(0) == before
    threads = [int(task.name) for task in Path("/proc/self/task").iterdir()]
    assert os.SCHED_FIFO not in {os.sched_getscheduler(t) for t in threads}
