"""All that is drawn at random: each draw has a generator of its own, so that none depends on those before it."""

from enum import IntEnum

import numpy as np

from densenet_tools.data.dataset import Dataset
from spec.errors import SpecError

WORD = 2**32  # what one word of a seed can tell apart


class Purpose(IntEnum):
    """What numbers are drawn for: the same seed gives others for each."""

    AUGMENTATION = 0
    ORDER = 1
    HELD_OUT = 2


def generator(purpose: Purpose, seed: int, epoch: int = 0, batch: int = 0) -> np.random.Generator:
    """The random numbers of one batch, one epoch, or a whole run; raises SpecError for a seed that is none."""
    for name, value in (("seed", seed), ("epoch", epoch), ("batch", batch)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or not 0 <= value < WORD:
            raise SpecError(f"{name} must be a whole number from 0 to {WORD - 1}, found {value!r}")
    # a seed has all four words: one that is left out would count as 0, and draw what batch 0 draws
    return np.random.default_rng([seed, epoch, batch, purpose])


def epoch_order(count: int, seed: int, epoch: int) -> np.ndarray:
    """The order (count,) in which an epoch takes the images, whatever epochs came before it."""
    return generator(Purpose.ORDER, seed, epoch).permutation(count)


def held_out(dataset: Dataset, share: float, seed: int) -> tuple[Dataset, Dataset]:
    """What to train on, and a share of each class, drawn at random, to validate on; both in the data set's order.

    Each has at least one image of each class. Raises SpecError where a class has too few for that.
    """
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share < 1:
        raise SpecError(f"the share that is held out must be a number between 0 and 1, found {share!r}")
    rng = generator(Purpose.HELD_OUT, seed)
    held = np.zeros(len(dataset), bool)
    for label, name in enumerate(dataset.classes):
        members = np.flatnonzero(dataset.labels == label)
        if len(members) < 2:
            raise SpecError(
                f"{dataset.name} has {len(members)} image(s) of {name!r}: to hold some out takes two or more"
            )
        count = min(max(round(share * len(members)), 1), len(members) - 1)
        held[rng.permutation(members)[:count]] = True
    return dataset.subset(np.flatnonzero(~held)), dataset.subset(np.flatnonzero(held))
