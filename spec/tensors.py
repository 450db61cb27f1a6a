"""Safetensors files: a header that is checked before anything is allocated, and arrays as views of one buffer."""

import hashlib
import json
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spec.errors import SpecError, SpecWarning
from spec.files import check_readable, replacing
from spec.shapes import Shapes

Arrays = dict[str, np.ndarray]
FLOATS: dict[str, np.dtype] = {"F32": np.dtype("<f4"), "F64": np.dtype("<f8")}
# NumPy has no bfloat16: its bits are a float32's upper half.
NARROW: dict[str, np.dtype] = {"F16": np.dtype("<f2"), "BF16": np.dtype("<u2")}
DTYPES = FLOATS | NARROW
LONGEST = 2**24  # bytes of a header: a hundred times that of the largest network


@dataclass(frozen=True)
class Header:
    """What a file says of itself: its metadata, and each tensor's dtype, shape and place in the data."""

    path: Path
    metadata: Mapping[str, str]
    kinds: Mapping[str, str]
    shapes: Shapes
    places: Mapping[str, tuple[int, int]]
    start: int  # of the data, in the file


def read_header(path: str | Path) -> Header:
    """The header of a safetensors file; raises SpecError for a file that is none, and for a name that stands twice."""
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    check_readable(path)
    try:
        with safe_open(path, "numpy"):  # checks lengths, dtypes, shapes and offsets against the file's size
            pass
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > LONGEST:
                raise SpecError(f"{path} has a header of {length} bytes, more than any network's")
            entries = json.loads(file.read(length), object_pairs_hook=_unique)
    except (OSError, SafetensorError, RecursionError, ValueError) as error:
        if isinstance(error, SpecError):
            raise SpecError(f"{path} is not a readable safetensors file: {error}") from None
        raise SpecError(f"{path} is not a readable safetensors file: {str(error) or 'nested too deeply'}") from None
    metadata = entries.pop("__metadata__", None) or {}
    return Header(
        path,
        metadata,
        {name: entry["dtype"] for name, entry in entries.items()},
        {name: tuple(entry["shape"]) for name, entry in entries.items()},
        {name: tuple(entry["data_offsets"]) for name, entry in entries.items()},
        8 + length,
    )


def read_arrays(header: Header, names: Sequence[str]) -> tuple[Arrays, str]:
    """{name: array} of float32 or float64, in this order, and the SHA-256 of all values, as they are stored.

    Narrower floats are widened, exactly, with a warning. Raises SpecError for another dtype, and for a file that is
    shorter now than when its header was read.
    """
    other = {name: header.kinds[name] for name in names if header.kinds[name] not in DTYPES}
    for name, kind in other.items():
        raise SpecError(f"{header.path} must hold floats, found {name} of {kind}: convert it")
    narrow = sorted({header.kinds[name] for name in names} & NARROW.keys())
    if narrow:
        kinds = " and ".join({"F16": "float16", "BF16": "bfloat16"}[kind] for kind in narrow)
        warnings.warn(
            f"{header.path} holds {kinds}, read as float32: each value is the same", SpecWarning, stacklevel=4
        )
    data = np.fromfile(header.path, np.uint8, offset=header.start)
    if len(data) < max((stop for _, stop in header.places.values()), default=0):
        raise SpecError(f"{header.path} was cut off while it was read")
    stored = [data[slice(*header.places[name])] for name in names]
    return {name: _array(bits, header, name) for name, bits in zip(names, stored)}, digest(stored)


def digest(arrays: Iterable[np.ndarray]) -> str:
    """The SHA-256 of all values, little-endian and row by row, array after array."""
    found = hashlib.sha256()
    for array in arrays:
        found.update(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).data)
    return found.hexdigest()


def write(path: str | Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """Writes the file, in one step; raises SpecError where that is not possible."""
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    with replacing(path) as beside:
        try:
            save_file(contiguous, beside, dict(metadata))
        except SafetensorError as error:  # it has the system's own words
            raise SpecError(f"{path} cannot be written: {error}") from None


def _array(bits: np.ndarray, header: Header, name: str) -> np.ndarray:
    kind = header.kinds[name]
    flat = bits.view(DTYPES[kind])
    if kind == "BF16":
        flat = (flat.astype("<u4") << 16).view("<f4")
    elif kind == "F16":
        flat = flat.astype("<f4")
    return flat.reshape(header.shapes[name])


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        name = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise SpecError(f"the name {name} stands twice in its header")
    return found
