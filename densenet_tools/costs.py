"""What networks cost, side by side: counts from the spec, milliseconds as measured."""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

import spec
from densenet_tools.backends import Runner

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


def cost(network: spec.Network, runners: Sequence[Runner], input_shape: tuple[int, ...], runs: int) -> Cost:
    """The network's counts at `input_shape` (C, H, W), and the times of `runs` inferences of one image.

    A run is one inference in float32. Runners take turns, so that a change in the
    machine's speed meets all alike.
    """
    total = spec.total(network, input_shape)
    weights = spec.initialize(network, seed=0)
    images = np.random.default_rng(0).normal(size=(1, *input_shape)).astype(np.float32)
    models = {runner: runner.load().build(network, dtype="float32") for runner in runners}
    for runner, model in models.items():
        runner.load().load_weights(model, weights)
    rounds = [{r: _milliseconds(r, model, images) for r, model in models.items()} for _ in range(WARM_UP + runs)]
    times = {runner: sorted(times[runner] for times in rounds[WARM_UP:]) for runner in models}
    timings = tuple(Timing(str(r), statistics.median(found), found[0], found[-1]) for r, found in times.items())
    return Cost(network.name, total.parameters, total.multiply_adds, total.activation_bytes, timings)


def _milliseconds(runner: Runner, model: object, images: np.ndarray) -> float:
    start = time.perf_counter()
    runner.predict(model, images)
    return 1000 * (time.perf_counter() - start)
