"""``vidswap pipelines``: the recipes."""

from collections.abc import Sequence

import click

from vidswap import recipe as recipes
from vidswap import schema
from vidswap.cli.console import Console
from vidswap.cli.options import console_options, resolve_recipe
from vidswap.cli.toml import dump


@click.group(invoke_without_command=True)
@click.pass_context
def pipelines(context: click.Context) -> None:
    """List the shipped pipelines, or show one."""
    if context.invoked_subcommand is None:
        context.invoke(list_pipelines, log_format="auto", as_json=False, quiet=False)


@pipelines.command("list")
@console_options
def list_pipelines(console: Console) -> None:
    """Name and summary of every shipped pipeline."""
    found = {name: recipes.load(name).summary for name in recipes.names()}
    console.result({"pipelines": found}, "\n".join(f"{k:12} {v}" for k, v in found.items()))


@pipelines.command("show")
@click.argument("name", metavar="NAME|FILE")
@click.option(
    "--set",
    "overrides",
    metavar="KEY=VALUE",
    multiple=True,
    help="Change one value first; repeatable.",
)
@console_options
def show(console: Console, name: str, overrides: Sequence[str]) -> None:
    """Print a pipeline with every default filled in, as TOML that --pipeline reads."""
    recipe = resolve_recipe(name, overrides)
    table = schema.encode(recipe)
    console.result(table, "\n".join([dump(table), *_weights(recipe)]))


def _weights(recipe: recipes.Recipe) -> list[str]:
    """Comments on the checkpoints that the engine reads: whether they are here."""
    from vidswap.weights.cache import Store

    store = Store.default()
    lines = []
    for option, name in recipes.engine_weights(recipe).items():
        here = store.ready(name) is not None
        state = "is here" if here else f"is not here: vidswap weights fetch {name}"
        lines.append(f"# {option}: {name} {state}")
    return ["", *lines] if lines else []
