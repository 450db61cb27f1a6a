"""Random changes of the training images, on their 8-bit pixels."""

import numpy as np
from pydantic import Field

from spec.config import Config
from spec.tree import LIMIT


class Augmentation(Config):
    """What is done to each training image, at random, each time that it is taken.

    Padding 4 and flips are what He et al. 2016, section 4.2, describe for CIFAR, and what Huang et al. 2017, section
    4.1, take over as mirroring and shifting.
    """

    padding: int = Field(
        0, ge=0, le=LIMIT, description="black pixels put on every side, before a crop of the old size at a random place"
    )
    flip: bool = Field(False, description="whether every second image, on average, is mirrored left to right")


def augment(pixels: np.ndarray, augmentation: Augmentation, rng: np.random.Generator) -> np.ndarray:
    """uint8 (N, H, W, channels) -> the same, each image changed by draws of its own."""
    if augmentation.padding:
        pixels = _shifted(pixels, augmentation.padding, rng)
    return _flipped(pixels, rng) if augmentation.flip else pixels


def _shifted(pixels: np.ndarray, padding: int, rng: np.random.Generator) -> np.ndarray:
    count, height, width, _ = pixels.shape
    around = (padding, padding)
    padded = np.pad(pixels, ((0, 0), around, around, (0, 0)))
    corners = rng.integers(0, 2 * padding, size=(count, 2), endpoint=True)
    return np.stack([image[top : top + height, left : left + width] for image, (top, left) in zip(padded, corners)])


def _flipped(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    chosen = rng.random(len(pixels)) < 0.5
    return np.where(chosen[:, None, None, None], pixels[:, :, ::-1], pixels)
