"""One TOML manifest per published checkpoint: what it is, where it comes from, what it may be used for.

Facts that no publisher states are written ``"unknown"``, never guessed. A user's own manifests, one
``NAME.toml`` each in the folder of :func:`vidswap.paths.weights_dir`, are read too; they may add
checkpoints but not rename or relicense a shipped one.
"""

import dataclasses
import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from vidswap import paths, schema
from vidswap.errors import RecipeError, WeightsError

Unknown = Literal["unknown"]
Format = Literal[
    "torch",
    "persistence",
    "safetensors",
    "torchscript",
    "onnx",
    "onnx-zip",
    "zip",
    "dlib",
    "task",
    "pickle",
    "matlab",
    "unknown",
]
"""``torch``: ``torch.save``, old or zip; ``persistence``: NVIDIA's ``.pkl``; ``onnx-zip``: a pack of
ONNX files; ``task``: a MediaPipe bundle; ``pickle``: a plain pickle, which is never opened here."""

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9 ._=+-]{0,127}")


@dataclass(frozen=True, slots=True)
class Architecture:
    """Numbers that tell two checkpoints of one architecture apart. What is absent does not apply."""

    size: int | None = None
    """Side of the picture that is generated or read, pixels."""
    channel_multiplier: float | None = None
    """StyleGAN2 width: a level of side r has ``16384 · multiplier / r`` channels; 2 is config-f."""
    channel_max: int | None = None
    """Most channels of a level."""
    style_dim: int | None = None
    layers: int | None = None
    """Latent layers: rows of a W+ code."""
    mapping_layers: int | None = None
    classes: int | None = None
    """Semantic classes of a parser or of region codes."""
    encoder_type: str | None = None
    """Forward pass where the keys cannot tell: ``Encoder4Editing`` or ``GradualStyleEncoder``."""
    masked_layers: int | None = None
    """Latent layers that E4S styles region by region."""
    directions: int | None = None
    """Parameters that a direction matrix maps to latent shifts."""


@dataclass(frozen=True, slots=True)
class Variant:
    """Another file that holds the same tensors, such as a second serialisation."""

    sha256: str
    size: int | Unknown = "unknown"
    note: str = ""


@dataclass(frozen=True, slots=True)
class Manifest:
    """One published checkpoint."""

    name: str
    """What a user types; lower case, also the stem of the manifest and of the converted file."""
    summary: str
    arch: str
    """The network, such as ``stylegan2-generator``."""
    file: str
    """Name of the published file."""
    format: Format
    licence: str
    """Licence of the weights as far as the publisher states one."""
    commercial: bool
    """True only where the publisher's licence grants commercial use of the weights themselves."""
    commercial_reason: str
    source: str
    """Paper or repository of the publisher."""
    converter: str = "none"
    """Official layout that is converted to safetensors; ``none`` keeps the file as it is."""
    urls: tuple[str, ...] = ()
    """Direct addresses a program may fetch: the official one first, then mirrors."""
    pages: tuple[str, ...] = ()
    """Pages that need a browser (Google Drive, forms, registration)."""
    instructions: str = ""
    """What to do on ``pages``, where it is more than saving the file."""
    sha256: str = "unknown"
    size: int | Unknown = "unknown"
    """Bytes."""
    variants: tuple[Variant, ...] = ()
    config: Architecture = Architecture()
    note: str = ""

    def __post_init__(self) -> None:
        """Check names, digests and addresses."""
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"name: {self.name!r} is not lower-case letters, digits, . _ -")
        if not _FILE.fullmatch(self.file):
            raise ValueError(f"file: {self.file!r} is not a plain file name")
        for digest in (self.sha256, *(v.sha256 for v in self.variants)):
            if digest != "unknown" and not _SHA256.fullmatch(digest):
                raise ValueError(f"sha256: {digest!r} is not 64 lower-case hex digits")
        for url in self.urls:
            if not url.startswith(("https://", "http://127.0.0.1:")):
                raise ValueError(f"urls: {url!r} is not https")

    @property
    def digests(self) -> frozenset[str]:
        """Every SHA-256 the file may have; empty where none is known."""
        known = {self.sha256, *(v.sha256 for v in self.variants)} - {"unknown"}
        return frozenset(known)


def valid_name(name: str) -> str:
    """Return ``name`` if it may name a checkpoint.

    Raises:
        WeightsError: It has characters that do not belong in a name, such as a path.
    """
    if not _NAME.fullmatch(name):
        raise WeightsError(
            f"{name!r} is not a name for a checkpoint: lower-case letters, digits, . _ - only"
        )
    return name


def decode(table: Mapping[str, Any], path: str) -> Manifest:
    """Decode one manifest strictly.

    Raises:
        WeightsError: Unknown key, wrong type or value, missing field; names the file and the key.
    """
    try:
        return schema.decode(Manifest, table)
    except RecipeError as error:
        raise WeightsError(f"not a valid manifest: {error.message}", path=path) from None


@lru_cache(maxsize=256)
def _read(text: bytes, path: str, stem: str) -> Manifest:
    try:
        table = tomllib.loads(text.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise WeightsError(f"not valid TOML: {error}", path=path) from None
    manifest = decode(table, path)
    if manifest.name != stem:
        raise WeightsError(
            f"the name is {manifest.name!r}, expected the file's: {stem!r}", path=path
        )
    return manifest


def shipped() -> dict[str, Manifest]:
    """Manifests that come with the package, by name, sorted."""
    found = {}
    for entry in paths.data("weights").iterdir():
        if entry.name.endswith(".toml"):
            stem = entry.name.removesuffix(".toml")
            found[stem] = _read(entry.read_bytes(), entry.name, stem)
    return dict(sorted(found.items()))


def catalogue(folder: Path | None = None) -> dict[str, Manifest]:
    """Shipped manifests and the user's own ones, by name, sorted.

    Args:
        folder: Where the user's manifests lie; default :func:`vidswap.paths.weights_dir`.

    Raises:
        WeightsError: A manifest is invalid, or a user's one claims the name of a shipped one.
    """
    known = shipped()
    base = paths.weights_dir() if folder is None else folder
    for path in sorted(base.glob("*.toml")) if base.is_dir() else ():
        if path.stem in known:
            raise WeightsError(
                "a shipped checkpoint has this name; a manifest of your own needs another",
                path=path,
                hint=f"rename the file and its name field, or delete {path}",
            )
        known[path.stem] = _read(path.read_bytes(), str(path), path.stem)
    return dict(sorted(known.items()))


def get(name: str, folder: Path | None = None) -> Manifest:
    """Manifest of one checkpoint.

    Raises:
        WeightsError: No such checkpoint; names the closest ones.
    """
    known = catalogue(folder)
    if name not in known:
        import difflib

        close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
        near = f"; did you mean {' or '.join(close)}?" if close else ""
        raise WeightsError(
            f"no checkpoint is called {name!r}{near}", hint="vidswap weights list shows them all"
        )
    return known[name]


def encode(manifest: Manifest) -> str:
    """TOML of a manifest; the inverse of :func:`decode`. Absent and empty values are left out."""
    lines: list[str] = []
    tables: list[str] = []
    for field in dataclasses.fields(manifest):
        value = getattr(manifest, field.name)
        if isinstance(value, Architecture):
            tables += ["", "[config]", *_pairs(value)]
        elif field.name == "variants":
            for variant in value:
                tables += ["", "[[variants]]", *_pairs(variant)]
        elif value not in ("", ()):
            lines.append(f"{field.name} = {_toml(value)}")
    return "\n".join(lines + tables) + "\n"


def _pairs(value: Architecture | Variant) -> list[str]:
    pairs = ((f.name, getattr(value, f.name)) for f in dataclasses.fields(value))
    return [f"{name} = {_toml(v)}" for name, v in pairs if v is not None and v != ""]


def _toml(value: str | float | bool | tuple[str, ...]) -> str:
    # JSON's strings, numbers, booleans and lists are TOML as they stand.
    return json.dumps(value, ensure_ascii=False)


def require_commercial(
    manifests: Iterable[Manifest],
    hint: str = "choose an engine or weights without them, or leave out --commercial",
) -> None:
    """Refuse weights that may not be used commercially.

    Args:
        manifests: All weights in use.
        hint: What the user can do.

    Raises:
        WeightsError: Naming every such checkpoint with its licence and why.
    """
    forbidden = [m for m in manifests if not m.commercial]
    if forbidden:
        reasons = "; ".join(f"{m.name} ({m.licence}: {m.commercial_reason})" for m in forbidden)
        raise WeightsError(
            f"commercial use is not permitted by {len(forbidden)} of the weights in use: {reasons}",
            stage="licence",
            hint=hint,
        )
