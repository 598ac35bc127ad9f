"""Every knob of training, with its unit and its only default.

Like a run's recipe, a training recipe is a value: it is saved beside the weights, and the same value
on the same data gives the same losses. Shipped ones lie in ``train/recipes``: ``NAME.toml`` is what
``vidswap train NAME`` starts from; ``NAME-64.toml`` made the weights that come with vidswap, and
``NAME-64-….toml`` went on from them.
"""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from vidswap import schema
from vidswap.errors import RecipeError
from vidswap.recipe import override


def _positive(owner: object, *names: str) -> None:
    for name in names:
        if getattr(owner, name) <= 0:
            raise ValueError(f"{name} must be positive, got {getattr(owner, name)}")


@dataclass(frozen=True, slots=True)
class DataOptions:
    """What is learned from."""

    path: str = ""
    """A folder of pictures and videos, a data set of ``vidswap synth faces``, or ``synthetic`` for
    procedural heads drawn on the fly."""
    size: int = 64
    """Side of the square pictures, pixels."""
    mirror: bool = False
    """Show each picture mirrored half of the time."""
    interval: float = 0.5
    """Seconds between two frames taken of a video."""
    count: int = 50_000
    """Procedural heads, where they are drawn on the fly."""
    seed: int = 0
    """Seed of the first procedural head; 1,000,000 and above are kept for evaluation."""

    def __post_init__(self) -> None:
        """Check ranges."""
        _positive(self, "size", "interval", "count")
        if self.size % 16 or not 16 <= self.size <= 1024:
            raise ValueError(f"size: {self.size} is not a multiple of 16 from 16 to 1024")


@dataclass(frozen=True, slots=True)
class LoopOptions:
    """How long, how fast, how safe."""

    steps: int = 10_000
    batch: int = 32
    """Pictures of one step, for each process."""
    seed: int = 0
    device: str = "auto"
    precision: Literal["fp32", "bf16"] = "fp32"
    """``bf16`` runs the networks under autocast; weights and optimisers stay in 32 bits."""
    threads: int = 0
    """CPU threads; 0 leaves torch's choice."""
    clip: float = 0.0
    """Largest gradient norm of a network; 0 does not clip."""
    average: float = 10_000.0
    """Half-life of the moving average of the weights, pictures; 0 keeps no average."""
    warmup: int = 0
    """Steps over which the learning rate rises from zero."""
    cooldown: int = 0
    """Steps at the end over which the learning rate falls to zero, as a half cosine."""
    log_every: int = 50
    sample_every: int = 1000
    checkpoint_every: int = 1000
    keep: int = 2
    """Checkpoints that are kept."""

    def __post_init__(self) -> None:
        """Check ranges."""
        _positive(self, "steps", "batch", "log_every", "sample_every", "checkpoint_every", "keep")
        if min(self.warmup, self.cooldown, self.threads, self.clip, self.average) < 0:
            raise ValueError("warmup, cooldown, threads, clip and average must not be negative")


@dataclass(frozen=True, slots=True)
class StyleGAN2Options:
    """Karras et al. 2020: non-saturating loss, lazy R1 and path-length regularisation.

    ``supervised_steps`` adds a start of our own for data whose parameters are known, such as
    procedural heads: a fixed map ties every parameter vector to a z, so that each z has a true
    picture, and the generator learns to draw it before the adversarial loss begins.
    """

    name: Literal["stylegan2"] = "stylegan2"
    z_dim: int = 512
    style_dim: int = 512
    mapping_layers: int = 8
    channel_multiplier: float = 2.0
    channel_max: int = 512
    learning_rate: float = 0.002
    r1: float = 10.0
    """Weight γ; applied every ``r1_every`` steps."""
    r1_every: int = 16
    path_length: float = 2.0
    path_every: int = 4
    mixing: float = 0.9
    """Probability that a sample's codes come from two z."""
    supervised_steps: int = 0
    """Steps before the adversarial loss; needs data with parameters. 0 is the published training."""
    supervised: float = 0.0
    """Weight of the picture loss once the adversarial loss has begun."""
    features: float = 0.0
    """Weight of the distance in the discriminator's features; needs data with parameters."""
    identity: float = 0.0
    """Weight of the distance to the person of the true picture; needs ``embedder`` and parameters."""
    embedder: str = ""
    """Weights of an identity embedder, a name or a file."""
    supervised_rate: float = 1.0
    """Factor on the learning rates while the start is supervised; momentum is 0.9 then."""
    background: float = 1.0
    """Weight of background pixels in the picture loss, where the data have label maps."""
    mapping_rate: float = 1.0
    """Factor on the learning rate of the mapping network, whose weights are stored hundredfold."""

    def __post_init__(self) -> None:
        """Check ranges."""
        _positive(self, "z_dim", "style_dim", "mapping_layers", "channel_multiplier", "channel_max")
        _positive(self, "learning_rate", "r1_every", "path_every")


@dataclass(frozen=True, slots=True)
class IdentityOptions:
    """Deng et al. 2019: additive angular margin; needs data that say who is who."""

    name: Literal["identity"] = "identity"
    features: int = 512
    widths: tuple[int, int, int, int] = (64, 128, 256, 512)
    depths: tuple[int, int, int, int] = (3, 4, 14, 3)
    learning_rate: float = 0.001
    weight_decay: float = 0.05
    scale: float = 64.0
    margin: float = 0.5
    """Radians."""
    margin_steps: int = 2000
    """Steps over which the margin grows from zero."""
    augment: float = 1.0
    parameters: float = 0.0
    """Weight of guessing a person's own parameters, where the data have some; not in the paper."""
    parameters_only: int = 0
    """Steps at the start in which nothing else counts."""
    centres: Literal["learned", "partner"] = "learned"
    """What stands for a person in the margin loss: a learned vector, as in the paper, or the embedding
    of another picture of the same person, for data with few pictures of many people."""

    def __post_init__(self) -> None:
        """Check ranges."""
        _positive(self, "features", "learning_rate", "scale")


@dataclass(frozen=True, slots=True)
class ParserOptions:
    """Yu et al. 2018; needs data with label maps."""

    name: Literal["parser"] = "parser"
    classes: int = 12
    width: int = 64
    input_size: int = 512
    """Side to which pictures are resized, pixels: a multiple of 32."""
    learning_rate: float = 0.001
    weight_decay: float = 0.01

    def __post_init__(self) -> None:
        """Check ranges."""
        _positive(self, "classes", "width", "learning_rate")
        if self.input_size < 64 or self.input_size % 32:
            raise ValueError(f"input_size: {self.input_size} is not a multiple of 32 from 64")


@dataclass(frozen=True, slots=True)
class EncoderOptions:
    """Tov et al. 2021 (e4e): pictures → W+ codes of a generator that stays as it is."""

    name: Literal["encoder"] = "encoder"
    generator: str = ""
    """Name of the weights, or a safetensors file."""
    embedder: str = ""
    """The same of an identity embedder; without one there is no identity loss."""
    widths: tuple[int, int, int, int] = (64, 128, 256, 512)
    depths: tuple[int, int, int, int] = (3, 4, 14, 3)
    input_size: int = 256
    learning_rate: float = 0.0001
    l2: float = 1.0
    perceptual: float = 0.8
    """Weight of LPIPS, or of ``perceptual_model = "pyramid"``."""
    perceptual_model: Literal["lpips", "pyramid"] = "lpips"
    lpips: str = "lpips-alex"
    identity: float = 0.1
    identity_every: int = 1
    """Steps from one that compares the people, which costs about a third of it, to the next."""
    delta: float = 2e-4
    """Weight of the offsets between codes, which keeps them near one w."""
    progressive_start: int = 20_000
    """Step at which the first code gets an offset of its own; before it, all are one w."""
    progressive_every: int = 2_000
    """Steps until the next one does."""
    codes: float = 0.0
    """Weight of the distance to known codes; not in the paper."""
    features: float = 0.0
    """Extra weight of lips, mouth, eyes and brows in the picture losses, where the data have label maps;
    they are a few pixels and all of an expression. Not in the paper."""
    start: str = ""
    """Weights of an encoder to go on from; empty begins at random."""
    generator_rate: float = 0.0
    """Factor on the learning rate for the generator's synthesis; above zero it learns to draw what it
    could not, such as shut eyes that were rare in its own training. Not in the paper."""
    keep: float = 1.0
    """Then the weight of the distance to what it drew before, for random codes."""
    keep_every: int = 4
    """Steps from one that compares with what it drew before to the next."""
    known: Literal["generated", "data"] = "generated"
    """Whose codes are known: those of pictures the generator draws, or, on the very data of its
    supervised start, those of the data."""

    def __post_init__(self) -> None:
        """Check ranges."""
        _positive(self, "learning_rate", "progressive_every", "identity_every", "keep_every")


@dataclass(frozen=True, slots=True)
class LandmarksOptions:
    """A landmark model whose shape can be exchanged: what LatentSwap's shape loss needs.

    A small counterpart of the 3-D face model of the paper; needs data with landmarks and with who is
    who.
    """

    name: Literal["landmarks"] = "landmarks"
    widths: tuple[int, int, int, int] = (32, 64, 128, 256)
    depths: tuple[int, int, int, int] = (2, 2, 2, 2)
    shape: int = 32
    """Features that stay with a person."""
    rest: int = 32
    """Features of pose, expression and place."""
    learning_rate: float = 0.001
    weight_decay: float = 0.01


@dataclass(frozen=True, slots=True)
class LatentSwapOptions:
    """Choi et al. 2024: only the mixer is trained, on codes drawn at random; needs no data."""

    name: Literal["latentswap"] = "latentswap"
    generator: str = ""
    embedder: str = ""
    landmarks: str = ""
    """Weights of a landmark model; empty leaves the shape loss out."""
    encoder: str = ""
    """Weights of an encoder: then half of the pairs are encoded pictures of the data, so that the
    mixer meets the codes it will be given; not in the paper."""
    identity: float = 1.0
    latent: float = 100.0
    """Weight of the distance to the target's codes; larger stays closer to the target."""
    shape: float = 0.1
    """Weight of the landmark distance, which is measured in pixels of a 224 px picture."""
    same: float = 0.2
    """Share of pairs whose target is the source."""
    truncation: float = 0.5
    cutoff: int = 8
    learning_rate: float = 0.0001
    weight_decay: float = 0.01
    start: str = ""
    """Weights of a mixer to go on from; empty begins at random."""
    truth: float = 0.0
    """Weight of the distance to the codes of the true swap, in place of ``latent``; needs ``encoder``
    and data of `vidswap synth pairs`, and then all pairs are those of the data. Not in the paper."""
    picture: float = 0.0
    """Weight of the distance to the picture of the true swap, with ``truth``."""
    features: float = 0.0
    """Extra weight of lips, mouth, eyes and brows in ``picture``, where the data have label maps."""
    picture_every: int = 1
    """With ``truth``: steps from one that draws pictures to the next; in between, codes alone count."""

    def __post_init__(self) -> None:
        """Check ranges."""
        _positive(self, "learning_rate", "picture_every")
        if self.truth and not self.encoder:
            raise ValueError("truth needs an encoder")
        if not 0 <= self.same <= 1:
            raise ValueError(f"same must lie in [0, 1], got {self.same:g}")


MethodOptions = (
    StyleGAN2Options
    | IdentityOptions
    | ParserOptions
    | EncoderOptions
    | LandmarksOptions
    | LatentSwapOptions
)


@dataclass(frozen=True, slots=True)
class TrainRecipe:
    """One training."""

    summary: str = ""
    data: DataOptions = field(default_factory=DataOptions)
    loop: LoopOptions = field(default_factory=LoopOptions)
    method: MethodOptions = field(default_factory=StyleGAN2Options)
    """The first is the default; ``method.name`` chooses."""


RESUMABLE = frozenset(
    f"loop.{name}"
    for name in (
        "steps",
        "cooldown",
        "device",
        "threads",
        "log_every",
        "sample_every",
        "checkpoint_every",
        "keep",
    )
) | {"method.supervised_steps"}
"""Options that may change between a training and its continuation: how long each part lasts, and what
does not touch the numbers."""


def shipped() -> dict[str, str]:
    """Name → text of the recipes that come with vidswap."""
    folder = files("vidswap.train") / "recipes"
    found = {p.name[:-5]: p.read_text("utf-8") for p in folder.iterdir() if p.name.endswith("toml")}
    return dict(sorted(found.items()))


def load(name_or_file: str, overrides: Iterable[str] = (), method: str = "") -> TrainRecipe:
    """Decode a shipped training recipe or a TOML file, then apply ``a.b=value`` overrides.

    Args:
        name_or_file: Such as ``stylegan2`` or ``mine.toml``.
        overrides: In the order they apply.
        method: The method that is wanted; a recipe of another one is refused.

    Raises:
        RecipeError: Unknown recipe, unreadable TOML, unknown key, wrong type, value or method.
    """
    text = shipped().get(name_or_file)
    if text is None:
        path = Path(name_or_file)
        if not path.is_file():
            known = ", ".join(shipped())
            raise RecipeError(f"no such training recipe; shipped ones are {known}", path=path)
        text = path.read_text(encoding="utf-8", errors="replace")
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"not valid TOML: {error}", path=name_or_file) from None
    for change in overrides:
        override(table, change)
    recipe = schema.decode(TrainRecipe, table)
    if method and recipe.method.name != method:
        raise RecipeError(
            f"this recipe trains {recipe.method.name}, not {method}", path=name_or_file
        )
    return recipe


def same_training(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Dotted keys in which two encoded recipes differ such that one cannot go on from the other."""
    differing = []
    for section in ("data", "loop", "method"):
        old, new = before.get(section, {}), now.get(section, {})
        changed = (k for k in sorted(old.keys() | new.keys()) if old.get(k) != new.get(k))
        differing += [f"{section}.{key}" for key in changed]
    return [key for key in differing if key not in RESUMABLE]
