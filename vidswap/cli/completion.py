"""``vidswap completion``: tab completion for the shell."""

import click
from click.shell_completion import get_completion_class

from vidswap.errors import RecipeError


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the completion script of a SHELL.

    Use it with: eval "$(vidswap completion bash)"
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise RecipeError(f"no completion for {shell}")
    root = context.find_root().command
    click.echo(kind(root, {}, "vidswap", "_VIDSWAP_COMPLETE").source())
