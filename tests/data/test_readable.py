"""Images that cannot be read are found before training starts, whatever is wrong with them."""

import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

import spec
from densenet_tools import images
from densenet_tools.data import image_folder
from tests.data.support import write_folder

NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8))


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "photos", parts=())


def saved(path, **options) -> bytes:
    NOISE.save(path, **options)
    return path.read_bytes()


def bomb() -> bytes:
    """A PNG whose header says 100,000 x 100,000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


BAD = {
    "nothing.png": (lambda path: b"", "of no format that Pillow reads"),
    "text.png": (lambda path: b"not an image", "of no format that Pillow reads"),
    "half.png": (lambda path: saved(path)[:-2000], "image file is truncated"),
    "half.jpg": (lambda path: saved(path, quality=95)[:-600], "image file is truncated"),
    "bomb.png": (lambda path: bomb(), "exceeds limit"),
}


@pytest.mark.parametrize("name", BAD)
def test_each_is_refused_with_its_name_and_what_is_wrong(folder, name):
    make, reason = BAD[name]
    path = folder / "cat" / name
    path.write_bytes(make(path))
    with pytest.raises(spec.SpecError) as error:
        image_folder(folder)
    assert str(error.value).startswith(f"1 of 13 images in {folder} cannot be read: {path} (")
    assert reason in str(error.value)
    assert str(error.value).endswith("); replace or remove them, or leave them out with --skip-unreadable")
    with pytest.raises(spec.SpecError, match="cannot be read as an image"):
        images.decode(path)


def test_a_truncated_jpeg_has_a_header_like_any_other(folder):
    """So that a look at headers would not find it."""
    path = folder / "cat" / "half.jpg"
    path.write_bytes(saved(path, quality=95)[:-600])
    with Image.open(path) as image:
        assert image.size == (40, 40)
    assert "image file is truncated" in images.problem(path)


def test_32_bit_grays_a_folder_and_a_pipe_are_no_images(folder):
    Image.new("F", (4, 4)).save(folder / "cat" / "x.tiff")
    assert "nothing says which value of its mode F is white" in images.problem(folder / "cat" / "x.tiff")
    os.mkfifo(folder / "cat" / "pipe.png")
    assert images.problem(folder / "cat" / "pipe.png") == "it is not a file"
    assert images.problem(folder / "cat") == "it is not a file"


def test_the_first_few_are_listed_and_how_many_there_are(folder):
    for i in range(5):
        (folder / "dog" / f"bad{i}.png").write_bytes(b"")
    with pytest.raises(spec.SpecError) as error:
        image_folder(folder)
    listed = ", ".join(f"{folder}/dog/bad{i}.png (of no format that Pillow reads)" for i in range(3))
    assert str(error.value) == (
        f"5 of 17 images in {folder} cannot be read: {listed} and 2 more; "
        "replace or remove them, or leave them out with --skip-unreadable"
    )


def test_they_are_left_out_where_that_is_wished_and_counted(folder):
    before = image_folder(folder).train
    for place in ("cat/00.png", "dog/bad.jpg"):
        (folder / place).write_bytes(b"")
    with pytest.warns(spec.SpecWarning) as warned:
        after = image_folder(folder, skip_unreadable=True).train
    assert [str(each.message) for each in warned] == [
        f"2 of 14 images in {folder} cannot be read and are left out: "
        f"{folder}/cat/00.png (of no format that Pillow reads), {folder}/dog/bad.jpg (of no format that Pillow reads)"
    ]
    assert (after.paths, after.labels.tolist()) == (before.paths, before.labels.tolist())


def test_a_class_of_which_none_is_left_is_empty(folder):
    for path in (folder / "cat").iterdir():
        path.write_bytes(b"")
    with (
        pytest.warns(spec.SpecWarning, match="4 of 12 images"),
        pytest.raises(spec.SpecError, match="has no images of 'cat': add some, or remove the folder"),
    ):
        image_folder(folder, skip_unreadable=True)


def test_more_images_than_a_thread_takes_at_once_keep_their_places(tmp_path):
    """100 of them, of which every seventh is bad."""
    folder = write_folder(tmp_path / "many", ("a", "b"), count=50, size=4, parts=())
    paths = image_folder(folder).train.paths
    for path in paths[::7]:
        path.write_bytes(b"")
    with pytest.warns(spec.SpecWarning, match="15 of 100 images"):
        left = image_folder(folder, skip_unreadable=True).train
    assert left.paths == tuple(path for i, path in enumerate(paths) if i % 7)
