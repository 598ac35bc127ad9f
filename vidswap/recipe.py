"""Every knob with its unit and its only default.

A recipe is a value: it can be hashed, shipped and diffed. ``analyse_key`` and ``render_key`` hash
only what each pass reads, so changing the encoder or the engine's taste keeps the analysis.
"""

import hashlib
import json
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from vidswap import paths, schema
from vidswap.errors import RecipeError

Precision = Literal["fp32", "bf16", "fp16"]


def _unit(name: str, value: float, low: float = 0.0, high: float = 1.0) -> None:
    if not low <= value <= high:
        raise ValueError(f"{name} must lie in [{low:g}, {high:g}], got {value:g}")


@dataclass(frozen=True, slots=True)
class DecodeOptions:
    """How frames are read."""

    reader: Literal["pyav", "decord"] = "pyav"
    threads: int = 0
    """Decoder threads; 0 is one for each core, at most four: each holds pictures."""
    deinterlace: bool = False
    """Turn interlaced frames into progressive ones, as many (bwdif); they are refused otherwise."""


@dataclass(frozen=True, slots=True)
class ShotOptions:
    """Model-free cut detection."""

    threshold: float = 0.35
    """Histogram distance [0, 1] above which a frame may start a new shot."""
    min_frames: int = 5
    """Shorter shots are merged into the flash they are."""


@dataclass(frozen=True, slots=True)
class DetectOptions:
    """How faces are found."""

    name: Literal["mediapipe", "scrfd"] = "mediapipe"
    min_score: float = 0.5
    min_face: int = 32
    """Smallest face looked for, pixels of face height at the clip's own size."""
    max_faces: int = 16
    interval: float = 1.0
    """Seconds between full searches while every known face is tracked."""

    def __post_init__(self) -> None:
        """Check ranges."""
        _unit("detect.min_score", self.min_score)


@dataclass(frozen=True, slots=True)
class TrackOptions:
    """How faces are followed."""

    max_gap: float = 0.5
    """Seconds a face may be missing inside a shot and still be the same track."""
    min_length: float = 0.2
    """Seconds; shorter tracks are noise and are dropped (never below two frames of evidence)."""
    samples: int = 4
    """Landmark passes over jittered crops, averaged, where a face is found or changes its look; two do where
    they agree, and a single one where it agrees with the frame before."""
    span: int = 1500
    """Frames analysed as one unit: what a crash repeats at most, and what another process can do."""

    def __post_init__(self) -> None:
        """Check ranges."""
        if self.span < 1:
            raise ValueError(f"track.span must be at least 1 frame, got {self.span}")


@dataclass(frozen=True, slots=True)
class SmoothOptions:
    """Non-causal robust Whittaker smoothing; cut-off frequencies in Hz."""

    method: Literal["whittaker", "causal", "gaussian", "none"] = "whittaker"
    centre: float = 5.0
    scale_rotation: float = 2.0
    pose: float = 4.0
    expression: float = 8.0
    residual: float = 1.0
    """Latent codes: what motion does not explain."""
    fine: float = 0.0
    """Latent codes, fine layers; 0 is the weighted mean of the shot."""
    drift: float = 0.2
    """Skin follows the optical flow; below this frequency the landmarks correct it. 0 leaves the flow out."""
    iterations: int = 4
    huber: float = 1.6
    reject: float = 4.0


@dataclass(frozen=True, slots=True)
class InvertOptions:
    """How face crops become latent codes, for engines that work on them."""

    method: Literal["encoder", "projector", "pivotal"] = "encoder"
    """``projector`` optimises a code for each frame; ``pivotal`` takes the encoder's codes and tunes
    the generator to them, once for each track."""
    encoder: str | None = None
    """Weights that turn a face into codes; None takes the engine's."""
    steps: int | None = None
    """Optimiser steps for each frame that is projected or tuned on; None is what was published."""
    tune_frames: int = 16
    """Frames of a track that the generator is tuned on, as unlike each other as there are."""
    seed: int = 0

    def __post_init__(self) -> None:
        """Check ranges."""
        if self.steps is not None and self.steps < 1:
            raise ValueError(f"invert.steps must be at least 1, got {self.steps}")
        if self.tune_frames < 1:
            raise ValueError(f"invert.tune_frames must be at least 1, got {self.tune_frames}")


@dataclass(frozen=True, slots=True)
class MeshEngine:
    """The embedded engine: dense texture on the face mesh."""

    name: Literal["mesh"] = "mesh"
    shape: float = 0.95
    """How much of the source's face shape is taken, [0, 1]."""
    light: float = 1.0
    """How closely the target's illumination is matched, [0, 1]."""
    detail: float = 1.0
    """How closely sharpness and grain are matched to the frame, [0, 1]."""
    fade_yaw: tuple[float, float] = (42.0, 54.0)
    """Degrees of yaw between which the swap fades to the untouched target. Landmarks call every profile
    about 50°."""

    def __post_init__(self) -> None:
        """Check ranges."""
        for name in ("shape", "light", "detail"):
            _unit(f"engine.{name}", getattr(self, name))


@dataclass(frozen=True, slots=True)
class IdentityEngine:
    """Pastes every face back as it was: measures the pipeline itself."""

    name: Literal["identity"] = "identity"


@dataclass(frozen=True, slots=True)
class LatentSwapEngine:
    """Source and target as latent codes, mixed and generated again (Choi et al., LatentSwap, 2024)."""

    name: Literal["latentswap"] = "latentswap"
    generator: str = "stylegan2-ffhq-1024"
    """Weights that turn codes into a face: the name of a checkpoint."""
    encoder: str = "e4e-ffhq"
    """Weights that turn a face into codes."""
    mixer: str = "latentswap-mixer"
    """Weights that put the source's identity into the target's codes."""
    similarity: float | tuple[float, float, float] = 1.0
    """From the target's codes (0) to the swapped ones (1): one share, or one each for the coarse, the
    middle and the fine layers."""
    layers: str | int | tuple[int, ...] = "all"
    """Layers that are swapped, the others stay the target's: ``"0-7"``, ``"0-3,8"`` or a list."""
    feather: float = 0.12
    """Width of the soft edge inside the face's outline, as a share of the face's width."""
    colour: float = 1.0
    """How closely the target's colour and contrast are matched, [0, 1]."""
    grain: float = 0.5
    """How much of the missing fine texture the target gives back, [0, 1]."""
    fade_yaw: tuple[float, float] = (50.0, 70.0)
    """Degrees of yaw between which the swap fades to the untouched target."""

    def __post_init__(self) -> None:
        """Check ranges; which layers there are depends on the weights."""
        shares = self.similarity if isinstance(self.similarity, tuple) else (self.similarity,)
        for share in shares:
            _unit("engine.similarity", share)
        for name in ("colour", "grain"):
            _unit(f"engine.{name}", getattr(self, name))
        _unit("engine.feather", self.feather, 0.01, 0.5)
        if not 0 <= self.fade_yaw[0] < self.fade_yaw[1]:
            raise ValueError("engine.fade_yaw must be two ascending angles")

    @property
    def weights(self) -> dict[str, str]:
        """Checkpoints by the field that names them."""
        return {name: getattr(self, name) for name in ("generator", "encoder", "mixer")}


EngineOptions = MeshEngine | IdentityEngine | LatentSwapEngine


@dataclass(frozen=True, slots=True)
class EncodeOptions:
    """How the result is written."""

    codec: Literal["auto", "h264", "hevc", "av1", "prores", "ffv1", "vp9"] = "auto"
    """``auto`` keeps the family of the source, or takes h264 where it cannot be encoded."""
    hardware: Literal["auto", "off", "nvenc", "qsv", "amf", "videotoolbox"] = "off"
    """Hardware encoder; when it is absent the software encoder takes over and says so."""
    crf: float | None = None
    """Constant quality in the encoder's own scale; None is visually lossless."""
    preset: str | None = None
    pix_fmt: str | None = None
    """None keeps the depth and the chroma of the source."""
    threads: int = 0


@dataclass(frozen=True, slots=True)
class RunOptions:
    """Execution; none of it changes the picture, but for the rounding of a lower precision."""

    device: str = "auto"
    precision: Precision = "fp32"
    """Arithmetic of networks."""
    batch: int = 4
    """Faces per engine call."""
    queue: int = 2
    """Frames in flight between two stages."""
    chunk: int = 240
    """Frames rendered, encoded and kept at once: what an interrupted run loses at most."""
    workers: int = 1
    """Processes that analyse spans and render chunks; the result does not depend on it."""
    compile: bool = False
    """Encode and generate through ``torch.compile``: faster frames after a minute or two each; needs
    a C++ compiler, and does without where there is none."""
    winograd: bool = True
    """Convolve by minimal filtering on the CPU where that is quicker; needs Numba, and does without
    where it is not installed. Takes four times the memory of the convolutions it serves."""

    def __post_init__(self) -> None:
        """Check ranges."""
        for name in ("chunk", "workers"):
            if getattr(self, name) < 1:
                raise ValueError(f"run.{name} must be at least 1, got {getattr(self, name)}")


@dataclass(frozen=True, slots=True)
class Recipe:
    """One pipeline."""

    summary: str = ""
    decode: DecodeOptions = field(default_factory=DecodeOptions)
    shots: ShotOptions = field(default_factory=ShotOptions)
    detect: DetectOptions = field(default_factory=DetectOptions)
    track: TrackOptions = field(default_factory=TrackOptions)
    smooth: SmoothOptions = field(default_factory=SmoothOptions)
    invert: InvertOptions = field(default_factory=InvertOptions)
    engine: EngineOptions = field(default_factory=MeshEngine)
    encode: EncodeOptions = field(default_factory=EncodeOptions)
    run: RunOptions = field(default_factory=RunOptions)

    def analyse_key(self) -> str:
        """Digest of what pass one reads."""
        return digest(self, ("decode", "shots", "detect", "track", "smooth"))

    def render_key(self) -> str:
        """Digest of what pass two reads."""
        sections = ["decode", "engine", "encode"]
        if self.invert != InvertOptions():
            sections.append("invert")
        key = digest(self, sections)
        return key if self.run.precision == "fp32" else f"{key}-{self.run.precision}"


def engine_weights(recipe: Recipe) -> dict[str, str]:
    """Checkpoints that the engine reads, by the option that names them; empty for most engines."""
    engine = recipe.engine
    if not isinstance(engine, LatentSwapEngine):
        return {}
    names = {f"engine.{role}": name for role, name in engine.weights.items()}
    if recipe.invert.encoder is not None:
        names["engine.encoder"] = recipe.invert.encoder
    return names


def digest(recipe: Recipe, sections: Iterable[str]) -> str:
    """SHA-256 (first 16 hex digits) of some sections of a recipe."""
    chosen = {name: schema.encode(getattr(recipe, name)) for name in sections}
    return hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()[:16]


def names() -> list[str]:
    """Names of the shipped recipes."""
    return sorted(
        p.name[:-5] for p in paths.data("pipelines").iterdir() if p.name.endswith(".toml")
    )


def load(name_or_file: str, overrides: Iterable[str] = ()) -> Recipe:
    """Decode a shipped recipe or a TOML file, then apply ``a.b=value`` overrides.

    Raises:
        RecipeError: Unknown recipe, unreadable TOML, unknown key, wrong type or value.
    """
    shipped = paths.data("pipelines") / f"{name_or_file}.toml"
    source = shipped if shipped.is_file() else Path(name_or_file)
    if not source.is_file():
        known = ", ".join(names())
        raise RecipeError(f"no such pipeline; shipped ones are {known}", path=name_or_file)
    try:
        table = tomllib.loads(source.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"not valid TOML: {error}", path=name_or_file) from None
    for change in overrides:
        override(table, change)
    return schema.decode(Recipe, table)


def override(table: dict[str, Any], change: str) -> None:
    """Put one ``a.b=value`` into a decoded TOML table.

    Raises:
        RecipeError: No ``=``, or a part of the key is a value.
    """
    key, sign, raw = change.partition("=")
    parts = key.strip().split(".")
    if not sign or not all(parts):
        raise RecipeError(f"--set {change}: expected KEY=VALUE, such as smooth.pose=3.5")
    try:
        value = tomllib.loads(f"value = {raw}")["value"]
    except tomllib.TOMLDecodeError:
        value = _number(raw)
    for part in parts[:-1]:
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            raise RecipeError(f"--set {change}: {part} is a value, not a table")
    table[parts[-1]] = value


def _number(raw: str) -> float | str:
    """What people type and TOML refuses: ``.5`` is a number, a bare word is text."""
    try:
        return float(raw)
    except ValueError:
        return raw.strip()
