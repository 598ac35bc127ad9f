"""``run`` and its neighbours end to end, with the engine that changes nothing."""

import json
import os

import cv2
import numpy as np
import pytest

from vidswap.media.decode import open_reader
from vidswap.media.probe import probe
from vidswap.recipe import DecodeOptions
from vidswap.run import doctor, prepare


def frames(path):
    with open_reader(probe(path), DecodeOptions()) as reader:
        return [frame.rgb() for frame in reader.frames()]


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def test_run_writes_a_verified_file_and_its_facts(call, face_clip, recipe, tmp_path):
    output = tmp_path / "out.mkv"
    done = call("run", face_clip, "-p", recipe, "-o", output, "--codec", "ffv1", "--json")
    assert done.code == 0, done.err
    result = done.result
    assert result["output"] == str(output)
    assert result["frames"] == result["faces"] == result["swapped"] == 16
    assert {"analyse", "decode", "swap", "encode", "verify", "total"} <= set(result["seconds"])
    assert result["recipe"]["engine"] == {"name": "identity"}
    assert names(tmp_path) == ["out.mkv", "out.mkv.vidswap"]
    for before, after in zip(frames(face_clip), frames(output), strict=True):
        np.testing.assert_array_equal(before, after)


def test_render_again_needs_no_detection_and_batches_change_no_byte(
    call, face_clip, recipe, tmp_path
):
    work = tmp_path / "deep" / "work"
    assert call("analyse", face_clip, "-p", recipe, "--work", work).code == 0
    outputs = []
    for number, settings in enumerate((["run.batch=1", "run.queue=1"], ["run.batch=5"])):
        output = tmp_path / f"{number}.mp4"
        sets = [part for value in settings for part in ("--set", value)]
        done = call("render", face_clip, "-p", recipe, "--work", work, "-o", output, *sets)
        assert done.code == 0, done.err
        assert done.out == f"{output}\n"
        outputs.append(output.read_bytes())
    assert outputs[0] == outputs[1]


def test_render_without_an_analysis_is_a_state_error(call, face_clip, recipe, tmp_path):
    done = call("render", face_clip, "-p", recipe, "-o", tmp_path / "out.mp4")
    assert done.code == 6
    assert not list(tmp_path.iterdir())


def test_render_with_another_analysis_names_what_differs(call, face_clip, recipe, tmp_path):
    work, output = tmp_path / "work", tmp_path / "out.mp4"
    assert call("analyse", face_clip, "-p", recipe, "--work", work).code == 0
    common = ("-p", recipe, "--work", work, "-o", output, "--set", "smooth.pose=2")
    done = call("render", face_clip, *common)
    assert done.code == 6
    assert "smooth" in done.err or "recipe" in done.err
    again = call("run", face_clip, *common, "--json")
    assert again.code == 0
    assert any("anew" in note for note in again.result["notes"])


def test_no_face_is_exit_5_and_leaves_nothing(call, empty_clip, recipe, tmp_path):
    done = call("run", empty_clip, "-p", recipe, "-o", tmp_path / "out.mp4")
    assert done.code == 5
    assert "error: " in done.err
    assert "--allow-no-face" in done.err
    assert "out.mp4" not in names(tmp_path)
    assert not [n for n in names(tmp_path) if n.startswith(".")]


def test_allowed_without_a_face_every_frame_passes_through(call, empty_clip, recipe, tmp_path):
    output = tmp_path / "out.mkv"
    done = call(
        "run",
        empty_clip,
        "-p",
        recipe,
        "-o",
        output,
        "--allow-no-face",
        "--codec",
        "ffv1",
        "--json",
    )
    assert done.code == 0, done.err
    assert (done.result["frames"], done.result["faces"]) == (12, 0)
    for before, after in zip(frames(empty_clip), frames(output), strict=True):
        np.testing.assert_array_equal(before, after)


def test_trim_by_frames_and_seconds(call, face_clip, recipe, tmp_path):
    whole = frames(face_clip)
    for start, end in (("4f", "9f"), ("0.16", "0:00.36")):
        output = tmp_path / f"{start}.mkv"
        done = call(
            *("run", face_clip, "-p", recipe, "-o", output, "--codec", "ffv1"),
            *("--start", start, "--end", end, "--json"),
        )
        assert done.code == 0, done.err
        assert done.result["frames"] == 5
        for before, after in zip(whole[4:9], frames(output), strict=True):
            np.testing.assert_array_equal(before, after)


def test_dry_run_says_everything_and_writes_nothing(call, face_clip, recipe, tmp_path):
    output = tmp_path / "out.mp4"
    done = call("run", face_clip, "-p", recipe, "-o", output, "--dry-run", "--json")
    assert done.code == 0, done.err
    plan = done.result
    assert plan["recipe"]["track"]["samples"] == 1
    assert plan["frames"] == 16
    assert plan["encoder"]["name"] == "libx264"
    assert plan["estimate"]["faces_per_frame"] == 1
    assert plan["estimate"]["seconds"] > 0
    assert not list(tmp_path.iterdir())


def test_report(call, face_clip, recipe, tmp_path):
    report = tmp_path / "report"
    output = tmp_path / "out.mp4"
    assert call("run", face_clip, "-p", recipe, "-o", output, "--report", report).code == 0
    facts = json.loads((report / "report.json").read_text())
    assert facts["tracks"][0]["swapped"] == 16
    assert facts["tracks"][0]["flicker_after"] == pytest.approx(
        facts["tracks"][0]["flicker_before"]
    )
    assert "<svg" in (report / "report.html").read_text()


def test_inspect_draws_a_sheet_and_lists_tracks(call, face_clip, recipe, tmp_path):
    sheet = tmp_path / "sheet.png"
    work = tmp_path / "work"
    done = call("inspect", face_clip, "-p", recipe, "-o", sheet, "--work", work, "--json")
    assert done.code == 0, done.err
    (track,) = done.result["tracks"]
    assert (track["index"], track["start"], track["stop"]) == (0, 0, 16)
    assert 0.2 < track["place"] < 0.8
    assert sheet.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert call("inspect", face_clip, "-p", recipe, "-o", sheet, "--work", work).code == 6


def test_preview_shows_frames_without_a_video(call, face_clip, recipe, tmp_path):
    picture = tmp_path / "look.png"
    done = call(
        "preview", face_clip, "-p", recipe, "-o", picture, "-t", "3f", "-t", "0.4", "--json"
    )
    assert done.code == 0, done.err
    assert [row["frame"] for row in done.result["frames"]] == [3, 10]
    assert [row["faces"] for row in done.result["frames"]] == [1, 1]
    assert names(tmp_path) == ["look.png"]


def test_a_preview_repeats_nothing_and_is_as_wide_as_two_frames(call, face_clip, recipe, tmp_path):
    picture = tmp_path / "look.png"
    moments = ("-t", "3f", "-t", "3f", "-t", "99")
    done = call("preview", face_clip, "-p", recipe, "-o", picture, *moments, "--json")
    assert [row["frame"] for row in done.result["frames"]] == [3, 15]
    assert cv2.imread(str(picture)).shape[1] < 2 * 256 + 60


def test_preview_of_nobody(call, empty_clip, recipe, tmp_path):
    done = call("preview", empty_clip, "-p", recipe, "-o", tmp_path / "look.png", "-t", "3f")
    assert done.code == 5
    assert not list(tmp_path.iterdir())


def test_probe(call, face_clip):
    done = call("probe", face_clip, "--json")
    assert (done.result["frames"], done.result["width"], done.result["codec"]) == (16, 256, "h264")
    assert "frames: 16\n" in call("probe", face_clip).out


class TestRefusals:
    """Wrong input ends early, with the right code and one line that names the file."""

    def expect(self, done, code, *words):
        assert done.code == code, done.err
        assert done.out == ""
        (line,) = [text for text in done.err.splitlines() if text.startswith("error: ")]
        for word in words:
            assert str(word) in line
        assert "Traceback" not in done.err

    def test_missing_input(self, call, recipe, tmp_path):
        path = tmp_path / "none.mp4"
        self.expect(call("run", path, "-p", recipe), 3, path, "no such file")

    def test_missing_photo(self, call, empty_clip, tmp_path):
        path = tmp_path / "none.jpg"
        done = call("run", empty_clip, "-s", path, "-o", tmp_path / "o.mp4")
        self.expect(done, 3, path, "no such file")

    def test_no_photo(self, call, empty_clip, tmp_path):
        self.expect(call("run", empty_clip, "-o", tmp_path / "o.mp4"), 2, "nobody")

    def test_photo_that_is_no_photo(self, call, empty_clip, recipe, tmp_path):
        done = call("run", empty_clip, "-s", recipe, "-o", tmp_path / "o.mp4")
        self.expect(done, 3, recipe)

    def test_photo_without_a_face(self, call, face_clip, tmp_path):
        from PIL import Image

        path = tmp_path / "grey.png"
        Image.new("RGB", (200, 200), "grey").save(path)
        self.expect(call("run", face_clip, "-s", path, "-o", tmp_path / "o.mp4"), 5, path)

    def test_text_instead_of_video(self, call, recipe, tmp_path):
        path = tmp_path / "clip.mp4"
        path.write_text("no video at all")
        self.expect(call("run", path, "-p", recipe), 3, path)

    def test_truncated_video(self, call, face_clip, recipe, tmp_path):
        path = tmp_path / "cut.mp4"
        path.write_bytes(face_clip.read_bytes()[: face_clip.stat().st_size // 2])
        self.expect(call("run", path, "-p", recipe), 3, path)
        assert names(tmp_path) == ["cut.mp4"]

    def test_output_equal_to_input(self, call, empty_clip, recipe):
        before = empty_clip.read_bytes()
        done = call("run", empty_clip, "-p", recipe, "-o", empty_clip, "--overwrite")
        self.expect(done, 2, "never overwritten")
        assert empty_clip.read_bytes() == before

    def test_a_file_as_work_folder(self, call, face_clip, recipe, tmp_path):
        done = call("run", face_clip, "-p", recipe, "-o", tmp_path / "o.mp4", "--work", recipe)
        self.expect(done, 6, recipe, "work folder")

    def test_existing_output(self, call, empty_clip, recipe, tmp_path):
        output = tmp_path / "out.mp4"
        output.write_bytes(b"mine")
        done = call("run", empty_clip, "-p", recipe, "-o", output)
        self.expect(done, 6, output, "exists")
        assert output.read_bytes() == b"mine"

    def test_missing_output_folder(self, call, empty_clip, recipe, tmp_path):
        done = call("run", empty_clip, "-p", recipe, "-o", tmp_path / "no" / "out.mp4")
        self.expect(done, 3, "folder does not exist")

    @pytest.mark.parametrize("command", ["preview", "inspect"])
    def test_a_picture_that_would_not_be_what_its_name_says(
        self, call, empty_clip, recipe, tmp_path, command
    ):
        done = call(command, empty_clip, "-p", recipe, "-o", tmp_path / "look.jpg")
        self.expect(done, 2, "look.jpg", "PNG")
        assert not list(tmp_path.iterdir())

    def test_container_that_cannot_be_written(self, call, empty_clip, recipe, tmp_path):
        done = call("run", empty_clip, "-p", recipe, "-o", tmp_path / "out.xyz")
        self.expect(done, 3, ".xyz")

    def test_nothing_slow_before_what_is_cheap_to_refuse(
        self, call, empty_clip, photo, tmp_path, monkeypatch
    ):
        """Finding the faces of photographs takes seconds."""
        monkeypatch.setattr(prepare, "people", lambda *_: pytest.fail("photographs were read"))
        for output, options in (
            ("out.xyz", ()),
            ("out.webm", ("--codec", "h264")),
            ("out.mp4", ("--pix-fmt", "nonsense")),
            ("out.mp4", ("--crf", "99")),
            ("out.mp4", ("--start", "9")),
        ):
            done = call("run", empty_clip, "-s", photo, "-o", tmp_path / output, *options)
            assert done.code in (2, 3), done.err
            assert "error: " in done.err

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["--set", "smooth.windw=1"], ["smooth.windw", "unknown key"]),
            (["--set", "smooth.pose=x"], ["smooth.pose", "expected float"]),
            (["--set", "nonsense"], ["KEY=VALUE"]),
            (["-p", "nope"], ["nope", "no such pipeline"]),
            (["--codec", "nope"], ["--codec"]),
            (["--start", "x"], ["no time"]),
            (["--start", "5", "--end", "1"], ["nothing"]),
            (["--map", "nonsense"], ["REF=PHOTO"]),
            (["--crf", "99"], ["crf"]),
            (["--device", "cuda:99"], ["run.device"]),
            (["--unknown"], ["--unknown"]),
        ],
    )
    def test_usage(self, call, empty_clip, recipe, photo, tmp_path, arguments, words):
        engine = ["-s", photo] if "--device" in arguments else ["-p", recipe]
        pipeline = engine if "-p" not in arguments else []
        done = call("run", empty_clip, "-o", tmp_path / "o.mp4", *pipeline, *arguments)
        self.expect(done, 2, *words)

    def test_source_and_map_exclude_each_other(self, call, empty_clip, photo):
        self.expect(call("run", empty_clip, "-s", photo, "--map", f"0={photo}"), 2, "exclude")

    def test_unknown_track_index(self, call, face_clip, recipe, tmp_path):
        done = call("run", face_clip, "-p", recipe, "--faces", "7", "-o", tmp_path / "o.mp4")
        self.expect(done, 2, "no track 7")

    def test_a_misspelt_rule(self, call, face_clip, recipe, tmp_path):
        done = call("run", face_clip, "-p", recipe, "--faces", "larges", "-o", tmp_path / "o.mp4")
        self.expect(done, 2, "larges", "most-seen")
        assert not list(tmp_path.iterdir())

    def test_a_reference_photo_needs_an_embedder(
        self, call, face_clip, recipe, photo, tmp_path, monkeypatch
    ):
        monkeypatch.setenv("VIDSWAP_WEIGHTS", str(tmp_path / "weights"))
        monkeypatch.setenv("HOME", str(tmp_path))
        done = call("run", face_clip, "-p", recipe, "--faces", photo, "-o", tmp_path / "o.mp4")
        self.expect(done, 4)
        assert "inspect" in done.err


def test_default_output_lies_beside_the_input(call, empty_clip, recipe, tmp_path):
    clip = tmp_path / "clip.mp4"
    os.link(empty_clip, clip)
    assert (
        call("run", clip, "-p", recipe, "--allow-no-face").out == f"{tmp_path}/clip_swapped.mp4\n"
    )


def test_doctor_finds_this_machine_usable(call, empty_clip):
    done = call("doctor", empty_clip, "--json")
    assert done.code == 0, done.result
    states = {check["name"]: check["state"] for check in done.result["checks"]}
    assert states["detector"] == states["encoders"] == states["opencv"] == "ok"
    assert states["first frame"] in ("ok", "warn")


def test_doctor_says_what_would_be_quicker(monkeypatch):
    """Numba is optional: its absence is advice, not a fault."""
    monkeypatch.setattr(doctor, "find_spec", lambda _: None)
    (devices,) = (check for check in doctor.examine() if check.name == "devices")
    assert devices.mark == "ok"
    assert "vidswap[fast]" in devices.advice


def test_doctor_tells_a_broken_clip(call, recipe):
    done = call("doctor", recipe)
    assert done.code == 3
    assert "fail" in done.out


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(call, shell):
    assert "_VIDSWAP_COMPLETE" in call("completion", shell).out


def test_pipelines(call, tmp_path):
    assert "mesh" in call("pipelines", "list", "--json").result["pipelines"]
    shown = call("pipelines", "show", "mesh", "--set", "smooth.pose=2.5")
    assert "pose = 2.5" in shown.out
    path = tmp_path / "own.toml"
    path.write_text(shown.out)
    again = call("pipelines", "show", path, "--json").result
    assert again == call("pipelines", "show", "mesh", "--set", "smooth.pose=2.5", "--json").result
