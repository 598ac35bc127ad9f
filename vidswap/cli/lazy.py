"""A group whose commands are imported when they are needed."""

from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import click


class LazyGroup(click.Group):
    """A group that finds its commands by name (the recipe in Click's documentation).

    Args:
        commands_at: ``"module:attribute"`` by command name, in the order of the help page. An
            entry whose module is not installed is left out.
    """

    def __init__(self, *args: Any, commands_at: Mapping[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._at = dict(commands_at)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order they were given in, those that are installed."""
        del ctx
        return [name for name, at in self._at.items() if find_spec(at.partition(":")[0])]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        if cmd_name not in self.list_commands(ctx):
            return None
        module, _, attribute = self._at[cmd_name].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command
