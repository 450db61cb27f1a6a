"""Labeled images: those that memory holds, and those that are read one by one."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import numpy as np
from PIL import Image

import spec
from densenet_tools import images

LISTED = 3  # names that a message spells out before it says how many more there are


@dataclass(frozen=True, eq=False)
class Dataset(ABC):
    """Images of `classes`: `labels` (N,) int64 says which class each is of."""

    name: str
    classes: tuple[str, ...]
    labels: np.ndarray = field(repr=False)

    def __len__(self) -> int:
        return len(self.labels)

    @abstractmethod
    def image(self, index: int) -> Image.Image:
        """One image in 8 bits, gray or RGB; raises SpecError where it cannot be read."""

    @abstractmethod
    def source(self, index: int) -> str:
        """Where that image is from, for messages."""

    @abstractmethod
    def subset(self, indices: np.ndarray) -> Self:
        """Only these images, in this order; of the same classes, though some may be without images."""

    def with_classes(self, classes: Sequence[str], whose: str = "the network") -> Self:
        """The same images, labeled by their places in `classes`; raises SpecError unless these are its own classes."""
        if sorted(classes) != sorted(self.classes):
            raise spec.SpecError(f"{self.name} must have the classes of {whose}: {_difference(self.classes, classes)}")
        places = np.array([list(classes).index(name) for name in self.classes])
        return replace(self, classes=tuple(classes), labels=places[self.labels])


@dataclass(frozen=True, eq=False)
class ImageArray(Dataset):
    """Images of one size, in memory: `pixels` is uint8, (N, H, W) or (N, H, W, 3)."""

    pixels: np.ndarray = field(repr=False)
    numbers: np.ndarray = field(repr=False)  # (N,): which of all images each is, as a subset keeps only some

    def image(self, index: int) -> Image.Image:
        return Image.fromarray(self.pixels[index])

    def source(self, index: int) -> str:
        return f"image {self.numbers[index]} of {self.name}"

    def subset(self, indices: np.ndarray) -> Self:
        return replace(self, labels=self.labels[indices], pixels=self.pixels[indices], numbers=self.numbers[indices])


@dataclass(frozen=True, eq=False)
class ImageFiles(Dataset):
    """Images of any sizes and formats, a file each."""

    paths: tuple[Path, ...] = field(repr=False)

    def image(self, index: int) -> Image.Image:
        return images.decode(self.paths[index])

    def source(self, index: int) -> str:
        return str(self.paths[index])

    def subset(self, indices: np.ndarray) -> Self:
        return replace(self, labels=self.labels[indices], paths=tuple(self.paths[i] for i in indices))


@dataclass(frozen=True)
class Splits:
    """What a network is trained on and what it is tested on; None where there is no such part."""

    train: Dataset | None
    test: Dataset | None

    def with_classes(self, classes: Sequence[str]) -> "Splits":
        """Both, labeled by their places in `classes`; raises SpecError unless these are their own."""
        return Splits(*(part if part is None else part.with_classes(classes) for part in (self.train, self.test)))


def listed(names: Sequence[object]) -> str:
    """The first few of them, and how many more there are."""
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(map(str, names[:LISTED])) + more


def _difference(found: Sequence[str], expected: Sequence[str]) -> str:
    missing = [repr(name) for name in expected if name not in found]
    unexpected = [repr(name) for name in found if name not in expected]
    kinds = {"missing": missing, "unexpected": unexpected}
    return "; ".join(f"{what} {listed(names)}" for what, names in kinds.items() if names) or "a name stands twice"
