"""Holds backends against the NumPy reference: the same weights, the same images, the same numbers out."""

import gc
from collections.abc import Collection, Iterable
from dataclasses import dataclass

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
from densenet_tools.parity.run import REFERENCE, Reference, Run
from densenet_tools.parity.tolerance import (
    GRADIENTS,
    OUTPUTS,
    gradient_floor,
    gradient_tolerance,
    statistic_tolerance,
)
from densenet_tools.parity.verdict import Check, Verdict, first_departure, sentence, worst_of
from spec import running
from spec.layers import BatchNorm


@dataclass(frozen=True)
class Comparison:
    """What backends are compared on: a network, images (N, C, H, W), and what they compute in.

    `checks` are some of logits, layers and gradients. Gradients are those of the mean cross-entropy of the
    labels 0, 1, 2 ... in one training-mode pass without dropout, whose loss and running statistics are
    compared too. Weights are drawn from `seed`, running statistics included, unless given.
    """

    network: spec.Network
    images: np.ndarray
    dtype: str = "float32"
    seed: int = 0
    checks: Collection[str] = ("logits",)
    weights: spec.Weights | None = None

    def drawn(self) -> spec.Weights:
        """The weights that all get, in `dtype`."""
        weights = self.weights
        if weights is None:
            weights = spec.initialize(self.network, self.seed, np.dtype(self.dtype).type)
            weights = spec.randomize(weights, self.seed)
        return {name: array.astype(self.dtype, copy=False) for name, array in weights.items()}

    def run(self, runner: Runner, weights: spec.Weights, reference: Reference) -> Run:
        """A runner's run, which for NumPy in float64 is the reference's."""
        same = runner == REFERENCE and self.dtype == "float64"
        return reference if same else Run(self.network, runner, self.dtype, weights, reference.images)

    def rounded(self) -> np.ndarray:
        """The images in `dtype`, so that the reference sees what the backends see."""
        return self.images.astype(self.dtype, copy=False)


def verify(
    network: spec.Network,
    runners: Iterable[Runner],
    images: np.ndarray,
    dtype: str = "float32",
    seed: int = 0,
    checks: Iterable[str] = ("logits",),
    weights: spec.Weights | None = None,
) -> list[Verdict]:
    """One verdict for each runner, all in this process; for the arguments see Comparison."""
    comparison = Comparison(network, images, dtype, seed, tuple(checks), weights)
    drawn = comparison.drawn()
    exact = {name: array.astype("float64", copy=False) for name, array in drawn.items()}
    reference = Reference(network, exact, comparison.rounded())
    verdicts = []
    for runner in runners:
        verdicts.append(judge(comparison.run(runner, drawn, reference), reference, comparison.checks))
        if verdicts[-1].parameters > 10_000_000:  # a model is a cycle: of gigabytes where the network is VGG
            gc.collect()
    return verdicts


def judge(run: Run, reference: Reference, wanted: Collection[str]) -> Verdict:
    """What is found of a run beside the reference's: inference first, then training, which another model is for."""
    if run.runner.executor:
        wanted = ()  # it runs inference only
    tolerance = OUTPUTS[run.runner.precision(run.dtype)]
    logits, seconds = run.inference
    absolute, relative = difference(logits, reference.inference[0])
    checks = [Check("logits", relative, tolerance, "logits")]
    (parameters, buffers), problem = run.counts, _miscounted(run)
    layers: tuple[tuple[str, float], ...] = ()
    if "layers" in wanted or not (problem or checks[0].passes):
        layers = layer_differences(run.trace(), reference.trace())
    if "layers" in wanted:
        checks.append(worst_of("layers", dict(layers), tolerance))
    departs = not problem and not all(check.passes for check in checks)
    departure = first_departure(layers, tolerance) if departs else None
    if "gradients" in wanted and run.runner.entry.trains:
        checks += _training_checks(run, reference)
    failed = [check for check in checks if not check.passes]
    if failed and not problem:
        problem = sentence(str(run.runner), failed[0], departure)
    return Verdict(
        network=run.network.name,
        backend=str(run.runner),
        dtype=run.dtype,
        output_shape=logits.shape,
        parameters=parameters,
        buffers=buffers,
        absolute=absolute,
        seconds=seconds,
        checks=tuple(checks),
        layers=layers if "layers" in wanted else (),
        departure=departure,
        problem=problem,
    )


def _miscounted(run: Run) -> str | None:
    """What is wrong with how many parameters and buffers there are."""
    total = spec.total(run.network)
    parameters, buffers = run.counts
    if (parameters, buffers) == (total.parameters, total.buffers):
        return None
    return (
        f"{run.runner} has {parameters:,} parameters and {buffers:,} buffers, "
        f"the spec {total.parameters:,} and {total.buffers:,}"
    )


def _training_checks(run: Run, reference: Reference) -> list[Check]:
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


def _gradient_check(run: Run, found: spec.Weights, reference: Reference, expected: spec.Weights) -> Check:
    """In float32 a kink within rounding may excuse a difference: see densenet_tools.parity.tolerance."""
    floor = gradient_floor(run.dtype, run.network)
    if run.dtype == "float64":
        return worst_of("gradients", gradient_differences(found, expected, floor=floor), GRADIENTS["float64"])
    differences, bar = gradient_differences(found, expected, euclidean, floor), gradient_tolerance(run.network)
    check = worst_of("gradients", differences, bar)
    if check.passes or np.isnan(check.relative):
        return check
    bars = {name: bar + move for name, move in reference.gradient_moves.items()}
    return worst_of("gradients", differences, bars)


def _statistic_check(run: Run, found: spec.Weights, expected: spec.Weights) -> Check:
    """In float32 the bar grows with the values that each channel's statistics are taken over."""
    counts = run.network.values_per_channel(run.images.shape)
    norms = {path: node for path, node in spec.walk(run.network.root) if isinstance(node, BatchNorm)}
    differences = statistic_differences(found, expected, {path: node.eps for path, node in norms.items()})
    paths = {name: name.rpartition(".")[0] for name in expected}
    bars = {name: statistic_tolerance(run.dtype, norms[path], counts[path]) for name, path in paths.items()}
    return worst_of("statistics", differences, bars)
