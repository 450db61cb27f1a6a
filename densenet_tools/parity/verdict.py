"""What is said of a backend that was held against the reference: figures, and a sentence where it departs."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Check:
    """One comparison with the reference: the largest relative difference, what is allowed, and where it is."""

    name: str
    relative: float
    tolerance: float
    worst: str

    @property
    def passes(self) -> bool:
        return self.relative <= self.tolerance  # so that NaN does not


@dataclass(frozen=True)
class Departure:
    """The first layer whose output is not the reference's, and how the `upstream` layers before it agree."""

    layer: str
    relative: float
    upstream: int
    upstream_relative: float


@dataclass(frozen=True)
class Verdict:
    """What one backend, or executor, is found to be beside the NumPy reference in float64, for one network.

    `absolute` is the largest difference in the logits, NaN where shapes differ; `seconds` the time of one
    inference; `layers` has (name, relative difference) of each layer where they were compared, in order.
    """

    network: str
    backend: str
    dtype: str
    output_shape: tuple[int, ...]
    parameters: int
    buffers: int
    absolute: float
    seconds: float
    checks: tuple[Check, ...]
    layers: tuple[tuple[str, float], ...] = ()
    departure: Departure | None = None
    problem: str | None = None

    @property
    def agrees(self) -> bool:
        return self.problem is None


def worst_of(name: str, differences: Mapping[str, float], tolerance: float | Mapping[str, float]) -> Check:
    """The check of many tensors: its figures are those of the worst of them beside its tolerance, a NaN before all."""
    if not differences:
        return Check(name, 0.0, 0.0, "")  # nothing to compare, as in a network without batch norms
    bars = tolerance if isinstance(tolerance, Mapping) else dict.fromkeys(differences, tolerance)
    worst = max(differences, key=lambda tensor: np.nan_to_num(differences[tensor] / bars[tensor], nan=np.inf))
    return Check(name, differences[worst], bars[worst], worst)


def first_departure(differences: Iterable[tuple[str, float]], tolerance: float) -> Departure | None:
    """The first layer, in the order of the network, whose output departs by more than `tolerance`."""
    upstream: list[float] = []
    for layer, relative in differences:
        if not relative <= tolerance:
            return Departure(layer, relative, len(upstream), max(upstream, default=0.0))
        upstream.append(relative)
    return None


def sentence(runner: str, check: Check, departure: Departure | None) -> str:
    """What a check that fails says, with the first layer that departs where that is known."""
    what = (
        f"{runner} departs from the NumPy reference: relative difference {check.relative:.1e} > {check.tolerance:.0e}"
    )
    if departure is None:
        return f"{what} in {check.name}" + (f", most at {check.worst}" if check.worst != check.name else "")
    return (
        f"{what} in {check.name}, first at layer {departure.layer} ({departure.relative:.1e}); "
        f"the {departure.upstream} layers before it agree within {departure.upstream_relative:.1e}"
    )
