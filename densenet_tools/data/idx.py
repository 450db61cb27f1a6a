"""IDX files, in which the MNIST family is published: an array of bytes behind a header of its sizes.

Two zero bytes, the type of the values (8 is uint8), the number of dimensions; each size in four bytes, the most
significant first; the values. Packed by gzip or not. The format is described at http://yann.lecun.com/exdb/mnist.
"""

import gzip
import io
import struct
import zlib
from math import prod
from pathlib import Path

import numpy as np

from spec.errors import SpecError
from spec.files import check_readable
from spec.shapes import Shape, by

UINT8 = 8
LARGEST = 2**28  # values: five times as many as the largest file of Fashion-MNIST has
DEFLATED = 1032  # bytes that one byte of a gzip file unpacks to at most
GZIP = b"\x1f\x8b"


def read(path: Path, dimensions: int) -> np.ndarray:
    """An array of uint8 with so many dimensions; raises SpecError unless the file is just what its header says."""
    check_readable(path)
    try:
        with open(path, "rb") as file:
            if file.read(2) != GZIP:
                file.seek(0)
                return _array(path, file, dimensions, path.stat().st_size)
        with gzip.open(path) as unpacked:
            return _array(path, unpacked, dimensions, path.stat().st_size * DEFLATED)
    except (OSError, EOFError, zlib.error) as error:
        raise SpecError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None


def _array(path: Path, stream: io.BufferedIOBase, dimensions: int, most: int) -> np.ndarray:
    """What a stream of at most so many bytes holds; nothing is allocated before the header is checked against that."""
    shape = _shape(path, stream, dimensions)
    count, said = prod(shape), f"its header says {by(shape)}"
    if not count:
        raise SpecError(f"{path} holds no values: {said}")
    if count > LARGEST:
        raise SpecError(f"{path} should have at most {LARGEST} values: {said}")
    if count > most:
        raise SpecError(f"{path} is truncated: {said}, more than a file of its size can hold")
    values = stream.read(count)
    if len(values) < count:
        raise SpecError(f"{path} is truncated: {said}, found {len(values)} of {count} values")
    if stream.read(1):  # where gzip ends, it checks its sum
        raise SpecError(f"{path} goes on after its last value: {said}")
    return np.frombuffer(values, np.uint8).reshape(shape)


def _shape(path: Path, stream: io.BufferedIOBase, dimensions: int) -> Shape:
    expected = bytes((0, 0, UINT8, dimensions))
    found = stream.read(len(expected))
    if found != expected:
        raise SpecError(
            f"{path} should begin with {expected.hex()}, as IDX files of {dimensions}-dimensional uint8 arrays do, "
            f"found {found.hex() or 'nothing'}"
        )
    sizes = stream.read(4 * dimensions)
    if len(sizes) < 4 * dimensions:
        raise SpecError(f"{path} is truncated: it ends inside its header")
    return struct.unpack(f">{dimensions}I", sizes)
