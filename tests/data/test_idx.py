"""IDX files are read to the byte, and what is none is refused before anything is allocated."""

import gzip
import struct
import tracemalloc

import numpy as np
import pytest

import spec
from densenet_tools.data.idx import read

ARRAY = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
HEADER = bytes.fromhex("00000803 00000002 00000003 00000004")
FILE = HEADER + bytes(range(24))


def claiming(*sizes: int) -> bytes:
    """A header of these sizes, and little behind it."""
    return bytes((0, 0, 8, len(sizes))) + struct.pack(f">{len(sizes)}I", *sizes) + bytes(range(24))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "x-idx3-ubyte"


@pytest.mark.parametrize("content", [FILE, gzip.compress(FILE)], ids=["as it is", "packed"])
def test_an_array_is_read_packed_or_not_whatever_its_name(path, content):
    path.write_bytes(content)
    found = read(path, dimensions=3)
    assert found.dtype == np.uint8
    assert (found == ARRAY).all()


NO_ARRAY = "should begin with 00000803, as IDX files of 3-dimensional uint8 arrays do, found"
TOO_MANY = "should have at most 268435456 values: its header says"
NO_ROOM = "is truncated: its header says 262144x32x32, more than a file of its size can hold"
CUT_OFF = "cannot be read: Compressed file ended before the end-of-stream marker was reached"
REFUSED = {
    "empty": (b"", f"{NO_ARRAY} nothing"),
    "no magic": (b"\x01" + FILE[1:], f"{NO_ARRAY} 01000803"),
    "floats": (b"\0\0\x0d\x03" + FILE[4:], f"{NO_ARRAY} 00000d03"),
    "labels": (b"\0\0\x08\x01" + FILE[4:], f"{NO_ARRAY} 00000801"),
    "half a header": (FILE[:11], "is truncated: it ends inside its header"),
    "no images": (claiming(0, 3, 4), "holds no values: its header says 0x3x4"),
    "a value too few": (FILE[:-1], "is truncated: its header says 2x3x4, found 23 of 24 values"),
    "a value too many": (FILE + b"\0", "goes on after its last value: its header says 2x3x4"),
    "2^32 images": (claiming(2**32 - 1, 28, 28), f"{TOO_MANY} 4294967295x28x28"),
    "2^96 values": (claiming(*[2**32 - 1] * 3), f"{TOO_MANY} 4294967295x4294967295x4294967295"),
    "2^32 images, packed": (gzip.compress(claiming(2**32 - 1, 1, 1)), f"{TOO_MANY} 4294967295x1x1"),
    "as many as may be": (claiming(2**18, 32, 32), NO_ROOM),
    "as many as may be, packed": (gzip.compress(claiming(2**18, 32, 32)), NO_ROOM),
    "a value too few, packed": (gzip.compress(FILE[:-1]), "is truncated: its header says 2x3x4, found 23 of 24 values"),
    "a value too many, packed": (gzip.compress(FILE + b"\0"), "goes on after its last value: its header says 2x3x4"),
    "gzip cut off": (gzip.compress(FILE)[:-9], CUT_OFF),
    "gzip and more": (gzip.compress(FILE) + b"more", "cannot be read: Not a gzipped file (b'mo')"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_none_is_refused_in_one_sentence(path, case):
    content, sentence = REFUSED[case]
    path.write_bytes(content)
    with pytest.raises(spec.SpecError) as error:
        read(path, dimensions=3)
    assert str(error.value) == f"{path} {sentence}"


def test_a_damaged_sum_is_noticed(path):
    packed = bytearray(gzip.compress(FILE))
    packed[-8] ^= 1  # the first byte of the sum
    path.write_bytes(packed)
    with pytest.raises(spec.SpecError, match="cannot be read: CRC check failed"):
        read(path, dimensions=3)


def test_no_file_and_a_folder_are_refused(path, tmp_path):
    for place, sentence in (
        (path, f"{path} does not exist"),
        (tmp_path, f"{tmp_path} cannot be read: it is not a file"),
    ):
        with pytest.raises(spec.SpecError) as error:
            read(place, dimensions=3)
        assert str(error.value) == sentence


@pytest.mark.parametrize("header", [claiming(2**18, 32, 32), HEADER], ids=["that is true", "of 24 values"])
def test_a_gzip_bomb_is_not_unpacked(path, header):
    """64 MB of zeros in 64 kB: memory stays below one of them, whatever the header claims."""
    packed = gzip.compress(header[:16] + bytes(2**26), compresslevel=6)
    path.write_bytes(packed)
    tracemalloc.start()
    with pytest.raises(spec.SpecError):
        read(path, dimensions=3)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(packed) < 2**17
    assert peak < 2**20
