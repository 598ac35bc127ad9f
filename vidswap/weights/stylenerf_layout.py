"""Official key layout of StyleNeRF's generator (facebookresearch/StyleNeRF, FFHQ configuration)."""

from collections.abc import Mapping

from vidswap.weights.layouts import Expectation, NotThisLayoutError, Shape, Shapes
from vidswap.weights.manifest import Architecture

_FILTER: Shape = (4, 4)


def expect_stylenerf(shapes: Mapping[str, Shape]) -> Expectation:
    """StyleNeRF generator: 256, 512 or 1024 px."""
    size = 64
    while f"synthesis.b{size}.conv0.weight" in shapes:
        size *= 2
    size //= 2
    if size < 64 or "synthesis.fg_nerf.fc_in.weight" not in shapes:
        raise NotThisLayoutError("synthesis.b64.conv0.weight")
    keys: Shapes = {"synthesis.alpha": (), "mapping.w_avg": (512,)}
    for i in range(8):
        keys[f"mapping.fc{i}.weight"] = (512, 512)
        keys[f"mapping.fc{i}.bias"] = (512,)
    keys |= _foreground() | _background()
    width, res = 256, 64
    while res <= size:
        out = min(512, 32768 // res)
        keys |= _upsampler(f"synthesis.b{res}", out, width)
        width, res = out, 2 * res
    levels = size.bit_length() - 6
    return Architecture(size=size, style_dim=512, layers=11 + 2 * levels, mapping_layers=8), keys


def _affine(name: str, width: int) -> Shapes:
    return {f"{name}.affine.weight": (width, 512), f"{name}.affine.bias": (width,)}


def _foreground() -> Shapes:
    keys: Shapes = {}
    layers = [("fc_in", 128, 60), *((f"blocks.{i}", 128, 128) for i in range(7))]
    for part, out, width in (*layers, ("sigma_out", 1, 128), ("feat_out", 256, 128)):
        name = f"synthesis.fg_nerf.{part}"
        keys[f"{name}.weight"] = (out, width, 1, 1)
        keys[f"{name}.bias"] = (out,)
        keys |= _affine(name, width)
        if not part.endswith("_out"):
            keys[f"{name}.resample_filter"] = _FILTER
    return keys | _rgb("synthesis.fg_nerf.to_rgb")


def _background() -> Shapes:
    keys: Shapes = {}
    layers = [("fc_in", 64, 112), *((f"blocks.{i}", 64, 64) for i in range(3))]
    for part, out, width in (*layers, ("sigma_out", 1, 64), ("feat_out", 256, 64)):
        name = f"synthesis.bg_nerf.{part}"
        keys[f"{name}.weight"] = (out, width)
        keys[f"{name}.bias"] = (out,)
        if not part.endswith("_out"):
            keys[f"{name}.resample_filter"] = _FILTER
    return keys | _rgb("synthesis.bg_nerf.to_rgb")


def _rgb(name: str) -> Shapes:
    return {
        f"{name}.weight": (3, 256, 1, 1),
        f"{name}.bias": (3,),
        f"{name}.resample_filter": _FILTER,
    }


def _upsampler(block: str, out: int, width: int) -> Shapes:
    keys: Shapes = {f"{block}.resample_filter": _FILTER}
    for name, inner in ((f"{block}.conv0", width), (f"{block}.conv1", out)):
        keys[f"{name}.weight"] = (out, inner, 1, 1)
        keys[f"{name}.bias"] = (out,)
        keys[f"{name}.resample_filter"] = _FILTER
        keys[f"{name}.w_avg"] = ()
        keys |= _affine(name, inner)
    for j, (to, inner) in enumerate(((out // 4, 2 * out), (out, out // 4))):
        name = f"{block}.conv0.adapter.{j}"
        keys[f"{name}.weight"] = (to, inner, 1, 1)
        keys[f"{name}.bias"] = (to,)
        keys[f"{name}.resample_filter"] = _FILTER
    keys[f"{block}.torgb.weight"] = (3, out, 1, 1)
    keys[f"{block}.torgb.bias"] = (3,)
    return keys | _affine(f"{block}.torgb", out)
