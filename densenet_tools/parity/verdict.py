"""Compares backends with the NumPy reference: the same weights, the same images, the same numbers out."""

import gc
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

import spec
from densenet_tools import backends
from densenet_tools.parity.tolerance import GRADIENTS, OUTPUTS, gradient_tolerance, rounding
from spec import running


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
class Comparison:
    """One backend against the NumPy reference in float64, for one network.

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


def compare(
    network: spec.Network,
    names: Iterable[str],
    images: np.ndarray,
    dtype: str = "float32",
    seed: int = 0,
    checks: Iterable[str] = ("logits",),
) -> list[Comparison]:
    """One comparison for each named backend or executor; weights are drawn from `seed`, running statistics included.

    `checks` are some of logits, layers and gradients. Gradients are those of the mean cross-entropy of the
    labels 0, 1, 2 ... in one training-mode pass without dropout, whose loss and running statistics are
    compared too.
    """
    images = images.astype(dtype)  # rounded once, so that the reference sees what the backends see
    weights = spec.randomize(spec.initialize(network, seed, np.dtype(dtype).type), seed)
    exact = {name: array.astype("float64", copy=False) for name, array in weights.items()}
    reference = _Run(network, "numpy", "float64", exact, images)
    results = []
    for name in names:
        results.append(_compare(_Run(network, name, dtype, weights, images), reference, checks))
        if results[-1].parameters > 10_000_000:  # a model is a cycle: of gigabytes where the network is VGG
            gc.collect()
    return results


class _Run:
    """A backend's model with weights, and what it makes of the images."""

    def __init__(self, network: spec.Network, name: str, dtype: str, weights: spec.Weights, images: np.ndarray):
        self.network, self.name, self.dtype, self.weights, self.images = network, name, dtype, weights, images
        self.backend = backends.get(name)
        self.model = self._loaded(network)
        start = time.perf_counter()
        self.logits = backends.predictor(name)(self.model, images)
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
            moves = gradient_differences(moved, self.training[1], _euclidean)
            largest = {name: max(move, largest.get(name, 0.0)) for name, move in moves.items()}
        return largest

    def _training(self, images: np.ndarray) -> tuple[float, spec.Weights, spec.Weights]:
        plain = spec.without_dropout(self.network)
        model = self.model if plain == self.network else self._loaded(plain)
        labels = np.arange(len(images)) % self.network.num_classes
        return self.backend.loss_and_gradients(model, images, labels)


def _compare(run: _Run, reference: _Run, names: Iterable[str]) -> Comparison:
    tolerance = OUTPUTS[run.dtype]
    absolute, relative = difference(run.logits, reference.logits)
    checks = [Check("logits", relative, tolerance, "logits")]
    names = () if ":" in run.name else names  # an executor runs inference only
    layers: tuple[tuple[str, float], ...] = ()
    if "layers" in names:
        layers = layer_differences(run.trace, reference.trace)
        checks.append(_worst("layers", dict(layers), tolerance))
    if "gradients" in names:
        checks += _training_checks(run, reference)
    total = spec.total(run.network)
    parameters, buffers = run.counts()
    departure, problem = None, None
    if (parameters, buffers) != (total.parameters, total.buffers):
        problem = (
            f"{run.name} has {parameters:,} parameters and {buffers:,} buffers, "
            f"the spec {total.parameters:,} and {total.buffers:,}"
        )
    elif not all(check.passes for check in checks):
        if not all(check.passes for check in checks if check.name in ("logits", "layers")):
            departure = first_departure(layers or layer_differences(run.trace, reference.trace), tolerance)
        problem = _sentence(run.name, next(check for check in checks if not check.passes), departure)
    return Comparison(
        network=run.network.name,
        backend=run.name,
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
    counts = running.counts(run.network, run.images.shape[1:], len(run.images))
    update = run.backend.RUNNING_UPDATE
    expected_after = running.expected(run.network, reference.weights, reference_after, counts, update)
    tolerance = OUTPUTS[run.dtype]
    return [
        Check("loss", difference(np.array(loss), np.array(expected_loss))[1], tolerance, "loss"),
        _gradient_check(run, gradients, reference, expected_gradients),
        _worst("statistics", statistic_differences(after, expected_after), tolerance),
    ]


def _gradient_check(run: _Run, found: spec.Weights, reference: _Run, expected: spec.Weights) -> Check:
    """In float32 a kink within rounding may excuse a difference: see densenet_tools.parity.tolerance."""
    if run.dtype == "float64":
        return _worst("gradients", gradient_differences(found, expected), GRADIENTS["float64"])
    differences, bar = gradient_differences(found, expected, _euclidean), gradient_tolerance(run.network)
    check = _worst("gradients", differences, bar)
    if check.passes or np.isnan(check.relative):
        return check
    bars = {name: bar + move for name, move in reference.gradient_moves.items()}
    worst = max(differences, key=lambda name: differences[name] / bars[name])
    return Check("gradients", differences[worst], bars[worst], worst)


def _largest(array: np.ndarray) -> float:
    return float(np.abs(array).max())


def _euclidean(array: np.ndarray) -> float:
    return float(np.linalg.norm(array))


def _worst(name: str, differences: Mapping[str, float], tolerance: float) -> Check:
    """The check of many tensors: its figure is that of the worst of them, a NaN before all."""
    if not differences:
        return Check(name, 0.0, tolerance, "")
    worst = max(differences, key=lambda tensor: np.nan_to_num(differences[tensor], nan=np.inf))
    return Check(name, differences[worst], tolerance, worst)


def _sentence(name: str, check: Check, departure: Departure | None) -> str:
    what = f"{name} departs from the NumPy reference: relative difference {check.relative:.1e} > {check.tolerance:.0e}"
    if departure is None:
        return f"{what} in {check.name}" + (f", most at {check.worst}" if check.worst != check.name else "")
    return (
        f"{what} in {check.name}, first at layer {departure.layer} ({departure.relative:.1e}); "
        f"the {departure.upstream} layers before it agree within {departure.upstream_relative:.1e}"
    )


def difference(found: np.ndarray, expected: np.ndarray) -> tuple[float, float]:
    """The largest absolute difference, and the same over the largest expected magnitude; NaN for other shapes."""
    if found.shape != expected.shape:
        return float("nan"), float("nan")
    absolute = float(np.abs(found.astype("float64") - expected).max())
    largest = float(np.abs(expected).max())
    return absolute, absolute / largest if largest else absolute


def _differences(found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> dict[str, float]:
    """{name: relative difference}, NaN for what is missing."""
    return {
        name: difference(found[name], array)[1] if name in found else float("nan") for name, array in expected.items()
    }


def layer_differences(
    found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]
) -> tuple[tuple[str, float], ...]:
    """(layer, relative difference) in the order of the network."""
    return tuple(_differences(found, expected).items())


def gradient_differences(
    found: Mapping[str, np.ndarray],
    expected: Mapping[str, np.ndarray],
    size: Callable[[np.ndarray], float] = _largest,
) -> dict[str, float]:
    """{name: size of the difference, relative to the largest gradient in its group}; NaN for what is missing."""
    largest: dict[str, float] = {}
    for name, array in expected.items():
        largest[_group(name)] = max(largest.get(_group(name), 0.0), size(array))
    return {
        name: size(found[name].astype("float64") - array) / (largest[_group(name)] or 1.0)
        if name in found and found[name].shape == array.shape
        else float("nan")
        for name, array in expected.items()
    }


def statistic_differences(found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> dict[str, float]:
    """{name: relative difference}; a mean's is relative to the deviation too, as values of that size were added up."""
    differences = _differences(found, expected)
    for name in (name for name in differences if name.endswith(".running_mean")):
        deviation = np.sqrt(expected[name.replace("running_mean", "running_var")].max())
        largest = max(deviation, np.abs(expected[name]).max())
        differences[name] = difference(found[name], expected[name])[0] / largest if name in found else float("nan")
    return differences


def _group(name: str) -> str:
    """The container or composite whose layer a parameter belongs to; a gate's belong to the block they gate.

    A batch norm undoes a shift or a scale of its input, so what only shifts or scales that input (a bias, a
    gate, a convolution of one channel) has a gradient of zero but for rounding: relative to itself it is noise.
    """
    layer = name.rpartition(".")[0]
    return name if not layer else layer.rpartition(".")[0].removesuffix(".se")


def first_departure(differences: Iterable[tuple[str, float]], tolerance: float) -> Departure | None:
    """The first layer, in the order of the network, whose output departs by more than `tolerance`."""
    upstream: list[float] = []
    for layer, relative in differences:
        if not relative <= tolerance:
            return Departure(layer, relative, len(upstream), max(upstream, default=0.0))
        upstream.append(relative)
    return None
