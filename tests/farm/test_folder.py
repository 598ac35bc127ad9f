"""Which files are clips, what their outputs are called, and lists of jobs."""

import os

import pytest

from vidswap.errors import MediaError, RecipeError
from vidswap.farm import ledger
from vidswap.farm.folder import check_template, fill, find
from vidswap.farm.jobs import Job, read_jobs
from vidswap.farm.summary import Row, Summary, page

VALUES = {"stem": "a", "suffix": ".mp4", "source": "anna", "pipeline": "mesh", "relpath": "day1"}


@pytest.fixture
def tree(tmp_path):
    for name in (
        "b.mp4", "a.MOV", "notes.txt", "x.mp4.part", ".hidden.mp4", "day1/c.mkv", "day1/deep/d.mp4",
        ".cache/e.mp4", "a_swapped.mp4.vidswap/f.mp4", "out/g.mp4",
    ):  # fmt: skip
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "link.mp4").symlink_to(tmp_path / "b.mp4")
    (tmp_path / "broken.mp4").symlink_to(tmp_path / "none.mp4")
    return tmp_path


def names(tree, *patterns):
    return [p.relative_to(tree).as_posix() for p in find(tree, patterns, [tree / "out"])]


def test_clips_are_found_in_order_and_nothing_else(tree):
    assert names(tree) == ["a.MOV", "b.mp4", "day1/c.mkv", "day1/deep/d.mp4", "link.mp4"]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*.mov", ["a.MOV"]),
        ("?.mp4", ["b.mp4", "day1/deep/d.mp4"]),
        ("day1/*", ["day1/c.mkv"]),
        ("day1/**", ["day1/c.mkv", "day1/deep/d.mp4"]),
        ("**/deep/*.mp4", ["day1/deep/d.mp4"]),
        ("*.txt", ["notes.txt"]),
        ("b.mp", []),
    ],
)
def test_patterns(tree, pattern, found):
    assert names(tree, pattern) == found


def test_folders_that_are_none(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(MediaError, match="expected a folder"):
        list(find(file))
    with pytest.raises(MediaError, match="no such folder"):
        list(find(tmp_path / "none"))
    with pytest.raises(RecipeError, match="--glob"):
        list(find(tmp_path, [""]))


def test_templates(tmp_path):
    assert fill("{relpath}/{stem}_{source}{suffix}", VALUES, tmp_path) == (
        tmp_path / "day1" / "a_anna.mp4"
    )
    assert fill("{relpath}/{stem}.mkv", VALUES | {"relpath": "."}, tmp_path) == tmp_path / "a.mkv"
    check_template("{pipeline}-{stem}{suffix}")
    for bad, words in (("{date}", "no field"), ("{", "--template"), ("{}", "no field")):
        with pytest.raises(RecipeError, match=words):
            check_template(bad)
    for bad in ("../{stem}", "{relpath}/.{stem}", ""):
        with pytest.raises(RecipeError, match="no file below"):
            fill(bad, VALUES, tmp_path)


def test_jobs_in_toml_and_jsonl_say_the_same(tmp_path):
    toml, jsonl = tmp_path / "jobs.toml", tmp_path / "jobs.jsonl"
    toml.write_text('[[job]]\ninput = "a.mp4"\nsource = "p.jpg"\nset = ["run.batch=1"]\n')
    jsonl.write_text('\n{"input": "a.mp4", "source": ["p.jpg"], "set": ["run.batch=1"]}\n\n')
    (one,), (other,) = read_jobs(toml), read_jobs(jsonl)
    assert one.sources == other.sources == ("p.jpg",)
    assert one.set == other.set
    assert Job("a").sources == ()


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.toml", "[[job]]\ninput = 3\n", "job 1: input: expected str"),
        ("a.toml", '[[job]]\ninput = "a"\nsuorce = "b"\n', "job 1: suorce: unknown key"),
        ("a.toml", "x = 1\n", r"\[\[job\]\]"),
        ("a.toml", "[[job\n", "not valid TOML"),
        ("a.toml", "", "holds no job"),
        ("a.jsonl", '{"input": "a"}\n{"input"\n', "line 2: not valid JSON"),
        ("a.jsonl", "[1]\n", "line 1: expected an object"),
        ("a.jsonl", '{"output": "a"}\n', "line 1"),
        ("a.csv", "", "expected a .toml"),
    ],
)
def test_wrong_jobs(tmp_path, name, text, words):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(RecipeError, match=words) as caught:
        read_jobs(path)
    assert caught.value.path == str(path)


def test_the_identity_of_a_clip(tmp_path):
    path = tmp_path / "clip"
    path.write_bytes(bytes(range(256)) * 4000)
    before = ledger.identify(path)
    os.utime(path, (1, 1))
    assert ledger.identify(path).digest == before.digest
    assert not before.same_stamp(*ledger.stamp(path))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert ledger.identify(path).digest != before.digest
    with pytest.raises(MediaError, match="No such file"):
        ledger.identify(tmp_path / "none")


def test_the_page_escapes_and_shortens():
    rows = [Row(f"<{n}>", "out", "done", 1, {"frames": 3}) for n in range(2100)]
    error = {"message": "a <b>", "path": "p", "stage": "s", "hint": "h"}
    rows.append(Row("bad", "out", "failed", 3, {}, error))
    text = page(Summary("out", "queue", "now", 1.0, {"clips": 2101}, tuple(rows), "1"))
    assert "<0>" not in text
    assert "&lt;0&gt;" in text
    assert "a &lt;b&gt; (3 attempts)" in text
    assert "100 more are in summary.json" in text
