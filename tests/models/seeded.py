"""Golden fixtures: expected outputs, and the checkpoint they belong to, drawn from its own key names.

Every tensor is drawn from a generator seeded with the CRC-32 of its name, so that no weights are
stored: the fixture lists names, shapes and the rule that scales the draw.
"""

import json
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open

GOLDEN = Path(__file__).parents[1] / "golden"


def draw(key, shape):
    rng = np.random.Generator(np.random.PCG64(zlib.crc32(key.encode())))
    return np.asarray(rng.standard_normal(tuple(shape), dtype=np.float32))


def value(key, shape, rule, *args):
    """The tensor of that name, as a numpy array."""
    if rule == "int0":
        return np.zeros(shape, np.int64)
    if rule == "const":
        return np.full(shape, args[0], np.float32)
    if rule == "fir":
        row = np.array([1.0, 3.0, 3.0, 1.0])
        return (args[0] * np.outer(row, row) / 64).astype(np.float32)
    if rule == "image":
        factor, coarse, fine, low, high = args
        n, c, h, w = shape
        blocks = draw(key + "/coarse", (n, c, h // factor, w // factor)).astype(np.float64)
        blocks = blocks.repeat(factor, 2).repeat(factor, 3)
        picture = coarse * blocks + fine * draw(key + "/fine", shape).astype(np.float64)
        return np.clip(picture, low, high).astype(np.float32)
    noise = draw(key, shape).astype(np.float64)
    scaled = np.abs(noise) if rule == "abs" else noise
    scaled *= args[1]
    scaled += args[0]
    if rule == "clip":
        scaled = np.clip(scaled, args[2], args[3])
    return np.asarray(scaled, dtype=np.float32)


def _index(text):
    if text in (None, "full"):
        return ...
    parts = [p.strip() for p in text.strip("[]").split(",")]
    return tuple(
        slice(*(int(v) if v else None for v in p.split(":"))) if ":" in p else int(p) for p in parts
    )


@dataclass(frozen=True)
class Golden:
    """One fixture."""

    name: str
    spec: dict
    tensors: dict

    def keys(self):
        """Rows [key, shape, rule, arguments…] of the official checkpoint, in its order."""
        return json.loads((GOLDEN / self.spec["keys"]).read_text())

    def weights(self):
        """The official checkpoint, flat."""
        crc, state = 0, {}
        for key, *row in self.keys():
            array = value(key, *row)
            crc = zlib.crc32(np.ascontiguousarray(array).data, crc)
            state[key] = torch.from_numpy(array)
        assert crc == self.spec["weights"]["crc32"], "the seeding rule differs from the fixture's"
        return state

    def layout(self):
        """The same without values: tensors on the meta device."""
        return {
            key: torch.empty(shape, dtype=torch.int64 if rule == "int0" else None, device="meta")
            for key, shape, rule, *_ in self.keys()
        }

    def inputs(self):
        return {
            name: torch.from_numpy(value("input:" + name, *row))
            for name, *row in self.spec["inputs"]
        }

    def check(self, name, ours):
        """Compare one output, given whole, within its tolerance; returns the largest deviation."""
        facts, expected = self.spec["outputs"][name], self.tensors[name]
        assert list(ours.shape) == facts["full_shape"], name
        error = (ours.detach()[_index(facts["index"])] - expected).abs()
        worst = float(error.max())
        assert worst <= facts["atol"], f"{name}: {worst:.3g} > {facts['atol']:.3g}"
        if "atol99" in facts:
            share = float((error <= facts["atol99"]).float().mean())
            assert share >= 0.98, f"{name}: only {share:.3f} within {facts['atol99']}"
        if name + ".stats" in self.tensors:
            flat = ours.detach().transpose(0, 1).flatten(1).double()
            stats = torch.stack([flat.mean(1), flat.std(1, unbiased=False), flat.abs().amax(1)])
            assert float((stats - self.tensors[name + ".stats"]).abs().max()) <= facts["atol"], name
        return worst


def golden(name):
    """Open a fixture after checking the random generator itself."""
    with safe_open(GOLDEN / f"{name}.safetensors", "pt") as file:
        spec = json.loads(file.metadata()["spec"])
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    if canary := spec.get("rng_canary"):
        assert np.allclose(draw(canary["key"], canary["shape"]), canary["n"], rtol=0, atol=1e-7)
    return Golden(name, spec, tensors)
