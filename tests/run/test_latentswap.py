"""A whole run of LatentSwap with small random networks: the picture is nonsense, the file is not."""

import json
import os
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from tests.tiny_networks import SETTINGS, random_weights
from vidswap import recipe as recipes
from vidswap.errors import MediaError, StateError
from vidswap.media.decode import open_reader
from vidswap.media.pictures import write_pictures
from vidswap.media.probe import probe
from vidswap.recipe import DecodeOptions
from vidswap.run import latents
from vidswap.run.analysis import Analysis
from vidswap.run.latents_store import LatentStore
from vidswap.run.passes import obtain
from vidswap.run.prepare import engine_of, open_target
from vidswap.run.request import Request, Watch
from vidswap.run.swap import analyse_only, render_only, swap
from vidswap.run.trim import parse

REAL = Path(__file__).parents[3] / "shared" / "media" / "office_720p.mp4"
FRAMES = 24
TIMES = tuple(int(40 * i + 9 * (i % 3)) for i in range(FRAMES))
"""Milliseconds: a variable frame rate."""
FAST = ("track.samples=1", *SETTINGS)


@pytest.fixture(scope="module", autouse=True)
def weights(tmp_path_factory):
    folder = random_weights(tmp_path_factory.mktemp("weights"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VIDSWAP_WEIGHTS", str(folder))
        yield folder


@pytest.fixture(scope="module")
def portrait():
    pytest.importorskip("mediapipe")
    photo = pytest.importorskip("skimage.data").astronaut()
    return np.ascontiguousarray(photo[:256, 96:352])


@pytest.fixture(scope="module")
def photo(tmp_path_factory, portrait):
    path = tmp_path_factory.mktemp("photo") / "photo.png"
    cv2.imwrite(str(path), portrait[..., ::-1])
    return path


@pytest.fixture(scope="module")
def clip(tmp_path_factory, portrait):
    """A swaying face at uneven times, with sound."""
    path = tmp_path_factory.mktemp("clip") / "face.mkv"
    with av.open(str(path), "w") as out:
        video = out.add_stream("ffv1", rate=25)
        video.width, video.height, video.pix_fmt = 256, 256, "yuv420p"
        video.codec_context.time_base = video.time_base = Fraction(1, 1000)
        sound = out.add_stream("pcm_s16le", rate=16000)
        sound.codec_context.layout = "mono"
        for index, time in enumerate(TIMES):
            matrix = np.float32([[1, 0, 6 * np.sin(index / 3)], [0, 1, 0]])
            picture = cv2.warpAffine(portrait, matrix, (256, 256), borderMode=cv2.BORDER_REPLICATE)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            out.mux(video.encode(frame))
        tone = (8000 * np.sin(np.arange(16000) / 9)).astype(np.int16)[None]
        frame = av.AudioFrame.from_ndarray(tone, format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 16000, 0, Fraction(1, 16000)
        out.mux(sound.encode(frame))
        for stream in (video, sound):
            out.mux(stream.encode(None))
    return path


def request(clip, photo, folder, *settings, **more):
    recipe = recipes.load("latentswap", [*FAST, *settings])
    return Request(clip, recipe, (photo,), output=folder / "out.mkv", work=folder / "work", **more)


def frames(path):
    with open_reader(probe(path), DecodeOptions()) as reader:
        return [frame.rgb() for frame in reader.frames()]


@pytest.fixture(scope="module")
def done(tmp_path_factory, clip, photo):
    folder = tmp_path_factory.mktemp("run")
    stages = []
    watch = Watch(progress=lambda stage, *_: stages.append(stage))
    asked = request(clip, photo, folder, "encode.codec=ffv1", watch=watch)
    return asked, swap(asked), stages


def test_every_frame_time_and_stream_is_right(done, clip):
    asked, result, stages = done
    assert result["engine"] == "latentswap"
    assert result["frames"] == result["faces"] == result["swapped"] == FRAMES
    before, after = probe(clip), probe(asked.output)
    assert after.frames == FRAMES
    assert [float(t * after.time_base) for t in after.pts] == pytest.approx(
        [float(t * before.time_base) for t in before.pts]
    )
    assert [s.kind for s in after.streams] == [s.kind for s in before.streams]
    assert stages.index("analyse") < stages.index("latents") < stages.index("render")
    for old, new in zip(frames(clip), frames(asked.output), strict=True):
        changed = np.abs(old.astype(int) - new).max(2) > 8
        assert 0.05 < changed.mean() < 0.5  # the face, and only the face
        assert not changed[:4].any()
        assert not changed[-4:].any()


def test_codes_are_made_once(done, clip, photo, monkeypatch):
    asked, _, _ = done

    def never(*_):
        raise AssertionError("encoded again")

    monkeypatch.setattr("vidswap.run.latents._Stage.encode", never)
    again = request(clip, photo, asked.work.parent, "engine.similarity=0.5", overwrite=True)
    assert render_only(again)["swapped"] == FRAMES


def test_another_encoder_or_smoothing_has_other_codes(done, clip, photo):
    asked, _, _ = done
    target, engine = open_target(asked), engine_of(asked)
    analysis = obtain(asked, target, engine.needs)
    key = latents.latent_key(analysis, engine)
    engine.inversion.__dict__["digest"] = "another"
    assert latents.latent_key(analysis, engine) != key
    smoother = request(clip, photo, asked.work.parent, "smooth.residual=2")
    assert smoother.recipe.analyse_key() != asked.recipe.analyse_key()


def test_an_interrupted_stage_goes_on_where_it_stopped(clip, photo, tmp_path, monkeypatch):
    monkeypatch.setattr(latents, "CHECKPOINT", 5)
    monkeypatch.setattr(latents, "BATCH", 3)

    class StopError(Exception):
        pass

    seen = []

    def stop(stage, count, total):
        if stage == "latents":
            seen.append((count, total))
            if count == 13:
                raise StopError

    asked = request(clip, photo, tmp_path / "a", watch=Watch(progress=stop))
    (tmp_path / "a").mkdir()
    with pytest.raises(StopError):
        analyse_only(asked)
    state = json.loads((asked.work / "latents" / "state.json").read_text())
    assert state["tracks"]["0"]["rows"] == 10
    seen.clear()
    rest = request(
        clip, photo, tmp_path / "a", watch=Watch(progress=lambda s, n, t: seen.append((s, n, t)))
    )
    analyse_only(rest)
    assert ("latents", 1, FRAMES - 10) in seen
    whole = request(clip, photo, tmp_path / "b")
    (tmp_path / "b").mkdir()
    analyse_only(whole)
    for name in ("latents", "window", "tones"):
        a, b = (
            (r.work / "latents" / f"track-00000.{name}.bin").read_bytes() for r in (rest, whole)
        )
        assert a == b, name
    assert sorted(p.suffix for p in (rest.work / "latents").iterdir()) == [".bin"] * 3 + [".json"]


def test_a_source_that_changes_while_it_is_inverted_leaves_no_codes(clip, photo, tmp_path):
    source = tmp_path / "face.mkv"
    source.write_bytes(clip.read_bytes())

    def touch(stage, count, total):
        if stage == "latents" and count == FRAMES // 2:
            os.utime(source, ns=(1, 1))

    asked = request(source, photo, tmp_path, watch=Watch(progress=touch))
    with pytest.raises(StateError, match="was changed") as caught:
        swap(asked)
    assert (caught.value.path, caught.value.exit_code) == (str(source), 6)
    assert not asked.output.exists()
    assert not list(tmp_path.rglob("state.json"))
    swap(replace(asked, watch=Watch()))
    assert len(probe(asked.output).pts) == FRAMES


def test_a_missing_or_short_file_is_made_again(done, clip, photo):
    asked, _, _ = done
    path = asked.work / "latents" / "track-00000.latents.bin"
    before = path.read_bytes()
    for damage in (path.unlink, lambda: path.write_bytes(before[:-64])):
        damage()
        analyse_only(request(clip, photo, asked.work.parent))
        assert path.read_bytes() == before


def test_batches_change_no_byte(done, clip, photo):
    asked, _, _ = done
    outputs = []
    for batch in (1, 3):
        again = request(
            clip,
            photo,
            asked.work.parent,
            "encode.codec=ffv1",
            f"run.batch={batch}",
            overwrite=True,
        )
        swap(again)
        outputs.append(frames(again.output))
    for a, b in zip(*outputs, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_full_disk_is_a_media_error(done, clip, photo, monkeypatch, tmp_path):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(LatentStore, "append", full)
    with pytest.raises(MediaError, match="no space left"):
        analyse_only(request(clip, photo, tmp_path))


@pytest.mark.skipif(not REAL.is_file(), reason="no real clip beside the repository")
def test_a_real_clip_goes_through(photo, tmp_path):
    asked = request(REAL, photo, tmp_path, end=parse("0.6"))
    result = swap(asked)
    before, after = probe(REAL), probe(asked.output)
    assert result["swapped"] == result["frames"] == after.frames
    taken = [float((t - before.pts[0]) * before.time_base) for t in before.pts[: after.frames]]
    assert [float(t * after.time_base) for t in after.pts] == pytest.approx(taken, abs=2e-3)


@pytest.mark.slow
def test_a_generator_is_tuned_to_each_track_once(done, clip, photo, tmp_path):
    asked, _, _ = done
    notes, stages = [], []
    watch = Watch(note=notes.append, progress=lambda stage, *_: stages.append(stage))
    settings = ("invert.method=pivotal", "invert.steps=2", "invert.tune_frames=3")
    tuned = request(clip, photo, tmp_path, "encode.codec=ffv1", *settings, watch=watch)
    assert swap(tuned)["swapped"] == FRAMES
    (note,) = [note for note in notes if "track 0: tuning: 3 frames, 2 steps" in note]
    assert "in place of LPIPS" in note  # whose weights are not here, and it says so
    assert stages.index("latents") < stages.index("tune") < stages.index("render")
    assert not np.array_equal(frames(tuned.output)[4], frames(asked.output)[4])
    stages.clear()
    render_only(replace(tuned, overwrite=True))
    assert not {"latents", "tune"} & set(stages)


def test_only_chosen_tracks_are_encoded_and_later_ones_join(portrait, photo, tmp_path):
    def picture(index):
        matrix = np.float32([[0.9, 0, 3 * np.sin(index / 3)], [0, 0.9, 10]])
        one = cv2.warpAffine(portrait, matrix, (256, 256), borderMode=cv2.BORDER_REPLICATE)
        return np.hstack([one, one[:, ::-1]])

    path = tmp_path / "two.mkv"
    write_pictures(path, [picture(i) for i in range(6)], encoder="ffv1")
    counted = []

    def count(stage, done, total):
        if stage == "latents":
            counted.append((done, total))

    asked = request(path, photo, tmp_path, watch=Watch(progress=count))
    target, engine = open_target(asked), engine_of(asked)
    analysis = obtain(asked, target, engine.needs)
    assert [t.id for t in analysis.tracks] == [0, 1]
    latents.prepare_latents(asked, target, analysis, engine, [1])
    assert "latents" in analysis.at(analysis.tracks[1], 2).data
    assert "latents" not in analysis.at(analysis.tracks[0], 2).data
    first = (asked.work / "latents" / "track-00001.latents.bin").read_bytes()
    latents.prepare_latents(asked, target, analysis, engine)
    assert "latents" in analysis.at(analysis.tracks[0], 2).data
    assert (asked.work / "latents" / "track-00001.latents.bin").read_bytes() == first
    assert counted == [(n, 6) for n in range(1, 7)] * 2


def test_a_repeated_frame_has_the_code_and_the_window_of_its_picture(portrait, photo, tmp_path):
    """Two pictures in three frames; only pictures are encoded, also by a stage that was interrupted."""
    shown = np.arange(21) * 2 // 3
    again = np.r_[False, np.diff(shown) == 0]

    def picture(number):
        matrix = np.float32([[1, 0, 9 * np.sin(0.6 * number)], [0, 1, 2 * (number % 2)]])
        return cv2.warpAffine(portrait, matrix, (256, 256), borderMode=cv2.BORDER_REPLICATE)

    path = tmp_path / "converted.mkv"
    write_pictures(path, [picture(k) for k in shown], Fraction(30), encoder="ffv1")
    encoded = []
    asked = request(path, photo, tmp_path)
    target, engine = open_target(asked), engine_of(asked)
    analysis = obtain(asked, target, engine.needs)
    (track,) = analysis.tracks
    assert track.frames == len(shown)
    encode, limit = engine.encode, 2

    def counted(pictures):
        if len(encoded) == limit:
            raise InterruptedError
        encoded.append(len(pictures))
        return encode(pictures)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "encode", counted)
        patch.setattr(latents, "BATCH", 3)
        patch.setattr(latents, "CHECKPOINT", 4)
        with pytest.raises(InterruptedError):
            latents.prepare_latents(asked, target, analysis, engine)
        limit = 99
        latents.prepare_latents(asked, target, analysis, engine)
    assert sum(encoded) == 14
    rows = [analysis.at(track, i).data for i in range(len(shown))]
    for before, row, repeat in zip(rows, rows[1:], again[1:], strict=False):
        for name in ("latents", "window", "tones"):
            assert np.array_equal(before[name], row[name]) == repeat, name


def test_projection_says_what_it_costs(clip, photo, tmp_path):
    notes = []
    settings = ("invert.method=projector", "invert.steps=2")
    asked = request(
        clip, photo, tmp_path, *settings, end=parse("3f"), watch=Watch(note=notes.append)
    )
    analyse_only(asked)
    (note,) = [note for note in notes if "codes: projection: 3 frames, 2 steps each" in note]
    assert "in place of LPIPS" in note
    codes = np.fromfile(asked.work / "latents" / "track-00000.latents.bin", np.float32)
    codes = codes.reshape(3, 8, 16)
    np.testing.assert_array_equal(
        codes, np.repeat(codes[:, :1], 8, 1)
    )  # W: one code for all layers


# --- smoothing


def test_rows_reach_the_engine(done):
    asked, _, _ = done
    target, engine = open_target(asked), engine_of(asked)
    analysis = Analysis.open(asked.work, target.info, asked.recipe, engine.needs)
    latents.prepare_latents(asked, target, analysis, engine)
    (track,) = analysis.tracks
    row = analysis.at(track, 3).data
    assert row["latents"].shape == (8, 16)
    assert row["window"].shape == row["tones"].shape == (2, 3)
