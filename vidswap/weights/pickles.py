"""Restricted reader for NVIDIA's persistence pickles (stylegan2-ada-pytorch, stylegan3, StyleNeRF).

Such a pickle carries Python source that the publisher's loader executes. Here every global must be
on a short allow-list, and each entry of that list stands for an inert record of ours: nothing of
the file is ever called, imported or executed, and the embedded source is ignored.
"""

import pickle
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Never

import torch
from torch import Tensor

from vidswap.errors import WeightsError

LoadStorage = Callable[[bytes], object]
"""Safe reader of one serialised storage: see ``vidswap.weights.formats``."""


class Record:
    """What one global of the file became: constructor arguments and state, nothing else.

    Every stand-in has ``__setstate__`` so that the pickle's BUILD instruction can only reach it,
    never set attributes on our classes.
    """

    __slots__ = ("args", "state")
    kind: ClassVar[str] = ""

    def __new__(cls, *args: object, **_kwargs: object) -> "Record":
        """Keep the arguments; call nothing."""
        record = object.__new__(cls)
        record.args = args
        record.state = {}
        return record

    def __init__(self, *_args: object, **_kwargs: object) -> None:
        """All is done in ``__new__``, which pickle calls alone."""

    args: tuple[Any, ...]
    state: Any

    def __setstate__(self, state: object) -> None:
        self.state = state


class Persistent(Record):
    """``torch_utils.persistence._reconstruct_persistent_obj(meta)``: a module of the publisher."""

    __slots__ = ()

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError("a persistent object that is built twice")

    @property
    def meta(self) -> Mapping[str, Any]:
        """Class name, version, state and (ignored) source."""
        found = self.args[0] if self.args else None
        return found if isinstance(found, dict) else {}


class Table(dict[Any, Any]):
    """``dnnlib.util.EasyDict``, ``OrderedDict`` and the like: a plain dictionary."""

    __slots__ = ()

    def __init__(self, *args: object) -> None:
        # defaultdict passes its factory first, OrderedDict a list of pairs (protocol < 2).
        pairs = args[0] if args and isinstance(args[0], (list, tuple)) else ()
        super().__init__(pairs)

    def __setstate__(self, state: object) -> None:
        if isinstance(state, dict):
            self.update(state)


class Storage(Record):
    """Bytes of ``torch.storage._load_from_bytes``, not yet read."""

    __slots__ = ()


class Rebuilt(Record):
    """``torch._utils._rebuild_tensor_v2(storage, offset, size, stride, …)``."""

    __slots__ = ()


class Parameter(Record):
    """``torch._utils._rebuild_parameter(tensor, requires_grad, hooks)``."""

    __slots__ = ()


class Size(Record):
    """``torch.Size``."""

    __slots__ = ()


class Set(Record):
    """``set`` and ``frozenset``."""

    __slots__ = ()


class DType(Record):
    """``numpy.dtype``: ``state[1]`` is the byte order."""

    __slots__ = ()


class Scalar(Record):
    """``numpy.core.multiarray.scalar(dtype, bytes)``."""

    __slots__ = ()


class Opaque(Record):
    """A settings object that is never looked into (omegaconf, containers of torch)."""

    __slots__ = ()


class Module(Record):
    """A plain ``torch.nn`` container inside a persistent network."""

    __slots__ = ()


ALLOWED: Mapping[tuple[str, str], type] = {
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): Persistent,
    ("dnnlib.util", "EasyDict"): Table,
    ("collections", "OrderedDict"): Table,
    ("collections", "defaultdict"): Table,
    ("torch._utils", "_rebuild_tensor_v2"): Rebuilt,
    ("torch._utils", "_rebuild_parameter"): Parameter,
    ("torch.storage", "_load_from_bytes"): Storage,
    ("torch", "Size"): Size,
    ("builtins", "set"): Set,
    ("__builtin__", "set"): Set,
    ("numpy", "dtype"): DType,
    ("numpy.core.multiarray", "scalar"): Scalar,
    ("numpy._core.multiarray", "scalar"): Scalar,
    # StyleNeRF: settings only, no tensor lies in them.
    ("omegaconf.dictconfig", "DictConfig"): Opaque,
    ("omegaconf.listconfig", "ListConfig"): Opaque,
    ("omegaconf.nodes", "AnyNode"): Opaque,
    ("omegaconf.base", "Metadata"): Opaque,
    ("omegaconf.base", "ContainerMetadata"): Opaque,
    ("typing", "Any"): Opaque,
    ("builtins", "int"): Opaque,
    ("builtins", "list"): Opaque,
    ("builtins", "dict"): Opaque,
    ("torch.nn.modules.container", "Sequential"): Module,
    ("torch.nn.modules.container", "ModuleList"): Module,
}


class _Restricted(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> type:
        stand_in = ALLOWED.get((module, name))
        if stand_in is None:
            raise pickle.UnpicklingError(
                f"it asks for {module}.{name}, which is not needed for weights and could run code"
            )
        return stand_in

    def persistent_load(self, _pid: object) -> Never:
        raise pickle.UnpicklingError("it refers to objects outside the file")


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """One network of a persistence pickle."""

    class_name: str
    state: dict[str, Tensor]
    """Dotted parameter and buffer paths, parameters before buffers in each module."""
    settings: dict[str, Any]
    """Constructor arguments and plain attributes (numbers, texts and nested dictionaries of them)."""


def read(path: Path, load_storage: LoadStorage) -> dict[str, Network]:
    """Networks of a persistence pickle by their key (``G``, ``D``, ``G_ema``), nothing executed.

    Raises:
        WeightsError: The file asks for anything outside the allow-list, is damaged, or is no
            dictionary of networks.
    """
    try:
        with path.open("rb") as file:
            top = _Restricted(file).load()
    except _BROKEN as error:
        raise WeightsError(
            f"refused or damaged pickle, nothing was executed: {error}", path=path, stage="read"
        ) from error
    if not isinstance(top, dict):
        raise WeightsError(
            "expected a dictionary of networks in the pickle", path=path, stage="read"
        )
    try:
        return {
            str(key): _network(value, load_storage)
            for key, value in top.items()
            if isinstance(value, Persistent)
        }
    except _BROKEN as error:
        raise WeightsError(f"damaged network: {error}", path=path, stage="read") from error


_BROKEN = (
    pickle.UnpicklingError,
    AttributeError,
    EOFError,
    ImportError,
    IndexError,
    KeyError,
    MemoryError,
    OverflowError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
)
"""What hostile or truncated bytes make the standard unpickler and torch raise."""


def _network(node: Persistent, load_storage: LoadStorage) -> Network:
    storages: dict[int, object] = {}

    def storage(record: Storage) -> object:
        # Tensors may share one storage; each is read once.
        if id(record) not in storages:
            (data,) = record.args
            if not isinstance(data, bytes):
                raise TypeError("a storage that is not bytes")
            storages[id(record)] = load_storage(data)
        return storages[id(record)]

    state: dict[str, Tensor] = {}
    _collect(node, "", state, storage, _Budget(20_000))
    wanted = {k: v for k, v in _module_state(node).items() if not str(k).startswith(_MODULE_FIELDS)}
    settings = _plain(wanted, _Budget(20_000))
    return Network(str(node.meta.get("class_name", "")), state, settings)


_MODULE_FIELDS = ("_parameters", "_buffers", "_modules", "_non_persistent")


class _Budget:
    """Bounds a walk: references of a pickle can be shared so that a walk never ends."""

    __slots__ = ("left",)

    def __init__(self, left: int) -> None:
        self.left = left

    def spend(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise ValueError("it refers to itself without end")


def _module_state(node: Record) -> Mapping[str, Any]:
    state = node.meta.get("state") if isinstance(node, Persistent) else node.state
    return state if isinstance(state, dict) else {}


def _collect(
    node: Record,
    prefix: str,
    out: dict[str, Tensor],
    storage: Callable[[Storage], object],
    budget: _Budget,
) -> None:
    budget.spend()
    fields = _module_state(node)
    for group in ("_parameters", "_buffers"):
        for name, value in (fields.get(group) or {}).items():
            if value is not None:
                out[f"{prefix}{name}"] = _tensor(value, storage)
    for name, child in (fields.get("_modules") or {}).items():
        if isinstance(child, (Persistent, Module)):
            _collect(child, f"{prefix}{name}.", out, storage, budget)


def _tensor(value: object, storage: Callable[[Storage], object]) -> Tensor:
    if isinstance(value, Parameter):
        return _tensor(value.args[0], storage)
    if not isinstance(value, Rebuilt) or not isinstance(value.args[0], Storage):
        raise TypeError(f"expected a tensor, found {type(value).__name__}")
    kept = storage(value.args[0])
    if not isinstance(kept, torch.storage.TypedStorage):
        raise TypeError("a tensor without a storage")
    offset, size, stride = int(value.args[1]), _ints(value.args[2]), _ints(value.args[3])
    flat = torch.empty(0, dtype=kept.dtype)
    return flat.set_(kept._untyped_storage, offset, size, stride)  # type: ignore[call-overload, no-any-return]


def _ints(value: object) -> tuple[int, ...]:
    parts = value.args[0] if isinstance(value, Size) else value
    if not isinstance(parts, (tuple, list)):
        raise TypeError("a shape that is not a tuple")
    return tuple(int(v) for v in parts)


def _plain(value: object, budget: _Budget) -> Any:
    """Numbers, texts and containers of them; None for anything else."""
    budget.spend()
    if isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Scalar):
        return _number(value)
    if isinstance(value, dict):
        kept = {k: _plain(v, budget) for k, v in value.items() if isinstance(k, str)}
        return {k: v for k, v in kept.items() if v is not None}
    if isinstance(value, (list, tuple)):
        return [_plain(v, budget) for v in value]
    return None


def _number(value: Scalar) -> float | int | bool | None:
    """A numpy scalar without numpy's own reader: type code and raw bytes."""
    kind, data = value.args
    if not isinstance(kind, DType) or not isinstance(data, bytes) or not kind.args:
        return None
    order = kind.state[1] if isinstance(kind.state, tuple) and len(kind.state) > 1 else "<"
    codes = {"f8": "d", "f4": "f", "f2": "e", "i8": "q", "i4": "i", "u1": "B", "b1": "?"}
    code = codes.get(str(kind.args[0]).lstrip("<>=|"))
    if code is None:
        return None
    number: float | int | bool = struct.unpack((">" if order == ">" else "<") + code, data)[0]
    return number
