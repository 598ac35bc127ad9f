"""From an exception to one clear error and an exit code."""

import errno
import os
import sys
import traceback
from collections.abc import Sequence

import click

from vidswap.cli.console import Console
from vidswap.cli.signals import Interrupted, stopping_signals
from vidswap.errors import RecipeError, VidswapError

BUG = 1
"""Exit code of everything that is not a user's error."""

INTERRUPTED = 130
BROKEN_PIPE = 141
"""Nobody reads the results any more, as after ``vidswap probe clip.mp4 | head -1``."""


def run_command(command: click.Command, arguments: Sequence[str]) -> int:
    """Run a command; every outcome becomes an exit code and at most one error on stderr.

    Args:
        command: The group to run.
        arguments: Without the program's name.

    Returns:
        The exit code.
    """
    received: list[int] = []
    try:
        with stopping_signals(received):
            return _exit_code(command.main(list(arguments), "vidswap", standalone_mode=False))
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except (Exception, Interrupted, KeyboardInterrupt) as error:  # noqa: BLE001 - each has its code
        # Native code that a signal finds while it calls Python makes an error of its own of it: a library
        # that was being loaded cannot be. Cleaning up after a stop may fail, too.
        ending = Interrupted(received[0]) if received else error
        return _report(ending, Console.for_errors(wants_json(arguments)))


def _report(error: BaseException, console: Console) -> int:
    """Say what ended the command; returns the exit code."""
    if isinstance(error, click.ClickException):
        error = _from_click(error)
    if isinstance(error, VidswapError):
        console.error(error)
        return error.exit_code
    if isinstance(error, Interrupted):
        console.interrupted(error.name, error.exit_code)
        return error.exit_code
    if isinstance(error, KeyboardInterrupt | click.Abort):
        console.interrupted("SIGINT", INTERRUPTED)
        return INTERRUPTED
    if isinstance(error, OSError) and error.errno == errno.EPIPE:
        _silence_stdout()
        return BROKEN_PIPE
    console.bug("".join(traceback.format_exception(error)))
    return BUG


def wants_json(arguments: Sequence[str]) -> bool:
    """Whether errors are to be JSON, read before the options are parsed: parsing can fail."""
    text = " ".join(arguments)
    asked = ("--log-format json", "--log-format=json")
    return "--json" in arguments or any(option in text for option in asked)


def _exit_code(result: object) -> int:
    return result if isinstance(result, int) else 0


def _from_click(error: click.ClickException) -> RecipeError:
    context = error.ctx if isinstance(error, click.UsageError) else None
    hint = None if context is None else f"{context.command_path} --help lists what it takes"
    return RecipeError(error.format_message(), stage="usage", hint=hint)


def _silence_stdout() -> None:
    """Nobody reads stdout any more: keep Python from complaining when it flushes it at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
