"""One name is installed, data travels with it, and the wheel runs from anywhere."""

import subprocess
import sys
import tomllib
from importlib.metadata import distribution
from pathlib import Path

import pytest

from vidswap import __version__, paths, recipe

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_installed_metadata_matches_the_tree():
    installed = distribution("vidswap")
    assert installed.version == __version__
    assert {e.name: e.value for e in installed.entry_points} == {"vidswap": "vidswap.cli:main"}


def test_only_vidswap_is_importable():
    code = (
        "import importlib.util, sys\n"
        "names = ('pipelines', 'weights', 'tests', 'cli', 'scripts')\n"
        "print([n for n in names if (s := importlib.util.find_spec(n)) and "
        f"str(s.origin or list(s.submodule_search_locations)[0]).startswith({str(ROOT)!r})])"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd="/", capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_every_shipped_recipe_decodes_and_has_a_summary():
    assert "mesh" in recipe.names()
    for name in recipe.names():
        assert recipe.load(name).summary.endswith(".")


def test_data_folders_are_found_in_a_checkout():
    assert paths.data("pipelines").joinpath("mesh.toml").is_file()


def test_the_shim_works_uninstalled_from_any_folder(tmp_path):
    done = subprocess.run(
        [sys.executable, str(ROOT / "cli.py"), "pipelines", "--help"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0
    assert done.stdout.startswith("Usage: vidswap pipelines")


def test_ignored_weights_do_not_hide_the_package():
    """An unanchored ``weights/`` in .gitignore drops ``vidswap/weights`` from the wheel."""
    lines = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert "weights/" not in lines
    assert "weights" not in lines
    assert PROJECT["tool"]["hatch"]["build"]["dev-mode-exact"] is True


@pytest.mark.slow
def test_the_wheel_is_clean_and_runs_alone():
    done = subprocess.run(
        [ROOT / "scripts" / "check-wheel"],
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", "PYTHON": sys.executable, "HOME": str(Path.home())},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "mesh" in done.stdout
