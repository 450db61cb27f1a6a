"""Holds backends against the NumPy reference: the same weights, the same images, the same numbers out."""

import gc
import time
from collections.abc import Iterable
from functools import cached_property

import numpy as np

import spec
from densenet_tools.backends import Runner
from densenet_tools.parity.differences import (
    difference,
    euclidean,
    gradient_differences,
    layer_differences,
    statistic_differences,
)
from densenet_tools.parity.tolerance import (
    GRADIENTS,
    OUTPUTS,
    UNIT_ROUNDOFF,
    gradient_tolerance,
    rounding,
    statistic_tolerance,
)
from densenet_tools.parity.verdict import Check, Verdict, first_departure, sentence, worst_of
from spec import running
from spec.layers import BatchNorm


def verify(
    network: spec.Network,
    runners: Iterable[Runner],
    images: np.ndarray,
    dtype: str = "float32",
    seed: int = 0,
    checks: Iterable[str] = ("logits",),
    weights: spec.Weights | None = None,
) -> list[Verdict]:
    """One verdict for each runner; weights are drawn from `seed`, running statistics included, unless given.

    `checks` are some of logits, layers and gradients. Gradients are those of the mean cross-entropy of the
    labels 0, 1, 2 ... in one training-mode pass without dropout, whose loss and running statistics are
    compared too.
    """
    images = images.astype(dtype)  # rounded once, so that the reference sees what the backends see
    if weights is None:
        weights = spec.randomize(spec.initialize(network, seed, np.dtype(dtype).type), seed)
    weights = {name: array.astype(dtype, copy=False) for name, array in weights.items()}
    exact = {name: array.astype("float64", copy=False) for name, array in weights.items()}
    reference = _Run(network, Runner("numpy"), "float64", exact, images)
    verdicts = []
    for runner in runners:
        verdicts.append(_verdict(_Run(network, runner, dtype, weights, images), reference, checks))
        if verdicts[-1].parameters > 10_000_000:  # a model is a cycle: of gigabytes where the network is VGG
            gc.collect()
    return verdicts


class _Run:
    """A backend's model with weights, and what it makes of the images."""

    def __init__(self, network: spec.Network, runner: Runner, dtype: str, weights: spec.Weights, images: np.ndarray):
        self.network, self.runner, self.dtype, self.weights, self.images = network, runner, dtype, weights, images
        self.backend = runner.load()
        self.model = self._loaded(network)
        start = time.perf_counter()
        self.logits = runner.predict(self.model, images)
        self.seconds = time.perf_counter() - start

    def _loaded(self, network: spec.Network):
        model = self.backend.build(network, dtype=self.dtype)
        self.backend.load_weights(model, self.weights)
        return model

    def counts(self) -> tuple[int, int]:
        """Parameters and buffers."""
        sizes = {name: array.size for name, array in self.backend.export_weights(self.model).items()}
        buffers = sum(size for name, size in sizes.items() if spec.is_buffer(name))
        return sum(sizes.values()) - buffers, buffers

    @cached_property
    def trace(self) -> dict[str, np.ndarray]:
        return self.backend.trace(self.model, self.images)

    @cached_property
    def training(self) -> tuple[float, spec.Weights, spec.Weights]:
        """Loss, gradients and running statistics of one training-mode pass."""
        return self._training(self.images)

    @cached_property
    def gradient_moves(self) -> dict[str, float]:
        """How far each gradient moves, at most of eight times, where the images move by float32's rounding."""
        largest: dict[str, float] = {}
        for probe in range(8):
            noise = np.random.default_rng(probe).normal(0, rounding(self.network), self.images.shape)
            _, moved, _ = self._training(self.images * (1 + noise))
            moves = gradient_differences(moved, self.training[1], euclidean, _floor("float32", self.network))
            largest = {name: max(move, largest.get(name, 0.0)) for name, move in moves.items()}
        return largest

    def _training(self, images: np.ndarray) -> tuple[float, spec.Weights, spec.Weights]:
        plain = spec.without_dropout(self.network)
        model = self.model if plain == self.network else self._loaded(plain)
        labels = np.arange(len(images)) % (self.network.num_classes or 1)
        return self.backend.loss_and_gradients(model, images, labels)


def _verdict(run: _Run, reference: _Run, wanted: Iterable[str]) -> Verdict:
    tolerance = OUTPUTS[run.dtype]
    absolute, relative = difference(run.logits, reference.logits)
    checks = [Check("logits", relative, tolerance, "logits")]
    wanted = () if run.runner.executor else wanted  # an executor runs inference only
    layers: tuple[tuple[str, float], ...] = ()
    if "layers" in wanted:
        layers = layer_differences(run.trace, reference.trace)
        checks.append(worst_of("layers", dict(layers), tolerance))
    if "gradients" in wanted:
        checks += _training_checks(run, reference)
    total = spec.total(run.network)
    parameters, buffers = run.counts()
    departure, problem = None, None
    if (parameters, buffers) != (total.parameters, total.buffers):
        problem = (
            f"{run.runner} has {parameters:,} parameters and {buffers:,} buffers, "
            f"the spec {total.parameters:,} and {total.buffers:,}"
        )
    elif not all(check.passes for check in checks):
        if not all(check.passes for check in checks if check.name in ("logits", "layers")):
            departure = first_departure(layers or layer_differences(run.trace, reference.trace), tolerance)
        problem = sentence(str(run.runner), next(check for check in checks if not check.passes), departure)
    return Verdict(
        network=run.network.name,
        backend=str(run.runner),
        dtype=run.dtype,
        output_shape=run.logits.shape,
        parameters=parameters,
        buffers=buffers,
        absolute=absolute,
        seconds=run.seconds,
        checks=tuple(checks),
        layers=layers,
        departure=departure,
        problem=problem,
    )


def _training_checks(run: _Run, reference: _Run) -> list[Check]:
    """Loss, gradients and running statistics, each with its worst tensor."""
    loss, gradients, after = run.training
    expected_loss, expected_gradients, reference_after = reference.training
    update = run.backend.RUNNING_UPDATE
    expected_after = running.expected(run.network, reference.weights, reference_after, run.images.shape, update)
    return [
        Check("loss", difference(np.array(loss), np.array(expected_loss))[1], OUTPUTS[run.dtype], "loss"),
        _gradient_check(run, gradients, reference, expected_gradients),
        _statistic_check(run, after, expected_after),
    ]


def _gradient_check(run: _Run, found: spec.Weights, reference: _Run, expected: spec.Weights) -> Check:
    """In float32 a kink within rounding may excuse a difference: see densenet_tools.parity.tolerance."""
    floor = _floor(run.dtype, run.network)
    if run.dtype == "float64":
        return worst_of("gradients", gradient_differences(found, expected, floor=floor), GRADIENTS["float64"])
    differences, bar = gradient_differences(found, expected, euclidean, floor), gradient_tolerance(run.network)
    check = worst_of("gradients", differences, bar)
    if check.passes or np.isnan(check.relative):
        return check
    bars = {name: bar + move for name, move in reference.gradient_moves.items()}
    return worst_of("gradients", differences, bars)


def _floor(dtype: str, network: spec.Network) -> float:
    """How small a group of gradients may be beside the largest of all before its differences are rounding."""
    return UNIT_ROUNDOFF[dtype] / (GRADIENTS[dtype] if dtype in GRADIENTS else gradient_tolerance(network))


def _statistic_check(run: _Run, found: spec.Weights, expected: spec.Weights) -> Check:
    """In float32 the bar grows with the values that each channel's statistics are taken over."""
    counts = run.network.values_per_channel(run.images.shape)
    norms = {path: node for path, node in spec.walk(run.network.root) if isinstance(node, BatchNorm)}
    differences = statistic_differences(found, expected, {path: node.eps for path, node in norms.items()})
    paths = {name: name.rpartition(".")[0] for name in expected}
    bars = {name: statistic_tolerance(run.dtype, norms[path], counts[path]) for name, path in paths.items()}
    return worst_of("statistics", differences, bars)
