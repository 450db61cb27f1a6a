"""Small data sets that a network can learn: IDX files, and folders of PNGs."""

import gzip
import os
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from densenet_tools.data import ImageArray, Splits, fashion

PARTS = {"train": 0, "test": 1}
IDX = {"train": "train", "test": "t10k"}
GRID = 4  # a class is a pattern of so many squares each way


def real_fashion_mnist() -> Splits:
    """The installed one, or a skip where it is not; where DENSENET_DATA names it, as CI does, it must be there."""
    wanted = "fashion-mnist" in os.environ.get("DENSENET_DATA", "").split(",")
    if not wanted and not all(
        (fashion.INSTALLED / f"{name}.gz").exists() for part in fashion.PARTS.values() for name in part
    ):
        pytest.skip("Fashion-MNIST is not installed: apt install dataset-fashion-mnist")
    return fashion.fashion_mnist()


def pictures(labels: np.ndarray, size: int, seed: int) -> np.ndarray:
    """uint8 (N, size, size): the pattern of the image's class, half as bright, and noise, the other half."""
    patterns = np.random.default_rng(0).integers(0, 2, (labels.max() + 1, GRID, GRID), np.uint8)
    squares = np.arange(size) * GRID // size
    noise = np.random.default_rng(seed).integers(0, 128, (len(labels), size, size), np.uint8)
    return patterns[labels][:, squares][:, :, squares] * 127 + noise


def write_idx(folder: Path, count: int, size: int = 28, seed: int = 0) -> Path:
    """The four files of a small Fashion-MNIST: `count` images to train on, as many to test on, classes in turn."""
    folder.mkdir(parents=True, exist_ok=True)
    labels = np.arange(count) % 10
    for part, start in IDX.items():
        images = pictures(labels, size, seed * len(PARTS) + PARTS[part])
        (folder / f"{start}-images-idx3-ubyte").write_bytes(idx(images))
        (folder / f"{start}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(labels)))
    return folder


def write_folder(
    folder: Path,
    classes: Sequence[str] = ("cat", "dog", "fox"),
    count: int = 4,
    size: int = 28,
    parts: Sequence[str] = ("train", "test"),
    seed: int = 0,
    mode: str = "L",
) -> Path:
    """`count` PNGs of each class, in folder/part/class, or in folder/class without parts."""
    labels = np.arange(len(classes)).repeat(count)
    for number, part in enumerate(parts or ("",)):
        for i, (label, pixels) in enumerate(zip(labels, pictures(labels, size, seed * 3 + number))):
            place = folder / part / classes[label]
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).convert(mode).save(place / f"{i % count}.png")
    return folder


def idx(array: np.ndarray) -> bytes:
    """The content of an IDX file."""
    return bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape) + array.astype("u1").tobytes()


def in_memory(pixels: np.ndarray, labels: Sequence[int] | None = None, classes: int = 2) -> ImageArray:
    """A data set of these pixels, its classes a, b, c ..., which take turns unless labels are given."""
    places = np.arange(len(pixels))
    labels = places % classes if labels is None else np.array(labels)
    return ImageArray("made", tuple("abcdefghijklmnop"[:classes]), labels, pixels, places)
