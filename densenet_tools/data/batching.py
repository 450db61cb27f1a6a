"""Batches of a data set, made ahead in threads: the same for every backend, and from any batch on, to the bit."""

from collections.abc import Generator
from concurrent.futures import CancelledError
from threading import Event

import numpy as np
from PIL import Image

import spec
from densenet_tools import images
from densenet_tools.data.augmentation import Augmentation, augment
from densenet_tools.data.dataset import Dataset, ImageArray
from densenet_tools.data.draws import Purpose, generator
from densenet_tools.data.pool import in_order
from spec.weights import KINDS

Batch = tuple[np.ndarray, np.ndarray]  # images (N, C, H, W), labels (N,) int64


def batches(
    dataset: Dataset,
    preprocessing: spec.Preprocessing,
    channels: int,
    batch_size: int,
    dtype: str = "float32",
    order: np.ndarray | None = None,
    augmentation: Augmentation | None = None,
    seed: int = 0,
    epoch: int = 0,
    start: int = 0,
    drop_last: bool = False,
    workers: int = 2,
) -> Generator[Batch, None, None]:
    """An epoch's batches from number `start` on, as a network of so many channels takes them.

    `order` has the images' places in the data set, by default each in turn. What batch b holds depends on b, the seed
    and the epoch, neither on the batches before it nor on the number of threads. Raises SpecError for settings that
    make no batches, and where a batch is taken with an image that cannot be read.
    """
    places = np.arange(len(dataset)) if order is None else order
    count = count_batches(len(places), batch_size, drop_last)
    _check(preprocessing, dtype, augmentation, start, workers)
    generator(Purpose.AUGMENTATION, seed, epoch)  # refuses a seed here and not in a thread
    stopped = Event()

    def batch(number: int) -> Batch:
        chosen = places[number * batch_size : (number + 1) * batch_size]
        pixels = _pixels(dataset, chosen, preprocessing, channels, stopped)
        if augmentation:
            pixels = augment(pixels, augmentation, generator(Purpose.AUGMENTATION, seed, epoch, number))
        return images.normalize(pixels, preprocessing, channels, dtype), dataset.labels[chosen]

    return in_order(batch, range(start, count), workers, stopped)


def count_batches(count: int, batch_size: int, drop_last: bool = False) -> int:
    """How many batches so many images make; raises SpecError where they make none."""
    if batch_size < 1:
        raise spec.SpecError(f"batch_size must be at least 1, found {batch_size}")
    if drop_last and batch_size > count:
        raise spec.SpecError(f"batch_size must be at most {count}, as many images as there are, found {batch_size}")
    return count // batch_size if drop_last else -(-count // batch_size)


def check_padding(augmentation: Augmentation, preprocessing: spec.Preprocessing) -> None:
    """Raises SpecError for a padding from which a crop could have none of the image."""
    if augmentation.padding >= preprocessing.size:
        raise spec.SpecError(
            f"padding must be less than the size of the images ({preprocessing.size}), found {augmentation.padding}"
        )


def _check(
    preprocessing: spec.Preprocessing, dtype: str, augmentation: Augmentation | None, start: int, workers: int
) -> None:
    if dtype not in KINDS:
        raise spec.SpecError(f"dtype must be {' or '.join(KINDS)}, found {dtype!r}")
    if augmentation:
        check_padding(augmentation, preprocessing)
    for name, value in (("start", start), ("workers", workers)):
        if value < 0:
            raise spec.SpecError(f"{name} must be at least 0, found {value}")


def _pixels(
    dataset: Dataset, chosen: np.ndarray, preprocessing: spec.Preprocessing, channels: int, stopped: Event
) -> np.ndarray:
    """uint8 (N, size, size, 1 or 3), each image resized and cropped; all at once where that changes nothing."""
    if isinstance(dataset, ImageArray) and images.stays(dataset.pixels.shape[1:3], preprocessing):
        if dataset.pixels.ndim == 3:
            return dataset.pixels[chosen, ..., None]
        if channels > 1:  # else Pillow makes them gray
            return dataset.pixels[chosen]
    return images.stack([_placed(dataset, index, preprocessing, stopped) for index in chosen], channels)


def _placed(dataset: Dataset, index: int, preprocessing: spec.Preprocessing, stopped: Event) -> Image.Image:
    if stopped.is_set():  # nobody waits for this batch
        raise CancelledError
    photograph = dataset.image(index)
    try:
        return images.place(photograph, preprocessing)
    except (spec.SpecError, MemoryError) as error:
        raise spec.SpecError(f"{dataset.source(index)}: {str(error) or 'memory is full'}") from None
