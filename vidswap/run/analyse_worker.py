"""A process that analyses one span, started as ``python -m vidswap.run.analyse_worker``.

Standard input holds the pickled task and span; frames done go to standard output, and at the end
what went wrong, if anything did.
"""

import base64
import os
import pickle
import sys
import traceback

from vidswap.errors import VidswapError
from vidswap.run.analyse_span import analyse_span

ORPHANED = 1
"""Exit status when nobody reads the progress any more."""


def main() -> int:
    """Do the span that standard input names."""
    # Libraries print to descriptor 1 as they please; the pipe moves out of their way.
    out = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)

    def say(line: str) -> None:
        try:
            out.write(f"{line}\n")
            out.flush()
        except OSError:
            os._exit(ORPHANED)

    task, span = pickle.loads(sys.stdin.buffer.read())
    try:
        analyse_span(task, span, lambda frames: say(str(frames)))
    except VidswapError as error:
        say("error " + base64.b64encode(pickle.dumps(error)).decode())
    except Exception:  # noqa: BLE001 - a bug: its traceback goes to the parent process
        say("bug " + base64.b64encode(traceback.format_exc().encode()).decode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
