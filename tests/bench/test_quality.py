"""``bench quality`` gives the truth full marks, and sees what is wrong with what is not the truth."""

import json
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from vidswap.bench.quality import COLUMNS, Plan, measure, table
from vidswap.bench.quality_methods import SOURCE, TARGET, TRUTH, Swapped, methods
from vidswap.bench.quality_score import Judge
from vidswap.bench.quality_set import cases, draw
from vidswap.cli import cli
from vidswap.cli.outcome import run_command
from vidswap.errors import RecipeError

pytestmark = pytest.mark.usefixtures("compiled")
IDENTITY = 'summary = "Test."\n[engine]\nname = "identity"\n[track]\nsamples = 1\n'
SIZE = 160


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    path = tmp_path_factory.mktemp("recipe") / "nothing.toml"
    path.write_text(IDENTITY)
    return str(path)


@pytest.fixture(scope="module")
def judge():
    with closing(Judge()) as opened:
        yield opened


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    return draw(cases(1, 0.4, SIZE)[0], tmp_path_factory.mktemp("pair"))


@pytest.fixture(scope="module")
def reference(judge, pair):
    return judge.reference(pair)


@pytest.fixture(scope="module")
def hand(tmp_path_factory):
    """Two frames with a hand before the face."""
    case = next(c for c in cases(0, 1.2, SIZE) if c.name == "hand")
    late = replace(case.clip, params=case.clip.params[-2:])
    return draw(replace(case, clip=late), tmp_path_factory.mktemp("hand"))


def test_the_set_is_of_people_kept_for_evaluation_and_always_the_same(pair, tmp_path):
    found = cases(2, 0.4, 96)
    assert [c.name for c in found] == ["pair 0", "pair 1", "talking", "hand", "cut"]
    assert found == cases(2, 0.4, 96)
    people = [c.source.identity for c in found] + [c.clip.params[0][0].identity for c in found]
    assert len(set(people)) == len(people)
    again = draw(cases(1, 0.4, SIZE)[0], tmp_path)
    assert np.array_equal(again.target, pair.target)
    assert np.array_equal(again.truth, pair.truth)
    assert found[-1].clip.cuts == (5,)
    assert [len(c.clip) for c in found] == [1, 1, 10, 10, 10]
    assert max(h.expression.blink_left for (h,) in found[2].clip.params) > 0.8


def test_truth_scores_full_marks_and_a_blurred_truth_does_not(judge, pair, reference):
    full = judge.score(Swapped(pair.truth), reference)
    assert full["psnr"] == np.inf
    assert full["ssim"] == pytest.approx(1)
    assert (full["pose"], full["expression"], full["gaze"], full["lost"]) == (0, 0, 0, 0)
    assert full["seam"] == 0
    worse = pair.truth[:, ::4, ::4].repeat(4, 1).repeat(4, 2)
    coarse = judge.score(Swapped(worse), reference)
    assert coarse["psnr"] < 35
    assert coarse["ssim"] < 0.95
    assert coarse["pose"] > 0


def test_a_face_that_is_gone_is_lost_and_a_tint_is_forgiven_where_it_should_be(
    judge, pair, reference
):
    gone = judge.score(Swapped(np.full_like(pair.truth, 127)), reference)
    assert gone["lost"] == 1
    assert np.isnan(gone["pose"])
    tinted = judge.score(Swapped((pair.truth * [0.9, 0.8, 0.7]).astype(np.uint8)), reference)
    assert tinted["psnr"] < 25
    assert tinted["toned"] > tinted["psnr"] + 8


def test_who_it_is(judge, pair, reference):
    if judge.embedder is None:
        pytest.skip("no embedder")
    truth, copy = (judge.score(Swapped(f), reference) for f in (pair.truth, pair.target))
    assert truth["closer"] == 1
    assert truth["to_source"] > 0.5
    assert copy["closer"] == 0
    assert copy["to_target"] > 0.95
    assert copy["distance"] > truth["distance"] == 0


def test_hands_are_the_targets(judge, hand, tmp_path):
    assert hand.occluded.sum() > 100
    assert hand.hidden.all()
    assert not (hand.occluded & hand.face).any()
    reference = judge.reference(hand)
    chosen = methods(())
    kept = {n: judge.score(m(hand, tmp_path), reference)["occluder"] for n, m in chosen.items()}
    assert kept[TRUTH] > 0.95  # between fingers pixels mix
    assert kept[TARGET] == 1
    assert kept[SOURCE] < 0.7


def test_a_photograph_without_a_face_is_a_miss(pair, recipe, tmp_path):
    photo = tmp_path / "grey.png"
    Image.fromarray(np.full((64, 64, 3), 127, np.uint8)).save(photo)
    engine = methods((recipe,))["nothing"]
    found = engine(replace(pair, photo=photo), tmp_path)
    assert found.missed == 1
    assert np.array_equal(found.frames, pair.target)


def test_a_clip_without_a_face_is_a_miss(pair, recipe, tmp_path):
    from vidswap.media.pictures import write_pictures

    empty = tmp_path / "empty.mkv"
    write_pictures(empty, [np.full((SIZE, SIZE, 3), 90, np.uint8)], encoder="ffv1")
    assert methods((recipe,))["nothing"](replace(pair, path=empty), tmp_path).missed == 1


def test_an_engine_that_changes_nothing_scores_like_the_target(recipe, tmp_path):
    plan = Plan(
        pairs=1, seconds=0.2, size=SIZE, pipelines=(recipe,), clips=("talking",), always=(),
        report=tmp_path / "report",
    )  # fmt: skip
    result = measure(plan, lambda *_: None)
    assert list(result["methods"]) == [TRUTH, TARGET, SOURCE, "nothing"]
    copy, engine = result["methods"][TARGET], result["methods"]["nothing"]
    assert engine["missed"] == 0
    assert engine["seconds"] > 0
    for name in ("psnr", "ssim", "pose", "flicker", "jaw_correlation"):
        assert engine[name] == pytest.approx(copy[name], abs=0.05)
    assert result["methods"][SOURCE]["pose"] > copy["pose"]
    assert json.loads((tmp_path / "report/quality.json").read_text())["methods"].keys() == {
        *result["methods"]
    }
    page = (tmp_path / "report/quality.html").read_text()
    assert page.count("data:image/jpeg") == (1 + 3) * 6
    assert page.count("<img alt='nothing'") == 1 + 3
    assert "frame 3 of 5" in page
    text = table(result)
    assert "paste source" in text
    assert ("no embedder" in text) == (result["embedder"] is None)


def test_bad_options_are_one_line_errors(tmp_path):
    assert run_command(cli, ["bench", "quality", "--size", "97"]) == 2
    assert run_command(cli, ["bench", "quality", "-p", "nonsense"]) == 2
    (tmp_path / "file").touch()
    with pytest.raises(RecipeError, match="no such pipeline"):
        methods(("nonsense",))
    arguments = ["bench", "quality", "--pairs", "0", "--report", tmp_path / "file"]
    assert run_command(cli, [str(a) for a in arguments]) == 6


@pytest.mark.slow
def test_mesh_engine_beats_both_copies_where_identity_does_not_count():
    found = measure(Plan(pairs=4, seconds=1.2), lambda *_: None)["methods"]
    mesh, copy, paste = (found[name] for name in ("mesh", TARGET, SOURCE))
    assert set(mesh) <= set(COLUMNS)
    assert mesh["missed"] == 0
    assert mesh["expression"] < min(copy["expression"], paste["expression"])
    assert mesh["toned"] > max(copy["toned"], paste["toned"])
    assert mesh["pose"] < paste["pose"]
    assert mesh["seam"] < paste["seam"] / 3
    assert mesh["occluder"] > paste["occluder"]
    assert mesh["jaw_correlation"] > 0.9 > paste["jaw_correlation"]
