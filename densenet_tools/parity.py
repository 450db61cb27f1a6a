"""Compares backends with the NumPy reference: the same weights, the same images, the same numbers out."""

import time
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

import spec
from densenet_tools import backends

# Relative to the largest reference value. float64 leaves a factor of 1000 above the rounding that is
# seen (1e-15); float32 rounds at 6e-8 and gathers some tens of that over 100 layers and more.
TOLERANCE = {"float64": 1e-12, "float32": 1e-5}


@dataclass(frozen=True)
class Departure:
    """A layer whose output is not the reference's; `relative` is to the largest reference value."""

    layer: str
    relative: float


@dataclass(frozen=True)
class Comparison:
    """One backend against the NumPy reference in float64, for one network.

    `absolute` is the largest difference in the logits, `relative` the same over the largest logit;
    both are NaN where shapes differ. `seconds` is the time of one inference. `departure` is the
    first layer that departs, where the logits do.
    """

    network: str
    backend: str
    dtype: str
    output_shape: tuple[int, ...]
    parameters: int
    buffers: int
    absolute: float
    relative: float
    tolerance: float
    seconds: float
    problem: str | None = None
    departure: Departure | None = None

    @property
    def agrees(self) -> bool:
        return self.problem is None


def compare(
    network: spec.Network, names: Iterable[str], images: np.ndarray, dtype: str = "float32", seed: int = 0
) -> list[Comparison]:
    """One comparison for each named backend; weights are drawn from `seed`, running statistics included."""
    images = images.astype(dtype)  # rounded once, so that the reference sees what the backends see
    weights = spec.randomize(spec.initialize(network, seed, np.dtype(dtype).type), seed)
    reference = _Run(network, "numpy", "float64", {name: a.astype("float64") for name, a in weights.items()}, images)
    return [_compare(_Run(network, name, dtype, weights, images), reference) for name in names]


class _Run:
    """A backend's model with weights, and what it made of the images."""

    def __init__(self, network: spec.Network, name: str, dtype: str, weights: spec.Weights, images: np.ndarray):
        self.network, self.name, self.dtype, self.images = network, name, dtype, images
        self.backend = backends.get(name)
        self.model = self.backend.build(network, dtype=dtype)
        self.backend.load_weights(self.model, weights)
        start = time.perf_counter()
        self.logits = self.backend.predict(self.model, images)
        self.seconds = time.perf_counter() - start

    def count(self, buffers: bool) -> int:
        weights = self.backend.export_weights(self.model)
        return sum(array.size for name, array in weights.items() if spec.is_buffer(name) == buffers)

    def trace(self) -> dict[str, np.ndarray]:
        return self.backend.trace(self.model, self.images)


def _compare(run: _Run, reference: _Run) -> Comparison:
    absolute, relative = difference(run.logits, reference.logits)
    tolerance = TOLERANCE[run.dtype]
    expected = spec.total(run.network)
    parameters, buffers = run.count(buffers=False), run.count(buffers=True)
    problem, departure = None, None
    if (parameters, buffers) != (expected.parameters, expected.buffers):
        problem = (
            f"{run.name} has {parameters:,} parameters and {buffers:,} buffers, "
            f"the spec {expected.parameters:,} and {expected.buffers:,}"
        )
    elif not relative <= tolerance:  # so that NaN is a failure too
        departure = first_departure(run.trace(), reference.trace(), tolerance)
        problem = f"{run.name} departs from the NumPy reference: relative difference {relative:.1e} > {tolerance:.0e}"
        if departure is not None:
            problem += f", first at layer {departure.layer} ({departure.relative:.1e})"
    return Comparison(
        network=run.network.name,
        backend=run.name,
        dtype=run.dtype,
        output_shape=run.logits.shape,
        parameters=parameters,
        buffers=buffers,
        absolute=absolute,
        relative=relative,
        tolerance=tolerance,
        seconds=run.seconds,
        problem=problem,
        departure=departure,
    )


def difference(found: np.ndarray, expected: np.ndarray) -> tuple[float, float]:
    """The largest absolute difference, and the same over the largest expected magnitude; NaN for other shapes."""
    if found.shape != expected.shape:
        return float("nan"), float("nan")
    absolute = float(np.abs(found.astype("float64") - expected).max())
    largest = float(np.abs(expected).max())
    return absolute, absolute / largest if largest else absolute


def first_departure(
    found: dict[str, np.ndarray], expected: dict[str, np.ndarray], tolerance: float
) -> Departure | None:
    """The first layer, in the order of the network, whose output departs by more than `tolerance`."""
    for layer, output in expected.items():
        relative = difference(found[layer], output)[1] if layer in found else float("nan")
        if not relative <= tolerance:
            return Departure(layer, relative)
    return None
