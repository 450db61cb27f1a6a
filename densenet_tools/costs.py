"""What networks cost, side by side: counts from the spec, milliseconds as measured."""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

import spec
from densenet_tools import backends

WARM_UP = 3  # runs that are not counted: they allocate, choose algorithms and fill caches


@dataclass(frozen=True)
class Timing:
    """Milliseconds of one inference in a backend: the median of the counted runs, the fastest and the slowest."""

    backend: str
    median: float
    fastest: float
    slowest: float


@dataclass(frozen=True)
class Cost:
    """A network's figures for one image, as in the layer table, and its measured times."""

    network: str
    parameters: int
    multiply_adds: int
    activation_bytes: int
    timings: tuple[Timing, ...]


def cost(network: spec.Network, names: Sequence[str], input_shape: tuple[int, ...], runs: int) -> Cost:
    """The network's counts at `input_shape` (C, H, W), and the times of `runs` inferences of one image.

    A run is one call of a backend's `predict` in float32. Backends take turns, so that a change in the
    machine's speed meets all alike.
    """
    total = spec.total(network, input_shape)
    weights = spec.initialize(network, seed=0)
    images = np.random.default_rng(0).normal(size=(1, *input_shape)).astype(np.float32)
    models = {}
    for name in names:
        models[name] = backends.get(name).build(network, dtype="float32")
        backends.get(name).load_weights(models[name], weights)
    rounds = [{name: _milliseconds(name, models[name], images) for name in names} for _ in range(WARM_UP + runs)]
    times = {name: sorted(times[name] for times in rounds[WARM_UP:]) for name in names}
    timings = tuple(Timing(name, statistics.median(found), found[0], found[-1]) for name, found in times.items())
    return Cost(network.name, total.parameters, total.multiply_adds, total.activation_bytes, timings)


def _milliseconds(name: str, model: object, images: np.ndarray) -> float:
    start = time.perf_counter()
    backends.get(name).predict(model, images)
    return 1000 * (time.perf_counter() - start)
