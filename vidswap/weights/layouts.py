"""Official key layouts as functions: every key and shape of a published checkpoint.

Each ``expect_*`` takes the key → shape table of a file, reads the free numbers (size, widths,
layers) from it and returns them with the complete list that a sound file of this kind has.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from statistics import mode

from vidswap.weights.manifest import Architecture

Shape = tuple[int, ...]
Shapes = dict[str, Shape]
Expectation = tuple[Architecture, Shapes]
Expect = Callable[[Mapping[str, Shape]], Expectation]


class NotThisLayoutError(ValueError):
    """Keys that give the free numbers of a layout are absent."""


def _count(shapes: Mapping[str, Shape], pattern: str, start: int = 0) -> int:
    """How many consecutive indices ``pattern.format(i)`` has from ``start`` on."""
    n = start
    while pattern.format(n) in shapes:
        n += 1
    if n == start:
        raise NotThisLayoutError(pattern.format(start))
    return n - start


def _dim(shapes: Mapping[str, Shape], *places: tuple[str, int]) -> int:
    """A size that several tensors state: the most common one, so that one bad tensor stands out."""
    found = [shapes[k][i] for k, i in places if k in shapes and len(shapes[k]) > i]
    if not found:
        raise NotThisLayoutError(places[0][0])
    return mode(found)


def _prefixed(prefix: str, shapes: Shapes) -> Shapes:
    return {prefix + key: shape for key, shape in shapes.items()}


def _within(prefix: str, shapes: Mapping[str, Shape]) -> Shapes:
    return {k.removeprefix(prefix): s for k, s in shapes.items() if k.startswith(prefix)}


def batch_norm(prefix: str, width: int) -> Iterator[tuple[str, Shape]]:
    """Keys of one ``BatchNorm``; ``num_batches_tracked`` is optional everywhere."""
    for name in ("weight", "bias", "running_mean", "running_var"):
        yield f"{prefix}.{name}", (width,)
    yield f"{prefix}.num_batches_tracked", ()


# --- StyleGAN2 --------------------------------------------------------------------------------


def _generator_config(channels: Mapping[int, int], style_dim: int, n_mlp: int) -> Architecture:
    """Widths are ``min(channel_max, 16384 · multiplier / r)``; None where they are not."""
    size, most = max(channels), max(channels.values())
    multiplier = channels[size] * size / 16384
    wanted = {r: min(most, int(16384 * multiplier) // r) for r in channels}
    regular = wanted == dict(channels)
    return Architecture(
        size=size,
        channel_multiplier=multiplier if regular else None,
        channel_max=most if regular else None,
        style_dim=style_dim,
        layers=2 * size.bit_length() - 4,
        mapping_layers=n_mlp,
    )


def rosinality_generator(channels: Mapping[int, int], style_dim: int, n_mlp: int) -> Shapes:
    """``g_ema`` of rosinality/stylegan2-pytorch; ``channels`` is width by resolution."""
    keys: Shapes = {}

    def modulated(name: str, out: int, width: int, kernel: int) -> None:
        keys[f"{name}.weight"] = (1, out, width, kernel, kernel)
        keys[f"{name}.modulation.weight"] = (width, style_dim)
        keys[f"{name}.modulation.bias"] = (width,)

    def styled(name: str, out: int, width: int) -> None:
        modulated(f"{name}.conv", out, width, 3)
        keys[f"{name}.noise.weight"] = (1,)
        keys[f"{name}.activate.bias"] = (out,)

    def to_rgb(name: str, width: int) -> None:
        modulated(f"{name}.conv", 3, width, 1)
        keys[f"{name}.bias"] = (1, 3, 1, 1)

    for i in range(1, n_mlp + 1):
        keys[f"style.{i}.weight"] = (style_dim, style_dim)
        keys[f"style.{i}.bias"] = (style_dim,)
    resolutions = sorted(channels)
    keys["input.input"] = (1, channels[4], 4, 4)
    styled("conv1", channels[4], channels[4])
    to_rgb("to_rgb1", channels[4])
    keys["noises.noise_0"] = (1, 1, 4, 4)
    for k, (below, res) in enumerate(pairwise(resolutions)):
        styled(f"convs.{2 * k}", channels[res], channels[below])
        keys[f"convs.{2 * k}.conv.blur.kernel"] = (4, 4)
        styled(f"convs.{2 * k + 1}", channels[res], channels[res])
        to_rgb(f"to_rgbs.{k}", channels[res])
        keys[f"to_rgbs.{k}.upsample.kernel"] = (4, 4)
        keys[f"noises.noise_{2 * k + 1}"] = keys[f"noises.noise_{2 * k + 2}"] = (1, 1, res, res)
    return keys


def expect_rosinality(shapes: Mapping[str, Shape]) -> Expectation:
    """StyleGAN2 generator, rosinality layout."""
    levels = _count(shapes, "to_rgbs.{}.conv.weight")
    n_mlp = _count(shapes, "style.{}.weight", 1)
    style_dim = _dim(shapes, *((f"style.{i}.bias", 0) for i in range(1, n_mlp + 1)))
    channels = {
        4: _dim(shapes, ("input.input", 1), ("conv1.conv.weight", 1), ("conv1.conv.weight", 2))
    }
    for k in range(levels):
        channels[8 << k] = _dim(
            shapes,
            (f"convs.{2 * k}.conv.weight", 1),
            (f"convs.{2 * k}.activate.bias", 0),
            (f"convs.{2 * k + 1}.conv.weight", 1),
            (f"convs.{2 * k + 1}.conv.weight", 2),
            (f"to_rgbs.{k}.conv.weight", 2),
        )
    config = _generator_config(channels, style_dim, n_mlp)
    return config, rosinality_generator(channels, style_dim, n_mlp)


def nvidia_generator(channels: Mapping[int, int], style_dim: int, n_mlp: int) -> Shapes:
    """``G_ema`` of NVIDIA's PyTorch StyleGAN2 (unconditional, 3 channels)."""
    keys: Shapes = {"mapping.w_avg": (style_dim,), "synthesis.b4.const": (channels[4], 4, 4)}

    def affine(name: str, width: int) -> None:
        keys[f"{name}.affine.weight"] = (width, style_dim)
        keys[f"{name}.affine.bias"] = (width,)

    def layer(name: str, out: int, width: int, res: int) -> None:
        keys[f"{name}.weight"] = (out, width, 3, 3)
        keys[f"{name}.bias"] = (out,)
        keys[f"{name}.noise_strength"] = ()
        keys[f"{name}.noise_const"] = (res, res)
        keys[f"{name}.resample_filter"] = (4, 4)
        affine(name, width)

    for i in range(n_mlp):
        keys[f"mapping.fc{i}.weight"] = (style_dim, style_dim)
        keys[f"mapping.fc{i}.bias"] = (style_dim,)
    below = channels[4]
    for res in sorted(channels):
        block, width = f"synthesis.b{res}", channels[res]
        keys[f"{block}.resample_filter"] = (4, 4)
        if res > 4:
            layer(f"{block}.conv0", width, below, res)
        layer(f"{block}.conv1", width, width, res)
        keys[f"{block}.torgb.weight"] = (3, width, 1, 1)
        keys[f"{block}.torgb.bias"] = (3,)
        affine(f"{block}.torgb", width)
        below = width
    return keys


def expect_nvidia(shapes: Mapping[str, Shape]) -> Expectation:
    """StyleGAN2 generator, NVIDIA layout."""
    n_mlp = _count(shapes, "mapping.fc{}.weight")
    style_dim = _dim(shapes, ("mapping.w_avg", 0), ("mapping.fc0.bias", 0))
    channels: dict[int, int] = {}
    res = 4
    while f"synthesis.b{res}.conv1.weight" in shapes:
        block = f"synthesis.b{res}"
        channels[res] = _dim(
            shapes,
            (f"{block}.conv1.weight", 0),
            (f"{block}.conv1.weight", 1),
            (f"{block}.conv1.bias", 0),
            (f"{block}.torgb.weight", 1),
        )
        res *= 2
    if 4 not in channels:
        raise NotThisLayoutError("synthesis.b4.conv1.weight")
    config = _generator_config(channels, style_dim, n_mlp)
    return config, nvidia_generator(channels, style_dim, n_mlp)


# --- Encoders ---------------------------------------------------------------------------------

_IR50 = ((64, 64), *((64, 64),) * 2, (64, 128), *((128, 128),) * 3)
_IR50_UNITS = (*_IR50, (128, 256), *((256, 256),) * 13, (256, 512), *((512, 512),) * 2)
_E4S_HEAD = ((64, 128), *((128, 128),) * 2, (128, 256), *((256, 256),) * 3)
_E4S_UNITS = (*_E4S_HEAD, (256, 512), *((512, 512),) * 13, *((512, 512),) * 3)


def irse_trunk(units: tuple[tuple[int, int], ...] = _IR50_UNITS, norm: bool = True) -> Shapes:
    """Stem and bottlenecks of IR-SE50; ``norm`` False for E4S' parameter-free instance norm."""
    keys: Shapes = {"input_layer.0.weight": (64, 3, 3, 3), "input_layer.2.weight": (64,)}
    if norm:
        keys.update(batch_norm("input_layer.1", 64))
    for i, (width, out) in enumerate(units):
        unit = f"body.{i}"
        keys[f"{unit}.res_layer.1.weight"] = (out, width, 3, 3)
        keys[f"{unit}.res_layer.2.weight"] = (out,)
        keys[f"{unit}.res_layer.3.weight"] = (out, out, 3, 3)
        keys[f"{unit}.res_layer.5.fc1.weight"] = (out // 16, out, 1, 1)
        keys[f"{unit}.res_layer.5.fc2.weight"] = (out, out // 16, 1, 1)
        if norm:
            keys.update(batch_norm(f"{unit}.res_layer.0", width))
            keys.update(batch_norm(f"{unit}.res_layer.4", out))
        if width != out:
            keys[f"{unit}.shortcut_layer.0.weight"] = (out, width, 1, 1)
            if norm:
                keys.update(batch_norm(f"{unit}.shortcut_layer.1", out))
    return keys


def expect_irse50(_shapes: Mapping[str, Shape]) -> Expectation:
    """IR-SE50 ArcFace (TreB1eN)."""
    keys = irse_trunk()
    keys.update(batch_norm("output_layer.0", 512))
    keys["output_layer.3.weight"] = (512, 512 * 7 * 7)
    keys["output_layer.3.bias"] = (512,)
    keys.update(batch_norm("output_layer.4", 512))
    return Architecture(size=112), keys


def psp_encoder(layers: int) -> Shapes:
    """e4e and pSp encoder with ``layers`` style heads; both have the same keys."""
    keys = irse_trunk()
    for name, width in (("latlayer1", 256), ("latlayer2", 128)):
        keys[f"{name}.weight"] = (512, width, 1, 1)
        keys[f"{name}.bias"] = (512,)
    for i in range(layers):
        depth = 4 if i < 3 else 5 if i < 7 else 6
        for j in range(0, 2 * depth, 2):
            keys[f"styles.{i}.convs.{j}.weight"] = (512, 512, 3, 3)
            keys[f"styles.{i}.convs.{j}.bias"] = (512,)
        keys[f"styles.{i}.linear.weight"] = (512, 512)
        keys[f"styles.{i}.linear.bias"] = (512,)
    return keys


def expect_encoder(shapes: Mapping[str, Shape]) -> Expectation:
    """e4e or pSp encoder without a decoder."""
    layers = _count(shapes, "styles.{}.linear.weight")
    if layers % 2:
        raise NotThisLayoutError(f"styles.{layers}.linear.weight")
    size = 2 << (layers // 2)
    return Architecture(size=size, layers=layers, style_dim=512), psp_encoder(layers)


def expect_e4e(shapes: Mapping[str, Shape]) -> Expectation:
    """e4e or pSp checkpoint: encoder and rosinality decoder."""
    decoder, keys = expect_rosinality(_within("decoder.", shapes))
    layers = _count(shapes, "encoder.styles.{}.linear.weight")
    return decoder, _prefixed("encoder.", psp_encoder(layers)) | _prefixed("decoder.", keys)


# --- Parsers, mixers, E4S, reenactment ---------------------------------------------------------


def _resnet18(prefix: str) -> Shapes:
    keys: Shapes = {f"{prefix}conv1.weight": (64, 3, 7, 7)}
    keys.update(batch_norm(f"{prefix}bn1", 64))
    width = 64
    for level, out in enumerate((64, 128, 256, 512), start=1):
        for unit in range(2):
            name = f"{prefix}layer{level}.{unit}"
            keys[f"{name}.conv1.weight"] = (out, width, 3, 3)
            keys[f"{name}.conv2.weight"] = (out, out, 3, 3)
            keys.update(batch_norm(f"{name}.bn1", out))
            keys.update(batch_norm(f"{name}.bn2", out))
            if width != out:
                keys[f"{name}.downsample.0.weight"] = (out, width, 1, 1)
                keys.update(batch_norm(f"{name}.downsample.1", out))
            width = out
    return keys


def expect_bisenet(shapes: Mapping[str, Shape]) -> Expectation:
    """BiSeNet face parser (79999_iter.pth)."""
    heads = ("conv_out", "conv_out16", "conv_out32")
    classes = _dim(shapes, *((f"{head}.conv_out.weight", 0) for head in heads))
    keys = _resnet18("cp.resnet.")

    def conv(name: str, out: int, width: int, kernel: int) -> None:
        keys[f"{name}.conv.weight"] = (out, width, kernel, kernel)
        keys.update(batch_norm(f"{name}.bn", out))

    for name, width in (("cp.arm16", 256), ("cp.arm32", 512)):
        conv(f"{name}.conv", 128, width, 3)
        keys[f"{name}.conv_atten.weight"] = (128, 128, 1, 1)
        keys.update(batch_norm(f"{name}.bn_atten", 128))
    conv("cp.conv_head32", 128, 128, 3)
    conv("cp.conv_head16", 128, 128, 3)
    conv("cp.conv_avg", 128, 512, 1)
    conv("ffm.convblk", 256, 256, 1)
    keys["ffm.conv1.weight"] = (64, 256, 1, 1)
    keys["ffm.conv2.weight"] = (256, 64, 1, 1)
    for head, width, inner in (("conv_out", 256, 256), *((h, 128, 64) for h in heads[1:])):
        conv(f"{head}.conv", inner, width, 3)
        keys[f"{head}.conv_out.weight"] = (classes, inner, 1, 1)
    return Architecture(size=512, classes=classes), keys


def _mlp(prefix: str, dim: int) -> Shapes:
    widths = (2 * dim, 2 * dim, 2 * dim, dim, dim, dim)
    keys: Shapes = {}
    for j, (width, out) in enumerate(pairwise(widths)):
        keys[f"{prefix}{2 * j}.weight"] = (out, width)
        keys[f"{prefix}{2 * j}.bias"] = (out,)
    return keys


def expect_mixer(shapes: Mapping[str, Shape]) -> Expectation:
    """LatentSwap's mixer: one five-layer MLP for each latent layer."""
    layers = _count(shapes, "mixer.{}.0.weight")
    dim = _dim(shapes, *((f"mixer.{i}.8.bias", 0) for i in range(layers)))
    keys: Shapes = {}
    for i in range(layers):
        keys |= _mlp(f"mixer.{i}.", dim)
    return Architecture(layers=layers, style_dim=dim), keys


def expect_single_mixer(shapes: Mapping[str, Shape]) -> Expectation:
    """LatentSwap's mixer of one z or w code."""
    dim = _dim(shapes, ("mixer.8.bias", 0), ("mixer.8.weight", 0))
    return Architecture(layers=1, style_dim=dim), _mlp("mixer.", dim)


def expect_e4s(shapes: Mapping[str, Shape]) -> Expectation:
    """E4S Net3: region encoder, one MLP for each class, masked StyleGAN2."""
    generator, keys = expect_rosinality(_within("G.", shapes))
    classes = _count(shapes, "MLPs.{}.mlp.0.weight")
    outputs = _dim(shapes, *((f"MLPs.{i}.mlp.2.bias", 0) for i in range(classes)))
    keys = _prefixed("G.", keys) | _prefixed("encoder.", irse_trunk(_E4S_UNITS, norm=False))
    for i in range(classes):
        for j, (out, width) in ((0, (512, 1280)), (2, (outputs, 512))):
            keys[f"MLPs.{i}.mlp.{j}.weight"] = (out, width)
            keys[f"MLPs.{i}.mlp.{j}.bias"] = (out,)
    config = Architecture(
        size=generator.size,
        channel_multiplier=generator.channel_multiplier,
        channel_max=generator.channel_max,
        style_dim=generator.style_dim,
        layers=generator.layers,
        mapping_layers=generator.mapping_layers,
        classes=classes,
        masked_layers=outputs // 512,
    )
    return config, keys


def expect_matrix(shapes: Mapping[str, Shape]) -> Expectation:
    """Direction matrix of reenactment: one linear layer, parameters to latent shifts."""
    if "linear.weight" not in shapes or len(shapes["linear.weight"]) != 2:
        raise NotThisLayoutError("linear.weight")
    out, directions = shapes["linear.weight"]
    config = Architecture(layers=out // 512, style_dim=512, directions=directions)
    return config, {"linear.weight": (8 * 512, 15), "linear.bias": (8 * 512,)}
