"""The command line: the only layer that prints and exits.

Commands are imported when they are called; ``vidswap --help`` imports nothing heavy.
"""

import os
import sys
from collections.abc import Sequence

import click

from vidswap import __version__
from vidswap.cli.lazy import LazyGroup
from vidswap.cli.outcome import run_command

COMMANDS = {
    "run": "vidswap.cli.run:run",
    "analyse": "vidswap.cli.analyse:analyse",
    "render": "vidswap.cli.render:render",
    "resume": "vidswap.cli.resume:resume",
    "status": "vidswap.cli.status:status",
    "clean": "vidswap.cli.clean:clean",
    "batch": "vidswap.cli.batch:batch",
    "worker": "vidswap.cli.worker:worker",
    "farm": "vidswap.cli.farm:farm",
    "inspect": "vidswap.cli.inspect:inspect",
    "preview": "vidswap.cli.preview:preview",
    "compare": "vidswap.cli.compare:compare",
    "probe": "vidswap.cli.probe:probe",
    "pipelines": "vidswap.cli.pipelines:pipelines",
    "train": "vidswap.cli.train:train",
    "weights": "vidswap.cli.weights:weights",
    "synth": "vidswap.cli.synth:synth",
    "doctor": "vidswap.cli.doctor:doctor",
    "bench": "vidswap.cli.bench:bench",
    "completion": "vidswap.cli.completion:completion",
}

STOPPED = (130, 143)
"""Exit codes of a run that a signal stopped."""

EXIT_CODES = """\b
Exit codes:
  0    done
  1    a bug in vidswap
  2    usage or recipe
  3    a media file cannot be read, written or trusted
  4    weights missing, damaged or forbidden by their licence
  5    the wanted face was not found
  6    an output, work folder or lock is in the way
  7    some items of a batch failed
  130  interrupted (SIGINT)
  143  terminated (SIGTERM)"""


@click.group(
    cls=LazyGroup,
    commands_at=COMMANDS,
    epilog=EXIT_CODES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="vidswap")
def cli() -> None:
    """Swap faces in video, in two passes: analyse, then render.

    Start with: vidswap run input.mp4 --source face.jpg
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit."""
    code = run_command(cli, list(sys.argv[1:] if arguments is None else arguments))
    if code in STOPPED:
        # A codec call may still be running in a thread; nothing of it is worth waiting for.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
