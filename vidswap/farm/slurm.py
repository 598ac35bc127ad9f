"""A run as a shell script for Slurm: an array job for the chunks, a dependent job that joins them.

``bash clip.slurm.sh`` submits everything; each job is the same script again with the step's name, so
there is one file to keep. Slurm sends SIGTERM and waits before it kills; whatever was cut short is
done again by ``--requeue`` or by submitting the script once more, and what is done is kept.
"""

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vidswap.errors import MediaError, RecipeError
from vidswap.farm.openjd import flags
from vidswap.farm.steps import Size
from vidswap.run.job import default_work
from vidswap.run.prepare import output_of
from vidswap.run.request import Request

ARRAY_LIMIT = 1000
"""Tasks in one array job: Slurm's ``MaxArraySize`` is 1001 unless an administrator raised it."""


@dataclass(frozen=True, slots=True)
class Jobs:
    """What the jobs ask Slurm for."""

    cpus: int = 2
    memory_gib: float = 4.0
    gpus: int = 0
    """For each task of every step but the join."""
    partition: str | None = None
    time: str = "04:00:00"
    """For each task."""
    at_once: int = 0
    """Chunks that run at the same time; 0 is no limit."""
    array_limit: int = ARRAY_LIMIT
    command: str = "vidswap"


def script(request: Request, size: Size, recipe: str, jobs: Jobs) -> str:
    """The script.

    Args:
        request: What is to be done; its paths are those that all nodes see.
        size: Its parts.
        recipe: Its recipe as TOML; travels in the script.
        jobs: What Slurm is asked for.

    Raises:
        RecipeError: A path holds a line break, or the recipe the end mark.
    """
    if END in recipe.splitlines():
        raise RecipeError(f"a recipe with the line {END} cannot stand in a script", stage="script")
    work = os.path.abspath(request.work or default_work(output_of(request)))  # noqa: PTH100
    return TEMPLATE.format(
        name=_comment(request.input.name),
        frames=size.frames,
        chunks=size.chunks,
        spans=size.spans,
        work=_quoted(work),
        command=" ".join(map(_quoted, shlex.split(jobs.command))),
        arguments=_lines(_arguments(request, work)),
        recipe=recipe.rstrip("\n"),
        end=END,
        cpus=jobs.cpus,
        memory=round(jobs.memory_gib * 1024),
        time=_quoted(jobs.time),
        partition=_lines([f"--partition={jobs.partition}"] if jobs.partition else []),
        gpu=_lines([f"--gres=gpu:{jobs.gpus}"] if jobs.gpus else []),
        most=jobs.array_limit,
        throttle=f"%{jobs.at_once}" if jobs.at_once else "",
    )


END = "VIDSWAP_RECIPE"
TEMPLATE = """\
#!/usr/bin/env bash
# Swaps the faces of {name}: {frames} frames in {chunks} chunks. Made by `vidswap farm slurm`.
# Submit everything:  bash THIS_FILE      (again after a failure: what is done is kept)
# shellcheck disable=SC2016 # names of files may hold a $
set -euo pipefail

spans={spans}
chunks={chunks}
most={most} # tasks in one array; scontrol show config | grep MaxArraySize
work={work}
vidswap=({command})
arguments=(
{arguments}
)
common=(
  --cpus-per-task={cpus}
  --mem={memory}M
  --time={time}
  --requeue
  --open-mode=append
  --signal=TERM@60
{partition}
)
gpu=(
{gpu}
)

self=$(readlink -f -- "${{BASH_SOURCE[0]}}")
recipe=$work/slurm-recipe.toml
logs=$work/slurm-logs

step() {{
  exec "${{vidswap[@]}}" farm "$1" "${{arguments[@]}}" --pipeline "$recipe" --log-format json "${{@:2}}"
}}

# Array indices start at 0 in every job; the base is added here.
index=$((${{VIDSWAP_BASE:-0}} + ${{SLURM_ARRAY_TASK_ID:-0}}))

submit() {{ # name, step, dependency, further options
  local name=$1 what=$2 after=$3
  shift 3
  sbatch --parsable --job-name="vidswap-$name" --output="$logs/$name-%A-%a.log" \\
    ${{after:+--dependency=afterok:$after}} --kill-on-invalid-dep=yes "${{common[@]}}" "$@" \\
    "$self" "$what" | cut -d';' -f1
}}

arrays() {{ # step, count, dependency, further options; prints ids joined by colons
  local what=$1 count=$2 after=$3 base=0 last ids=()
  shift 3
  while ((base < count)); do
    last=$((count - base < most ? count - base - 1 : most - 1))
    ids+=("$(VIDSWAP_BASE=$base submit "$what-$base" "$what" "$after" \\
      --export="ALL,VIDSWAP_BASE=$base" --array="0-$last{throttle}" "$@")")
    base=$((base + most))
  done
  local IFS=:
  printf '%s\\n' "${{ids[*]}}"
}}

case ${{1:-submit}} in
submit)
  mkdir -p -- "$work" "$logs"
  cat >"$recipe.$$" <<'{end}'
{recipe}
{end}
  mv -- "$recipe.$$" "$recipe"
  seen=
  if ((spans > 1)); then
    seen=$(arrays span "$spans" "")
  fi
  plan=$(submit plan plan "$seen" ${{gpu[@]+"${{gpu[@]}}"}})
  made=$(arrays chunk "$chunks" "$plan" ${{gpu[@]+"${{gpu[@]}}"}})
  join=$(submit join join "$made")
  printf 'plan %s, chunks %s, join %s\\n' "$plan" "$made" "$join"
  ;;
span) step span --index "$index" ;;
plan) step plan --expect "$chunks" --take-over ;;
chunk) step chunk --index "$index" ;;
join) step join --take-over ;;
*)
  printf 'usage: %s [submit]\\n' "$0" >&2
  exit 2
  ;;
esac
"""


def write_script(path: Path, text: str) -> None:
    """Write a script that can be run.

    Raises:
        MediaError: The folder cannot be written to.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_text(text, encoding="utf-8")
        part.chmod(0o755)
        part.replace(path)
    except OSError as error:
        message = f"cannot be written: {error.strerror or error}"
        raise MediaError(message, path=path, stage="script") from error


def _arguments(request: Request, work: str) -> list[str]:
    """What follows ``vidswap farm STEP``."""

    def there(path: Path) -> str:
        return os.path.abspath(path)  # noqa: PTH100 - links stay what they are

    def who(rule: str) -> str:
        return there(Path(rule)) if Path(rule).is_file() else rule

    words = [there(request.input), "--faces", who(request.faces)]
    words += ["--output", there(output_of(request)), "--work", work]
    for photo in request.sources:
        words += ["--source", there(photo)]
    for rule, photo in request.mapping:
        words += ["--map", f"{who(rule)}={there(photo)}"]
    if request.report is not None:
        words += ["--report", there(request.report)]
    return [*words, *flags(request)]


def _lines(words: Sequence[str]) -> str:
    return "\n".join(f"  {_quoted(word)}" for word in words)


def _quoted(word: str) -> str:
    if "\n" in word or "\r" in word:
        raise RecipeError(f"{word!r}: a line break cannot stand in a script", stage="script")
    return shlex.quote(word)


def _comment(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)
