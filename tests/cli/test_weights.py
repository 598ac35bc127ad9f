import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.weights import published
from tests.weights.server import serving
from vidswap.cli.weights import weights
from vidswap.errors import WeightsError
from vidswap.weights import manifest
from vidswap.weights.cache import Store, hash_file


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("VIDSWAP_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.delenv("VIDSWAP_OFFLINE", raising=False)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)

    def call(*arguments):
        result = CliRunner().invoke(weights, list(arguments))
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.stdout

    return call


def test_list(run):
    text = run("list")
    rows = json.loads(run("list", "--json"))["weights"]
    assert {r["name"] for r in rows} == set(manifest.shipped())
    assert all(r["name"] in text for r in rows)
    # Our own small weights come with the program; the others have to be fetched.
    own = {r["name"] for r in rows if r["name"].startswith("vidswap-")}
    assert {r["state"] for r in rows if r["name"] in own} == {"ready"}
    assert {r["state"] for r in rows if r["name"] not in own} == {"absent"}
    present = json.loads(run("list", "--present", "--json"))["weights"]
    assert {r["name"] for r in present} == own


def test_show(run):
    text = run("show", "e4e-ffhq")
    assert 'sha256 = "2ace1d9a' in text
    assert text.rstrip().endswith("# absent")
    assert json.loads(run("show", "e4e-ffhq", "--json"))["config"]["size"] == 1024
    with pytest.raises(WeightsError, match="did you mean e4e-ffhq"):
        run("show", "e4e-ffh")


def test_weights_in_the_wheel_are_neither_fetched_nor_missing(run):
    assert run("verify") == "nothing has been imported yet\n"
    path = run("where", "vidswap-stylegan2-64")
    assert run("fetch", "vidswap-stylegan2-64", "--force", "--offline") == path
    assert run("verify", "vidswap-stylegan2-64") == "vidswap-stylegan2-64: intact\n"


def test_add_verify_where_convert(run, tmp_path):
    file = published.matrix_file(tmp_path / "A_matrix.pt")
    name = "direction-matrix-voxceleb"
    path = run("add", str(file)).strip()
    assert path.endswith(f"{name}.safetensors")
    assert run("where", name).strip() == path
    assert run("where").strip() == str(tmp_path / "weights")
    assert run("verify") == f"{name}: intact\n"
    assert "# ready" in run("show", name)
    with pytest.raises(WeightsError, match="the published file of"):
        run("convert", name)
    with Path(path).open("ab") as stored:
        stored.write(b"x")
    with pytest.raises(WeightsError, match="changed since"):
        run("verify")
    with pytest.raises(WeightsError, match="changed since"):
        run("verify", name)


def test_fetch_and_convert(run, tmp_path, monkeypatch):
    file = published.matrix_file(tmp_path / "A_matrix.pt")
    with serving({"A_matrix.pt": file.read_bytes()}) as site:
        shipped = manifest.shipped()
        table = manifest.encode(shipped["direction-matrix-voxceleb"])
        own = table.replace("direction-matrix-voxceleb", "mine").replace(
            'sha256 = "unknown"', f'sha256 = "{hash_file(file)[0]}"'
        )
        own = f'urls = ["{site.url("A_matrix.pt")}"]\n{own}'
        (tmp_path / "weights").mkdir()
        (tmp_path / "weights" / "mine.toml").write_text(own)
        with pytest.raises(WeightsError, match="offline"):
            run("fetch", "mine", "--offline")
        path = run("fetch", "mine").strip()
        assert path == str(tmp_path / "weights" / "mine.safetensors")
        assert len(site.asked) == 1
        run("fetch", "mine")
        assert len(site.asked) == 1
    found = manifest.get("mine", Store.default().root)
    assert Store.default().original(found).exists()
    assert run("convert", "mine").strip() == path
    assert run("verify", "mine") == "mine: intact\n"
    run("fetch", "mine")  # there already: no connection is needed


def test_by_hand(run):
    with pytest.raises(WeightsError, match="only by hand") as caught:
        run("fetch", "e4e-ffhq")
    assert "drive.google.com" in caught.value.hint


def test_exit_code_and_hint(tmp_path, monkeypatch, capsys):
    from vidswap.cli import cli
    from vidswap.cli.outcome import run_command

    monkeypatch.setenv("VIDSWAP_WEIGHTS", str(tmp_path))
    assert run_command(cli, ["weights", "fetch", "irse50"]) == 4
    shown = capsys.readouterr().err
    assert "only by hand" in shown
    assert "vidswap weights add FILE --as irse50" in shown


@pytest.mark.parametrize("arguments", ["list", "show irse50", "where", "fetch --help"])
def test_torch_is_not_imported_for_a_look(tmp_path, arguments):
    code = (
        "import sys\n"
        "from vidswap.cli.weights import weights\n"
        f"weights.main({arguments.split()!r}, standalone_mode=False)\n"
        "sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    )
    environment = {"VIDSWAP_WEIGHTS": str(tmp_path), "PATH": ""}
    done = subprocess.run([sys.executable, "-c", code], env=environment, check=False)
    assert done.returncode == 0


def test_every_command_has_help():
    for name, command in weights.commands.items():
        assert command.help, name
    assert set(weights.commands) == {"list", "show", "fetch", "add", "verify", "convert", "where"}
