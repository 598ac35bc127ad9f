"""Layers hold, and the command line starts without anything heavy."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = ("numpy", "torch", "av", "cv2", "scipy", "mediapipe", "matplotlib", "PIL", "onnxruntime")


def modules_after(code):
    script = f"import sys, json\n{code}\njson.dump(sorted(sys.modules), sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stderr)), done.stdout


def test_help_imports_nothing_heavy_and_lists_every_command():
    loaded, text = modules_after(
        "from vidswap.cli import cli\n"
        "try: cli.main(['--help'], 'vidswap', standalone_mode=False)\n"
        "except SystemExit: pass"
    )
    assert not loaded & set(HEAVY)
    for command in ("run", "analyse", "render", "inspect", "preview", "probe", "doctor", "bench"):
        assert f"\n  {command} " in text


@pytest.mark.parametrize("command", ["run", "bench pipeline", "pipelines show"])
def test_help_of_a_command_imports_nothing_heavy(command):
    loaded, text = modules_after(
        "from vidswap.cli import cli\n"
        f"cli.main({[*command.split(), '--help']}, 'vidswap', standalone_mode=False)"
    )
    assert not loaded & set(HEAVY)
    assert "--json" in text


def test_a_run_of_the_mesh_engine_leaves_torch_alone():
    """It costs seconds and 180 MB, and the engine has no network."""
    loaded, _ = modules_after(
        "import vidswap.run.swap, vidswap.engines.mesh, vidswap.faces.photo_faces\n"
        "from vidswap.recipe import Recipe\n"
        "from vidswap.run.prepare import device_of\n"
        "assert device_of(Recipe()) == 'cpu'"
    )
    assert "cv2" in loaded
    assert "torch" not in loaded
    # A third of a second, in every process of a batch, for what a few recipes use.
    assert not loaded & {"scipy.cluster", "scipy.linalg", "scipy.ndimage", "scipy.spatial"}


def test_a_run_needs_no_display():
    """Neither a window system nor a toolkit: everything a run loads, with its networks running."""
    pytest.importorskip("mediapipe")
    loaded, _ = modules_after(
        "import os\n"
        "for name in ('DISPLAY', 'WAYLAND_DISPLAY', 'MPLBACKEND'): os.environ.pop(name, None)\n"
        "import vidswap.run.swap, vidswap.run.inspect, vidswap.run.preview, vidswap.run.report\n"
        "import vidswap.engines.mesh\n"
        "from vidswap.faces.detect import open_detector\n"
        "from vidswap.faces.landmarks import Landmarker\n"
        "from vidswap.recipe import DetectOptions\n"
        "open_detector(DetectOptions()).close()\n"
        "Landmarker().close()"
    )
    assert "mediapipe" in loaded
    assert not loaded & {"tkinter", "_tkinter", "PyQt5", "PyQt6", "PySide2", "PySide6", "gi", "wx"}
    calls = re.compile(r"cv2\.(imshow|namedWindow|waitKey|destroy)")
    assert not [p for p in (ROOT / "vidswap").rglob("*.py") if calls.search(p.read_text())]


def test_layers():
    tool = shutil.which("lint-imports", path=str(Path(sys.executable).parent))
    if tool is None:
        pytest.skip("import-linter is not installed")
    done = subprocess.run([tool, "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
