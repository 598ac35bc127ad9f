"""Every command and option is documented, and what the README names exists."""

import ast
import re
from pathlib import Path

import click
import pytest

from vidswap import errors
from vidswap.cli import EXIT_CODES, cli

ROOT = Path(__file__).parents[1]


def commands(command=cli, path=("vidswap",)):
    yield " ".join(path), command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            yield from commands(command.get_command(context, name), (*path, name))


COMMANDS = dict(commands())
OPTIONS = {
    flag
    for command in COMMANDS.values()
    for option in command.params
    if isinstance(option, click.Option)
    for flag in [*option.opts, *option.secondary_opts]
} | {"--help", "--version"}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_has_help(name):
    command = COMMANDS[name]
    assert command.help, name
    assert command.help.strip().splitlines()[0].endswith((".", "?")), name
    # Hidden options are what vidswap passes to processes of its own.
    shown = [p for p in command.params if isinstance(p, click.Option) and not p.hidden]
    assert not [p.name for p in shown if not p.help]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_help_page_renders(name):
    command = COMMANDS[name]
    text = command.get_help(click.Context(command, info_name=name))
    assert text.startswith(f"Usage: {name}")


def documents():
    return [p for p in (ROOT / "README.md", ROOT / "CONTRIBUTING.md") if p.is_file()]


@pytest.mark.parametrize("path", documents(), ids=lambda p: p.name)
def test_options_and_commands_in_documents_exist(path):
    text = path.read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if "vidswap" in line or line.startswith("| `--")]
    for line in lines:
        if "pip " in line or "git " in line:
            continue
        named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", line))
        assert not named - OPTIONS, f"{path.name}: {line}"
    for command in re.findall(r"`(?:vidswap) ([a-z]+)", text) + re.findall(
        r"^\$? ?vidswap ([a-z]+)", text, re.M
    ):
        assert f"vidswap {command}" in COMMANDS


def test_exit_codes_are_documented():
    kinds = [k for k in vars(errors).values() if isinstance(k, type) and issubclass(k, Exception)]
    codes = {k.exit_code for k in kinds if issubclass(k, errors.VidswapError)} | {0, 130, 143}
    documented = {int(n) for n in re.findall(r"^\s+(\d+) ", EXIT_CODES, re.M)}
    assert documented == codes


TRAPS = re.findall(r"`(tests/[^`]+?)::([a-z_0-9]+)(?:\[([^`]+)\])?` \|$", (ROOT / "docs/traps.md").read_text(), re.M)  # fmt: skip


def test_every_trap_names_a_test():
    lines = (ROOT / "docs/traps.md").read_text().splitlines()
    assert len(TRAPS) == sum(line.startswith("| ") for line in lines) - 1 > 30


@pytest.mark.parametrize(("file", "name", "case"), TRAPS)
def test_tests_of_traps_exist(file, name, case):
    text = (ROOT / file).read_text(encoding="utf-8")
    body = ast.parse(text).body
    assert name in {node.name for node in body if isinstance(node, ast.FunctionDef)}
    assert not case or f'"{case}"' in text
