"""``vidswap weights``: checkpoints, from their publishers' files to what networks read."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from vidswap import schema
from vidswap.cli.console import Console
from vidswap.cli.options import FILE, console_options
from vidswap.errors import WeightsError
from vidswap.weights import manifest as manifests
from vidswap.weights.cache import Progress, Store
from vidswap.weights.manifest import Manifest

REMARK_SECONDS = 5.0
"""Between two remarks on a download where there is no terminal."""


@click.group()
def weights() -> None:
    """List, download, import and check the checkpoints that engines use."""


@weights.command("list")
@click.option("--present", is_flag=True, help="Only those that are here.")
@console_options
def list_weights(console: Console, present: bool) -> None:
    """Every known checkpoint, whether it is here, and whether its licence permits commercial use."""
    store = Store.default()
    rows = [_row(m, store) for m in manifests.catalogue(store.root).values()]
    rows = [row for row in rows if row["state"] != "absent" or not present]
    lines = [f"{'name':26} {'state':10} {'commercial':10} what it is"]
    lines += [
        f"{r['name']:26} {r['state']:10} {'yes' if r['commercial'] else 'no':10} {r['summary']}"
        for r in rows
    ]
    console.result({"weights": rows}, "\n".join(lines))


@weights.command()
@click.argument("name")
@console_options
def show(console: Console, name: str) -> None:
    """Print one manifest as TOML, and what is here of it."""
    store = Store.default()
    manifest = manifests.get(name, store.root)
    record = store.record(name)
    path = store.ready(name)
    data = schema.encode(manifest) | {
        "state": _state(manifest, store),
        "stored": str(path) if path else None,
        "record": schema.encode(record) if record else None,
    }
    text = manifests.encode(manifest) + f"\n# {_state(manifest, store)}"
    if record:
        text += f": {path or store.root / record.stored}"
        text += f"\n# from {record.source_file}, sha256 {record.sha256}, added {record.added}"
    console.result(data, text)


@weights.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option("--offline", is_flag=True, help="Open no connection (also VIDSWAP_OFFLINE=1).")
@click.option("--force", is_flag=True, help="Download and convert again.")
@click.option("--no-keep", is_flag=True, help="Delete the published file once it is converted.")
@console_options
def fetch(
    console: Console, names: Sequence[str], offline: bool, force: bool, no_keep: bool
) -> None:
    """Download checkpoints and convert them; say what to do by hand where no program can.

    An interrupted download goes on where it stopped. The file appears under its name only after
    its SHA-256 was checked.
    """
    from vidswap.weights import fetch as fetching

    store = Store.default()
    chosen = [manifests.get(name, store.root) for name in names]
    done = []
    for manifest in chosen:
        ready = store.ready(manifest.name)
        # What comes from nowhere, such as the weights in the wheel, cannot be had once more.
        if ready is None or (force and (manifest.urls or manifest.pages)):
            console.note(f"{manifest.name}: licence {manifest.licence}")
            progress = _progress(console, f"fetch {manifest.name}")
            file = fetching.fetch(manifest, store, offline=offline, force=force, progress=progress)
            ready = _import(console, file, store, manifest.name, trust=False)
            if no_keep and ready != file:
                file.unlink(missing_ok=True)
        done.append({"name": manifest.name, "path": str(ready)})
    console.result({"fetched": done}, "\n".join(d["path"] for d in done))


@weights.command()
@click.argument("file", type=FILE)
@click.option("--as", "name", metavar="NAME", help="Import it as this checkpoint, or as a new one.")
@click.option(
    "--with",
    "beside",
    type=FILE,
    metavar="FILE",
    help="The rest of a network that is published in two files, such as LPIPS' backbone.",
)
@click.option("--trust", is_flag=True, help="Accept another SHA-256 than the published one.")
@console_options
def add(console: Console, file: Path, name: str | None, beside: Path | None, trust: bool) -> None:
    """Import a checkpoint you have; it is recognised by its contents, not by its name.

    Nothing in the file is executed. Pickles that ask for more than tensors are refused.
    """
    path = _import(console, file, Store.default(), name, beside=beside, trust=trust)
    console.result({"path": str(path)}, str(path))


@weights.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@console_options
def verify(console: Console, names: Sequence[str]) -> None:
    """Read stored checkpoints again and compare them with what was imported."""
    store = Store.default()
    known = manifests.catalogue(store.root)
    wanted = [manifests.get(n, store.root) for n in names] if names else list(known.values())
    good, bad = [], []
    for manifest in wanted:
        if not names and store.record(manifest.name) is None:
            continue
        try:
            store.verify(manifest, _progress(console, f"verify {manifest.name}"))
            good.append(manifest.name)
        except WeightsError as error:
            if len(wanted) == 1:
                raise
            bad.append(str(error))
    lines = [f"{n}: intact" for n in good] or ([] if bad else ["nothing has been imported yet"])
    console.result({"intact": good, "damaged": bad}, "\n".join(lines))
    if bad:
        raise WeightsError("; ".join(bad), stage="verify")


@weights.command()
@click.argument("name")
@console_options
def convert(console: Console, name: str) -> None:
    """Convert the published file that was downloaded before, again."""
    store = Store.default()
    manifest = manifests.get(name, store.root)
    file = store.original(manifest)
    if not file.exists():
        raise WeightsError(
            f"the published file of {name} is not here",
            path=file,
            stage="convert",
            hint=f"vidswap weights fetch {name} --force, or vidswap weights add FILE --as {name}",
        )
    path = _import(console, file, store, name, trust=False)
    console.result({"path": str(path)}, str(path))


@weights.command()
@click.argument("name", required=False)
@console_options
def where(console: Console, name: str | None) -> None:
    """Print the weights folder, or the path of one checkpoint."""
    store = Store.default()
    path = store.require(manifests.get(name, store.root)) if name else store.root
    console.result({"path": str(path)}, str(path))


def _import(
    console: Console,
    file: Path,
    store: Store,
    name: str | None,
    *,
    beside: Path | None = None,
    trust: bool,
) -> Path:
    from vidswap.weights import importing  # needs torch

    progress = _progress(console, f"read {file.name}")
    imported = importing.add(file, store, name, beside=beside, trust=trust, progress=progress)
    chosen = imported.manifest
    console.note(f"{file.name} is {chosen.name}: {chosen.summary}")
    if imported.first:
        console.note(f"its SHA-256 was unknown and is now remembered: {imported.record.sha256}")
    if not chosen.commercial:
        console.note(f"not for commercial use: {chosen.commercial_reason}")
    return imported.stored


def _progress(console: Console, stage: str) -> Progress:
    """Bytes on a terminal as a bar, elsewhere as a remark every few seconds."""
    if console.quiet or console.json_logs:
        told = [time.monotonic()]

        def tell(done: int, total: int) -> None:
            if time.monotonic() - told[0] >= REMARK_SECONDS:
                told[0] = time.monotonic()
                of = f" of {total / 1e6:.0f}" if total else ""
                console.note(f"{stage}: {done / 1e6:.0f}{of} MB")

        return tell
    from tqdm import tqdm

    bar = tqdm(desc=stage, unit="B", unit_scale=True, file=console.err, leave=False)

    def show(done: int, total: int) -> None:
        bar.total = total or None
        bar.update(done - bar.n)
        if total and done >= total:
            bar.close()

    return show


def _state(manifest: Manifest, store: Store) -> str:
    if store.ready(manifest.name):
        return "ready"
    return "downloaded" if store.original(manifest).exists() else "absent"


def _row(manifest: Manifest, store: Store) -> dict[str, Any]:
    return {
        "name": manifest.name,
        "summary": manifest.summary,
        "arch": manifest.arch,
        "state": _state(manifest, store),
        "licence": manifest.licence,
        "commercial": manifest.commercial,
        "size": manifest.size,
        "scriptable": bool(manifest.urls),
    }
