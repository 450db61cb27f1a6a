"""Fashion-MNIST: 70,000 gray images of 28x28 pixels, ten kinds of clothes and shoes (Xiao et al. 2017)."""

import os
from pathlib import Path

import numpy as np

from densenet_tools.data import idx
from densenet_tools.data.dataset import ImageArray, Splits
from spec.errors import SpecError

NAME = "fashion-mnist"
CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
MEAN, STD = 0.2860, 0.3530  # of all values of the training images, which go from 0 to 1

ADDRESS = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"
INSTALLED = Path("/usr/share/datasets/fashion-mnist")  # where Debian's package dataset-fashion-mnist puts them
PARTS = {  # images and labels, and the SHA-256 of what is unpacked, as Debian packs the same content anew
    "train": {
        "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    },
    "test": {
        "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    },
}


def fashion_mnist(folder: Path | None = None) -> Splits:
    """60,000 images to train on and 10,000 to test on, from the four IDX files, packed by gzip or not.

    They are those of `folder`, which may be others of their kind, else the installed ones, else those of the user's
    cache, into which they are downloaded. Raises SpecError where they are damaged, and where there are none.
    """
    if folder is None:
        folder = _cached() if _missing(INSTALLED) else INSTALLED
    for name in _missing(folder):
        raise SpecError(f"{folder} should hold the four files of Fashion-MNIST, neither {name} nor {name}.gz is there")
    return Splits(train=_part(folder, "train"), test=_part(folder, "test"))


def _cached() -> Path:
    from densenet_tools.data import download  # and with it http and ssl, only where they are needed

    folder = download.cache() / NAME
    digests = {name: digest for part in PARTS.values() for name, digest in part.items()}
    try:
        for name in _missing(folder):
            download.fetch(f"{ADDRESS}/{name}.gz", folder / f"{name}.gz", digests[name])
    except SpecError as error:
        raise SpecError(
            f"Fashion-MNIST is not on this machine, and {error}: apt install dataset-fashion-mnist, "
            "or name a folder that holds its four files with --data-dir, or try again with a network"
        ) from None
    return folder


def _part(folder: Path, part: str) -> ImageArray:
    images, labels = (_file(folder, name) for name in PARTS[part])
    pixels, classes = idx.read(images, dimensions=3), idx.read(labels, dimensions=1)
    if len(classes) != len(pixels):
        raise SpecError(f"{labels} should hold {len(pixels)} labels, one for each image, found {len(classes)}")
    if classes.max() >= len(CLASSES):
        raise SpecError(f"{labels} should hold labels from 0 to {len(CLASSES) - 1}, found {classes.max()}")
    return ImageArray(f"{NAME} {part}", CLASSES, classes.astype(np.int64), pixels, np.arange(len(pixels)))


def _missing(folder: Path) -> list[str]:
    return [name for part in PARTS.values() for name in part if not os.path.exists(_file(folder, name))]


def _file(folder: Path, name: str) -> Path:
    """The file as it is, where there is one, else packed."""
    return folder / name if os.path.exists(folder / name) else folder / f"{name}.gz"
