"""``vidswap doctor``: does this machine have what a run needs?"""

from pathlib import Path

import click

from vidswap.cli.console import Console
from vidswap.cli.options import FILE, console_options


@click.command()
@click.argument("input_path", metavar="[INPUT]", type=FILE, required=False)
@console_options
def doctor(console: Console, input_path: Path | None) -> int:
    """Check versions, codecs, detector, devices and disk; with INPUT, decode its first frame.

    Nothing is written or downloaded. Exit code 0: usable; 3: video cannot be read or written;
    4: no face detector.
    """
    from vidswap.run.doctor import examine

    checks = examine(input_path)
    lines = []
    for check in checks:
        lines.append(f"{check.mark:4}  {check.name:14} {check.found}")
        if check.advice:
            lines.append(f"      {'':14} → {check.advice}")
    code = max((check.exit_code for check in checks), default=0)
    table = [
        {"name": c.name, "state": c.mark, "found": c.found, "advice": c.advice} for c in checks
    ]
    console.result({"usable": code == 0, "exit_code": code, "checks": table}, "\n".join(lines))
    return code
