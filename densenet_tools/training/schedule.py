"""The learning rate of each step."""

from math import cos, pi

import numpy as np

from densenet_tools.training.settings import Settings

RISE = 0.3  # share of the steps in which a cycle's rate rises, where no warm-up says otherwise
FIRST, LAST = 1 / 25, 1 / 250_000  # a cycle's first and last rate, as shares of the largest


def rate(settings: Settings, step: int, steps_per_epoch: int) -> float:
    """The rate of a step, counted from 0, of `epochs` times `steps_per_epoch`.

    In the warm-up it rises linearly to the largest. Then it is constant; divided by 10 at each milestone; half a
    cosine down to zero (Loshchilov & Hutter 2017); or, in one-cycle, half a cosine up, which takes the place of the
    warm-up, and half a cosine down (Smith & Topin 2018, with the annealing and the shares of PyTorch's OneCycleLR).
    It is a float32, the precision in which Keras holds a rate, so that all backends take the same.
    """
    steps, rising = settings.epochs * steps_per_epoch, settings.warmup * steps_per_epoch
    return float(np.float32(settings.learning_rate * _share(settings, step, steps, rising)))


def _share(settings: Settings, step: int, steps: int, rising: float) -> float:
    """The rate as a share of the largest."""
    if settings.schedule == "one-cycle":
        rising = rising or RISE * steps
        up = step < rising
        return (
            _half_cosine(FIRST, 1, step / rising) if up else _half_cosine(1, LAST, (step - rising) / (steps - rising))
        )
    if step < rising:
        return (step + 1) / (rising + 1)
    if settings.schedule == "step":
        return 0.1 ** sum(step >= share * steps for share in settings.milestones)
    if settings.schedule == "cosine":
        return _half_cosine(1, 0, (step - rising) / (steps - rising))
    return 1.0


def _half_cosine(start: float, end: float, done: float) -> float:
    return end + (start - end) * (1 + cos(pi * done)) / 2
