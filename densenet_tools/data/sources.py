"""What a user may name a data set by, and how its images become the input of a network."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import spec
from densenet_tools import images
from densenet_tools.data import fashion
from densenet_tools.data.dataset import Dataset, ImageArray, Splits
from densenet_tools.data.folders import image_folder


def open_data(
    source: str, data_dir: Path | None = None, skip_unreadable: bool = False, classes: Sequence[str] | None = None
) -> Splits:
    """`fashion-mnist`, from the files of `data_dir` where that is given, or a folder of images.

    Labels are places in `classes` where these are given, such as those that a network was trained on. Raises SpecError
    for what is neither, and as `fashion_mnist` and `image_folder` do.
    """
    if source == fashion.NAME:
        splits = fashion.fashion_mnist(data_dir)
        return splits if classes is None else splits.with_classes(classes)
    if not os.path.isdir(source):
        raise spec.SpecError(
            f"{source!r} is no data set and no folder of images, {spec.errors.nearest(source, [fashion.NAME])}"
        )
    if data_dir is not None:
        raise spec.SpecError(f"--data-dir is for the files of {fashion.NAME}: leave it out with the folder {source}")
    return image_folder(Path(source), skip_unreadable, classes)


def preprocessing_for(data: Dataset | str, size: int, channels: int, **fields: Any) -> spec.Preprocessing:
    """How images become the input of a network (channels, size, size), unless `fields` say otherwise.

    Fashion-MNIST's are resized to `size` as a whole and normalized by their own mean and deviation. Those of folders
    are prepared as for ImageNet, in gray by the averages over its colors.
    """
    own: dict[str, Any] = {"size": size}
    if data == fashion.NAME or isinstance(data, ImageArray):
        own |= {"resize": None, "mean": (fashion.MEAN,) * channels, "std": (fashion.STD,) * channels}
    else:
        mean, std = (_each(colors, channels) for colors in (images.IMAGENET.mean, images.IMAGENET.std))
        own |= {"resize": round(size * images.MARGIN), "mean": mean, "std": std}
    return spec.Preprocessing(**own | fields)


def _each(colors: Sequence[float], channels: int) -> tuple[float, ...]:
    """The colors' value for each channel, as images.normalize would take them."""
    return (float(np.mean(colors)),) if channels == 1 else tuple(colors[i % 3] for i in range(channels))
