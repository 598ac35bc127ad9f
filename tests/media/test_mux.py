"""Whole files rewritten: everything that is not the face stays, on every clip that broke a peer."""

import hashlib
from collections import defaultdict
from fractions import Fraction

import av
import numpy as np
import pytest

from vidswap.errors import MediaError
from vidswap.media.containers import check_streams
from vidswap.media.decode import open_reader
from vidswap.media.encode import plan_encoder
from vidswap.media.mux import Writer
from vidswap.media.planes import view
from vidswap.media.probe import probe
from vidswap.media.verify import verify
from vidswap.recipe import DecodeOptions, EncodeOptions
from vidswap.testing import Audio, read_barcode
from vidswap.types import Box

VFR = tuple(3000 * i for i in range(15)) + tuple(45000 + 9000 * i for i in range(15))
CUES = ((0.1, 0.4, "hello <i>you</i>"), (0.5, 0.9, "again"))
RICH = {
    "audio": (
        Audio(language="eng", title="Talk"),
        Audio(seconds=1.5, delay=0.5, language="deu"),
    ),
    "chapters": ((0, 0.5, "one"), (0.5, 1, "two")),
    "metadata": {"title": "A title", "comment": "said"},
}
CLIPS = {
    "b-frames": (".mp4", {"options": {"bf": "3"}, "audio": (Audio(),)}),
    "vfr": (".mp4", {"time_base": Fraction(1, 90000), "pts": VFR}),
    "vfr-mkv": (".mkv", {"time_base": Fraction(1, 1000), "pts": tuple(p // 90 for p in VFR)}),
    "longer audio": (".mp4", {"audio": (Audio(seconds=1.3),)}),
    "shorter audio": (".mp4", {"audio": (Audio(seconds=0.7),)}),
    "delayed audio": (".mp4", {"audio": (Audio(delay=0.5),)}),
    "start offset": (".mp4", {"pts": tuple(range(45, 75)), "audio": (Audio(seconds=3),)}),
    "edit list": (".mp4", {"frames": 40, "pts": tuple(range(-10, 30)), "audio": (Audio(),)}),
    "open gop": (".mkv", {"options": {"x264-params": "log-level=none:open-gop=1:keyint=10"}}),
    "no duration": (".mkv", {"container_options": {"live": "1"}, "audio": (Audio(),)}),
    "transport stream": (".ts", {"audio": (Audio(),), "options": {"g": "10"}}),
    "rotated": (".mp4", {"rotation": 90}),
    "upside down": (".mp4", {"rotation": 180}),
    "sample aspect": (".mp4", {"sample_aspect": Fraction(64, 45)}),
    "odd size": (".mkv", {"width": 193, "height": 113, "pix_fmt": "yuv444p"}),
    "full range": (".mp4", {"colour": (1, 1, 1, 2)}),
    "tagged 601": (".mp4", {"colour": (6, 6, 6, 1), "matrix": 6}),
    "untagged": (".mp4", {}),
    "10 bit 4:2:2": (".mp4", {"pix_fmt": "yuv422p10le"}),
    "pq": (
        ".mp4",
        {"codec": "libx265", "pix_fmt": "yuv420p10le", "colour": (9, 16, 9, 1), "matrix": 9},
    ),
    "hlg": (
        ".mkv",
        {"codec": "libx265", "pix_fmt": "yuv420p10le", "colour": (9, 18, 9, 1), "matrix": 9},
    ),
    "two audio": (".mp4", RICH),
    "subtitles": (".mkv", {**RICH, "subtitles": (("subrip", CUES),)}),
    "mov_text": (".mp4", {**RICH, "subtitles": (("mov_text", CUES),)}),
}


def contents(path):
    """Per stream: kind, digest of its packets, their pts in seconds, language, disposition."""
    out, digests, times = [], defaultdict(hashlib.md5), defaultdict(list)
    with av.open(str(path)) as container:
        kinds = {s.index: (s.type, s.language, int(s.disposition)) for s in container.streams}
        for packet in container.demux():
            if packet.size:
                digests[packet.stream_index].update(bytes(packet))
                stamp = None if packet.pts is None else packet.pts * packet.time_base
                times[packet.stream_index].append(stamp)
        for index, kind in kinds.items():
            out.append((*kind, digests[index].hexdigest(), times[index]))
        return out, container.chapters(), dict(container.metadata)


def seconds(info):
    return [int(p) * info.time_base for p in info.pts]


@pytest.mark.parametrize("name", CLIPS)
def test_rewriting_keeps_everything(make, rewrite, name):
    suffix, fields = CLIPS[name]
    source = make(suffix, **fields)
    target = ".mkv" if suffix == ".ts" else suffix
    info, output, writer = rewrite(source, target)
    verify(output, info, 0, info.frames, target, writer.record)
    written = probe(output)
    shift = seconds(info)[0] - seconds(written)[0]
    if suffix == ".ts":
        assert abs(seconds(written)[0]) < Fraction(1, 20)  # its clock starts anywhere
    else:
        assert seconds(written) == seconds(info)
    assert written.colour == info.colour
    assert written.codec == info.codec
    assert written.pix_fmt == info.pix_fmt
    assert written.rotation == info.rotation
    assert written.sample_aspect == info.sample_aspect
    before, chapters, tags = contents(source)
    after, chapters_now, tags_now = contents(output)
    for old, new in zip(before, after, strict=True):
        if old[0] == "audio":
            assert old[1:3] == new[1:3]
            assert suffix == ".ts" or old[3] == new[3]  # ADTS headers have no place in mkv
            off = [abs(a - b - shift) for a, b in zip(old[4], new[4], strict=True)]
            assert max(off) <= Fraction(1, 900)
    assert [(c["start"] * c["time_base"], c["metadata"]) for c in chapters] == [
        (c["start"] * c["time_base"], c["metadata"]) for c in chapters_now
    ]
    assert {k: tags_now.get(k) for k in ("title",)} == {k: tags.get(k) for k in ("title",)}
    with open_reader(info, DecodeOptions()) as old, open_reader(written, DecodeOptions()) as new:
        for a, b in zip(old.frames(), new.frames(), strict=True):
            assert read_barcode(a.rgb()) == read_barcode(b.rgb()) >= 0


def spoil(box):
    def edit(frame):
        rgb = frame.rgb(box)
        frame.paste(box, (rgb.max() - rgb).astype(rgb.dtype))

    return edit


@pytest.mark.parametrize(
    ("pix_fmt", "codec"),
    [("yuv420p", "libx264"), ("yuv420p10le", "libx265"), ("yuv422p10le", "prores_ks")],
)
def test_lossless_output_is_bit_equal_outside_the_box(make, rewrite, pix_fmt, codec):
    """Without make_writable() the decoder would predict later frames from the edited ones."""
    suffix = ".mov" if codec == "prores_ks" else ".mp4"
    source = make(
        suffix, codec=codec, pix_fmt=pix_fmt, options={} if codec == "prores_ks" else {"bf": "3"}
    )
    box = Box(40, 50, 120, 90)
    info, output, writer = rewrite(source, ".mkv", EncodeOptions(codec="ffv1"), edit=spoil(box))
    verify(output, info, 0, 30, ".mkv", writer.record)
    with (
        open_reader(info, DecodeOptions()) as old,
        open_reader(probe(output), DecodeOptions()) as new,
    ):
        for a, b in zip(old.frames(), new.frames(), strict=True):
            for index in range(3):
                before, after = view(a.native, index), view(b.native, index)
                step_y, step_x = 112 // before.shape[0], 192 // before.shape[1]
                inside = np.zeros(before.shape, bool)
                inside[50 // step_y : 90 // step_y, 40 // step_x : 120 // step_x] = True
                assert np.array_equal(before[~inside], after[~inside])
                assert not np.array_equal(before[inside], after[inside])


@pytest.mark.parametrize("target", [".mov", ".mkv", ".mp4"])
def test_other_containers(make, rewrite, png, target):
    source = make(
        ".mp4", **RICH, subtitles=(("mov_text", CUES),), cover=png if target != ".mov" else None
    )
    info, output, writer = rewrite(source, target)
    verify(output, info, 0, 30, target, writer.record)
    kinds = [s.kind for s in probe(output).streams if s.codec != "chapters"]
    assert kinds == ["audio", "audio", "subtitle"] + ["attachment"] * (target != ".mov")


def test_fonts_and_covers_survive_in_mkv(make, rewrite, png):
    attachments = (("a.ttf", "font/ttf", b"\0" * 8), ("cover.png", "image/png", png))
    source = make(".mkv", attachments=attachments)
    _, output, _ = rewrite(source, ".mkv")
    with av.open(str(output)) as container:
        fonts = [(s.name, s.mimetype, s.data) for s in container.streams if s.type == "attachment"]
        packets = [bytes(p) for p in container.demux() if p.size and p.stream_index == 2]
    assert fonts == [("a.ttf", "font/ttf", b"\0" * 8)]
    assert packets == [png]


def test_subtitles_change_codec_with_the_container(make, rewrite):
    source = make(".mkv", subtitles=(("subrip", CUES),))
    _, output, writer = rewrite(source, ".mp4")
    assert any("subrip to mov_text" in note for note in writer.notes)
    with av.open(str(output)) as container:
        texts = [
            (float(p.pts * p.time_base), bytes(p)[2:].decode())
            for p in container.demux(container.streams.subtitles[0])
            if p.size > 2
        ]
    assert texts == [(0.1, "hello you"), (0.5, "again")]


@pytest.mark.parametrize(
    ("suffix", "fields", "target", "message"),
    [
        (
            ".mp4",
            {"audio": (Audio(language="eng"),)},
            "x.webm",
            r"audio stream 1 \(aac, eng\).*mp4, mov, mkv$",
        ),
        (
            ".mkv",
            {"attachments": (("a.ttf", "font/ttf", b"12345678"),)},
            "x.mp4",
            r"stream 1 \(font/ttf\).*: mkv$",
        ),
        (".mkv", {}, "x.xyz", r"cannot write \.xyz"),
    ],
)
def test_streams_that_do_not_fit_are_named(make, tmp_path, suffix, fields, target, message):
    with pytest.raises(MediaError, match=message):
        check_streams(probe(make(suffix, **fields)), tmp_path / target)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_trim_keeps_sync(make, rewrite, suffix):
    source = make(
        ".mp4",
        frames=60,
        audio=(Audio("flac", seconds=2),),
        chapters=((0, 1, "one"), (1, 2, "two")),
        subtitles=(("mov_text", ((0.2, 1.0, "long"), (1.7, 1.9, "late"))),),
        options={"g": "20"},
    )
    info, output, writer = rewrite(source, suffix, start=15, stop=45)
    verify(output, info, 15, 45, suffix, writer.record)
    written = probe(output)
    assert written.frames == 30
    assert abs(seconds(written)[0]) < Fraction(1, 1000)
    with open_reader(written, DecodeOptions()) as reader:
        assert [read_barcode(f.rgb()) for f in reader.frames()] == list(range(15, 45))
    with av.open(str(source)) as old, av.open(str(output)) as new:
        packets = {bytes(p): p.pts * p.time_base for p in old.demux(old.streams.audio[0]) if p.size}
        kept = [(bytes(p), p.pts * p.time_base) for p in new.demux(new.streams.audio[0]) if p.size]
        chapters = [
            (c["start"] * c["time_base"], c["end"] * c["time_base"]) for c in new.chapters()
        ]
    assert all(
        abs(packets[data] - time - Fraction(1, 2)) < Fraction(1, 1000) for data, time in kept
    )
    assert 0 <= kept[0][1] < Fraction(1, 9)  # one FLAC packet
    assert Fraction(8, 10) < kept[-1][1] < 1
    assert [(float(a), float(b)) for a, b in chapters] == [(0.0, 0.5), (0.5, 1.0)]
    with av.open(str(output)) as new:
        shown = [p for p in new.demux(new.streams.subtitles[0]) if p.size > 2]
        assert len(shown) == 1  # the one that was on, clipped; the late one is gone
        assert shown[0].pts == 0
        assert float(shown[0].duration * shown[0].time_base) == pytest.approx(0.5)


def test_own_tags_are_added(make, rewrite):
    _, output, _ = rewrite(
        make(".mp4", **RICH), ".mp4", metadata={"comment": "swapped", "MyKey": "1"}
    )
    tags = contents(output)[2]
    assert (tags["title"], tags["comment"], tags["MyKey"]) == ("A title", "swapped", "1")


def test_hdr10_static_metadata_survives(make, rewrite):
    display = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"
    params = f"log-level=none:pools=1:hdr10=1:master-display={display}:max-cll=1000,400"
    source = make(
        ".mp4",
        codec="libx265",
        pix_fmt="yuv420p10le",
        colour=(9, 16, 9, 1),
        matrix=9,
        options={"x265-params": params},
    )
    from vidswap.media import hdr

    wanted = hdr.read(probe(source))
    assert wanted.light == (1000, 400)
    for codec in ("hevc", "h264", "av1"):
        options = EncodeOptions(codec=codec, preset="12" if codec == "av1" else "ultrafast")
        _, output, _ = rewrite(source, ".mkv", options, stop=5)
        got = hdr.read(probe(output))
        assert got.light == wanted.light
        assert [float(x) for x in got.primaries] == pytest.approx(
            [float(x) for x in wanted.primaries], abs=1e-4
        )
        assert [float(x) for x in got.luminance] == pytest.approx(
            [float(x) for x in wanted.luminance], rel=1e-2, abs=1e-4
        )


def test_abort_leaves_nothing(make, tmp_path):
    info = probe(make(".mp4", audio=(Audio(),)))
    output = tmp_path / "part"
    writer = Writer(
        info, plan_encoder(info, EncodeOptions(), tmp_path / "x.mp4"), output, container="mp4"
    )
    with open_reader(info, DecodeOptions()) as reader:
        for frame in reader.frames(0, 10):
            writer.write(frame)
    writer.abort()
    assert not output.exists()


def test_missing_and_misplaced_frames_are_refused(make, tmp_path):
    info = probe(make(".mp4"))
    plan = plan_encoder(info, EncodeOptions(), tmp_path / "x.mp4")
    writer = Writer(info, plan, tmp_path / "part", container=".mp4")
    with open_reader(info, DecodeOptions()) as reader:
        frames = list(reader.frames(0, 3))
    writer.write(frames[0])
    with pytest.raises(ValueError, match="frame 1 expected, got frame 2"):
        writer.write(frames[2])
    with pytest.raises(MediaError, match="1 to 29 were never written"):
        writer.finish()
    writer.abort()


def test_unwritable_target(make, tmp_path):
    info = probe(make(".mp4"))
    plan = plan_encoder(info, EncodeOptions(), tmp_path / "x.mp4")
    writer = Writer(info, plan, tmp_path / "no folder" / "x", container="mp4")
    with open_reader(info, DecodeOptions()) as reader:
        frames = list(reader.frames())

    def write():
        for frame in frames:
            writer.write(frame)
        writer.finish()

    with pytest.raises(MediaError, match="cannot be written"):
        write()
    writer.abort()


def test_timecode_and_camera_tags(make, rewrite):
    tags = {"timecode": "01:02:03:04", "location": "+48.1000+011.5000/", "title": "A title"}
    source = make(".mov", metadata=tags)
    _, output, _ = rewrite(source, ".mov", start=10)
    with av.open(str(output)) as container:
        assert container.streams.video[0].metadata["timecode"] == "01:02:03:14"
        assert container.metadata["title"] == "A title"
        assert container.metadata["location"] == "+48.1000+011.5000/"
