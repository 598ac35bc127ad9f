"""Taking a checkpoint in: recognise, check, convert once, store, remember."""

import dataclasses
import json
import shutil
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from vidswap.errors import WeightsError
from vidswap.weights import formats, manifest
from vidswap.weights.cache import (
    Progress,
    Record,
    Store,
    hash_file,
    hash_tree,
    no_progress,
    write_atomically,
)
from vidswap.weights.manifest import Architecture, Manifest
from vidswap.weights.own_names import network_config, to_own_names
from vidswap.weights.recognise import LAYOUTS, Recognised, check_values, recognise, signature
from vidswap.weights.rules import LAYOUTS as RULES

STAGE = "add"
KEEP = "none"
TENSORS = "tensors"

_PACK_FILES = (".onnx", ".json", ".txt", ".md", ".yaml")


@dataclass(frozen=True, slots=True)
class Imported:
    """What :func:`add` did."""

    manifest: Manifest
    stored: Path
    record: Record
    first: bool
    """The digest was unknown before and is now remembered."""


def add(
    path: Path,
    store: Store,
    name: str | None = None,
    *,
    beside: Path | None = None,
    trust: bool = False,
    progress: Progress = no_progress,
) -> Imported:
    """Take a checkpoint file into the weights folder; the file itself is only read.

    What it is comes from its digest, else from its keys and shapes, never from its name.

    Args:
        path: The published file.
        store: The weights folder.
        name: Import it as this checkpoint. A name that no manifest has gets one of its own in the
            weights folder, with an unknown licence.
        beside: A second file with the rest of the tensors, where a network is published in two.
        trust: Accept a file whose digest differs from the published or remembered one.
        progress: Told about hashing.

    Raises:
        WeightsError: Not a checkpoint, unsafe, damaged, another architecture, another digest, or
            several checkpoints fit and ``name`` is needed.
    """
    kind = formats.sniff(path)
    sha256, size = hash_file(path, progress)
    known = manifest.catalogue(store.root)
    chosen = known.get(manifest.valid_name(name)) if name else _by_digest(known, sha256)
    own = kind == "safetensors" and "vidswap" in formats.read_metadata(path)
    if beside is not None and (own or (chosen is not None and chosen.converter == KEEP)):
        raise WeightsError("it is complete: no second file goes with it", path=path, stage=STAGE)
    if chosen is not None and chosen.converter == KEEP:
        _accept_digest(chosen, store, sha256, path, trust=trust)
        return _keep(path, kind, chosen, store, (sha256, size), trust=trust)
    if own:
        return _converted(path, name, store, (sha256, size), trust=trust)
    checkpoint = formats.read(path)
    if beside is not None:
        checkpoint = _joined(checkpoint, path, beside)
    wanted = chosen.converter if chosen is not None else None
    if wanted is None and checkpoint.tree is not None and not _has_table(checkpoint):
        chosen = _by_signature(known, checkpoint, path, name)
        wanted = chosen.converter
    found = recognise(checkpoint, path, wanted)
    if chosen is None:
        chosen = _own(name, found, path, sha256, size) if name else _fitting(known, found, path)
    _check_config(chosen, found, path)
    _accept_digest(chosen, store, sha256, path, trust=trust)
    if chosen.name not in known:
        write_atomically(store.root / f"{chosen.name}.toml", manifest.encode(chosen).encode())
    target = store.converted(chosen.name)
    origin = path.name if beside is None else f"{path.name} with {beside.name}"
    write_converted(found, chosen, target, sha256, origin)
    return _remember(chosen, store, target, (sha256, size), origin, trust=trust)


def write_converted(
    found: Recognised, chosen: Manifest, target: Path, sha256: str, source_file: str
) -> None:
    """Write safetensors with our names; metadata says where they come from and what is allowed.

    Metadata values are texts. ``config`` (what ``vidswap.zoo`` builds the network with) and
    ``settings`` (options the file carried) are JSON objects; ``names`` is ``own``, or ``official``
    where a network has no table of ours; ``commercial`` is ``yes`` or ``no``.
    """
    state, names = to_own_names(found)
    metadata = {
        "vidswap": "1",
        "name": chosen.name,
        "arch": chosen.arch,
        "layout": found.layout,
        "names": names,
        "config": json.dumps(network_config(found), sort_keys=True),
        "settings": json.dumps(found.settings, sort_keys=True),
        "licence": chosen.licence,
        "commercial": "yes" if chosen.commercial else "no",
        "source": chosen.source,
        "source_sha256": sha256,
        "source_file": source_file,
    }
    formats.write_safetensors(target, state, metadata)


def _joined(checkpoint: formats.Checkpoint, path: Path, beside: Path) -> formats.Checkpoint:
    """Tensors of both files, none of which may be in both."""
    other = formats.read(beside)
    for part, file in ((checkpoint, path), (other, beside)):
        if not isinstance(part.tree, Mapping):
            raise WeightsError("it holds no tensors by name to join", path=file, stage=STAGE)
    twice = sorted(map(str, checkpoint.tree.keys() & other.tree.keys()))
    if twice:
        raise WeightsError(f"{twice[0]!r} is also in {path.name}", path=beside, stage=STAGE)
    return dataclasses.replace(checkpoint, tree={**checkpoint.tree, **other.tree})


def _has_table(checkpoint: formats.Checkpoint) -> bool:
    tree = checkpoint.tree
    return isinstance(tree, Mapping) and any(v.find(tree) is not None for v in LAYOUTS.values())


def _by_digest(known: Mapping[str, Manifest], sha256: str) -> Manifest | None:
    return next((m for m in known.values() if sha256 in m.digests), None)


def _by_signature(
    known: Mapping[str, Manifest], checkpoint: formats.Checkpoint, path: Path, name: str | None
) -> Manifest:
    """A checkpoint that is kept under its official names, told by its prefixes."""
    tree: Any = checkpoint.tree
    arch = signature(tree) if isinstance(tree, Mapping) else None
    fitting = [m for m in known.values() if m.arch == arch and m.converter == TENSORS]
    if len(fitting) != 1 or name is not None:
        recognise(checkpoint, path)  # says what is wrong
        raise WeightsError("unknown architecture", path=path, stage=STAGE)
    return fitting[0]


def _fitting(known: Mapping[str, Manifest], found: Recognised, path: Path) -> Manifest:
    """The one checkpoint that a recognised file can be."""
    fitting = [
        m for m in known.values() if m.converter == found.layout and not _clash(m.config, found)
    ]
    open_ones = [m for m in fitting if not m.digests] or fitting
    if len(open_ones) == 1:
        return open_ones[0]
    title = LAYOUTS[found.layout].title
    options = ", ".join(m.name for m in open_ones) or "none of the known checkpoints"
    raise WeightsError(
        f"this is a {title} ({_numbers(found.config)}); it could be {options}",
        path=path,
        stage=STAGE,
        hint="name it: vidswap weights add FILE --as NAME  (a new name is fine for your own weights)",
    )


def _arch(layout: str) -> str:
    return RULES[layout].arch if layout in RULES else layout


def _own(name: str, found: Recognised, path: Path, sha256: str, size: int) -> Manifest:
    """Manifest of a checkpoint that nobody published."""
    return Manifest(
        name=name,
        summary=f"{LAYOUTS[found.layout].title}, added by you",
        arch=_arch(found.layout),
        file=f"{name}{path.suffix}" if path.suffix.isascii() else name,
        format="unknown",
        licence="unknown",
        commercial=False,
        commercial_reason="nobody has said what these weights may be used for",
        source="unknown",
        converter=found.layout,
        sha256=sha256,
        size=size,
        config=found.config,
    )


def _clash(wanted: Architecture, found: Recognised) -> str | None:
    """First number in which a file differs from a manifest; None where all agree."""
    for field in dataclasses.fields(wanted):
        a, b = getattr(wanted, field.name), getattr(found.config, field.name)
        if a is not None and b is not None and a != b:
            return f"{field.name} is {b}, expected {a}"
    return None


def _check_config(chosen: Manifest, found: Recognised, path: Path) -> None:
    clash = _clash(chosen.config, found)
    if clash:
        raise WeightsError(f"this is not {chosen.name}: {clash}", path=path, stage=STAGE)


def _numbers(config: Architecture) -> str:
    pairs = ((f.name, getattr(config, f.name)) for f in dataclasses.fields(config))
    return ", ".join(f"{name} {value}" for name, value in pairs if value is not None)


def _accept_digest(chosen: Manifest, store: Store, sha256: str, path: Path, *, trust: bool) -> None:
    expected = store.digests(chosen)
    if not expected or sha256 in expected or trust:
        return
    origin = "published" if chosen.digests else "remembered from the first import"
    raise WeightsError(
        f"it has the layout of {chosen.name}, but its sha256 is {sha256}, not the one {origin}: "
        + " or ".join(sorted(expected)),
        path=path,
        stage=STAGE,
        hint=f"if you know where it comes from: vidswap weights add FILE --as {chosen.name} --trust,"
        " or give it a name of its own with --as",
    )


def _keep(
    path: Path,
    kind: str,
    chosen: Manifest,
    store: Store,
    identity: tuple[str, int],
    *,
    trust: bool,
) -> Imported:
    """Take in a file that is used as it is, or a pack that is unpacked."""
    same = {chosen.format, "unknown"} | ({"pickle"} if chosen.format == "persistence" else set())
    if chosen.format != "unknown" and kind not in same:
        raise WeightsError(
            f"this is a {kind} file; {chosen.name} is {chosen.format}", path=path, stage=STAGE
        )
    if chosen.format == "onnx-zip":
        target = _unpack(path, store.pack(chosen.name))
    else:
        target = store.original(chosen)
        if path.resolve() != target.resolve():
            _copy(path, target)
    return _remember(chosen, store, target, identity, path.name, trust=trust)


def _copy(path: Path, target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name}.copy")
        shutil.copyfile(path, part)
        part.replace(target)
    except OSError as error:
        raise WeightsError(f"cannot be copied: {error.strerror}", path=path, stage=STAGE) from error


def _unpack(path: Path, folder: Path) -> Path:
    """Unpack the ONNX files of a pack; the folder appears complete or not at all."""
    entries = [
        e
        for e in formats.zip_entries(path)
        if not e.is_dir() and PurePosixPath(e.filename).suffix.lower() in _PACK_FILES
    ]
    names = [PurePosixPath(e.filename).name for e in entries]
    if len(set(names)) != len(names) or not any(n.endswith(".onnx") for n in names):
        raise WeightsError("not a pack of ONNX files", path=path, stage=STAGE)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        # Not beside the packs: a detector must not find half of one.
        scratch = Path(tempfile.mkdtemp(dir=folder.parents[1], prefix=f".{folder.name}."))
        try:
            with zipfile.ZipFile(path) as archive:
                for entry, name in zip(entries, names, strict=True):
                    with archive.open(entry) as source, (scratch / name).open("wb") as target:
                        shutil.copyfileobj(source, target, 1 << 20)
            scratch.chmod(0o755)
            if folder.exists():
                shutil.rmtree(folder)
            scratch.replace(folder)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    except (OSError, zipfile.BadZipFile, EOFError, RuntimeError) as error:
        raise WeightsError(f"cannot be unpacked: {error}", path=path, stage=STAGE) from error
    return folder


def _converted(
    path: Path, name: str | None, store: Store, identity: tuple[str, int], *, trust: bool
) -> Imported:
    """Take in safetensors of our own format: trained here, or converted on another machine."""
    state, metadata = formats.read_safetensors(path)
    check_values(state, path)
    title = manifest.valid_name(name or metadata.get("name", ""))
    known = manifest.catalogue(store.root)
    chosen = known.get(title) or Manifest(
        name=title,
        summary=f"{metadata.get('arch', 'unknown')}, added by you",
        arch=metadata.get("arch", "unknown"),
        file=f"{title}.safetensors",
        format="safetensors",
        licence=metadata.get("licence", "unknown"),
        commercial=metadata.get("commercial") == "yes",
        commercial_reason="so the file says",
        source=metadata.get("source", "unknown"),
    )
    _accept_digest(chosen, store, identity[0], path, trust=trust)
    target = store.converted(title)
    if path.resolve() != target.resolve():
        _copy(path, target)
    if title not in known:
        write_atomically(store.root / f"{title}.toml", manifest.encode(chosen).encode())
    return _remember(chosen, store, target, identity, path.name, trust=trust)


def _remember(
    chosen: Manifest,
    store: Store,
    target: Path,
    identity: tuple[str, int],
    source_file: str,
    *,
    trust: bool,
) -> Imported:
    first = not store.digests(chosen)
    stored = hash_tree(target) if target.is_dir() else hash_file(target)[0]
    record = Record(
        name=chosen.name,
        sha256=identity[0],
        size=identity[1],
        source_file=source_file,
        stored=target.relative_to(store.root).as_posix(),
        stored_sha256=stored,
        added=datetime.now(UTC).isoformat(timespec="seconds"),
        trusted=trust and bool(chosen.digests) and identity[0] not in chosen.digests,
    )
    store.remember(record)
    return Imported(chosen, target, record, first)
