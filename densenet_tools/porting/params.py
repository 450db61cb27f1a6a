"""Gluon's .params files, read and written by NumPy: a list of arrays, then a list of their names.

The layout is that of MXNet 1.9.1 (src/ndarray/ndarray.cc, NDArray::Save and Load), of which older versions of an
array are known, too: the published files of the model zoo have them. Numbers are little-endian.
"""

import struct
from collections import Counter
from collections.abc import Mapping
from math import prod
from pathlib import Path

import numpy as np

from spec.errors import SpecError
from spec.files import check_readable, replacing

LIST = 0x112
OLDER, DENSE, NUMPY = 0xF993FAC8, 0xF993FAC9, 0xF993FACA  # what an array begins with; before these, its dimensions
DTYPES = {0: "<f4", 1: "<f8", 2: "<f2"}
CPU = (1, 0)  # the kind of a device, and its number
MOST_DIMENSIONS = 8


def read_params(path: str | Path) -> dict[str, np.ndarray]:
    """{name: array} of all that is in the file; raises SpecError for a file that is none.

    Arrays are views of what was read: no more than the file's size is allocated.
    """
    check_readable(path)
    reader = _Reader(path, np.fromfile(path, np.uint8))
    if reader.number("<Q") != LIST:
        raise reader.refused("it does not begin as one")
    reader.number("<Q")  # reserved
    arrays = [reader.array() for _ in range(reader.count(least=4))]
    names = [reader.text() for _ in range(reader.count(least=8))]
    if len(names) != len(arrays):
        raise reader.refused(f"it has {len(arrays)} arrays and {len(names)} names")
    if reader.at != len(reader.data):
        raise reader.refused(f"{len(reader.data) - reader.at} bytes follow its last name")
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise reader.refused(f"the name {twice[0]} stands twice in it")
    return dict(zip(names, arrays))


def write_params(path: str | Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes {name: array}, float32 or float64; raises SpecError where nothing can be written there."""
    kinds = {np.dtype(dtype): kind for kind, dtype in DTYPES.items()}
    with replacing(path) as beside, beside.open("wb") as file:
        file.write(struct.pack("<QQQ", LIST, 0, len(arrays)))
        for array in arrays.values():
            file.write(struct.pack(f"<IiI{array.ndim}q", DENSE, 0, array.ndim, *array.shape))
            file.write(struct.pack("<iii", *CPU, kinds[array.dtype]))
            file.write(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).data)
        names = [name.encode() for name in arrays]
        file.write(struct.pack("<Q", len(names)) + b"".join(struct.pack("<Q", len(name)) + name for name in names))


class _Reader:
    """A place in the bytes of a file, from which it reads on."""

    def __init__(self, path: str | Path, data: np.ndarray):
        self.path, self.data, self.at = path, data, 0

    def refused(self, why: str) -> SpecError:
        return SpecError(f"{self.path} is not a readable .params file: {why}")

    def bytes(self, length: int) -> np.ndarray:
        if length > len(self.data) - self.at:
            raise self.refused(f"it is cut off: {length} bytes are to follow, {len(self.data) - self.at} do")
        self.at += length
        return self.data[self.at - length : self.at]

    def number(self, kind: str) -> int:
        return struct.unpack(kind, bytes(self.bytes(struct.calcsize(kind))))[0]

    def count(self, least: int) -> int:
        """How many items follow, each of at least so many bytes."""
        count = self.number("<Q")
        if count * least > len(self.data) - self.at:
            raise self.refused(f"it is cut off: {count} items are to follow in {len(self.data) - self.at} bytes")
        return count

    def text(self) -> str:
        try:
            return bytes(self.bytes(self.number("<Q"))).decode()
        except UnicodeDecodeError:
            raise self.refused("a name in it is not UTF-8") from None

    def array(self) -> np.ndarray:
        magic = self.number("<I")
        if magic in (DENSE, NUMPY) and self.number("<i") != 0:
            raise self.refused("it has a sparse array, which no network's is")
        known = magic in (OLDER, DENSE, NUMPY)
        dimensions = self.number("<I") if known else magic
        if not 1 <= dimensions <= MOST_DIMENSIONS:
            raise self.refused(f"it has an array of {dimensions} dimensions")
        shape = tuple(self.number("<q" if known else "<I") for _ in range(dimensions))
        self.bytes(8)  # the device
        kind = self.number("<i")
        if kind not in DTYPES:
            raise self.refused(f"it has an array of type {kind}, expected float32, float64 or float16")
        dtype = np.dtype(DTYPES[kind])
        if min(shape) < 1:
            raise self.refused(f"it has an array of shape {shape}")
        return self.bytes(prod(shape) * dtype.itemsize).view(dtype).reshape(shape)
