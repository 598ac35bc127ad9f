"""Small files in the layouts in which checkpoints are published."""

import io
import pickle
import sys
import types

import torch

from vidswap.weights import layouts

WIDTHS = {4: 8, 8: 8, 16: 4}


def filled(shapes, seed=0):
    """Random tensors of these shapes."""
    rng = torch.Generator().manual_seed(seed)
    return {
        k: torch.zeros(s, dtype=torch.int64)
        if k.endswith("num_batches_tracked")
        else torch.randn(s, generator=rng)
        for k, s in shapes.items()
    }


def rosinality(seed=0):
    return filled(layouts.rosinality_generator(WIDTHS, 8, 2), seed)


def rosinality_file(path, **changes):
    state = rosinality() | changes
    state = {k: v for k, v in state.items() if v is not None}
    torch.save({"g_ema": state, "latent_avg": torch.randn(8)}, path)
    return path


def nvidia(seed=0):
    return filled(layouts.nvidia_generator(WIDTHS, 8, 2), seed)


def matrix():
    return {"linear.weight": torch.randn(4096, 15), "linear.bias": torch.randn(4096)}


def matrix_file(path, **changes):
    state = {k: v for k, v in (matrix() | changes).items() if v is not None}
    torch.save({"step": 7, "A_matrix": state, "shift_scale": 6, "w_plus": True}, path)
    return path


class Meta(dict):
    """Pickled as ``dnnlib.util.EasyDict``."""


class Persistent:
    """Pickled as NVIDIA's ``torch_utils.persistence`` pickles a module."""

    def __init__(self, tensors, buffers, modules, source, **attributes):
        state = {
            "training": False,
            "_parameters": {k: torch.nn.Parameter(v) for k, v in tensors.items()},
            "_buffers": dict(buffers),
            "_modules": dict(modules),
            **attributes,
        }
        self.meta = Meta(
            type="class", version=6, module_src=source, class_name="Generator", state=state
        )

    def __reduce__(self):
        return sys.modules["torch_utils.persistence"]._reconstruct_persistent_obj, (self.meta,)


def _tree(state, source, **attributes):
    """Nested modules of dotted names, buffers as NVIDIA has them."""
    own, below = {}, {}
    for key, value in state.items():
        head, dot, rest = key.partition(".")
        if dot:
            below.setdefault(head, {})[rest] = value
        else:
            own[head] = value
    buffers = {k: own.pop(k) for k in ("resample_filter", "noise_const", "w_avg") if k in own}
    return Persistent(
        own, buffers, {k: _tree(v, source) for k, v in below.items()}, source, **attributes
    )


def persistence_bytes(state, source="raise SystemExit", protocol=None, extra=None, clamp=256):
    """A pickle like NVIDIA's ``ffhq.pkl``, source code included."""
    import numpy as np

    stand_ins = {
        "torch_utils": types.ModuleType("torch_utils"),
        "torch_utils.persistence": types.ModuleType("torch_utils.persistence"),
        "dnnlib": types.ModuleType("dnnlib"),
        "dnnlib.util": types.ModuleType("dnnlib.util"),
    }
    saved = {name: sys.modules.get(name) for name in stand_ins}
    place = Meta.__module__, Meta.__qualname__

    def _reconstruct_persistent_obj(meta):
        raise AssertionError(meta)

    try:
        sys.modules.update(stand_ins)
        _reconstruct_persistent_obj.__module__ = "torch_utils.persistence"
        _reconstruct_persistent_obj.__qualname__ = "_reconstruct_persistent_obj"
        stand_ins[
            "torch_utils.persistence"
        ]._reconstruct_persistent_obj = _reconstruct_persistent_obj
        Meta.__module__, Meta.__qualname__, Meta.__name__ = "dnnlib.util", "EasyDict", "EasyDict"
        stand_ins["dnnlib.util"].EasyDict = Meta
        network = _tree(
            state,
            source,
            z_dim=8,
            img_resolution=16,
            num_ws=6,
            weight_gain=np.sqrt(np.float64(0.5)),
            _init_args=(8, 0, 8, 16, 3),
            _init_kwargs=Meta(synthesis_kwargs=Meta(conv_clamp=clamp, num_fp16_res=4)),
            used={1, 2},
            size=torch.Size([1, 2]),
        )
        top = {"G": None, "D": None, "G_ema": network, "training_set_kwargs": Meta(xflip=True)}
        file = io.BytesIO()
        pickle.dump(top | (extra or {}), file, protocol=protocol)
        return file.getvalue()
    finally:
        Meta.__module__, Meta.__qualname__ = place
        Meta.__name__ = "Meta"
        for name, module in saved.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


class Exploit:
    """Creates a file when it is unpickled by a careless reader."""

    def __init__(self, canary):
        self.canary = str(canary)

    def __reduce__(self):
        return exec, (f"open({self.canary!r}, 'w').close()",)
