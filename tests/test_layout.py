"""The bars of the house: short files, short functions, no globals."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "vidswap").rglob("*.py"))
ALL = SOURCES + sorted((ROOT / "tests").rglob("*.py")) + sorted((ROOT / "scripts").rglob("*.py"))
CONTAINERS = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)


def name(path):
    return str(path.relative_to(ROOT))


def functions(tree):
    return [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_files_functions_and_globals(path):
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= 400, "longer than 400 lines"
    tree = ast.parse(text)
    long = {f.name: f.end_lineno - f.lineno + 1 for f in functions(tree)}
    assert not {k: v for k, v in long.items() if v > 60}, "functions of more than 60 lines"
    assert not [n for n in ast.walk(tree) if isinstance(n, ast.Global)], "a global statement"


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_module_level_containers_are_constants(path):
    """A mutable container at module level must be spelt as a constant, and nothing may change it."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    held = {
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, CONTAINERS)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    assert {n for n in held if n != n.upper() and n != "__all__"} == set()
    changed = {
        node.func.value.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.attr in {"append", "add", "update", "pop", "setdefault", "extend", "clear"}
    }
    stored = {
        node.value.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Subscript)
        and isinstance(node.ctx, ast.Store | ast.Del)
        and isinstance(node.value, ast.Name)
    }
    assert not held & (changed | stored)


def test_no_code_among_the_data():
    for folder in ("pipelines", "weights"):
        assert not list((ROOT / folder).rglob("*.py"))


def test_nothing_of_the_workplace_leaks():
    """Paths of one machine have no place in a repository."""
    words = ("/work/" + "shared", "/work/" + "main", "/tmp/" + "brief")
    found = [
        name(path)
        for path in [*ALL, *ROOT.glob("*.md"), *(ROOT / "scripts").iterdir()]
        if path.is_file() and any(w in path.read_text(encoding="utf-8") for w in words)
    ]
    assert not found
