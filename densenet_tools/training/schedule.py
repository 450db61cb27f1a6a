"""The learning rate of each step."""

from math import cos, pi

import numpy as np

from densenet_tools.training.settings import Settings

RISE = 0.3  # share of the steps in which a cycle's rate rises, where no warm-up says otherwise
FIRST, LAST = 1 / 25, 1 / 250_000  # a cycle's first and last rate, as shares of the largest
SMALLEST = np.finfo(np.float32).tiny


def rate(settings: Settings, step: int, steps_per_epoch: int) -> float:
    """The rate of a step, counted from 0, of `epochs` times `steps_per_epoch`.

    In the warm-up it rises linearly, from above zero to the largest, which the first step after it has. Then it is
    constant; divided by 10 from each milestone's step on; or half a cosine towards zero (Loshchilov & Hutter 2017),
    which the step after the last one would have. One-cycle (Smith & Topin 2018) is half a cosine up, in the place of
    the warm-up, and half a cosine down. All are PyTorch's: LinearLR, MultiStepLR, CosineAnnealingLR and OneCycleLR,
    in which the last step of the rise has the largest rate, and the last of all the smallest. But a rise of no more
    than one step, for which OneCycleLR divides by zero, begins with the largest.

    It is a float32, the precision in which Keras holds a rate, so that all backends take the same, and never 0, which
    no optimizer takes.
    """
    steps, rising = settings.epochs * steps_per_epoch, settings.warmup * steps_per_epoch
    return float(max(np.float32(settings.learning_rate * _share(settings, step, steps, rising)), SMALLEST))


def _share(settings: Settings, step: int, steps: int, rising: float) -> float:
    """The rate as a share of the largest."""
    if settings.schedule == "one-cycle":
        return _cycle(step, last=steps - 1, top=max((rising or RISE * steps) - 1, 0))
    if step < rising:
        return (step + 1) / (rising + 1)
    if settings.schedule == "step":
        return 10.0 ** -sum(step / steps >= share for share in settings.milestones)  # share * steps is rounded
    if settings.schedule == "cosine":
        return _half_cosine(1, 0, (step - rising) / (steps - rising))
    return 1.0


def _cycle(step: int, last: int, top: float) -> float:
    """Up until step `top`, which may lie between two, and down until the last."""
    if step < top:
        return _half_cosine(FIRST, 1, step / top)
    return _half_cosine(1, LAST, (step - top) / (last - top)) if step > top else 1.0


def _half_cosine(start: float, end: float, done: float) -> float:
    return end + (start - end) * cos(pi / 2 * done) ** 2
