"""What the tests of files share: a small network, its weights, and files by hand."""

import json
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import spec

# With the 3x3 stem for 32 pixels, which a file of plain weights is taken for.
FIELDS: dict[str, Any] = {
    "growth_rate": 4,
    "block_config": [2, 1],
    "bn_size": 2,
    "compression": 0.5,
    "stem": {"kernel_size": 3, "stride": 1, "padding": 1, "norm": False, "pool": False},
    "num_classes": 5,
    "input_size": 32,
}


def tiny(**fields: Any) -> spec.Network:
    return spec.build(spec.DenseNetConfig(**FIELDS | fields), "tiny")


NETWORK = tiny()


def weights_of(network: spec.Network = NETWORK, dtype: type[np.floating] = np.float32, seed: int = 0) -> spec.Weights:
    """Random weights, batch norms and biases included."""
    return spec.randomize(spec.initialize(network, seed, dtype), seed)


def images_of(network: spec.Network = NETWORK, count: int = 2) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(count, *network.input_shape))


def same(found: spec.Weights, expected: spec.Weights) -> bool:
    """Whether all bits are, those of zeros and their signs included."""
    return list(found) == list(expected) and all(
        found[name].dtype == array.dtype
        and found[name].shape == array.shape
        and found[name].tobytes() == array.tobytes()
        for name, array in expected.items()
    )


def logits(network: spec.Network, weights: spec.Weights, images: np.ndarray) -> np.ndarray:
    """The NumPy reference's, in float64."""
    model = spec.reference.build(network)
    spec.reference.load_weights(model, {name: array.astype("float64") for name, array in weights.items()})
    return spec.reference.predict(model, images)


def safetensors(entries: Mapping[str, tuple[str, tuple[int, ...], bytes]], metadata: Mapping[str, str] = {}) -> bytes:
    """A .safetensors file by hand: {name: (dtype, shape, bits)}."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    at = 0
    for name, (dtype, shape, bits) in entries.items():
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + len(bits)]}
        at += len(bits)
    return with_header(json.dumps(header).encode()) + b"".join(bits for _, _, bits in entries.values())


def with_header(text: bytes) -> bytes:
    return struct.pack("<Q", len(text)) + text


def header_of(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    return json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])


def with_metadata(path: Path, **changes: str | None) -> None:
    """The same file with other metadata; None takes an entry away."""
    content = path.read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    merged = header["__metadata__"] | changes
    header["__metadata__"] = {key: value for key, value in merged.items() if value is not None}
    path.write_bytes(with_header(json.dumps(header).encode()) + content[end:])


def entries_of(weights: spec.Weights, dtype: str = "F32") -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    return {name: (dtype, array.shape, array.tobytes()) for name, array in weights.items()}


def listing(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def params_array(array: np.ndarray) -> bytes:
    """An array as MXNet 1.9.1 writes it (src/ndarray/ndarray.cc, NDArray::Save)."""
    kind = {"f4": 0, "f8": 1, "f2": 2}[array.dtype.str[1:]]
    shape = struct.pack(f"<I{array.ndim}q", array.ndim, *array.shape)
    return struct.pack("<Ii", 0xF993FAC9, 0) + shape + struct.pack("<iii", 1, 0, kind) + array.tobytes()


def params_name(name: bytes) -> bytes:
    return struct.pack("<Q", len(name)) + name


def params(arrays: Mapping[str, np.ndarray]) -> bytes:
    """A .params file by hand."""
    count = struct.pack("<Q", len(arrays))
    names = b"".join(params_name(name.encode()) for name in arrays)
    return struct.pack("<QQ", 0x112, 0) + count + b"".join(map(params_array, arrays.values())) + count + names
